//! The goroutine that runs drops of dead objects and cleanups (Go's `runFinalizersAndCleanups`).
//!
//! ```text
//! parked ──a P that looks for work sees that something is due──► runs what is due ──nothing is──► parked
//! ```
//! The sweeper only counts what is due. Whoever swept passes by `find_runnable` sooner or later, and `wake` there looks
//! at the count: once at the top of the loop, and once after the last sweep, before the P could become idle. It takes
//! the lock without waiting: if the goroutine has it, it is about to park, and its own M looks next.

use crate::arch;
use crate::g::{G, WaitReason, getg};
use crate::join::Join;
use crate::proc::newm::this_m;
use crate::proc::park::{park, ready, yield_now};
use crate::proc::spawn::{malg, new_task, newproc};
use crate::sched::Sched;
use gc_core::sync::current::Region;
use gc_core::sync::{AtomicPtr, Ordering, Rank, RawLock};
use gc_core::{Conservative, Gc};

/// How much is done between two looks at what else there is.
const BUDGET: usize = 256;
/// The number of the goroutine; those that the program starts count from 1.
const GOID: u64 = 0;

/// Where the goroutine waits.
pub(crate) struct Afterlife {
    lock: RawLock,
    /// It, while it is parked. Kept alive by `allgs`. Under the lock.
    parked: AtomicPtr<G>,
}

impl Afterlife {
    pub(crate) fn new() -> Afterlife {
        Afterlife { lock: RawLock::new(Rank::Waited), parked: AtomicPtr::new(core::ptr::null_mut()) }
    }
}

/// Starts the goroutine. On the main goroutine, before its function. A safepoint.
pub(crate) fn start(sched: &'static Sched) {
    let task = new_task(run, Gc::new(Conservative(Join::<()>::new(GOID))));
    let gp = malg(sched);
    let _region = Region::enter();
    let Some(p) = this_m().p() else { gc_core::throw!("the main goroutine has no P") };
    newproc(sched, p, gp, task, GOID, None);
}

fn run() {
    let Some(gp) = getg() else { return };
    let this = &gp.sched.afterlife;
    loop {
        // It runs for as long as the program, and drops hardly touch these.
        arch::clear_vectors();
        if gp.sched.heap().run_afterlife(BUDGET) > 0 {
            continue;
        }
        this.lock.lock();
        if gp.sched.heap().afterlife_due() {
            // A sweeper has counted it and not put it into its list yet.
            this.lock.unlock();
            yield_now();
            continue;
        }
        this.parked.store(core::ptr::from_ref(gp).cast_mut(), Ordering::Relaxed);
        park(gp, &this.lock, WaitReason::Afterlife);
    }
}

/// Readies the goroutine if it is parked and something is due; whether it did. On g0, with a P.
#[inline]
pub(crate) fn wake(sched: &'static Sched) -> bool {
    sched.heap().afterlife_due() && wake_parked(sched)
}

#[cold]
fn wake_parked(sched: &'static Sched) -> bool {
    let this = &sched.afterlife;
    // Relaxed: a hint; the lock orders it.
    if this.parked.load(Ordering::Relaxed).is_null() || !this.lock.try_lock() {
        return false;
    }
    let gp = this.parked.swap(core::ptr::null_mut(), Ordering::Relaxed);
    this.lock.unlock();
    // SAFETY: null, or a G of `allgs`.
    match unsafe { gp.as_ref() } {
        Some(gp) => {
            ready(gp);
            true
        }
        None => false,
    }
}
