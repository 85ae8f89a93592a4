//! The bulk barrier: for values that the runtime copies in and out of conservative objects.

use crate::faults::{self, Fault};
use crate::heap::Heap;
use crate::p::{GcP, forbidden};
use crate::sync::current;
use barrier_lint::writebarrier;

impl Heap {
    /// Shades whatever the `n` words at `words` may point to, if the barrier is on. Call it before copying a value out of
    /// a heap object (deletion) and before copying one in (insertion), with the copy in the same
    /// [`Region`](crate::sync::current::Region) and no safepoint in between. Needs a P.
    ///
    /// # Safety
    /// `n` readable words, which nobody writes meanwhile.
    #[writebarrier]
    #[inline]
    pub unsafe fn shade_words(&self, words: *const usize, n: usize) {
        crate::sync::modelled("Heap::shade_words");
        let state = current::state();
        if state != 0 && !faults::active(Fault::SkipBulkBarrier) {
            // SAFETY: the caller's contract.
            unsafe { self.shade_these(state, words, n) }
        }
    }

    /// # Safety
    /// As `shade_words`; `state` is this thread's.
    #[writebarrier]
    #[cold]
    unsafe fn shade_these(&self, state: u32, words: *const usize, n: usize) {
        if state & (current::NO_P | current::STOPPED) != 0 {
            forbidden(format_args!("a value with pointers is copied"));
        }
        // What is descheduled in here would go on with a P that somebody else has by then.
        debug_assert!(current::locks() > 0, "values are shaded outside of a region");
        let p = GcP::current();
        // SAFETY: this thread holds `p` and borrows its work, and its buffer, only here.
        let gcw = unsafe {
            if !self.marking() {
                p.wb().count(self, n);
            }
            p.gcw()
        };
        for i in 0..n {
            // SAFETY: the caller's contract. Volatile: the value may have padding and niches that are not integers.
            let word = unsafe { words.add(i).read_volatile() };
            self.shade_conservatively(gcw, word);
        }
    }

    /// [`shade_words`](Heap::shade_words) over a value: all its aligned words.
    ///
    /// # Safety
    /// `value` points to memory of a `T`, initialised or not, that nobody writes meanwhile.
    pub unsafe fn shade_value<T>(&self, value: *const T) {
        if align_of::<T>() >= align_of::<usize>() {
            // SAFETY: the caller's contract; a type aligned like a word is a whole number of words.
            unsafe { self.shade_words(value.cast(), size_of::<T>() / size_of::<usize>()) }
        }
        // A type with a smaller alignment holds no pointer (packed types with a `Gc` are refused by the derive).
    }
}
