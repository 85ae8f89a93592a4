//! `greyobject`: mark, then enqueue.
//!
//! Between the two steps the object is black in the eyes of everyone else: its mark bit is set, nobody else will
//! enqueue it, and what it points to has not been looked at. That gap is the race of Go's 2015 commit 41dbcc19ef:
//!
//! 1. The collector stops the world by collecting all Ps.
//! 2. A thread without a P (back from a system call) stores a pointer to X, and its barrier calls `greyobject(X)`.
//! 3. It marks X and is interrupted before it enqueues X.
//! 4. The collector finds X on another path: already marked, nothing to do.
//! 5. The collector finishes.
//! 6. The thread enqueues X, too late.
//! 7. What only X points to is freed while it is in use.
//!
//! Hence I1 and I2: whoever calls this holds a P or is the stopper, and a stop waits until nobody is in the gap. The
//! model `greyobject` shows both.

use super::bitmap::{BITS, MarkMap};
use super::work::{GcWork, Grey};
use crate::heap::Heap;
use crate::layout::GRANULE;
use crate::stress::Window;
use barrier_lint::nowritebarrierrec;

#[nowritebarrierrec]
impl Heap {
    /// Shades the object at `base`: if it is white it becomes grey, or black at once if there is nothing to scan in
    /// it. The caller holds the P that `gcw` belongs to.
    #[inline]
    pub(crate) fn greyobject(&self, gcw: &mut GcWork, base: usize) {
        self.grey_in(self.mark_map(), gcw, base);
    }

    /// As [`greyobject`](Heap::greyobject), where the map is at hand that takes this cycle's marks.
    #[inline(always)]
    pub(crate) fn grey_in(&self, map: &MarkMap, gcw: &mut GcWork, base: usize) {
        crate::sync::modelled("Heap::greyobject");
        if !map.try_mark(self.granule_of(base)) {
            crate::sync::step("already marked", base);
            return;
        }
        crate::sync::step("marked", base);
        // Here the object is marked and on no list: the gap.
        self.window(Window::AfterMark);
        let page = self.page_of_object(base);
        if page.data {
            gcw.marked(self.size_of_object(self.classes.get(page.class), base), 1);
        } else {
            gcw.put(self, Grey::object(base));
            crate::sync::step("enqueued", base);
        }
    }

    /// As [`greyobject`](Heap::greyobject), for all the objects for which `bits` of one word of the mark map stand.
    /// They are of one span.
    #[inline]
    pub(crate) fn greyobjects(&self, gcw: &mut GcWork, word: usize, bits: usize) {
        let mut white = self.mark_map().mark(word, bits);
        if white == 0 {
            return;
        }
        // Here the objects that were white are marked and on no list: the gap.
        self.window(Window::AfterMark);
        let first = self.base + word * BITS * GRANULE;
        let page = self.page_of_object(first);
        if page.data {
            gcw.marked(self.size_of_object(self.classes.get(page.class), first), white.count_ones() as usize);
            return;
        }
        while white != 0 {
            gcw.put(self, Grey::object(first + white.trailing_zeros() as usize * GRANULE));
            white &= white - 1;
        }
    }

    /// Shades what a pointer field holds: null, a pointer to something that is not in the heap, or an object's base.
    #[inline]
    pub(crate) fn shade(&self, gcw: &mut GcWork, pointer: usize) {
        if self.contains(pointer) {
            self.greyobject(gcw, pointer);
        }
    }

    /// Shades what pointer fields hold or held.
    pub(crate) fn shade_all(&self, gcw: &mut GcWork, pointers: &[usize]) {
        // Once: the compiler cannot know that they stay.
        let (map, base, bytes) = (self.mark_map(), self.base, self.bytes);
        let mut i = 0;
        while i < pointers.len() {
            let offset = pointers[i].wrapping_sub(base);
            if offset < bytes && !map.looks_marked(offset / GRANULE) {
                self.grey_white(gcw, pointers[i]);
            }
            i += 1;
        }
    }

    /// As [`greyobject`](Heap::greyobject), where most are marked.
    #[cold]
    #[inline(never)]
    fn grey_white(&self, gcw: &mut GcWork, base: usize) {
        self.greyobject(gcw, base);
    }

    /// Shades what an arbitrary word points to, if it is an object.
    #[inline]
    pub(crate) fn shade_conservatively(&self, gcw: &mut GcWork, word: usize) {
        if let Some(base) = self.find_object(word) {
            self.greyobject(gcw, base);
        }
    }
}
