//! Parking and readying goroutines, yielding, polling.
//!
//! A goroutine that will wait puts itself on some list under that list's lock, and gives the lock back only when its
//! stack is at rest (`park_m`); so who takes it off the list finds it Waiting. What would break otherwise: it would be
//! readied while it still runs.

use super::newm::{wakep, wakep_exchanged};
use super::runq::runqput;
use super::schedule::{dropg, gosched_m, mcall, mcall_at, pause_m, preempt_m, run_on};
use crate::g::{self, G, WaitReason, getg};
use crate::m::{M, getm};
use crate::sched::Sched;
use gc_core::faults::{self, Fault};
use gc_core::sync::current::{self, Region};
use gc_core::sync::{AtomicPtr, Ordering, RawLock, modelled};

/// Parks the goroutine until `ready`, and gives `lock` back once its stack is at rest.
///
/// `lock` lies in an object that the caller's frame keeps alive.
pub(crate) fn park(gp: &'static G, lock: &RawLock, reason: WaitReason) {
    if std::thread::panicking() {
        lock.unlock();
        may_not_wait(gp, reason);
    }
    clear_panics(gp);
    gp.set_wait(reason);
    gp.wait_lock.store(core::ptr::from_ref(lock).cast_mut(), Ordering::Relaxed);
    // The lock is not held any more when this goroutine continues, so its part of the count is not taken along.
    // SAFETY: a goroutine, by `gp`; `park_m` makes it Waiting before it gives the lock back.
    unsafe { mcall_at(gp, park_m, current::locks() - 1) }
}

#[cold]
fn may_not_wait(gp: &G, reason: WaitReason) -> ! {
    gc_core::throw!(
        "goroutine {} would block ({}) while a panic unwinds its stack: a Drop may not wait",
        gp.id.load(Ordering::Relaxed),
        WaitReason::name(reason as u8)
    )
}

/// g0 part of `park`.
unsafe extern "C" fn park_m(sched: &'static Sched, m: &'static M, gp: &'static G, _: usize) -> *const G {
    let _ = sched;
    modelled("park_m");
    // Relaxed, here and in `park`: its own word, and now this M's. Nothing that looks like a pointer to what it waits for stays.
    let lock = gp.wait_lock.load(Ordering::Relaxed);
    gp.wait_lock.store(core::ptr::null_mut(), Ordering::Relaxed);
    // SAFETY: `park` stored it; the object that holds it is alive, since the parked stack points to it.
    let unlock = || unsafe { (*lock).unlock() };
    if faults::active(Fault::ParkUnlocksEarly) {
        unlock();
        faults::linger(64);
    }
    gp.leave_running(g::WAITING);
    dropg(m, gp);
    if !faults::active(Fault::ParkUnlocksEarly) {
        unlock();
    }
    core::ptr::null()
}

/// What is in the word of [`park_in`] until the goroutine is; no G is at this address.
pub(crate) const WAIT: *mut G = core::ptr::without_provenance_mut(2);

/// Parks the goroutine until whoever finds it in `word` readies it. It goes in there, in the place of [`WAIT`], when its stack
/// is at rest; if something else is there by then, it does not park.
///
/// What would break if it went in before: it would be readied while it still runs.
pub(crate) fn park_in(gp: &'static G, word: &AtomicPtr<G>, reason: WaitReason) {
    if std::thread::panicking() {
        may_not_wait(gp, reason);
    }
    clear_panics(gp);
    gp.set_wait(reason);
    gp.wait_word.store(core::ptr::from_ref(word).cast_mut(), Ordering::Relaxed);
    // SAFETY: a goroutine, by `gp`; `park_in_m` makes it Waiting before anybody can find it.
    unsafe { mcall(gp, park_in_m) }
}

/// g0 part of `park_in`.
unsafe extern "C" fn park_in_m(sched: &'static Sched, m: &'static M, gp: &'static G, _: usize) -> *const G {
    let _ = sched;
    modelled("park_in_m");
    gp.leave_running(g::WAITING);
    dropg(m, gp);
    // Relaxed, here and in `park_in`: as `wait_lock` in `park_m`.
    let word = gp.wait_word.load(Ordering::Relaxed);
    gp.wait_word.store(core::ptr::null_mut(), Ordering::Relaxed);
    let at = core::ptr::from_ref(gp).cast_mut();
    // SAFETY: `park_in` stored it; its caller's frame, or what that waits for, keeps it until the goroutine continues.
    let word = unsafe { &*word };
    let blind = faults::active(Fault::ParkOverwrites);
    if blind {
        faults::linger(64);
        word.store(at, Ordering::SeqCst);
    }
    if blind || word.compare_exchange(WAIT, at, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
        return core::ptr::null();
    }
    run_on(m, gp, true);
    gp.casgstatus(g::WAITING, g::RUNNING);
    gp
}

/// Makes a parked goroutine runnable: next on this P, or on the global queue where this thread has none.
pub(crate) fn ready(gp: &'static G) {
    modelled("ready");
    let sched = gp.sched;
    if sched.exiting.load(Ordering::SeqCst) {
        return; // a handle that outlived its runtime
    }
    let _region = Region::enter();
    // Whether this thread is one of *this* scheduler, and holds a P.
    let m = getm().filter(|m| core::ptr::eq(m.sched.load(Ordering::Relaxed), sched));
    crate::trace::ready(m, gp);
    gp.casgstatus(g::WAITING, g::RUNNABLE);
    match m.and_then(M::p) {
        Some(p) => {
            runqput(sched, p, gp, true);
            wakep_exchanged(sched);
        }
        None => {
            sched.globrunqput(&mut sched.lock(), gp);
            wakep(sched);
        }
    }
}

/// Lets other goroutines run: this one goes to the end of this P's queue (Go's `goyield`), or of the global one if it is alone
/// here and others wait there (Go's `Gosched`). Does nothing outside a goroutine and while a panic unwinds.
pub fn yield_now() {
    let Some(gp) = getg() else { return };
    if std::thread::panicking() || !crate::p::holds_one() {
        return;
    }
    clear_panics(gp);
    // SAFETY: a goroutine; `gosched_m` queues it only once it is at rest.
    unsafe { mcall(gp, gosched_m) }
}

/// A safepoint: one load and a branch, unless the scheduler has asked for something (a stop, the end of a time
/// slice). For loops that neither allocate nor communicate. Does nothing outside a goroutine, without a P (inside
/// [`blocking`](crate::blocking)) and while a panic unwinds.
#[inline]
pub fn poll() {
    let p = current::p().cast::<gc_core::GcP>();
    // SAFETY: null or the collector part of a P, which lives for ever.
    // Relaxed: a hint; the slow path reads what it stands for.
    if let Some(p) = unsafe { p.as_ref() }
        && p.preempt.load(Ordering::Relaxed)
    {
        poll_slow();
    }
}

#[cold]
#[inline(never)]
pub(crate) fn poll_slow() {
    let Some(gp) = getg() else { return };
    if !crate::p::holds_one() {
        return;
    }
    let unwinding = std::thread::panicking();
    gp.noyield.store(unwinding, Ordering::Relaxed);
    if !unwinding {
        clear_panics(gp);
    }
    // SAFETY: a goroutine; `preempt_m` makes it Waiting before anybody may scan it.
    unsafe { mcall(gp, preempt_m) }
}

/// `World::pause`.
pub(crate) fn pause() {
    let Some(gp) = getg() else { return };
    gp.noyield.store(std::thread::panicking(), Ordering::Relaxed);
    // SAFETY: as in `yield_now`.
    unsafe { mcall(gp, pause_m) }
}

/// Forgets the copies of payloads that somebody has caught: no panic is under way on this goroutine.
pub(crate) fn clear_panics(gp: &G) {
    if gp.panics.get().is_some() {
        gp.panics.set(None);
    }
}
