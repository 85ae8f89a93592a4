//! A flight recorder: what the scheduler did last, thread by thread. Off by default; `TRICOLOR_DEBUG=trace=1`.
//!
//! Each M has a ring of the last events in memory that is not the heap's, and so has sysmon. Only its own thread writes to
//! one, with plain stores, without a lock, and with or without a P: so also at the end of a blocking call whose P is gone,
//! where a barrier or an allocation would be wrong.
//!
//! ```text
//! writer                                    reader, on any thread: the newest event first
//! slot.seq = 2n + 1     being written       n < head, so it was complete
//! the event                                 seq must be 2n + 2, before and after the event is read
//! slot.seq = 2n + 2     event n is there    else: it has been overtaken, and what is older has been as well: stops
//! head = n + 1
//! ```
//!
//! A writer is never interrupted by another one on its thread: whoever writes is inside the runtime, and a signal handler
//! writes only where it has interrupted the program's own code. What would break otherwise: two events in one slot.
//! Without the second look at `seq` a reader would mix two events; if it read the oldest first it would leave gaps.

use crate::g::{self, G, WaitReason};
use crate::m::M;
use crate::p::P;
use crate::preempt::Denied;
use crate::sched::{MAX_MS, Sched};
use barrier_lint::nowritebarrierrec;
use core::fmt;
use core::time::Duration;
use gc_core::StopReason;
use gc_core::sync::{AtomicU64, MapError, Ordering, Table, Zeroed, current, fence};

/// Events that each thread keeps.
#[cfg(not(modelled))]
const LEN: usize = 256;
/// Events that each thread keeps; few, as in all models.
#[cfg(modelled)]
const LEN: usize = 4;
/// Events that a dump prints of a thread.
const PRINTED: usize = 16;
/// The ring of sysmon, behind those of the Ms.
const SYSMON: usize = MAX_MS;
const NO_P: u16 = u16::MAX;
/// What `GoStop` says of a goroutine that has ended.
const ENDED: u32 = u32::MAX;

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
    /// A goroutine can run: it is new, or what it waited for has come.
    GoReady = "goroutine ready",
    /// A thread begins.
    MStart = "thread starts",
}

/// One event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Event {
    /// When it was written: since the runtime was made.
    pub at: Duration,
    /// The M whose thread has written it; `None`: sysmon.
    pub m: Option<u32>,
    /// What has happened.
    pub kind: Kind,
    /// The P that it is about, else the one that the thread held; `None`: it held none.
    pub p: Option<u32>,
    /// The goroutine that it is about, else the one that ran on the thread, if any did.
    pub goroutine: Option<u64>,
    /// A reason as a number, of which [`detail`](Event::detail) is the name; 0 where there is none.
    pub arg: u32,
}

impl Event {
    /// Why: of a stop, of a goroutine that stops, of a preemption that was declined. Empty for other kinds.
    pub fn detail(&self) -> &'static str {
        match self.kind {
            Kind::StopRequest | Kind::WorldStopped | Kind::WorldStarted => {
                StopReason::ALL.get(self.arg as usize).map_or("?", |why| why.name())
            }
            Kind::GoStop if self.arg == 0 => "runnable",
            Kind::GoStop if self.arg == ENDED => "ended",
            Kind::GoStop => WaitReason::name(self.arg as u8),
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
            None => f.write_str("sysmon")?,
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
const DECLINED: [&str; Denied::COUNT + 2] = [
    "descheduling is off",
    "little stack is left",
    "a panic unwinds",
    "not all frames are the program's own",
    "too many are descheduled",
    "on another stack",
    "in another signal handler",
];

/// The last events of this runtime, the oldest first: of each of its threads up to the last 256, in the order of the
/// clock. Empty unless it runs with `TRICOLOR_DEBUG=trace=1` or [`Builder::trace`](crate::Builder::trace).
///
/// What may be missing: what a thread has overwritten, perhaps just now (a busy one writes 256 events in some
/// microseconds, an idle one keeps old ones; so from the oldest of a busy thread back the picture has holes); goroutines
/// that threads outside the runtime make ready, or sysmon; handshakes; signals that find a thread inside the runtime;
/// safepoints after which a goroutine goes on at once. Of two events that two threads write at the same time either may be
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
    if sched.trace.on() {
        let ms = sched.ms().map(|m| m.id.load(Ordering::Relaxed) as usize);
        for ring in ms.chain([SYSMON]) {
            let from = events.len();
            sched.trace.rings[ring].newest(|raw| {
                events.extend(raw.event(ring, sched.began));
                true
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
    if !sched.trace.on() {
        return;
    }
    let ring = m.id.load(Ordering::Relaxed) as usize;
    let (mut last, mut n) = ([None; PRINTED], 0);
    sched.trace.rings[ring].newest(|raw| {
        last[n] = raw.event(ring, sched.began);
        n += 1;
        n < PRINTED
    });
    last.iter().rev().flatten().for_each(f);
}

/// Notes an event of this thread, which is that of `m` (`None`: sysmon), about the P and the goroutine that it has. The
/// caller is inside the runtime. May run without a P.
#[inline]
#[nowritebarrierrec]
pub(crate) fn event(sched: &Sched, m: &M, kind: Kind, arg: u32) {
    if sched.trace.on() {
        sched.trace.record(Some(m), kind, m.p(), m.curg(), arg);
    }
}

/// As [`event`], about another P or goroutine. May run without a P.
#[inline]
#[nowritebarrierrec]
pub(crate) fn event_of(sched: &Sched, m: Option<&M>, kind: Kind, p: Option<&P>, gp: Option<&G>, arg: u32) {
    if sched.trace.on() {
        sched.trace.record(m, kind, p, gp, arg);
    }
}

/// Notes that `gp` can run: by `m`, if this is a thread of the runtime. May run without a P.
#[inline]
#[nowritebarrierrec]
pub(crate) fn ready(m: Option<&M>, gp: &G) {
    if gp.sched.trace.on()
        && let Some(m) = m
    {
        gp.sched.trace.record(Some(m), Kind::GoReady, m.p(), Some(gp), 0);
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
            _ => 0,
        };
        gp.sched.trace.record(Some(m), Kind::GoStop, m.p(), Some(gp), why);
    }
}

/// Notes that a signal did not deschedule the goroutine of `m`. In its handler, which found the thread outside the
/// runtime.
#[nowritebarrierrec]
pub(crate) fn declined(sched: &Sched, m: &M, why: u32) {
    let _region = current::Region::enter();
    event(sched, m, Kind::PreemptDecline, why);
}

/// The rings of all threads; none while it is off.
pub(crate) struct Trace {
    rings: Table<Ring>,
}

impl Trace {
    pub(crate) fn new(on: bool) -> Result<Trace, MapError> {
        Ok(Trace { rings: Table::new(if on { MAX_MS + 1 } else { 0 })? })
    }

    #[inline(always)]
    #[nowritebarrierrec]
    fn on(&self) -> bool {
        !self.rings.is_empty()
    }

    /// Bytes of the rings that `ms` Ms and sysmon have.
    pub(crate) fn bytes(&self, ms: usize) -> usize {
        if self.on() { (ms + 1) * size_of::<Ring>() } else { 0 }
    }

    #[cold]
    #[inline(never)]
    #[nowritebarrierrec]
    fn record(&self, m: Option<&M>, kind: Kind, p: Option<&P>, gp: Option<&G>, arg: u32) {
        debug_assert!(current::locks() != 0, "an event outside the runtime");
        let ring = match m {
            Some(m) => m.id.load(Ordering::Relaxed) as usize,
            None => SYSMON,
        };
        let p = match p {
            Some(p) => p.id.load(Ordering::Relaxed) as u16,
            None => NO_P,
        };
        let goid = match gp {
            Some(gp) => gp.id.load(Ordering::Relaxed),
            None => 0,
        };
        // Not the coarse clock, which moves every few milliseconds: it would not tell the order of two threads' events.
        self.rings[ring].write(Raw { time: crate::time::nanotime(), goid, kind: kind as u8, p, arg });
    }
}

/// An event as it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Raw {
    time: u64,
    /// 0: none.
    goid: u64,
    kind: u8,
    p: u16,
    arg: u32,
}

impl Raw {
    fn event(self, ring: usize, began: u64) -> Option<Event> {
        Some(Event {
            at: Duration::from_nanos(self.time.saturating_sub(began)),
            m: (ring != SYSMON).then_some(ring as u32),
            kind: *Kind::ALL.get(self.kind as usize)?,
            p: (self.p != NO_P).then_some(u32::from(self.p)),
            goroutine: (self.goid != 0).then_some(self.goid),
            arg: self.arg,
        })
    }
}

struct Slot {
    seq: AtomicU64,
    time: AtomicU64,
    goid: AtomicU64,
    /// Kind, P and argument.
    word: AtomicU64,
}

/// The last events of one thread.
struct Ring {
    /// How many there have been.
    head: AtomicU64,
    slots: [Slot; LEN],
}

// SAFETY: numbers, whose zero bytes are the value zero: no event yet.
unsafe impl Zeroed for Ring {
    fn zeroed() -> Ring {
        let zero = || AtomicU64::new(0);
        let slot = |_| Slot { seq: zero(), time: zero(), goid: zero(), word: zero() };
        Ring { head: zero(), slots: core::array::from_fn(slot) }
    }
}

impl Ring {
    /// By its own thread only. May run without a P.
    #[nowritebarrierrec]
    fn write(&self, e: Raw) {
        // Relaxed: only this thread writes it.
        let n = self.head.load(Ordering::Relaxed);
        let slot = &self.slots[n as usize % LEN];
        // Relaxed, and the fence: pairs with the fence in `read`. Who has seen part of the new event sees this as well.
        slot.seq.store(2 * n + 1, Ordering::Relaxed);
        fence(Ordering::Release);
        slot.time.store(e.time, Ordering::Relaxed);
        slot.goid.store(e.goid, Ordering::Relaxed);
        let word = u64::from(e.kind) | u64::from(e.p) << 8 | u64::from(e.arg) << 32;
        slot.word.store(word, Ordering::Relaxed);
        // Release: pairs with the Acquire in `read`: who sees it sees the event.
        slot.seq.store(2 * n + 2, Ordering::Release);
        // Release: pairs with the Acquire in `newest`: the events before it are complete.
        self.head.store(n + 1, Ordering::Release);
    }

    /// Event number `n`, unless it has been overwritten.
    fn read(&self, n: u64) -> Option<Raw> {
        let slot = &self.slots[n as usize % LEN];
        if slot.seq.load(Ordering::Acquire) != 2 * n + 2 {
            return None;
        }
        // Relaxed: the second look decides.
        let (time, goid) = (slot.time.load(Ordering::Relaxed), slot.goid.load(Ordering::Relaxed));
        let word = slot.word.load(Ordering::Relaxed);
        // Pairs with the fence in `write`.
        fence(Ordering::Acquire);
        let whole = slot.seq.load(Ordering::Relaxed) == 2 * n + 2;
        whole.then_some(Raw { time, goid, kind: word as u8, p: (word >> 8) as u16, arg: (word >> 32) as u32 })
    }

    /// Shows `f` the events without a gap, the newest first, while it wants more. On any thread.
    fn newest(&self, mut f: impl FnMut(Raw) -> bool) {
        let (end, newest) = loop {
            let end = self.head.load(Ordering::Acquire);
            if end == 0 {
                return;
            }
            if let Some(newest) = self.read(end - 1) {
                break (end, newest);
            }
            // The writer has gone all the way round since the look at `head`.
        };
        if !f(newest) {
            return;
        }
        // The writer overtakes the older ones first, so after the first that is gone there are no others.
        for n in (end.saturating_sub(LEN as u64)..end - 1).rev() {
            if !self.read(n).is_some_and(&mut f) {
                return;
            }
        }
    }
}

#[cfg(all(test, not(modelled)))]
mod tests {
    use super::{LEN, Raw, Ring, Zeroed};
    use gc_core::sync::Ordering;
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;

    /// Event number `n`; all its parts say so.
    fn numbered(n: u64) -> Raw {
        Raw { time: n, goid: !n, kind: n as u8, p: n as u16, arg: n as u32 }
    }

    fn newest(ring: &Ring) -> Vec<Raw> {
        let mut seen = Vec::new();
        ring.newest(|raw| {
            seen.push(raw);
            true
        });
        seen
    }

    #[test]
    fn a_ring_keeps_the_newest() {
        let ring = Ring::zeroed();
        assert!(newest(&ring).is_empty());
        for n in 0..3 * LEN as u64 + 7 {
            ring.write(numbered(n));
            let seen = newest(&ring);
            assert_eq!(seen.len(), LEN.min(n as usize + 1));
            seen.iter().zip((0..=n).rev()).for_each(|(raw, n)| assert_eq!(*raw, numbered(n)));
        }
    }

    /// The writer stops in the middle of an event wherever it may: nobody takes the slot for whole.
    #[test]
    fn a_torn_slot_is_seen() {
        let ring = Ring::zeroed();
        (0..LEN as u64).for_each(|n| ring.write(numbered(n)));
        let n = LEN as u64;
        ring.slots[0].seq.store(2 * n + 1, Ordering::SeqCst);
        ring.slots[0].goid.store(!n, Ordering::SeqCst);
        assert_eq!((ring.read(0), ring.read(n)), (None, None));
        assert_eq!(newest(&ring).len(), LEN - 1);
    }

    #[test]
    fn readers_see_whole_events_without_gaps_while_a_writer_spins() {
        let (ring, stop) = (Arc::new(Ring::zeroed()), Arc::new(AtomicBool::new(false)));
        let writer = std::thread::spawn({
            let (ring, stop) = (ring.clone(), stop.clone());
            move || {
                let mut n = 0;
                while !stop.load(Ordering::Relaxed) {
                    ring.write(numbered(n));
                    n += 1;
                }
                n
            }
        });
        let (mut last, mut cut) = (0, 0);
        let begin = std::time::Instant::now();
        while last < 2_000_000 || cut < 10 {
            assert!(begin.elapsed().as_secs() < 120, "the writer is at {last}, and has overtaken a reader {cut} times");
            let before = ring.head.load(Ordering::SeqCst);
            let seen = newest(&ring);
            for raw in &seen {
                assert_eq!(*raw, numbered(raw.time), "torn");
            }
            for pair in seen.windows(2) {
                assert_eq!(pair[0].time, pair[1].time + 1, "a gap");
            }
            let end = seen.first().map_or(0, |newest| newest.time + 1);
            assert!(end >= before, "not the newest: {end} of {before}");
            last = end;
            cut += usize::from(before > LEN as u64 && seen.len() < LEN);
        }
        stop.store(true, Ordering::Relaxed);
        let n = writer.join().expect("no panic");
        assert_eq!(newest(&ring).first(), Some(&numbered(n - 1)));
    }
}
