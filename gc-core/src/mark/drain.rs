//! The marker's loop: from the lists of grey objects to the scan and back.
//!
//! A dependent read of cold memory takes ten times as long as an independent one, so two queues of fixed length keep
//! many reads under way at once:
//!
//! ```text
//! lists ──get──► ring ─────► scan ──found──► ring of found pointers ──greyobject──► lists
//!         (prefetches the object)     (prefetches the mark word)
//! ```
//! A pointer in the ring of found ones is not marked yet, though what held it is black: the ring is emptied before the
//! marker does anything that others could see. Both rings are local to a slice of marking, in which the P is held.

use super::bitmap::BITS;
use super::prefetch;
use super::work::{GcWork, Grey};
use crate::faults::{self, Fault};
use crate::heap::Heap;
use crate::p::GcP;
use crate::sync::Ordering;
use core::mem::replace;

/// Objects between leaving the lists and being scanned.
const RING: usize = if cfg!(loom) { 2 } else { 16 };
/// Pointers between being found and being tested.
const FOUND: usize = if cfg!(loom) { 2 } else { 16 };
/// Bytes that are marked between two looks at the clock and at `preempt`.
const LOOK: usize = if cfg!(loom) { 64 } else { 16 << 10 };

/// A P that marks: its work, and the pointers that it has found and not yet tested.
pub(crate) struct Marker<'a> {
    pub(super) heap: &'a Heap,
    pub(super) gcw: &'a mut GcWork,
    found: [usize; FOUND],
    at: usize,
}

impl<'a> Marker<'a> {
    /// The caller holds the P that `gcw` belongs to, and calls [`settle`](Marker::settle) in the end.
    pub fn new(heap: &'a Heap, gcw: &'a mut GcWork) -> Marker<'a> {
        Marker { heap, gcw, found: [0; FOUND], at: 0 }
    }

    /// A typed field holds this: null, a pointer to something that is not in the heap, or an object's base.
    #[inline(always)]
    pub fn found(&mut self, pointer: usize) {
        if !self.heap.contains(pointer) {
            return;
        }
        self.heap.mark_map().prefetch(self.heap.granule_of(pointer) / BITS);
        let due = replace(&mut self.found[self.at], pointer);
        self.at = (self.at + 1) % FOUND;
        if due != 0 {
            self.heap.greyobject(self.gcw, due);
        }
    }

    /// A word holds this that may be a pointer or not.
    #[inline]
    pub fn found_word(&mut self, word: usize) {
        if let Some(base) = self.heap.find_object(word) {
            self.found(base);
        }
    }

    /// Shades what has been found. Says whether there was anything.
    pub fn settle(&mut self) -> bool {
        let mut any = false;
        for pointer in &mut self.found {
            let pointer = replace(pointer, 0);
            if pointer != 0 && !faults::active(Fault::ForgetFound) {
                self.heap.greyobject(self.gcw, pointer);
                any = true;
            }
        }
        any
    }
}

impl Heap {
    /// Scans grey objects until there are none, `enough(bytes so far)` says so, or the P's owner is wanted elsewhere.
    /// Returns how many bytes were marked.
    ///
    /// The caller holds `p`.
    pub(crate) fn drain(&self, p: &GcP, enough: &mut dyn FnMut(usize) -> bool) -> usize {
        // SAFETY: this thread holds `p` and borrows its work only here.
        let mut marker = Marker::new(self, unsafe { p.gcw() });
        let before = marker.gcw.marked_bytes();
        let mut ring = [Grey::NONE; RING];
        let (mut at, mut look) = (0, before + LOOK);
        loop {
            while marker.gcw.marked_bytes() < look {
                let next = marker.gcw.get(self).unwrap_or(Grey::NONE);
                prefetch(next.address());
                let mut due = replace(&mut ring[at], next);
                at = (at + 1) % RING;
                if due == Grey::NONE && next == Grey::NONE {
                    // The lists are empty. What has been found may fill them again, or what is left in the ring.
                    if marker.settle() {
                        continue;
                    }
                    match ring.iter_mut().find(|grey| **grey != Grey::NONE) {
                        Some(grey) => due = replace(grey, Grey::NONE),
                        None => return marker.gcw.marked_bytes() - before,
                    }
                }
                if due != Grey::NONE {
                    marker.scan(due);
                }
            }
            marker.gcw.share(self);
            let marked = marker.gcw.marked_bytes() - before;
            // Relaxed: a hint; the stop itself synchronises.
            if p.preempt.load(Ordering::Relaxed) || enough(marked) {
                marker.settle();
                // Grey objects leave through the lists: they are marked, so nobody else would enqueue them.
                ring.into_iter().filter(|grey| *grey != Grey::NONE).for_each(|grey| marker.gcw.put(self, grey));
                return marker.gcw.marked_bytes() - before;
            }
            look = marker.gcw.marked_bytes() + LOOK;
        }
    }
}
