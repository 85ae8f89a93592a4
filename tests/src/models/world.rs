//! A `World` for models: one thread holds the P and collects; the others are in system calls, so a stop has nobody to
//! wait for.

use gc_core::{Config, GcP, Heap, Scanner, StopReason, World};
use std::cell::Cell;

pub struct Syscalls {
    heap: Cell<Option<&'static Heap>>,
}

// SAFETY: set once, before the model's threads start; loom runs one thread at a time.
unsafe impl Sync for Syscalls {}

impl Syscalls {
    /// A heap whose cycles are verified, and this thread as the holder of its P.
    pub fn start() -> &'static Heap {
        let world: &'static Syscalls = Box::leak(Box::new(Syscalls { heap: Cell::new(None) }));
        let heap = Heap::new(Config { verify: true, ..Config::default() }, world).expect("a heap");
        world.heap.set(Some(heap));
        heap.acquire_p(heap.new_p());
        heap
    }
}

// SAFETY: only one thread holds a P.
unsafe impl World for Syscalls {
    fn stop_the_world(&self, _: StopReason) {}
    fn start_the_world(&self) {}
    fn for_each_p(&self, f: &(dyn Fn(&GcP) + Sync)) {
        self.heap.get().expect("set").ps().for_each(f);
    }
    fn at_safepoint(&self, work: &mut dyn FnMut()) {
        work();
    }
    fn begin_mark(&self, _: u32) -> usize {
        0
    }
    fn scan_stack(&self, _: usize, _: &mut Scanner<'_>) -> bool {
        true
    }
    fn scan_roots(&self, _: &mut Scanner<'_>) {}
    fn wake_workers(&self) {}
    fn pause(&self) {}
}
