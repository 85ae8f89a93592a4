//! The number of Ps, while the program runs (Go's `procresize`).
//!
//! `allps[..procs]` are the Ps that goroutines run on. A P is never unmade: those behind have *retired*, or will soon.
//! They count in every stop and handshake, as the spare ones do. A retired P is `Idle`, on no list, and empty: queue,
//! cache, buffers, dead Gs, register area. Its timers stay: those of all Ps are everybody's (`time::timers`).
//!
//! ```text
//! set_procs(n), on a goroutine
//!   no cycle runs, none starts, and nobody else is here (Heap::between_cycles):
//!     makes the Ps that are lacking, on its own P
//!     stops the world, and under the scheduler lock (resize):
//!       below n   retired or new -> idle list; one that is still leaving stays, as if nothing had been
//!       beyond    idle, or left behind in a blocking call -> emptied, retired
//!                 held by an M, or handed to one on its way -> leaving: its time slice is over
//!     starts the world
//!   yields until nobody leaves any more
//! ```
//! A *leaving* P retires as soon as its M looks for work (`find_runnable`), waits for its own goroutine (`stoplockedm`), or
//! gives it up (`pidleput`): each asks `Sched::is_extra`. It cannot be taken away before: a stop is in place, and the M may
//! sleep at the door in the middle of a slice of marking, or have been suspended by a signal. A goroutine that does not
//! come to a safepoint is descheduled by signal as at the end of any slice. So when `set_procs` returns, no more than `n`
//! goroutines run.
//!
//! `nps` and `procs` change only here: under a stop, whose caller therefore starts exactly those Ps that it has stopped
//! and the new ones, which are born stopped.
//!
//! What would break
//! - if a P on its way to an M (`nextp`) were retired under the stop: a larger number could hand it to a second M;
//! - if a P left behind in a call kept its queue: nobody would come for it but its M, after the call;
//! - if the cache were not emptied: its spans would be nobody's to allocate from for as long as the P is retired.

use super::runq::runqget;
use crate::g::getg;
use crate::p::{self, P};
use crate::sched::{Global, MAX_PS, Sched};
use gc_core::StopReason;
use gc_core::sync::Ordering;

/// Changes how many goroutines run at once, and returns how many it was (Go's GOMAXPROCS). When it returns, no more than
/// `n` run. Waits for the end of a collection under way, stops the world, and then for goroutines beyond the new number to
/// come to the end of their time slices. Ps that are no longer used keep some kilobytes each. A safepoint; needs a P.
///
/// ```
/// # unsafe { tricolor::Runtime::builder().procs(2).run(|| {
/// assert_eq!(tricolor::set_procs(4), 2);
/// assert_eq!(tricolor::set_procs(1), 4);
/// # }) }
/// ```
///
/// # Panics
/// If `n` is not in 1 to 256, and outside a goroutine.
pub fn set_procs(n: usize) -> usize {
    assert!((1..=MAX_PS).contains(&n), "set_procs({n}): 1 to {MAX_PS} are allowed");
    let gp = getg().expect("`set_procs` is called on a goroutine");
    let (sched, heap) = (gp.sched, gp.sched.heap());
    let mut old = sched.procs();
    if n == old {
        return old;
    }
    heap.between_cycles(&mut || {
        (sched.nps.load(Ordering::SeqCst)..n).filter(|i| sched.p(*i).is_none()).for_each(|i| P::make(sched, i));
        heap.stop_the_world(StopReason::SetProcs);
        old = resize(sched, n);
        heap.start_the_world();
    });
    // While a panic unwinds nobody yields, and a P of this goroutine that is to retire stays.
    while !std::thread::panicking() && anyone_leaves(sched) {
        super::park::yield_now();
    }
    old
}

/// Whether a P beyond `procs` is still in use.
fn anyone_leaves(sched: &Sched) -> bool {
    let _global = sched.lock();
    (sched.procs()..sched.nps.load(Ordering::SeqCst))
        .filter_map(|i| sched.p(i))
        .any(|p| !p.retired.load(Ordering::SeqCst))
}

/// From now on there are `n` Ps. On g0, by who has stopped the world, between cycles; the lacking ones are made. Returns
/// how many there were.
fn resize(sched: &'static Sched, n: usize) -> usize {
    let mut global = sched.lock();
    let global = &mut *global;
    let made = sched.nps.load(Ordering::SeqCst);
    for p in (made..n).filter_map(|i| sched.p(i)) {
        p.stop_from.store(p::IDLE, Ordering::SeqCst);
        p.status.store(p::GCSTOP, Ordering::SeqCst);
        p.retired.store(true, Ordering::SeqCst);
    }
    sched.nps.store(made.max(n), Ordering::SeqCst);
    let old = sched.procs.swap(n, Ordering::SeqCst);
    sched.heap().set_procs(n);

    // Those that are idle go through `pidleput` again, which knows where they belong now.
    let mut idle = [const { None }; MAX_PS];
    let mut len = 0;
    while let Some(p) = sched.pidleget(global) {
        idle[len] = Some(p);
        len += 1;
    }
    for p in idle[..len].iter().rev().flatten() {
        sched.pidleput(global, p);
    }
    for p in (0..n).filter_map(|i| sched.p(i)).filter(|p| p.retired.swap(false, Ordering::SeqCst)) {
        sched.pidleput(global, p);
    }
    for p in (n..made).filter_map(|i| sched.p(i)) {
        let left_behind = p.stop_from.load(Ordering::SeqCst) == p::SYSCALL && p.stop_waiter.get().is_null();
        if left_behind {
            // Its M finds that it is gone, as if sysmon had taken it.
            p.stop_from.store(p::IDLE, Ordering::SeqCst);
            p.syscalltick.fetch_add(1, Ordering::SeqCst);
            p.retired.store(true, Ordering::SeqCst);
        }
        if p.stop_from.load(Ordering::SeqCst) == p::IDLE && p.stop_waiter.get().is_null() {
            // Also one that is on its way to an M.
            // SAFETY: the world is stopped, and no M holds `p`.
            unsafe { empty(sched, global, p) };
        }
        if !p.retired.load(Ordering::SeqCst) {
            p.slice_over.store(true, Ordering::SeqCst);
            p.preempt(crate::time::nanotime());
        }
    }
    old
}

/// Empties `p`: its goroutines go to the global queue, its dead Gs to everybody.
///
/// # Safety
/// The caller holds `p`, on g0; or has stopped the world, and nobody holds `p`.
#[barrier_lint::yeswritebarrierrec]
pub(crate) unsafe fn empty(sched: &'static Sched, global: &mut Global, p: &'static P) {
    while let Some((gp, _)) = runqget(p) {
        sched.globrunqput(global, gp);
    }
    super::spawn::gflush(sched, global, p);
    crate::xregs::give_up(sched, p);
    // SAFETY: the caller's contract.
    unsafe { sched.heap().empty_p(p.gcp()) };
}
