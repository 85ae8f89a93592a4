//! Bulk moves: many pointers at once, with one look at the barrier for each chunk.
//!
//! A move is cut into chunks. In each the words are read, then recorded (what is overwritten, what is stored), then
//! stored, all in one region without a safepoint; between two chunks a pending safepoint is honoured, so a long move
//! holds up no stop. What would break if recording and storing were apart: a flip in between would miss the store.
//! What would break if a word were read again to be stored: what another thread put there meanwhile would be stored
//! unrecorded.
//!
//! Every word is read and written whole. The marker may look at any moment, and sees old or new pointers, never a
//! part of one; hence no `memcpy`. Overlapping ranges are walked from the end where no word is overwritten before it
//! is read.

use super::store::before_stores;
use super::{CellValue, GcCell};
use crate::gc::Gc;
use crate::p::GcP;
use crate::sync::current::Region;
use crate::sync::{Ordering, overwrite, word};
use barrier_lint::writebarrier;
use core::ops::{Bound, Range, RangeBounds};

/// Words of a chunk.
const CHUNK: usize = if cfg!(modelled) { 2 } else { 256 };
const WORD: usize = size_of::<usize>();

impl<V: CellValue> Gc<[GcCell<V>]> {
    /// Copies the cells in `src` to those from `dest` on, in the same array; the ranges may overlap. Each cell is
    /// stored as by [`GcCell::set`], the whole not at once. Needs a P; a safepoint if it is long. Source: Go's
    /// `bulkBarrierPreWrite` and `typedslicecopy`.
    ///
    /// # Panics
    /// If a range does not lie in the array.
    #[writebarrier]
    pub fn copy_within(self, src: impl RangeBounds<usize>, dest: usize) {
        let src = cells_in(&src, self.len(), "copy_within");
        copy(self, dest, &self[src], "copy_within");
    }

    /// Copies all of `src` to the cells from `dest` on. `src` may be a part of the same array. As
    /// [`copy_within`](Gc::copy_within).
    ///
    /// # Panics
    /// If `src` does not fit.
    #[writebarrier]
    pub fn copy_from(self, dest: usize, src: &[GcCell<V>]) {
        copy(self, dest, src, "copy_from");
    }

    /// Stores `value` into all cells in `range`. As [`copy_within`](Gc::copy_within).
    ///
    /// # Panics
    /// If the range does not lie in the array.
    #[writebarrier]
    pub fn fill(self, range: impl RangeBounds<usize>, value: V) {
        let range = cells_in(&range, self.len(), "fill");
        // SAFETY: the cells lie in the array, which `self` keeps; the value is a live object's base or null.
        unsafe { fill_words(self[range.clone()].as_ptr().expose_provenance(), range.len(), value.into_word()) }
    }

    /// Stores the default (null) into all cells in `range`. As [`fill`](Gc::fill).
    ///
    /// # Panics
    /// If the range does not lie in the array.
    #[writebarrier]
    pub fn clear(self, range: impl RangeBounds<usize>)
    where
        V: Default,
    {
        let range = cells_in(&range, self.len(), "clear");
        self.fill(range, V::default());
    }
}

fn copy<V: CellValue>(to: Gc<[GcCell<V>]>, dest: usize, src: &[GcCell<V>], what: &str) {
    let len = to.len();
    let fits = dest.checked_add(src.len()).is_some_and(|end| end <= len);
    assert!(fits, "{what}: {} cells from cell {dest} on do not fit into an array of {len}", src.len());
    // SAFETY: both ranges were checked; their owners are in use.
    unsafe {
        copy_words(to[dest..].as_ptr().expose_provenance(), src.as_ptr().expose_provenance(), src.len());
    }
}

/// The range as indices, which lie in an array of `len` cells.
fn cells_in(range: &impl RangeBounds<usize>, len: usize, what: &str) -> Range<usize> {
    let first = match range.start_bound() {
        Bound::Included(first) => Some(*first),
        Bound::Excluded(before) => before.checked_add(1),
        Bound::Unbounded => Some(0),
    };
    let end = match range.end_bound() {
        Bound::Included(last) => last.checked_add(1),
        Bound::Excluded(end) => Some(*end),
        Bound::Unbounded => Some(len),
    };
    match (first, end) {
        (Some(first), Some(end)) if first <= end && end <= len => first..end,
        _ => panic!("{what}: cells {:?} to {:?} are not in an array of {len}", range.start_bound(), range.end_bound()),
    }
}

/// # Safety
/// `n` pointer words at `dst`, in a live object of the heap, and `n` at `src`.
unsafe fn copy_words(dst: usize, src: usize, n: usize) {
    let backwards = dst.wrapping_sub(src) < n * WORD;
    let mut words = [0; CHUNK];
    each_chunk(n, backwards, |at, len| {
        for (i, word) in words[..len].iter_mut().enumerate() {
            // Acquire: pairs with the Release of who stored it; our own Release passes on what the object holds.
            // SAFETY: the caller's contract.
            *word = unsafe { word::at(src + (at + i) * WORD) }.load(Ordering::Acquire);
        }
        // SAFETY: the caller's contract.
        unsafe { store_words(dst + at * WORD, len, |i| words[i]) };
    });
}

/// # Safety
/// `n` pointer words at `dst`, in a live object of the heap; `value` is null or a live object's base.
unsafe fn fill_words(dst: usize, n: usize, value: usize) {
    // SAFETY: the caller's contract.
    each_chunk(n, false, |at, len| unsafe { store_words(dst + at * WORD, len, |_| value) });
}

/// Calls `chunk(first word, words)` for all `n` words, from the front or from the back, with safepoints in between if
/// they are due.
fn each_chunk(n: usize, backwards: bool, mut chunk: impl FnMut(usize, usize)) {
    let mut done = 0;
    while done < n {
        let len = CHUNK.min(n - done);
        chunk(if backwards { n - done - len } else { done }, len);
        done += len;
        let p = GcP::current();
        // Relaxed: a hint; the safepoint synchronises.
        if done < n && p.preempt.load(Ordering::Relaxed) {
            p.heap().world.at_safepoint(&mut || {});
        }
    }
}

/// One chunk: records, then stores, with no safepoint in between.
///
/// # Safety
/// As `fill_words`, for each `value(i)`.
unsafe fn store_words(dst: usize, n: usize, value: impl Fn(usize) -> usize) {
    crate::sync::modelled("store_words");
    let _region = Region::enter();
    // SAFETY: the caller's contract.
    unsafe { before_stores(dst, n, &value) };
    for i in 0..n {
        // Release: pairs with the Acquire of `GcCell::get` and of the marker.
        // SAFETY: the caller's contract.
        overwrite(unsafe { word::at(dst + i * WORD) }, value(i), Ordering::Release);
    }
}
