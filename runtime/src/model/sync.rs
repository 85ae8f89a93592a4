//! Locks for goroutines (`sync`).

use super::World;
use crate::sync::Mutex;

impl World {
    /// A mutex around a number. It lives as long as the execution.
    pub fn mutex(self) -> &'static Mutex<u64> {
        self.on_m(0, || Box::leak(Box::new(Mutex::make(self.sched.heap(), 0))))
    }
}
