//! What the scheduler and the collector did: a flight recorder, and a whole trace in a file.
//!
//! Events go to the thread's ring (`ring`), from where a reader takes them. The *flight recorder* keeps the last 256 of
//! each thread, for fatal errors, dumps and [`recent`]; it is off by default, since each event reads the clock
//! (`TRICOLOR_DEBUG=trace=1`). A *trace* ([`start`], `TRICOLOR_TRACE=file`) puts larger rings in their place, which a
//! thread of std's, outside the runtime, empties into a file that Perfetto shows (`file`, `perfetto`).
//!
//! ```text
//! Ms, sysmon ──► rings ──► thread "tricolor-trace": encodes, writes ──► file
//!                  └─────► recent(), fatal errors, dumps: the last 256
//! ```
//! Nobody in the runtime waits for that thread. Where it is too slow a ring overruns: what is lost is counted, and said in
//! the trace and at its end. A thread that has read the old rings' address just before they are replaced writes one more
//! event there; that is why rings are never unmapped.

#[cfg(all(feature = "trace", not(modelled)))]
mod file;
#[cfg(all(feature = "trace", not(modelled)))]
mod perfetto;
mod ring;

use crate::g::{self, G, WaitReason};
use crate::m::M;
use crate::p::P;
use crate::preempt::Denied;
use crate::sched::{MAX_MS, Sched};
use barrier_lint::nowritebarrierrec;
use core::fmt;
use core::time::Duration;
use gc_core::sync::{AtomicPtr, MapError, Ordering, Rank, RawLock, current};
use gc_core::{StopReason, WorkKind};
use ring::{Raw, Rings};

#[cfg(all(feature = "trace", not(modelled)))]
pub use file::{Summary, start, stop};

/// Events that the flight recorder keeps of each thread.
const LEN: usize = 256;
/// Events of each thread that a trace may be behind: a mebibyte.
#[cfg(all(feature = "trace", not(modelled)))]
const LEN_OF_TRACE: usize = 32 << 10;
/// Events that a dump prints of a thread.
const PRINTED: usize = 16;
/// The ring of sysmon and of threads that are not the runtime's, behind those of the Ms.
const OUTSIDE: usize = MAX_MS;
const NO_P: u16 = u16::MAX;
/// The reason in `GoStop` of a goroutine that has ended; that of one that can go on is 0.
const ENDED: u32 = 0xff;
/// The part of an argument that has a reason; above it is the number of times that the goroutine has been runnable.
const REASON: u32 = 0xff;

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident = $name:literal,)*) => {
        /// What has happened.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        #[repr(u8)]
        pub enum Kind {
            $($(#[$doc])* $kind,)*
        }

        impl Kind {
            const ALL: &[Kind] = &[$(Kind::$kind),*];

            /// A name of a few words.
            pub fn name(self) -> &'static str {
                match self {
                    $(Kind::$kind => $name,)*
                }
            }
        }
    };
}

kinds! {
    /// A goroutine enters a blocking call and leaves its P behind.
    SyscallEnter = "syscall enter",
    /// It is back, and its P was still there.
    SyscallExit = "syscall exit",
    /// It is back, and has waited for its P, which a stop of the world had.
    SyscallExitStopped = "syscall exit after a stop",
    /// It is back, and goes on with another P.
    SyscallExitOtherP = "syscall exit with another P",
    /// It is back, and there is no P for it: it is queued. The thread holds none.
    SyscallExitQueued = "syscall exit queued",
    /// Sysmon takes the P of a thread that stays in a blocking call.
    Retake = "P retaken",
    /// A stop of the world begins; why, says the detail.
    StopRequest = "stop requested",
    /// All others are stopped.
    WorldStopped = "world stopped",
    /// They go on.
    WorldStarted = "world started",
    /// A function is to run on every P; none stops others than those that it is to run on, and each only for that.
    HandshakeRequest = "handshake requested",
    /// It has.
    HandshakeDone = "handshake done",
    /// Sysmon finds a time slice over, and asks the goroutine to leave.
    PreemptRequest = "preemption requested",
    /// A signal makes the goroutine leave in the middle of its code, at the end of its time slice.
    PreemptInject = "preempt injected",
    /// A signal did not do so; why, says the detail.
    PreemptDecline = "preempt declined",
    /// A signal stops the goroutine where it is, for a stop, a handshake or a scan.
    Suspend = "suspended in place",
    /// A thread takes a P.
    AcquireP = "P acquired",
    /// A thread gives its P up (a blocking call leaves it behind without this).
    ReleaseP = "P released",
    /// A P is given to whoever has work for it.
    HandoffP = "P handed off",
    /// A goroutine starts to run, or goes on, on this thread.
    GoStart = "goroutine starts",
    /// It leaves the thread; what it waits for, says the detail.
    GoStop = "goroutine stops",
    /// A goroutine is made, and can run.
    GoCreate = "goroutine created",
    /// A goroutine can run: what it waited for has come.
    GoReady = "goroutine ready",
    /// A thread begins.
    MStart = "thread starts",
    /// Marking has begun, of the cycle whose number is the argument.
    CycleStart = "cycle starts",
    /// Marking has ended, of the cycle whose number is the argument.
    CycleEnd = "cycle ends",
    /// A slice of marking by a mutator has ended; the argument is its length in nanoseconds.
    MarkAssist = "assist",
    /// A slice of marking by a worker has ended; the argument is its length in nanoseconds.
    MarkDedicated = "mark",
    /// A slice of marking by an idle P has ended; the argument is its length in nanoseconds.
    MarkIdle = "mark, idle",
    /// So many spans as the argument says were swept.
    Sweep = "sweep",
    /// So many KiB as the argument says went back to the operating system.
    Scavenge = "scavenge",
    /// So many KiB as the argument says were made ready for use by an idle P.
    Pretouch = "pretouch",
}

/// One event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Event {
    /// When it was written: since the runtime was made.
    pub at: Duration,
    /// The M whose thread has written it; `None`: sysmon, or a thread that is not the runtime's.
    pub m: Option<u32>,
    /// What has happened.
    pub kind: Kind,
    /// The P that it is about, else the one that the thread held; `None`: it held none.
    pub p: Option<u32>,
    /// The goroutine that it is about, else the one that ran on the thread, if any did.
    pub goroutine: Option<u64>,
    /// A reason as a number, of which [`detail`](Event::detail) is the name, or what the kind says; else 0 or some
    /// number.
    pub arg: u32,
}

impl Event {
    /// Why: of a stop, of a goroutine that stops, of a preemption that was declined. Empty for other kinds.
    pub fn detail(&self) -> &'static str {
        match self.kind {
            Kind::StopRequest | Kind::WorldStopped | Kind::WorldStarted => {
                StopReason::ALL.get(self.arg as usize).map_or("?", |why| why.name())
            }
            Kind::GoStop => match self.arg & REASON {
                0 => "runnable",
                ENDED => "ended",
                why => WaitReason::name(why as u8),
            },
            Kind::PreemptDecline => DECLINED.get(self.arg as usize).copied().unwrap_or("?"),
            _ => "",
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ns = self.at.as_nanos() as u64;
        write!(f, "{:>6}.{:06} ms ", ns / 1_000_000, ns % 1_000_000)?;
        match self.m {
            Some(m) => write!(f, "M{m}")?,
            None => f.write_str("outside")?,
        }
        if let Some(p) = self.p {
            write!(f, " P{p}")?;
        }
        write!(f, ": {}", self.kind.name())?;
        if let Some(goid) = self.goroutine {
            write!(f, ", goroutine {goid}")?;
        }
        match self.detail() {
            "" => Ok(()),
            why => write!(f, " ({why})"),
        }
    }
}

/// Why a signal did not deschedule, behind the numbers of [`Denied`]: on another stack.
pub(crate) const OTHER_STACK: u32 = Denied::COUNT as u32;
/// In another signal handler.
pub(crate) const OTHER_HANDLER: u32 = OTHER_STACK + 1;
/// Not on the M's signal stack.
pub(crate) const NO_SIGNAL_STACK: u32 = OTHER_HANDLER + 1;
const DECLINED: [&str; Denied::COUNT + 3] = [
    "descheduling is off",
    "little stack is left",
    "a panic unwinds",
    "not all frames are the program's own",
    "too many are descheduled",
    "on another stack",
    "in another signal handler",
    "without its signal stack",
];

/// The last events of this runtime, the oldest first: of each of its threads up to the last 256, in the order of the
/// clock. Empty unless it runs with `TRICOLOR_DEBUG=trace=1` or [`Builder::trace`](crate::Builder::trace), or a trace is
/// on.
///
/// What may be missing: what a thread has overwritten, perhaps just now (a busy one writes 256 events in some
/// microseconds, an idle one keeps old ones; so from the oldest of a busy thread back the picture has holes); signals that
/// find a thread inside the runtime; safepoints after which a goroutine goes on at once. Of two events that two threads write at the same time either may be
/// the first: the clock is read just before the event is written, not under a lock.
///
/// Allocates with malloc; the threads go on meanwhile.
///
/// ```
/// use tricolor::trace::{self, Kind};
/// # unsafe { tricolor::Runtime::builder().trace(true).run(|| {
/// tricolor::blocking((), |()| ());
/// let events = trace::recent();
/// assert!(events.iter().any(|e| e.kind == Kind::SyscallEnter && e.goroutine.is_some()));
/// for e in &events {
///     println!("{e}");
/// }
/// # }) }
/// ```
///
/// # Panics
/// Outside a goroutine.
pub fn recent() -> Vec<Event> {
    let sched = crate::gc::on_goroutine("recent").sched;
    let mut events = Vec::new();
    if let Some(rings) = sched.trace.rings() {
        let ms = sched.ms().map(|m| m.id.load(Ordering::Relaxed) as usize);
        for ring in ms.chain([OUTSIDE]) {
            let from = events.len();
            rings.newest(ring, |raw| {
                events.extend(raw.event(ring, sched.began));
                events.len() - from < LEN
            });
            events[from..].reverse();
        }
    }
    // Stable: the events of one thread stay in their order.
    events.sort_by_key(|e| e.at);
    events
}

/// Shows `f` the last events of `m`, if there are any, the oldest first. Neither locks nor allocates.
pub(crate) fn last(sched: &Sched, m: &M, f: impl FnMut(&Event)) {
    let Some(rings) = sched.trace.rings() else { return };
    let ring = m.id.load(Ordering::Relaxed) as usize;
    let (mut last, mut n) = ([None; PRINTED], 0);
    rings.newest(ring, |raw| {
        last[n] = raw.event(ring, sched.began);
        n += 1;
        n < PRINTED
    });
    last.iter().rev().flatten().for_each(f);
}

/// Starts the trace that the settings ask for, if they do. Before the first M.
pub(crate) fn begin(sched: &'static Sched) {
    let Some(path) = &sched.settings.trace_file else { return };
    #[cfg(all(feature = "trace", not(modelled)))]
    file::begin_as_told(sched, path);
    #[cfg(not(all(feature = "trace", not(modelled))))]
    gc_core::fatal::print_line(format_args!(
        "tricolor: no trace in {}: this program is built without the feature `trace` of tricolor",
        path.display()
    ));
}

/// The world has ended: the rest of a trace is written. On a thread that is none of the runtime's.
pub(crate) fn end(sched: &Sched) {
    #[cfg(all(feature = "trace", not(modelled)))]
    file::end(sched, false);
    #[cfg(not(all(feature = "trace", not(modelled))))]
    let _ = sched;
}

/// The process is about to end: gives the rest of a trace a moment to be written. Neither locks nor allocates.
pub(crate) fn end_fatally(sched: &Sched) {
    #[cfg(all(feature = "trace", not(modelled)))]
    file::end(sched, true);
    #[cfg(not(all(feature = "trace", not(modelled))))]
    let _ = sched;
}

/// Notes an event of this thread, which is that of `m`, about the P and the goroutine that it has. The caller is inside the runtime. May run without a P.
#[inline]
#[nowritebarrierrec]
pub(crate) fn event(sched: &Sched, m: &M, kind: Kind, arg: u32) {
    if sched.trace.on() {
        sched.trace.record(Some(m), kind, m.p(), m.curg(), arg);
    }
}

/// As [`event`], about another P or goroutine; `m` is `None` for sysmon and threads that are not the runtime's. May run
/// without a P.
#[inline]
#[nowritebarrierrec]
pub(crate) fn event_of(sched: &Sched, m: Option<&M>, kind: Kind, p: Option<&P>, gp: Option<&G>, arg: u32) {
    if sched.trace.on() {
        sched.trace.record(m, kind, p, gp, arg);
    }
}

/// The number of times that a goroutine has been runnable, in the place of an argument that is not for the reason.
#[nowritebarrierrec]
fn turn(times: u32) -> u32 {
    times << 8
}

/// Notes that `gp` is about to be runnable: by `m`, if this is a thread of the runtime. May run without a P.
#[inline]
#[nowritebarrierrec]
pub(crate) fn ready(m: Option<&M>, gp: &G) {
    ready_as(m, gp, Kind::GoReady);
}

/// As [`ready`], of a goroutine that is new.
#[inline]
#[nowritebarrierrec]
pub(crate) fn created(m: Option<&M>, gp: &G) {
    ready_as(m, gp, Kind::GoCreate);
}

#[inline]
#[nowritebarrierrec]
fn ready_as(m: Option<&M>, gp: &G, kind: Kind) {
    if gp.sched.trace.on() {
        let p = match m {
            Some(m) => m.p(),
            None => None,
        };
        // Relaxed: only who readies it writes it.
        let next = gp.readied.load(Ordering::Relaxed).wrapping_add(1);
        gp.sched.trace.record(m, kind, p, Some(gp), turn(next));
    }
}

/// Notes that `gp`, which was runnable, or (`again`) has not left after all, runs on `m`.
#[inline]
pub(crate) fn go_start(m: &M, gp: &G, again: bool) {
    if gp.sched.trace.on() {
        let n = if again { 0 } else { turn(gp.readied.load(Ordering::Relaxed)) };
        gp.sched.trace.record(Some(m), Kind::GoStart, m.p(), Some(gp), n);
    }
}

/// Notes that `gp` leaves `m`, its status says for what. May run without a P.
#[inline]
#[nowritebarrierrec]
pub(crate) fn go_stop(m: &M, gp: &G) {
    if gp.sched.trace.on() {
        let why = match gp.status() {
            g::WAITING => u32::from(gp.wait_reason.load(Ordering::Relaxed)),
            g::DEAD => ENDED,
            // Relaxed: as in `ready_as`.
            _ => turn(gp.readied.load(Ordering::Relaxed)),
        };
        gp.sched.trace.record(Some(m), Kind::GoStop, m.p(), Some(gp), why);
    }
}

/// Notes what the collector has done.
pub(crate) fn heard(sched: &Sched, event: &gc_core::events::Event) {
    use gc_core::events::Event as Gc;
    // On other threads (an M is allocated by sysmon) there is nothing to tell but a sweep.
    let Some(m) = crate::m::getm().filter(|_| sched.trace.on()) else { return };
    let short = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
    let (kind, arg, length) = match *event {
        Gc::CycleStart { cycle, .. } => (Kind::CycleStart, cycle, 0),
        Gc::CycleEnd { cycle, mark_ns, .. } => (Kind::CycleEnd, cycle, mark_ns),
        Gc::Mark { kind: WorkKind::Assist, ns, .. } => (Kind::MarkAssist, short(ns), 0),
        Gc::Mark { kind: WorkKind::Dedicated, ns, .. } => (Kind::MarkDedicated, short(ns), 0),
        Gc::Mark { kind: WorkKind::Idle, ns, .. } => (Kind::MarkIdle, short(ns), 0),
        Gc::Sweep { spans } => (Kind::Sweep, short(spans as u64), 0),
        Gc::Scavenge { bytes, .. } => (Kind::Scavenge, short(bytes as u64 >> 10), 0),
        Gc::Pretouch { bytes, .. } => (Kind::Pretouch, short(bytes as u64 >> 10), 0),
        _ => return,
    };
    let _region = current::Region::enter();
    let goid = match m.curg() {
        // The length is in its place.
        _ if kind == Kind::CycleEnd => length,
        Some(gp) => gp.id.load(Ordering::Relaxed),
        None => 0,
    };
    sched.trace.write(Some(m), kind, m.p(), goid, arg);
}

/// Notes that a signal did not deschedule the goroutine of `m`. In its handler, which found the thread outside the
/// runtime.
#[nowritebarrierrec]
pub(crate) fn declined(sched: &Sched, m: &M, why: u32) {
    let _region = current::Region::enter();
    event(sched, m, Kind::PreemptDecline, why);
}

/// Where events go.
pub(crate) struct Trace {
    /// Those of the flight recorder or of a trace; null while both are off. Never unmapped.
    rings: AtomicPtr<Rings>,
    /// Those of the flight recorder; null without it.
    #[cfg(all(feature = "trace", not(modelled)))]
    recorder: *mut Rings,
    /// Whose turn it is to write to the ring of all other threads.
    outside: RawLock,
    /// The trace that is on or was the last one.
    #[cfg(all(feature = "trace", not(modelled)))]
    file: file::Slot,
}

impl Trace {
    pub(crate) fn new(on: bool) -> Result<Trace, MapError> {
        let recorder = match on && !cfg!(modelled) {
            true => Box::into_raw(Box::new(Rings::new(MAX_MS + 1, LEN)?)),
            false => core::ptr::null_mut(),
        };
        Ok(Trace {
            rings: AtomicPtr::new(recorder),
            #[cfg(all(feature = "trace", not(modelled)))]
            recorder,
            outside: RawLock::new(Rank::TraceRing),
            #[cfg(all(feature = "trace", not(modelled)))]
            file: file::Slot::new(),
        })
    }

    #[inline(always)]
    #[nowritebarrierrec]
    fn on(&self) -> bool {
        // Relaxed: `rings` looks again.
        !cfg!(modelled) && !self.rings.load(Ordering::Relaxed).is_null()
    }

    #[inline]
    #[nowritebarrierrec]
    fn rings(&self) -> Option<&Rings> {
        if cfg!(modelled) {
            return None;
        }
        // Acquire: pairs with the Release where they are set: they are made.
        // SAFETY: null, or rings that are never freed.
        unsafe { self.rings.load(Ordering::Acquire).as_ref() }
    }

    /// From now on events go where they did before the trace.
    #[cfg(all(feature = "trace", not(modelled)))]
    fn back_to_recorder(&self) {
        // Release: as where the trace's are set.
        self.rings.store(self.recorder, Ordering::Release);
    }

    /// Bytes of the rings that `ms` Ms and the others have.
    pub(crate) fn bytes(&self, ms: usize) -> usize {
        self.rings().map_or(0, |rings| (ms + 1) * rings.kept() * ring::SLOT)
    }

    #[cold]
    #[inline(never)]
    #[nowritebarrierrec]
    fn record(&self, m: Option<&M>, kind: Kind, p: Option<&P>, gp: Option<&G>, arg: u32) {
        let goid = match gp {
            Some(gp) => gp.id.load(Ordering::Relaxed),
            None => 0,
        };
        self.write(m, kind, p, goid, arg);
    }

    #[nowritebarrierrec]
    fn write(&self, m: Option<&M>, kind: Kind, p: Option<&P>, goid: u64, arg: u32) {
        let Some(rings) = self.rings() else { return };
        let p = match p {
            Some(p) => p.id.load(Ordering::Relaxed) as u16,
            None => NO_P,
        };
        // Not the coarse clock, which moves every few milliseconds: it would not tell the order of two threads' events.
        let raw = Raw { time: crate::time::nanotime(), goid, kind: kind as u8, p, arg };
        match m {
            Some(m) => {
                debug_assert!(current::locks() != 0, "an event outside the runtime");
                rings.write(m.id.load(Ordering::Relaxed) as usize, raw);
            }
            None => {
                self.outside.lock();
                rings.write(OUTSIDE, raw);
                self.outside.unlock();
            }
        }
    }
}

// SAFETY: `recorder` never changes, and what it points to is shared by atomics.
unsafe impl Send for Trace {}
// SAFETY: as above.
unsafe impl Sync for Trace {}

impl Raw {
    fn event(self, ring: usize, began: u64) -> Option<Event> {
        Some(Event {
            at: Duration::from_nanos(self.time.saturating_sub(began)),
            m: (ring != OUTSIDE).then_some(ring as u32),
            kind: *Kind::ALL.get(self.kind as usize)?,
            p: (self.p != NO_P).then_some(u32::from(self.p)),
            goroutine: (self.goid != 0 && self.kind != Kind::CycleEnd as u8).then_some(self.goid),
            arg: self.arg,
        })
    }
}
