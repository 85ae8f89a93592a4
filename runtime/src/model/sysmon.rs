//! The deep sleep of sysmon.

use super::{World, current_m};
use crate::proc::newm::acquirep;
use crate::time::timers::NEVER;
use gc_core::sync::current;

impl World {
    /// Puts the P of this number, which nobody has, on the idle list.
    pub fn is_idle(self, p: usize) {
        self.sched.pidleput(&mut self.sched.lock(), self.p(p));
    }

    /// The M of this number takes an idle P, for good; as its thread.
    pub fn takes_idle_p(self, id: usize) {
        current::set_locks(1);
        current::set_m(core::ptr::from_ref(self.m(id)).cast_mut().cast());
        let p = self.sched.pidleget(&mut self.sched.lock());
        assert!(acquirep(self.sched, current_m(), p.expect("one is idle")), "the world goes on");
    }

    /// As sysmon sleeps where there is nothing to look at; by a thread that is no M. Returns when there is.
    pub fn sysmon_sleeps(self) {
        crate::sysmon::sleep_while_idle(self.sched, NEVER);
    }
}
