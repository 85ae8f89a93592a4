//! A trace in a file: the thread that empties the rings.
//!
//! It is none of the runtime's: it has no P, is stopped by nobody, and may use std and malloc. (A goroutine that is
//! suspended with malloc's lock in its hands holds it up until that goes on, and nobody else.)
//!
//! ```text
//! start   makes the file, then the larger rings, then the thread; last the rings' address is stored: events go there
//! thread  every 5 ms: takes what is new in each ring, encodes it, writes it
//!         a write fails: says so, and the trace is over; the program goes on
//! stop, the end of the runtime, a fatal error: `ending`; one more round, what is open is closed, `finished`
//! ```
//! A fatal error, a dump by SIGQUIT, and the end of the runtime wait for it with a limit: what it waits for may be in the
//! hands of a thread that never goes on. What would break if the old rings' address were stored after the last round: a
//! busy program would never let that end; hence also that a round takes only what was there when it began.

use super::perfetto::Encoder;
use super::ring::Rings;
use super::{LEN_OF_TRACE, OUTSIDE};
use crate::sched::{MAX_MS, Sched};
use core::sync::atomic::{AtomicI32, AtomicU64};
use core::time::Duration;
use gc_core::fatal::print_line;
use gc_core::sync::{AtomicBool, AtomicPtr, Note, Ordering};
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::path::Path;

/// Between two rounds.
const ROUND: Duration = Duration::from_millis(5);
/// How long the end of the runtime waits for the rest.
const AT_END: Duration = Duration::from_secs(10);
/// How long a fatal error does.
const AT_FATAL: Duration = Duration::from_secs(2);

/// The trace that is on or was the last one.
pub(super) struct Slot {
    /// Null: there was none. Never freed.
    session: AtomicPtr<Session>,
    /// The larger rings; null: there was no trace yet. Never freed.
    rings: AtomicPtr<Rings>,
    /// One is on, or being started.
    busy: AtomicBool,
}

struct Session {
    /// As it is printed: who is about to end the process has no time for what is no text.
    path: String,
    /// At its end there is a line about it.
    says: bool,
    ending: AtomicBool,
    wake: Note,
    finished: Note,
    events: AtomicU64,
    lost: AtomicU64,
    /// Of the write that failed; 0: none.
    errno: AtomicI32,
}

/// What a trace has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Summary {
    /// Events in the file.
    pub events: u64,
    /// Events that were lost, because threads were faster than the file.
    pub lost: u64,
}

impl Slot {
    pub(super) fn new() -> Slot {
        let null = core::ptr::null_mut();
        Slot {
            session: AtomicPtr::new(null),
            rings: AtomicPtr::new(core::ptr::null_mut()),
            busy: AtomicBool::new(false),
        }
    }

    /// The trace that is on.
    fn session(&self) -> Option<&'static Session> {
        // Acquire: pairs with the Release in `begin`.
        // SAFETY: null, or leaked by `begin`.
        unsafe { self.session.load(Ordering::Acquire).as_ref() }.filter(|_| self.busy.load(Ordering::SeqCst))
    }
}

/// Starts a trace of everything that the scheduler and the collector do, into the file `path`, which is made anew; it ends
/// with [`stop`] or with the runtime. [ui.perfetto.dev](https://ui.perfetto.dev) shows it. The environment's
/// `TRICOLOR_TRACE=file` and [`Builder::trace_file`](crate::Builder::trace_file) do so from the start.
///
/// Events cost some 100 ns each, and a mebibyte for each thread. Where threads are faster than the file, events are lost,
/// which is counted. A disk that is full ends the trace, with a line on standard error, and nothing else.
///
/// A safepoint; needs a P.
///
/// ```
/// # unsafe { tricolor::Runtime::builder().run(|| {
/// let path = std::env::temp_dir().join(format!("tricolor-doc-{}.pftrace", std::process::id()));
/// tricolor::trace::start(&path).unwrap();
/// tricolor::spawn(|| ()).join().unwrap();
/// let summary = tricolor::trace::stop().unwrap();
/// assert!(summary.events > 0 && summary.lost == 0);
/// # std::fs::remove_file(path).unwrap();
/// # }) }
/// ```
///
/// # Errors
/// If the file or the thread cannot be made, and if a trace is on.
///
/// # Panics
/// Outside a goroutine.
pub fn start(path: impl AsRef<Path>) -> io::Result<()> {
    let sched = crate::gc::on_goroutine("trace::start").sched;
    let path = path.as_ref();
    // SAFETY: uses nothing of the runtime but its words, nor of the heap.
    unsafe { crate::blocking_with(|| begin(sched, path, false)) }
}

/// Ends the trace; its file is complete then. A safepoint; needs a P.
///
/// # Errors
/// If the file could not be written, and if no trace is on.
///
/// # Panics
/// Outside a goroutine.
pub fn stop() -> io::Result<Summary> {
    let sched = crate::gc::on_goroutine("trace::stop").sched;
    let Some(session) = sched.trace.file.session() else {
        // The last one may have ended by itself.
        // SAFETY: null, or leaked by `begin`.
        let last = unsafe { sched.trace.file.session.swap(core::ptr::null_mut(), Ordering::AcqRel).as_ref() };
        return last.map_or_else(|| Err(io::Error::new(ErrorKind::NotFound, "no trace is on")), Session::summary);
    };
    session.end(sched);
    // SAFETY: as in `start`.
    unsafe { crate::blocking_with(|| session.finished.sleep()) };
    sched.trace.file.session.store(core::ptr::null_mut(), Ordering::Release);
    session.summary()
}

/// Starts what the settings say; a file that cannot be made is no reason not to run.
pub(super) fn begin_as_told(sched: &'static Sched, path: &Path) {
    if let Err(e) = begin(sched, path, true) {
        print_line(format_args!("tricolor: no trace: cannot write {}: {e}", path.display()));
    }
}

#[expect(clippy::disallowed_types, reason = "without a P, and in nothing of the runtime")]
fn begin(sched: &'static Sched, path: &Path, says: bool) -> io::Result<()> {
    let slot = &sched.trace.file;
    if slot.busy.swap(true, Ordering::SeqCst) {
        return Err(io::Error::new(ErrorKind::AlreadyExists, "a trace is on"));
    }
    let started = File::create(path).and_then(|file| {
        let mut rings = slot.rings.load(Ordering::Acquire);
        if rings.is_null() {
            rings = Box::into_raw(Box::new(Rings::new(MAX_MS + 1, LEN_OF_TRACE).map_err(io::Error::other)?));
            slot.rings.store(rings, Ordering::Release);
        }
        // SAFETY: made above or by an earlier trace, and never freed.
        let rings: &'static Rings = unsafe { &*rings };
        let session: &'static Session = Box::leak(Box::new(Session {
            path: path.to_string_lossy().into_owned(),
            says,
            ending: AtomicBool::new(false),
            wake: Note::new(),
            finished: Note::new(),
            events: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            errno: AtomicI32::new(0),
        }));
        let next = (0..=MAX_MS).map(|ring| rings.head(ring)).collect();
        let mut drain = Drain { sched, session, rings, next, encoder: Encoder::new(), file };
        std::thread::Builder::new().name("tricolor-trace".into()).spawn(move || drain.run())?;
        // Release, both: what they point to is made.
        slot.session.store(core::ptr::from_ref(session).cast_mut(), Ordering::Release);
        sched.trace.rings.store(core::ptr::from_ref(rings).cast_mut(), Ordering::Release);
        Ok(())
    });
    if started.is_err() {
        slot.busy.store(false, Ordering::SeqCst);
    }
    started
}

/// The runtime has ended (`fatal`: is about to, and the process with it): waits for the rest of the trace, not for ever.
pub(super) fn end(sched: &Sched, fatal: bool) {
    let Some(session) = sched.trace.file.session() else { return };
    session.end(sched);
    let limit = if fatal { AT_FATAL } else { AT_END };
    if !session.finished.sleep_for(limit) {
        let (path, limit) = (&*session.path, limit.as_secs());
        print_line(format_args!("tricolor: trace: {path} lacks its end: it was not written within {limit} seconds"));
    }
}

impl Session {
    /// Asks for the end. Neither locks nor allocates.
    fn end(&self, sched: &Sched) {
        sched.trace.back_to_recorder();
        self.ending.store(true, Ordering::SeqCst);
        self.wake.wakeup();
    }

    fn summary(&self) -> io::Result<Summary> {
        // Relaxed: the note has ordered them.
        match self.errno.load(Ordering::Relaxed) {
            0 => Ok(Summary { events: self.events.load(Ordering::Relaxed), lost: self.lost.load(Ordering::Relaxed) }),
            errno => Err(io::Error::from_raw_os_error(errno)),
        }
    }
}

/// What the thread has.
struct Drain {
    sched: &'static Sched,
    session: &'static Session,
    rings: &'static Rings,
    /// The next event of each ring.
    next: Vec<u64>,
    encoder: Encoder,
    file: File,
}

impl Drain {
    fn run(&mut self) {
        // SAFETY: changes this thread's mask: signals are for others.
        unsafe {
            let mut all: libc::sigset_t = core::mem::zeroed();
            libc::sigfillset(&raw mut all);
            libc::pthread_sigmask(libc::SIG_BLOCK, &raw const all, core::ptr::null_mut());
        }
        loop {
            let ending = self.session.ending.load(Ordering::SeqCst);
            self.round();
            if ending {
                self.encoder.finish(crate::time::nanotime());
            }
            if let Err(e) = self.file.write_all(&self.encoder.take()) {
                let path = &*self.session.path;
                print_line(format_args!("tricolor: trace: cannot write {path}: {e}; the trace ends here"));
                self.session.errno.store(e.raw_os_error().unwrap_or(libc::EIO), Ordering::Relaxed);
                self.sched.trace.back_to_recorder();
                break;
            }
            if ending {
                break;
            }
            self.session.wake.sleep_for(ROUND);
        }
        if self.session.says
            && let Ok(Summary { events, lost }) = self.session.summary()
        {
            let path = &*self.session.path;
            print_line(format_args!("tricolor: trace: {path} has {events} events, {lost} were lost"));
        }
        self.sched.trace.file.busy.store(false, Ordering::SeqCst);
        self.session.finished.wakeup();
    }

    /// Encodes what is in the rings by now.
    fn round(&mut self) {
        for m in self.sched.ms() {
            // Relaxed: written before the first event.
            self.ring(m.id.load(Ordering::Relaxed) as usize, m.tid.load(Ordering::Relaxed));
        }
        self.ring(OUTSIDE, 0);
    }

    fn ring(&mut self, ring: usize, tid: u32) {
        let head = self.rings.head(ring);
        let mut n = self.next[ring];
        let (mut events, mut gone) = (0, 0);
        while n < head {
            let Some(raw) = self.rings.read(ring, n) else {
                // It has been overtaken: goes on well behind the writer, which goes on as well.
                let behind = self.rings.head(ring).saturating_sub(self.rings.kept() as u64 / 2).max(n + 1);
                gone += behind - n;
                n = behind;
                continue;
            };
            if gone > 0 {
                self.encoder.lost(ring, tid, gone, raw.time);
                self.session.lost.fetch_add(core::mem::take(&mut gone), Ordering::Relaxed);
            }
            if let Some(event) = raw.event(ring, self.sched.began) {
                self.encoder.event(ring, tid, raw.time, &event, raw.goid);
                events += 1;
            }
            n += 1;
        }
        if gone > 0 {
            self.encoder.lost(ring, tid, gone, crate::time::nanotime());
            self.session.lost.fetch_add(gone, Ordering::Relaxed);
        }
        self.next[ring] = n;
        self.session.events.fetch_add(events, Ordering::Relaxed);
    }
}
