//! Channels (`chan`).

use super::World;
use crate::chan::{self, Receiver, Sender};

impl World {
    /// A channel with room for `cap` numbers. Its ends live as long as the execution.
    pub fn channel(self, cap: usize) -> (&'static Sender<u64>, &'static Receiver<u64>) {
        let (tx, rx) = self.on_m(0, || chan::make(self.sched, cap));
        (Box::leak(Box::new(tx)), Box::leak(Box::new(rx)))
    }
}
