//! Scanning: what turns a grey object black. Reads bitmaps and headers; never calls code of the type.
//!
//! A scan never takes long: what a large object holds is scanned in pieces of [`PIECE`] bytes, each of which is work
//! of its own (Go's oblets), for whichever marker comes by.

use super::bitmap::BITS;
use super::drain::{Found, Marker};
use super::grey::Tables;
use super::work::{GcWork, Grey, Shade};
use crate::alloc::{ARRAY_HEADER, Class, Scan};
use crate::faults::{self, Fault};
use crate::heap::Heap;
use crate::layout::{GRANULE, Mask, SMALL_MAX};
use crate::sync::{Ordering, word};
use core::ops::Range;

/// Most bytes that are scanned in one go: 4,096 pointers, some 50 us if nothing that they point to is in the cache. (A mutator
/// that assists may get such a piece.)
pub(crate) const PIECE: usize = 32 << 10;
const WORD: usize = size_of::<usize>();

#[inline(always)]
fn load(addr: usize) -> usize {
    // SAFETY: a word inside a live object of the heap.
    // Acquire: pairs with the Release of pointer stores: what the object there holds is seen.
    unsafe { word::at(addr) }.load(Ordering::Acquire)
}

impl Heap {
    /// Whether all that the small object at `base` points to is marked; false also where one word does not say where its
    /// pointers are.
    #[inline]
    pub(crate) fn points_to_marked(&self, class: &Class, base: usize) -> bool {
        let (map, bounds) = (self.mark_map(), self.bounds);
        let mut white = false;
        let known = each_pointer(class, base, |pointer| {
            white |= bounds.contain(pointer) && !map.looks_marked(bounds.granule_of(pointer));
        });
        known && !white
    }

    /// Shades what the small object at `base` points to, which is not published yet. The caller holds the P of `gcw`.
    #[inline]
    pub(crate) fn shade_new(&self, gcw: &mut GcWork, class: &Class, base: usize) {
        // Mostly they point to what was made just before, and is black: nothing to wait for.
        if !each_pointer(class, base, |pointer| self.shade(gcw, pointer)) {
            let (tables, mut places) = (Tables::of(self), Found::PLACES);
            let mut found = Found::new(&mut places);
            Marker { tables, gcw, found: &mut found }.scan_range(class, base, base..base + class.slot());
            found.settle(&tables, gcw);
        }
    }
}

/// Most pointer fields of which one word says where they are.
pub(super) const ONE_WORD: usize = u64::BITS as usize;

/// Calls `f` with what the pointer fields of the object at `base` hold, if it is small and one word says which these are;
/// else `false`.
#[inline(always)]
pub(super) fn each_pointer(class: &Class, base: usize, mut f: impl FnMut(usize)) -> bool {
    let mut pointers = class.pointers();
    if pointers == 0 {
        return false;
    }
    while pointers != 0 {
        f(load(base + pointers.trailing_zeros() as usize * WORD));
        pointers &= pointers - 1;
    }
    true
}

impl Marker<'_, '_> {
    /// Scans one grey object, or one piece of a large one, and counts it.
    #[inline(never)]
    pub fn scan(&mut self, class: &Class, grey: Grey) {
        crate::sync::step("scanned", grey.address());
        if grey.is_stored() {
            self.scan_stored(grey.address());
        } else if class.slot() <= SMALL_MAX {
            self.gcw.marked(class.slot(), 1);
            self.scan_range(class, grey.address(), grey.address()..grey.address() + class.slot());
        } else {
            self.scan_large(class, grey);
        }
    }

    /// Scans a granule that somebody has stored into. A word of it may be another object's, which is only just made, or none's.
    #[cold]
    fn scan_stored(&mut self, at: usize) {
        let heap = self.tables.heap;
        heap.forget_stored(at);
        (at..at + GRANULE).step_by(WORD).filter(|at| heap.in_old(*at)).for_each(|at| self.found_word(load(at)));
    }

    /// Scans a large object's first piece and enqueues the others; or scans one of those.
    #[cold]
    fn scan_large(&mut self, class: &Class, grey: Grey) {
        let span = self.tables.heap.span_of_object(grey.address());
        // Relaxed: constant since the span was published.
        let (base, bytes) = (span.base.load(Ordering::Relaxed), span.slot.load(Ordering::Relaxed));
        let piece = grey.address()..(grey.address() + PIECE).min(base + bytes);
        if grey.is_piece() {
            self.gcw.marked_more(piece.len());
        } else {
            self.gcw.marked(piece.len(), 1);
            if !faults::active(Fault::LosePieces) {
                // The last one first: the lists are stacks.
                for start in (base + PIECE..base + bytes).step_by(PIECE).rev() {
                    self.gcw.put(self.tables.heap, Grey::piece(start));
                }
            }
        }
        self.gcw.scanned_piece(piece.len());
        self.scan_range(class, base, piece);
    }

    /// Finds everything that the words in `range` point to, which is a part of the object at `base`.
    fn scan_range(&mut self, class: &Class, base: usize, range: Range<usize>) {
        match class.scan() {
            Scan::Data => {}
            Scan::Typed => self.scan_typed(base, class.mask(), range),
            Scan::Array => self.scan_array(base, range),
            Scan::Conservative => range.step_by(WORD).for_each(|at| self.found_word(load(at))),
        }
    }

    /// The part of an array in `range`.
    fn scan_array(&mut self, base: usize, range: Range<usize>) {
        let mask = self.tables.heap.classes.get(load(base + WORD) as u32).mask();
        let (first, stride) = (base + ARRAY_HEADER, mask.stride as usize * WORD);
        let range = range.start.max(first)..range.end.min(first + load(base) * stride);
        if mask.all_pointers() {
            return self.scan_pointers(range);
        }
        // An element may lie across the range's ends.
        let mut element = first + (range.start - first) / stride * stride;
        while element < range.end {
            self.scan_typed(element, mask, range.start.max(element)..range.end.min(element + stride));
            element += stride;
        }
    }

    /// A run of pointers. Objects that were allocated one after the other often stand so in an array, too: neighbours
    /// are shaded together, by one locked instruction for up to 64 of them.
    pub(super) fn scan_pointers(&mut self, range: Range<usize>) {
        let bounds = self.tables.bounds;
        let (mut first, mut word, mut bits) = (0, usize::MAX, 0);
        for pointer in range.step_by(WORD).map(load).filter(|p| bounds.contain(*p)) {
            let granule = bounds.granule_of(pointer);
            let bit = 1 << (granule % BITS);
            if granule / BITS == word {
                bits |= bit;
                continue;
            }
            self.found_neighbours(first, word, bits);
            (first, word, bits) = (pointer, granule / BITS, bit);
        }
        self.found_neighbours(first, word, bits);
    }

    /// `bits` of a word of the mark map stand for objects that were found, of which `first` is one.
    #[inline(always)]
    fn found_neighbours(&mut self, first: usize, word: usize, bits: usize) {
        if bits & bits.wrapping_sub(1) == 0 {
            self.found(first);
        } else {
            self.tables.grey_all(self.gcw, word, bits);
        }
    }

    /// The part in `range` of a value at `base`.
    #[inline]
    fn scan_typed(&mut self, base: usize, mask: Mask, range: Range<usize>) {
        let (first, end) = ((range.start - base) / WORD, ((range.end - base) / WORD).min(mask.words as usize));
        let mut group = first / Mask::PER_WORD;
        while group * Mask::PER_WORD < end {
            let mut bits = mask.group(group);
            while bits != 0 {
                let within = bits.trailing_zeros() as usize / 2;
                let code = bits >> (within * 2) & 3;
                bits &= !(3 << (within * 2));
                let index = group * Mask::PER_WORD + within;
                if index < first || index >= end {
                    continue;
                }
                let value = load(base + index * WORD);
                if code == 1 {
                    self.found(value);
                } else {
                    self.found_word(value);
                }
            }
            group += 1;
        }
    }
}
