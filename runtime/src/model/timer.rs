//! Timers (`time::timers`).

use super::{Goroutine, World, current_m};
use crate::g::G;
use crate::proc::schedule::{reset_spinning, rest};
use crate::time::timers::{Timer, ensure_watched, run_all_due, run_due, sleep_until};
use core::sync::atomic::Ordering;
use gc_core::sync::AtomicU32;

/// A timer that says what becomes of it. Lives as long as the execution, so that one which fires too late does no other harm.
#[repr(C)]
pub struct Alarm {
    timer: Timer,
    fired: AtomicU32,
    over: AtomicU32,
}

// SAFETY: a timer's record is shared by its goroutine and whoever runs it (`time::timers`); the rest is atomic.
unsafe impl Sync for Alarm {}

fn ring(timer: &Timer) -> Option<&'static G> {
    // SAFETY: the first field of an `Alarm` (repr(C)).
    let alarm = unsafe { &*core::ptr::from_ref(timer).cast::<Alarm>() };
    alarm.fired.fetch_add(1, Ordering::SeqCst);
    // Whatever it does takes a while.
    gc_core::sync::yield_now();
    assert_eq!(alarm.over.fetch_add(0, Ordering::SeqCst), 0, "a timer fires that was stopped");
    None
}

impl Alarm {
    /// One that is not armed.
    pub fn new() -> &'static Alarm {
        let alarm = Alarm { timer: Timer::new(ring), fired: AtomicU32::new(0), over: AtomicU32::new(0) };
        Box::leak(Box::new(alarm))
    }

    /// Arms it, on the calling goroutine.
    pub fn arm(&self, when: u64) {
        // SAFETY: it is leaked, and armed once.
        unsafe { self.timer.arm(when) }
    }

    /// Stops it: from now on its frame may end. How often it has fired.
    pub fn stop(&self) -> u32 {
        self.timer.stop();
        self.over.store(1, Ordering::SeqCst);
        self.fired.fetch_add(0, Ordering::SeqCst)
    }

    /// How often it has fired.
    pub fn fired(&self) -> u32 {
        self.fired.fetch_add(0, Ordering::SeqCst)
    }
}

impl World {
    /// The M of this thread runs what is due in the heap of that P.
    pub fn run_due(self, of: usize) -> bool {
        run_due(self.sched, self.p(of))
    }

    /// As an M that has found something else to run, and leaves the timers of that P, its own, to others.
    pub fn leaves_timers(self, of: usize) {
        ensure_watched(self.sched, self.p(of));
    }

    /// The M of this thread, which looks for work, runs timers, and rests where none is due, until `alarm` has fired. False:
    /// the world has ended.
    pub fn runs_timers_until(self, alarm: &Alarm) -> bool {
        let (sched, m) = (self.sched, current_m());
        loop {
            run_all_due(sched);
            if alarm.fired() > 0 {
                reset_spinning(sched, m);
                return true;
            }
            if !rest(sched, m) {
                return false;
            }
        }
    }
}

impl Goroutine {
    /// Parks until then.
    pub fn sleep_until(self, when: u64) {
        sleep_until(self.0, when);
    }
}
