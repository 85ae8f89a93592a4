//! "All goroutines are asleep": as Go's `checkdead`.
//!
//! Called under the scheduler lock by an M that is about to sleep: if every M sleeps, none is in a blocking call and
//! nobody is about to be woken (an M leaves the idle list under this lock), so no goroutine can ever run again.
//! A timer in a heap is somebody who will be woken, and so is who waits for a file. The M that watches over them sleeps as
//! well, and if there are none any more it may do so for long: then it counts as asleep.
//! Threads that the runtime does not know could still send; as in Go they do not count.

use crate::g::{self, G, WaitReason};
use crate::sched::{Global, Sched};
use crate::time::timers::{NEVER, earliest};
use barrier_lint::nowritebarrierrec;
use core::fmt::Write;
#[cfg(not(modelled))]
use gc_core::fatal::Stderr;
use gc_core::sync::Ordering;

/// Ends the process if no goroutine can ever run again. May run without a P.
#[nowritebarrierrec]
pub(crate) fn checkdead(sched: &Sched, global: &mut Global) {
    let watcher = i64::from(sched.watch.watched());
    if i64::from(global.nmidle) + i64::from(global.nmidlelocked) + watcher < i64::from(global.mcount)
        || sched.exiting.load(Ordering::SeqCst)
        || earliest(sched) != NEVER
        || sched.netpoll.any_waiters()
    {
        return;
    }
    look_for_the_living(sched);
}

barrier_lint::certify! {
    fn look_for_the_living: "reads status words, or prints and ends the process";
}

fn look_for_the_living(sched: &Sched) {
    let mut asleep = 0;
    for i in 0..sched.nallgs() {
        let Some(gp) = sched.allg(i) else { continue };
        match gp.status() {
            g::WAITING if idle(&gp) => {}
            g::WAITING => asleep += 1,
            g::IDLE | g::DEAD => {}
            status => gc_core::throw!(
                "every thread sleeps, but goroutine {} has status {status}: a wake-up was lost",
                gp.id.load(Ordering::Relaxed)
            ),
        }
    }
    if asleep == 0 {
        return; // the world ends
    }
    #[cfg(modelled)]
    gc_core::throw!("all goroutines are asleep");
    #[cfg(not(modelled))]
    {
        let _ = Stderr.write_str("fatal error: all goroutines are asleep - deadlock!\n");
        crate::dump::goroutines(sched);
        crate::trace::end_fatally(sched);
        // SAFETY: ends the process.
        unsafe { libc::_exit(2) }
    }
}

/// Whether a waiting goroutine is the runtime's own and has nothing to do.
pub(crate) fn idle(gp: &G) -> bool {
    gp.wait_reason.load(Ordering::Relaxed) == WaitReason::Afterlife as u8
}

/// Describes the failing goroutine, and what its thread did last, for `throw!`. May run without a P, on any stack.
pub(crate) fn describe_current(out: &mut dyn Write) {
    match crate::g::getg() {
        Some(gp) => {
            let _ = writeln!(out, "on goroutine {}", gp.id.load(Ordering::Relaxed));
        }
        None => {
            if let Some(m) = crate::m::getm() {
                let _ = writeln!(out, "on the system stack of M{}", m.id.load(Ordering::Relaxed));
            }
        }
    }
    if let Some(m) = crate::m::getm() {
        // SAFETY: null, or an M's scheduler, which lives for ever.
        if let Some(sched) = unsafe { m.sched.load(Ordering::Relaxed).as_ref() } {
            crate::trace::last(sched, m, |e| {
                let _ = writeln!(out, "\t{e}");
            });
            crate::trace::end_fatally(sched);
        }
    }
}
