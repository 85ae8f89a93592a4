//! Vector registers of goroutines that a signal has descheduled (`xregs`).

use super::World;
use crate::arch::async_preempt::XREGS_BYTES;
use barrier_lint::SystemStack;
use core::sync::atomic::Ordering;
use gc_core::sync::yield_now;

impl World {
    /// What `async_preempt` and its g0 part do on the M of this thread to goroutine number `g`, whose registers all hold
    /// `value`: save; and when it runs again, on the same M, restore. What they hold then.
    pub fn preempt_and_go_on(self, g: usize, p: usize, value: u8) -> u8 {
        let (gp, p) = (self.g(g), self.p(p));
        // SAFETY: this M holds the P, whose area it is.
        unsafe { *p.xregs.scratch.get() = [value; XREGS_BYTES] };
        // SAFETY: a thread of a model has no other stack.
        let on = unsafe { SystemStack::conjure() };
        crate::xregs::xreg_save(&on, gp, p);
        crate::xregs::xreg_restore(gp, p);
        // `async_preempt` has some instructions left.
        yield_now();
        let area = p.xregs.cache.load(Ordering::Relaxed);
        // SAFETY: null, or an area, which lies in a table that is never freed.
        let bytes = match unsafe { area.as_ref() } {
            Some(area) => area.bytes(),
            // SAFETY: as above.
            None => unsafe { *p.xregs.scratch.get() },
        };
        assert!(bytes.iter().all(|b| *b == bytes[0]), "registers of two goroutines");
        bytes[0]
    }

    /// The P of this number will not be used for a while.
    pub fn give_up_xregs(self, p: usize) {
        crate::xregs::give_up(self.sched, self.p(p));
    }
}
