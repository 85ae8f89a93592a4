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

    /// Runs `f` when it is the turn of `gp`, the calling goroutine, to stop the world.
    pub fn in_turn_to_stop(self, gp: Goroutine, f: impl FnOnce()) {
        self.sched.stop_turn.with(gp.0, f);
    }

    /// Whether the goroutine on a P is asked to come to a safepoint.
    pub fn is_asked(self, p: usize) -> bool {
        self.p(p).asked()
    }

    /// As who asks for what nobody wants any more when the goroutine on a P comes to answer.
    pub fn asked_in_vain(self, p: usize) {
        self.p(p).preempt(crate::time::nanotime());
    }

    /// As sysmon ends the time slice on a P.
    pub fn ends_slice(self, p: usize) {
        self.p(p).slice_over.store(true, Ordering::SeqCst);
        self.p(p).preempt(crate::time::nanotime());
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
        entersyscall(self.0, self.0.stack.lo);
        drop(region);
        f();
        let _region = Region::enter();
        exitsyscall(self.0);
    }
}
