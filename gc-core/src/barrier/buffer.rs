//! The per-P barrier buffer (Go's `wbBuf`): pointers to shade, so that the barrier itself stays short.

use crate::faults::{self, Fault};
use crate::heap::Heap;
use crate::mark::GcWork;
use crate::stress::Stress;
use barrier_lint::nowritebarrierrec;

/// Entries; a store needs two.
const CAPACITY: usize = if cfg!(modelled) { 2 } else { 512 };

pub(crate) struct WbBuf {
    len: usize,
    /// Entries in use: `CAPACITY`, or fewer under stress.
    capacity: usize,
    /// Shade at once (stress).
    eager: bool,
    pointers: [usize; CAPACITY],
}

#[nowritebarrierrec]
impl WbBuf {
    pub fn new(stress: &Stress) -> WbBuf {
        let capacity = if stress.small_buffers { 2 } else { CAPACITY };
        WbBuf { len: 0, capacity, eager: stress.eager_barrier, pointers: [0; CAPACITY] }
    }

    /// Records what a store overwrites and what it stores. The caller stores next, with no safepoint in between.
    #[inline]
    pub fn record(&mut self, heap: &Heap, gcw: &mut GcWork, old: usize, new: usize) {
        if self.len + 2 > self.capacity {
            self.flush(heap, gcw);
        }
        // Pointers outside the heap (null) are dropped at the flush.
        self.pointers[self.len] = if faults::active(Fault::NoDeletionBarrier) { 0 } else { old };
        self.pointers[self.len + 1] = if faults::active(Fault::NoInsertionBarrier) { 0 } else { new };
        self.len += 2;
        if self.eager {
            self.flush(heap, gcw);
        }
    }

    /// Throws away what was recorded (a fault's work only).
    pub fn forget(&mut self) {
        self.len = 0;
    }

    /// Shades all that was recorded.
    pub fn flush(&mut self, heap: &Heap, gcw: &mut GcWork) {
        crate::sync::modelled("WbBuf::flush");
        let len = self.len;
        self.len = 0;
        if !faults::active(Fault::SkipFlush) {
            for i in 0..len {
                heap.shade(gcw, self.pointers[i]);
            }
        }
    }
}
