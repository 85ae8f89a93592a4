//! Goroutines that want to stop the world themselves take turns, parked: one of them at a time goes on to `worldsema`,
//! which it may have to share with the collector only, and the others leave their Ps to goroutines that can run.
//!
//! A waiting goroutine is linked by `schedlink`, as on a run queue, where it cannot be at the same time.

use crate::g::{G, WaitReason, set_g_no_write_barrier};
use crate::proc::park::{park, ready};
use gc_core::faults::{self, Fault};
use gc_core::sync::{AtomicBool, AtomicPtr, Ordering, Rank, RawLock, modelled};

// Relaxed throughout: under the lock.
const O: Ordering = Ordering::Relaxed;

/// Whose turn it is, and who waits.
pub(crate) struct Turn {
    lock: RawLock,
    taken: AtomicBool,
    /// Kept alive by `allgs`, as all Gs here.
    first: AtomicPtr<G>,
    last: AtomicPtr<G>,
}

impl Turn {
    pub(crate) fn new() -> Turn {
        let null = || AtomicPtr::new(core::ptr::null_mut());
        Turn { lock: RawLock::new(Rank::StopTurn), taken: AtomicBool::new(false), first: null(), last: null() }
    }

    /// Runs `f` when it is the turn of `gp`, which calls this. While a panic unwinds, when it may not wait: at once.
    pub(crate) fn with<R>(&self, gp: &'static G, f: impl FnOnce() -> R) -> R {
        if std::thread::panicking() {
            return f();
        }
        self.take(gp);
        let out = f();
        self.pass();
        out
    }

    fn take(&self, gp: &'static G) {
        modelled("stw::Turn::take");
        self.lock.lock();
        if !self.taken.swap(true, O) {
            self.lock.unlock();
            return;
        }
        set_g_no_write_barrier(&gp.schedlink, core::ptr::null_mut());
        let me = core::ptr::from_ref(gp).cast_mut();
        // SAFETY: null or a G of `allgs`.
        match unsafe { self.last.swap(me, O).as_ref() } {
            Some(last) => set_g_no_write_barrier(&last.schedlink, me),
            None => self.first.store(me, O),
        }
        // `pass` hands the turn over: when this returns it is ours.
        park(gp, &self.lock, WaitReason::Stop);
    }

    fn pass(&self) {
        modelled("stw::Turn::pass");
        let too_early = faults::active(Fault::TurnSeenEarly).then(|| self.first.load(O));
        if too_early.is_some() {
            faults::linger(200);
        }
        self.lock.lock();
        // SAFETY: null or a G of `allgs`.
        let next = unsafe { too_early.unwrap_or_else(|| self.first.load(O)).as_ref() };
        match next {
            Some(gp) => {
                self.first.store(gp.schedlink.get(), O);
                if gp.schedlink.get().is_null() {
                    self.last.store(core::ptr::null_mut(), O);
                }
                set_g_no_write_barrier(&gp.schedlink, core::ptr::null_mut());
            }
            None => self.taken.store(false, O),
        }
        if faults::active(Fault::TurnFreed) {
            self.taken.store(false, O);
        }
        self.lock.unlock();
        if let Some(gp) = next {
            ready(gp);
        }
    }
}
