//! Goroutines with an M of their own, as Go's `stoplockedm` and `startlockedm`.
//!
//! A goroutine has one for either of two reasons: a signal has descheduled it somewhere in its code, so it must continue
//! on the same thread, until its next safepoint (*kept*); or it has asked for it (`lock_os_thread`), or the program has, for all
//! goroutines and from their first step on (`pinned`). While it does not run, nobody else runs on that M.
//!
//! ```text
//! the M: its goroutine stops        any M finds the goroutine in a queue
//! stoplockedm: hands its P on       startlockedm: gives its own P to the M, wakes it,
//! sleeps on `park`          ◄────   and looks for another P (stopm)
//! takes the P, comes by the door (a stop may have been announced), runs the goroutine
//! ```
//! The note `park` is cleared before the goroutine can be found by others (`keep`, `dropg`), not when the M goes to sleep:
//! otherwise a wake-up that comes early would be lost.

use super::newm::{handoffp, releasep, sleep_for_p, stopm};
use crate::g::{G, set_g_no_write_barrier};
use crate::m::{Door, M, set_m_no_write_barrier};
use crate::p::{P, set_p_no_write_barrier};
use crate::sched::{Sched, unlock};
use barrier_lint::nowritebarrierrec;
use gc_core::sync::Ordering;

/// Ties a goroutine and its M to each other.
#[nowritebarrierrec]
fn lock(m: &M, gp: &G) {
    set_m_no_write_barrier(&gp.lockedm, core::ptr::from_ref(m).cast_mut());
    set_g_no_write_barrier(&m.lockedg, core::ptr::from_ref(gp).cast_mut());
}

#[nowritebarrierrec]
fn unlock_from(m: &M, gp: &G) {
    set_m_no_write_barrier(&gp.lockedm, core::ptr::null_mut());
    set_g_no_write_barrier(&m.lockedg, core::ptr::null_mut());
}

/// The goroutine runs for the first time, on `m`: where all are pinned it stays there.
pub(crate) fn pin(m: &M, gp: &G) {
    // Relaxed: nobody else looks at a goroutine's depth.
    gp.lockedext.store(1, Ordering::Relaxed);
    lock(m, gp);
}

/// The goroutine is about to be queued in the middle of its code: only `m` may run it from now on.
#[nowritebarrierrec]
pub(crate) fn keep(m: &M, gp: &G) {
    if gp.lockedm.get().is_null() {
        gp.sched.nkept.fetch_add(1, Ordering::SeqCst);
        lock(m, gp);
    }
    m.park.clear();
}

/// It has come to a safepoint.
#[nowritebarrierrec]
pub(crate) fn unkeep(m: &M, gp: &G) {
    gp.sched.nkept.fetch_sub(1, Ordering::SeqCst);
    unlock_from(m, gp);
}

/// Waits until somebody has a P for the goroutine of this M. False: the world ends. May run without a P.
#[nowritebarrierrec]
pub(crate) fn stoplockedm(sched: &'static Sched, m: &'static M) -> bool {
    match m.p() {
        Some(p) if sched.is_extra(p) => retire(sched, m, p),
        Some(_) => {
            let p = releasep(sched, m);
            handoffp(sched, p);
        }
        None => {}
    }
    let mut global = sched.lock();
    if sched.exiting.load(Ordering::SeqCst) {
        return false;
    }
    global.nmidlelocked += 1;
    m.at(Door::Idle);
    crate::deadlock::checkdead(sched, &mut global);
    unlock(global);
    sleep_for_p(sched, m)
}

/// Gives an extra P back; what is in its queue goes to the global one.
#[nowritebarrierrec]
pub(crate) fn retire(sched: &'static Sched, m: &'static M, p: &'static P) {
    // SAFETY: this M holds `p`, and is on g0.
    unsafe { super::resize::empty(sched, &mut sched.lock(), p) };
    releasep(sched, m);
    let mut global = sched.lock();
    sched.pidleput(&mut global, p);
    unlock(global);
    crate::time::timers::ensure_watched(sched, p);
    // What it gave back may have been all that there is.
    super::newm::wakep(sched);
}

/// All Ps are stuck in the kernel, or have no thread: lends one that is idle or spare, if there is one, first to a
/// goroutine that was descheduled in the middle of its code, since it may hold what the others wait for; to nobody else
/// if there is `no_thread` to be had. By sysmon, without a P.
#[nowritebarrierrec]
pub(crate) fn lend(sched: &'static Sched, no_thread: bool) -> bool {
    let mut global = sched.lock();
    if sched.gcwaiting.load(Ordering::SeqCst) || sched.exiting.load(Ordering::SeqCst) {
        return false;
    }
    let kept = sched.globrunqget_kept(&mut global);
    let p = if kept.is_none() && no_thread {
        None
    } else {
        match sched.pidleget(&mut global) {
            Some(p) => Some(p),
            None => sched.spareget(&mut global),
        }
    };
    let Some(p) = p else {
        if let Some(gp) = kept {
            sched.globrunqput(&mut global, gp);
        }
        return false;
    };
    match kept {
        Some(gp) => {
            let Some(m) = gp.lockedm() else { gc_core::throw!("a goroutine that is kept has no M") };
            global.nmidlelocked -= 1;
            unlock(global);
            wake_locked(m, p, false);
        }
        None => {
            p.lent.store(true, Ordering::SeqCst);
            unlock(global);
            super::newm::startm(sched, p, false);
        }
    }
    true
}

/// Hands `p`, which is idle, to `m`, which waits for it with its goroutine. `inherit`: that goes on with the P's time slice.
#[nowritebarrierrec]
fn wake_locked(m: &M, p: &P, inherit: bool) {
    // Relaxed, as `nextp`: the note's wake-up and sleep order them.
    m.inherits.store(inherit, Ordering::Relaxed);
    set_p_no_write_barrier(&m.nextp, core::ptr::from_ref(p).cast_mut());
    m.park.wakeup();
}

/// Gives the P of this M to `other`, whose goroutine was found (`inherit`: as the next one on this P), and waits for another
/// one. False: the world ends.
///
/// What would break without `inherit`: if each such goroutine began a new slice, two that wake each other would starve what
/// is queued on the P; if none did, no slice would begin where all goroutines are pinned, so that the P always looks at the
/// global queue first, and starves its own.
#[nowritebarrierrec]
pub(crate) fn startlockedm(sched: &'static Sched, m: &'static M, other: &'static M, inherit: bool) -> bool {
    let p = releasep(sched, m);
    let mut global = sched.lock();
    global.nmidlelocked -= 1;
    unlock(global);
    wake_locked(other, p, inherit);
    stopm(sched, m)
}

/// Ties the calling goroutine to its thread: it runs on no other, and nothing else runs there, until
/// [`unlock_os_thread`] was called as often. For libraries that keep state by thread. Needs a P.
///
/// Switches to and from such a goroutine cost two thread switches. Source: Go's `runtime.LockOSThread`.
///
/// # Panics
/// Outside a goroutine.
pub fn lock_os_thread() {
    let gp = crate::g::getg().expect("`lock_os_thread` is called on a goroutine");
    let _region = gc_core::sync::current::Region::enter();
    let m = super::newm::this_m();
    if gp.lockedext.load(Ordering::Relaxed) == 0 && gp.lockedm().is_some() {
        // It was kept so far.
        unkeep(m, gp);
    }
    // Relaxed: its own.
    if gp.lockedext.fetch_add(1, Ordering::Relaxed) == 0 {
        lock(m, gp);
    }
}

/// Takes one [`lock_os_thread`] back. Without one it does nothing; with
/// [`Builder::pinned`](crate::Builder::pinned) the goroutine stays on its thread.
///
/// # Panics
/// Outside a goroutine.
pub fn unlock_os_thread() {
    let gp = crate::g::getg().expect("`unlock_os_thread` is called on a goroutine");
    let _region = gc_core::sync::current::Region::enter();
    let depth = gp.lockedext.load(Ordering::Relaxed);
    // The one of `pin` is not for the goroutine to take back.
    if depth <= u32::from(gp.sched.settings.pinned) {
        return;
    }
    gp.lockedext.store(depth - 1, Ordering::Relaxed);
    if depth == 1 {
        unlock_from(super::newm::this_m(), gp);
    }
}

/// A goroutine ends that may be tied to its thread: the thread is for all again.
pub(crate) fn at_exit(m: &M, gp: &G) {
    // Relaxed: the goroutine's own word.
    if gp.lockedext.load(Ordering::Relaxed) > 0 {
        gp.lockedext.store(0, Ordering::Relaxed);
        unlock_from(m, gp);
    }
}
