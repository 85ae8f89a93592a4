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
use super::work::{GcWork, Grey, Shade};
use crate::alloc::Class;
use crate::heap::{Bounds, Heap, Page, PageMap};
use crate::layout::{GRANULE, SLOT_ALIGN};
use crate::stress::Window;
use crate::sync::Table;
use barrier_lint::nowritebarrierrec;

/// What marking reads of a heap, each at hand.
#[derive(Clone, Copy)]
pub(crate) struct Tables<'a> {
    pub heap: &'a Heap,
    pub bounds: Bounds,
    /// Takes this cycle's marks.
    pub marks: &'a MarkMap,
    pub pages: &'a PageMap,
    pub classes: &'a Table<Class>,
    /// The gap is to take time.
    pub delay: bool,
}

#[nowritebarrierrec]
impl<'a> Tables<'a> {
    #[inline(always)]
    pub fn of(heap: &'a Heap) -> Tables<'a> {
        let delay = heap.config.stress.delays(Window::AfterMark);
        let (bounds, marks, pages, classes) = (heap.bounds, heap.mark_map(), &heap.page_map, &heap.classes.table);
        Tables { heap, bounds, marks, pages, classes, delay }
    }

    #[inline(always)]
    fn page(&self, base: usize) -> Page {
        self.pages.of_object(self.bounds.page_of(base))
    }

    /// The class of an object.
    #[inline(always)]
    pub fn class(&self, base: usize) -> &'a Class {
        &self.classes[self.page(base).class as usize]
    }

    /// Shades the object at `base`: if it is white it becomes grey, or black at once if there is nothing to scan in
    /// it. The caller holds the P that `work` belongs to.
    #[inline(always)]
    pub fn grey(&self, work: &mut impl Shade, base: usize) {
        crate::sync::modelled("Heap::greyobject");
        if !self.marks.try_mark(self.bounds.granule_of(base)) {
            crate::sync::step("already marked", base);
            return;
        }
        crate::sync::step("marked", base);
        // Here the object is marked and on no list: the gap.
        if self.delay {
            self.heap.window(Window::AfterMark);
        }
        let page = self.page(base);
        if page.data {
            work.marked(self.heap.size_of_object(&self.classes[page.class as usize], base), 1);
        } else {
            work.put(self.heap, Grey::object(base));
            crate::sync::step("enqueued", base);
        }
    }

    /// As [`grey`](Tables::grey), for two objects for which the same word of the mark map stands. They may be one.
    #[inline(always)]
    pub fn grey_two(&self, work: &mut impl Shade, first: usize, next: usize) {
        let (i, j) = (self.bounds.granule_of(first), self.bounds.granule_of(next));
        let (bit, other) = (1 << (i % BITS), 1 << (j % BITS));
        let white = self.mark_all(work, i / BITS, bit | other);
        if white & bit != 0 {
            work.put(self.heap, Grey::object(first));
            crate::sync::step("enqueued", first);
        }
        if white & other & !bit != 0 {
            work.put(self.heap, Grey::object(next));
            crate::sync::step("enqueued", next);
        }
    }

    /// As [`grey`](Tables::grey), for all the objects for which `bits` of one word of the mark map stand.
    #[inline(always)]
    pub fn grey_all(&self, work: &mut impl Shade, word: usize, bits: usize) {
        let mut white = self.mark_all(work, word, bits);
        if white == 0 {
            return;
        }
        let first = self.bounds.base + word * BITS * GRANULE;
        let span = self.heap.span_of_object(first);
        while white != 0 {
            // The slot begins with this granule or in the middle of it.
            let within = first + white.trailing_zeros() as usize * GRANULE + SLOT_ALIGN;
            if let Some(base) = span.slot_of(within) {
                work.put(self.heap, Grey::object(base));
                crate::sync::step("enqueued", base);
            }
            white &= white - 1;
        }
    }

    /// Marks all the objects for which `bits` of one word of the mark map stand, which are of one span. Returns those that are
    /// to be enqueued: that were white, and are no leaves.
    #[inline(always)]
    fn mark_all(&self, work: &mut impl Shade, word: usize, bits: usize) -> usize {
        crate::sync::modelled("Heap::greyobject");
        let first = self.bounds.base + word * BITS * GRANULE;
        let white = self.marks.mark(word, bits);
        if white == 0 {
            crate::sync::step("already marked", first);
            return 0;
        }
        crate::sync::step("marked", first);
        // Here the objects that were white are marked and on no list: the gap.
        if self.delay {
            self.heap.window(Window::AfterMark);
        }
        let page = self.page(first);
        if page.data {
            let class = &self.classes[page.class as usize];
            work.marked(self.heap.size_of_object(class, first), white.count_ones() as usize);
            return 0;
        }
        white
    }
}

#[nowritebarrierrec]
impl Heap {
    /// See [`Tables::grey`].
    #[inline]
    pub(crate) fn greyobject(&self, gcw: &mut GcWork, base: usize) {
        Tables::of(self).grey(gcw, base);
    }

    /// Shades what a pointer field holds: null, a pointer to something that is not in the heap, or an object's base.
    #[inline]
    pub(crate) fn shade(&self, gcw: &mut GcWork, pointer: usize) {
        if self.contains(pointer) {
            self.greyobject(gcw, pointer);
        }
    }

    /// Shades what stores have overwritten and stored.
    pub(crate) fn shade_all(&self, gcw: &mut GcWork, stores: &[[usize; 2]]) {
        // Once: the compiler cannot know that they stay.
        let (map, bounds) = (self.mark_map(), self.bounds);
        let mut i = 0;
        while i < stores.len() {
            let [old, new] = stores[i];
            i += 1;
            if bounds.contain(old) && !map.looks_marked(bounds.granule_of(old)) {
                self.grey_white(gcw, old);
            }
            if bounds.contain(new) && !map.looks_marked(bounds.granule_of(new)) {
                self.grey_white(gcw, new);
            }
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
        let found = if self.marking() { self.find_object(word) } else { self.find_young(word) };
        if let Some(base) = found {
            self.greyobject(gcw, base);
        }
    }
}
