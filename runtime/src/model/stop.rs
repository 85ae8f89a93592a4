//! Stops, handshakes and blocking calls (`stw`, `syscall`, `sysmon`).

use super::{Goroutine, World};
use crate::p;
use crate::syscall::{entersyscall, exitsyscall};
use core::sync::atomic::Ordering;
use gc_core::sync::current::Region;

impl World {
    /// Stops the world, runs `f`, and starts it again; on a goroutine.
    pub fn stopped<R>(self, f: impl FnOnce() -> R) -> R {
        crate::gc::with_stopped_world(f)
    }

    /// That every P counts as stopped; inside [`stopped`](World::stopped).
    pub fn all_stopped(self) -> bool {
        self.sched.ps().all(|p| p.status.load(Ordering::SeqCst) == p::GCSTOP)
    }

    /// Runs `f` once for every P; on a goroutine.
    pub fn for_each_p(self, f: &(dyn Fn(usize) + Sync)) {
        crate::gc::for_each_p(&|id| f(id as usize));
    }

    /// A safepoint, if the goroutine is asked for one.
    pub fn poll(self) {
        crate::proc::park::poll();
    }

    /// As sysmon takes a P from an M that stays in a blocking call; by a thread that is no M.
    pub fn retake(self, p: usize) -> bool {
        crate::sysmon::retake_one(self.sched, self.p(p))
    }
}

impl Goroutine {
    /// Ties it to its M.
    pub fn lock_os_thread(self) {
        crate::lock_os_thread();
    }

    /// A blocking call, as `trampoline` makes it.
    pub fn blocking(self, f: impl FnOnce()) {
        let region = Region::enter();
        entersyscall(self.0, 0);
        drop(region);
        f();
        let _region = Region::enter();
        exitsyscall(self.0);
    }
}
