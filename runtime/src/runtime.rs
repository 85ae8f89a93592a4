//! Entering and leaving a runtime.
//!
//! The thread that calls `run` makes the scheduler and the first M and then sleeps until the main goroutine has
//! ended; it runs no goroutine itself, so a goroutine stuck in the kernel on some M cannot keep it from returning.
//! At the end the world is stopped for good: Ms at a door end, Ms in blocking calls end when they come back. The
//! heap, the stacks and the tables are leaked on purpose: handles and threads may still point there.

use crate::arch::keeps_frame_pointers;
use crate::config::Settings;
use crate::join::Join;
use crate::m::M;
use crate::proc::newm::start_first;
use crate::proc::spawn::{make_g, new_task, newproc};
use crate::proc::template::{Start, make_thread, template_thread};
use crate::sched::Sched;
use crate::signal::{ALTSTACK, install_altstack};
use crate::sysmon::sysmon_thread;
use core::cell::UnsafeCell;
use core::marker::PhantomData;
use core::sync::atomic::{AtomicBool, Ordering};
use gc_core::{Config, Conservative, Gc, Heap, Root, Stress};
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// One runtime at a time.
static LIVE: AtomicBool = AtomicBool::new(false);

/// The way into a runtime.
pub struct Runtime(PhantomData<()>);

impl Runtime {
    /// Settings for a runtime; the environment overrides them.
    pub fn builder() -> Builder {
        Builder { settings: Settings::default() }
    }
}

/// Settings of a runtime, and its entry [`run`](Builder::run).
#[derive(Clone, Debug)]
#[must_use]
pub struct Builder {
    settings: Settings,
}

impl Builder {
    /// How many goroutines run at once (Go's GOMAXPROCS). Default: what affinity and cgroup quota allow.
    ///
    /// # Panics
    /// If it is not in 1 to 256.
    pub fn procs(mut self, n: usize) -> Builder {
        assert!((1..=crate::sched::MAX_PS).contains(&n), "procs is {n}: 1 to 256 are allowed");
        self.settings.procs = n;
        self
    }

    /// Percent by which the heap grows before a collection (Go's GOGC); `None`: only on request. Default: 100.
    ///
    /// # Panics
    /// If it is not in 1 to 100000.
    pub fn gc_percent(mut self, percent: impl Into<Option<u32>>) -> Builder {
        let percent = percent.into();
        assert!(percent.is_none_or(|p| (1..=100_000).contains(&p)), "gc_percent is {percent:?}: 1 to 100000");
        self.settings.gc_percent = percent;
        self
    }

    /// Heap size in bytes below which no collection starts by itself.
    pub fn min_heap(mut self, bytes: usize) -> Builder {
        self.settings.min_heap = Some(bytes);
        self
    }

    /// Bytes of memory that the collector tries to keep the heap within (Go's GOMEMLIMIT): pages in use, free pages not
    /// yet given back, and its tables; not stacks and what malloc has. Soft: where the live heap does not fit, the
    /// collector takes up to half of the processor time, and then the limit is passed. `None`: no limit, the default.
    ///
    /// # Panics
    /// If it is below 1 MiB.
    pub fn memory_limit(mut self, bytes: impl Into<Option<usize>>) -> Builder {
        let bytes = bytes.into();
        let least = crate::config::LEAST_LIMIT;
        assert!(bytes.is_none_or(|b| b >= least), "memory_limit is {bytes:?}: at least 1 MiB is needed");
        self.settings.memory_limit = bytes;
        self
    }

    /// Asks for huge pages under the heap, where the operating system gives them on request (transparent huge pages in the
    /// mode `madvise`; in the mode `always` it does so by itself). For heaps of hundreds of megabytes that are read in no
    /// order: scattered objects are marked up to twice as fast, and found faster. Who first touches a piece of 2 MiB waits
    /// until all of it is cleared, a few hundred microseconds. A hint: what becomes of it is not reported. Default: off.
    pub fn huge_pages(mut self, on: bool) -> Builder {
        self.settings.huge_pages = on;
        self
    }

    /// Lets collections leave alone what an earlier one has marked, and look at younger objects only, where that pays: where
    /// most of what is new dies soon, and not much of it is stored into what is old. Such a collection takes a fraction of the
    /// time of a full one. Between collections pointer stores cost as much as during one, then. Full ones still come, and
    /// [`gc::collect`](crate::gc::collect) is one; under a memory limit all are. Default: on. Source: Demers et al., "Combining
    /// generational and conservative garbage collection", POPL 1990.
    pub fn partial_collections(mut self, on: bool) -> Builder {
        self.settings.partial = on;
        self
    }

    /// Prints one line per collection to standard error.
    pub fn gctrace(mut self, on: bool) -> Builder {
        self.settings.gctrace = on;
        self
    }

    /// Checks every collection with an independent walk of the heap. Slow.
    pub fn verify(mut self, on: bool) -> Builder {
        self.settings.verify = on;
        self
    }

    /// Runs a whole collection at every `n`th allocation; 0: never. Very slow.
    pub fn gc_every(mut self, n: u32) -> Builder {
        self.settings.gc_every = n;
        self
    }

    /// Switches that make what is rare happen often. Slow.
    pub fn stress(mut self, stress: Stress) -> Builder {
        self.settings.stress = stress;
        self
    }

    /// How long a stop of the world waits before it says who holds it up. Default: one second.
    pub fn stw_timeout(mut self, limit: core::time::Duration) -> Builder {
        self.settings.stw_timeout = limit;
        self
    }

    /// Whether goroutines that come to no safepoint are interrupted by a signal (SIGURG): suspended for a collection, and
    /// descheduled at the end of a time slice, so that a loop without calls holds up nobody. Default: on, where the machine
    /// is known (Linux on x86_64). Descheduling needs a program that is built with `-C force-frame-pointers=yes`; where
    /// that or something else is missing, one line on standard error says so. Source: Go's asynchronous preemption
    /// (proposal 24543).
    pub fn async_preempt(mut self, on: bool) -> Builder {
        self.settings.async_preempt = on;
        self
    }

    /// Keeps what each thread did last, for [`trace::recent`](crate::trace::recent) and for dumps. Default: off, since each
    /// event reads the clock.
    pub fn trace(mut self, on: bool) -> Builder {
        self.settings.trace = on;
        self
    }

    /// Writes all that the scheduler and the collector do to a file, as [`trace::start`](crate::trace::start) does, from the
    /// start to the end of the runtime. Default: none.
    pub fn trace_file(mut self, path: impl Into<std::path::PathBuf>) -> Builder {
        self.settings.trace_file = Some(path.into());
        self
    }

    /// Mean distance in bytes of the allocations that the heap profile (`profile::heap`) samples; 1:
    /// all of them; 0: none. Default: 512 KiB, as Go's `MemProfileRate`.
    pub fn profile_rate(mut self, bytes: usize) -> Builder {
        self.settings.profile_rate = bytes;
        self
    }

    /// Whether every goroutine stays, as long as it lives, on the thread that it began on, as if it had called
    /// [`lock_os_thread`](crate::lock_os_thread) first of all: the main goroutine and the one that runs drops, too.
    /// Default: off.
    ///
    /// It keeps point 2 of the contract of [`run`](Builder::run) by itself: an address of a thread-local stays right.
    /// (After the goroutine's end the thread runs others.) It costs a thread for every living goroutine, of which there
    /// may be 10,000, and two thread switches for every switch between goroutines. Loops that come to no safepoint take
    /// turns of 20 to 30 ms on each P, so a thousand of them on two Ps come round in some 15 seconds.
    pub fn pinned(mut self, on: bool) -> Builder {
        self.settings.pinned = on;
        self
    }

    /// Signals without any reason to every goroutine that runs, about every `interval`, at least 10 us: each second one
    /// ends its time slice, the others suspend it where it is. Slow. Without `async_preempt` it does nothing.
    pub fn preempt_storm(mut self, interval: core::time::Duration) -> Builder {
        self.settings.preempt_storm = Some(interval.max(crate::storm::LEAST));
        self
    }

    /// Address space of each goroutine's stack, committed as it is used. Default: 256 KiB.
    ///
    /// # Panics
    /// If it is below 64 KiB.
    pub fn stack(mut self, bytes: usize) -> Builder {
        assert!(bytes >= crate::stack::MIN_STACK, "a stack of {bytes} bytes is too small: at least 64 KiB");
        self.settings.stack = bytes;
        self
    }

    /// Address space of the main goroutine's stack. Default: 8 MiB.
    ///
    /// # Panics
    /// If it is below 64 KiB.
    pub fn main_stack(mut self, bytes: usize) -> Builder {
        assert!(bytes >= crate::stack::MIN_STACK, "a stack of {bytes} bytes is too small: at least 64 KiB");
        self.settings.main_stack = bytes;
        self
    }

    /// Address space that one goroutine's stack may grow to by [`stack::ensure`](crate::stack::ensure). Default: 1 GiB.
    ///
    /// # Panics
    /// If it is below 64 KiB.
    pub fn max_stack(mut self, bytes: usize) -> Builder {
        assert!(bytes >= crate::stack::MIN_STACK, "a limit of {bytes} bytes is too small for stacks: at least 64 KiB");
        self.settings.max_stack = bytes;
        self
    }

    /// Runs `f` as the main goroutine of a new runtime, and returns what it returns. The other goroutines end with it:
    /// they stop at their next safepoint, wherever they are, and nothing of theirs is dropped.
    ///
    /// One runtime at a time per process; one after the other is fine. The heap of a runtime that has ended is leaked.
    /// An environment variable of the runtime that does not parse ends the process with status 2. Source: Go's
    /// `schedinit` and `runtime.main`.
    ///
    /// # Safety
    /// Three things are not closed yet, and no goroutine of the program may do them:
    ///
    /// 1. **Memory without barriers.** A `Gc`, or a reference into an object of the collected heap, that is needed
    ///    again lies where the collector sees it: in registers and on the goroutine's stack, in objects of the heap, in
    ///    a `Root`, or in what passes through the runtime (spawned closures, results, channels, mutexes). Not only in
    ///    malloc'd containers (`Vec<Gc<T>>`, `Box`, `Rc`), statics, thread-locals, or on foreign threads: not even for
    ///    a few instructions, since a goroutine may be suspended, and its stack scanned, anywhere. A payload of a panic
    ///    that holds one is raised by `panic_any` with the runtime's hook in place, or by
    ///    [`resume_unwind`](crate::resume_unwind), and what it points to is reached before the next safepoint after
    ///    `join` has returned it.
    /// 2. **Thread-local addresses.** No reference to a thread-local is carried across a safepoint, at which a
    ///    goroutine may move to another thread; with [`pinned(true)`](Builder::pinned) it never does, and this is allowed.
    /// 3. **Std locks.** No guard of a std lock (`Mutex`, `RwLock`, `stdout().lock()`) is held across a safepoint.
    ///
    /// Safepoints, at which a goroutine may change threads, are: allocation in the collected heap, channel and lock
    /// operations, `spawn`, `join`, `blocking`, `yield_now`, `poll`, `gc::collect`, and all of
    /// [`time`](crate::time) and [`net`](crate::net).
    ///
    /// Signals: a handler of the program's own on a goroutine's thread neither uses the runtime nor lasts (the thread is
    /// not suspended while it runs), and nobody changes the signal mask of such a thread or uses SIGURG for himself.
    ///
    /// # Panics
    /// If a runtime is running already, if address space is lacking, and if `f` does (with its payload).
    pub unsafe fn run<R: Send, F: FnOnce() -> R + Send>(self, f: F) -> R {
        let mut settings = self.settings;
        if let Err(refused) = settings.read_env() {
            refused.end();
        }
        assert!(!LIVE.swap(true, Ordering::SeqCst), "a runtime is already running in this process: one at a time");
        let out = match install_altstack() {
            Some(altstack) => {
                let out = enter(settings, f);
                altstack.remove();
                out
            }
            None => Err(format!("no memory for the signal stack of the thread that enters it ({ALTSTACK} bytes)")),
        };
        LIVE.store(false, Ordering::SeqCst);
        match out {
            Ok(Ok(value)) => value,
            Ok(Err(payload)) => resume_unwind(payload),
            Err(why) => panic!("the runtime cannot start: {why}"),
        }
    }
}

/// What the main goroutine and the entering thread share, on the latter's stack.
struct Main<F, R> {
    f: UnsafeCell<Option<F>>,
    out: UnsafeCell<Option<Result<R, Box<dyn Any + Send>>>>,
}

/// The address of a [`Main`], for the main goroutine's closure.
pub(crate) struct MainPtr(*const ());

// SAFETY: one goroutine uses it while the entering thread sleeps.
unsafe impl Send for MainPtr {}

fn enter<R: Send, F: FnOnce() -> R + Send>(
    mut settings: Settings,
    f: F,
) -> Result<Result<R, Box<dyn Any + Send>>, String> {
    settings.frame_pointers = keeps_frame_pointers::<F>();
    let known = crate::conditions::check(&mut settings)?;
    let sched = Sched::new(settings).map_err(|e| e.to_string())?;
    let sched: &'static Sched = Box::leak(Box::new(sched));
    let s = &sched.settings;
    let defaults = Config::default();
    let config = Config {
        percent: s.gc_percent,
        gctrace: s.gctrace,
        verify: s.verify,
        gc_every: s.gc_every,
        stress: s.stress,
        profile_rate: s.profile_rate,
        min_heap: s.min_heap.unwrap_or(defaults.min_heap),
        memory_limit: s.memory_limit,
        huge_pages: s.huge_pages,
        partial: s.partial,
        procs: s.procs,
        ..defaults
    };
    let heap = Heap::new(config, sched).map_err(|e| e.to_string())?;
    let (m0, p0) = sched.set_heap(heap);
    // There is room: it is the first one.
    let _ = heap.listen(crate::latency::heard, core::ptr::from_ref(sched).expose_provenance());
    gc_core::fatal::set_describe(crate::deadlock::describe_current);
    crate::panic::install_hook();
    crate::signal::install(sched);
    crate::preempt::init(known);
    crate::arch::init_vectors();

    let main = Main { f: UnsafeCell::new(Some(f)), out: UnsafeCell::new(None) };
    *sched.boot.lock() = Some(Boot { main: MainPtr((&raw const main).cast()), entry: main_entry::<F, R> });
    start_threads(sched).map_err(|e| format!("no thread for the runtime's own use: {e}"))?;
    crate::trace::begin(sched);
    // The first M, with the first P, makes the main goroutine and runs it.
    start_first(sched, m0, p0);
    sched.done.sleep();
    crate::trace::end(sched);
    Ok(main.out.into_inner().unwrap_or_else(|| Err(Box::new("the main goroutine left no result"))))
}

/// Makes the threads that never have a P, before any that has: those come from the first one.
fn start_threads(sched: &'static Sched) -> std::io::Result<()> {
    for start in [template_thread as Start, sysmon_thread] {
        // SAFETY: each takes the scheduler, which lives for ever.
        let error = unsafe { make_thread(start, core::ptr::from_ref(sched).cast_mut().cast()) };
        if error != 0 {
            sched.exiting.store(true, Ordering::SeqCst);
            sched.template.end();
            sched.sysmon.end();
            return Err(std::io::Error::from_raw_os_error(error));
        }
    }
    Ok(())
}

/// What the first M makes the main goroutine of.
pub(crate) struct Boot {
    main: MainPtr,
    entry: fn(*const ()),
}

/// Makes the other Ps and the main goroutine. On the g0 of the first M, which holds a P.
pub(crate) fn bootstrap(sched: &'static Sched, m: &'static M, boot: Boot) {
    let Some(p) = m.p() else { gc_core::throw!("the first M has no P") };
    sched.make_ps();
    let goid = sched.next_goid();
    let gp = make_g(sched, sched.stacks.main());
    // g0 is no root: what lies only here is rooted while the next allocation may collect.
    let join = Root::new(Gc::new(Conservative(Join::<()>::new(goid))));
    let start = new_task(
        move || {
            let boot = boot;
            (boot.entry)(boot.main.0);
        },
        join.get(),
    );
    newproc(sched, p, gp, start, goid, None);
}

fn main_entry<F: FnOnce() -> R + Send, R: Send>(main: *const ()) {
    // SAFETY: `enter` keeps the `Main` until the world has ended, and does not touch it meanwhile.
    unsafe {
        let main = &*main.cast::<Main<F, R>>();
        let f = (*main.f.get()).take();
        let out = catch_unwind(AssertUnwindSafe(|| {
            if let Some(gp) = crate::g::getg() {
                crate::afterlife::start(gp.sched);
            }
            let out = f.map(|f| f());
            #[cfg(feature = "profile")]
            if let Some(gp) = crate::g::getg() {
                crate::profile::at_exit(gp.sched);
            }
            out
        }));
        *main.out.get() = match out {
            Ok(value) => value.map(Ok),
            Err(payload) => Some(Err(payload)),
        };
    }
}

/// The main goroutine has ended: stops the world for good and wakes the entering thread. On g0.
pub(crate) fn main_has_ended(sched: &'static Sched, m: &'static M) {
    let Some(p) = m.p() else { gc_core::throw!("the main goroutine ended without a P") };
    crate::stw::stop_for_good(sched, m);
    sched.heap().release_p(p.gcp());
    crate::p::set_p_no_write_barrier(&m.p, core::ptr::null_mut());
    crate::stw::wake_for_the_end(sched);
    sched.sysmon.end();
    sched.template.end();
    sched.done.wakeup();
}

/// One runtime at a time.
#[cfg(test)]
pub(crate) fn turn() -> std::sync::MutexGuard<'static, ()> {
    static TURN: std::sync::Mutex<()> = std::sync::Mutex::new(());
    TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
