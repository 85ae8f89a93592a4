//! The per-P barrier buffer (Go's `wbBuf`): pointers to shade, so that the barrier itself stays short.
//!
//! While a cycle marks, a store has put in what it overwrites and what it stores. Between cycles whose marks stay it has put in
//! where it stores and what (`mark::partial`). The buffer is emptied at every flip, so it never holds both.

use crate::faults::{self, Fault};
use crate::heap::Heap;
use crate::mark::GcWork;
use crate::stress::{Stress, Window};
use barrier_lint::nowritebarrierrec;

/// Stores; a power of two.
const CAPACITY: usize = if cfg!(modelled) { 1 } else { 256 };

pub(crate) struct WbBuf {
    /// Stores that are recorded.
    len: usize,
    /// Below that recording is all that a store has to do: `capacity`; 0 where stress wants more.
    quick: usize,
    /// As many are recorded at most: `CAPACITY`, or fewer under stress.
    capacity: usize,
    /// Stores between cycles, since somebody asked.
    remembered: usize,
    /// Shade at once (stress).
    eager: bool,
    /// Two pointers for each.
    stores: [[usize; 2]; CAPACITY],
}

#[nowritebarrierrec]
impl WbBuf {
    pub fn new(stress: &Stress) -> WbBuf {
        let capacity = if stress.small_buffers { 1 } else { CAPACITY };
        let slow = stress.eager_barrier || stress.delays(Window::FlagCheckToStore);
        WbBuf {
            len: 0,
            quick: if slow { 0 } else { capacity },
            capacity,
            remembered: 0,
            eager: stress.eager_barrier,
            stores: [[0; 2]; CAPACITY],
        }
    }

    /// As [`record`](WbBuf::record), if there is room and nothing else to do; else `false`.
    #[inline(always)]
    pub fn record_quick(&mut self, first: usize, new: usize) -> bool {
        let room = self.len < self.quick;
        if room {
            self.push(first, new);
        }
        room
    }

    /// There is room.
    #[inline(always)]
    fn push(&mut self, first: usize, new: usize) {
        // Pointers outside the heap (null) are dropped at the flush.
        let first = if faults::active(Fault::NoDeletionBarrier) { 0 } else { first };
        let new = if faults::active(Fault::NoInsertionBarrier) { 0 } else { new };
        // `len` is below `CAPACITY`; said in this way the compiler needs no branch for it.
        self.stores[self.len % CAPACITY] = [first, new];
        self.len += 1;
    }

    /// Records what a store overwrites, or between cycles where it stores, and what it stores. The caller stores next, with
    /// no safepoint in between.
    #[inline]
    pub fn record(&mut self, heap: &Heap, gcw: &mut GcWork, first: usize, new: usize) {
        if self.len == self.capacity {
            self.flush(heap, gcw);
        }
        self.push(first, new);
        if self.eager {
            self.flush(heap, gcw);
        }
    }

    /// Throws away what was recorded (a fault's work only).
    pub fn forget(&mut self) {
        self.len = 0;
    }

    /// Shades all that was recorded; between cycles remembers it.
    pub fn flush(&mut self, heap: &Heap, gcw: &mut GcWork) {
        crate::sync::modelled("WbBuf::flush");
        let len = self.len;
        self.len = 0;
        if faults::active(Fault::SkipFlush) {
            return;
        }
        if !heap.marking() && heap.marks_stay() {
            self.count(heap, len);
            heap.remember_all(gcw, &self.stores[..len]);
        } else {
            heap.shade_all(gcw, &self.stores[..len]);
        }
    }

    /// Counts stores between cycles.
    #[inline]
    pub fn count(&mut self, heap: &Heap, n: usize) {
        self.remembered += n;
        heap.has_remembered(self.remembered);
    }

    /// How many that was since this was asked last.
    pub fn take_remembered(&mut self) -> usize {
        let n = self.remembered;
        self.remembered = 0;
        n
    }
}
