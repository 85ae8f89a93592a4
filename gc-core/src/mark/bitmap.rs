//! One bit per 16-byte granule of the reservation, beside the heap: 1/128 of it, so the hot part stays in cache.
//!
//! Two of these exist. In the cycle with number `n`, `maps[n % 2]` takes the marks; the other one says which slots the
//! cycle before left alive (the *alloc map*). When marking ends, the fresh marks become the alloc map, and the
//! sweeper clears the old one span by span, so it is clear when the next cycle needs it for marks. (For a partial cycle it
//! copies the fresh marks instead, see `partial`.)

use crate::faults::{self, Fault};
use crate::heap::PAGE_SIZE;
use crate::layout::GRANULE;
use crate::prefetch;
use crate::sync::{AtomicUsize, Handle, MapError, Ordering, Table, observe};
use barrier_lint::nowritebarrierrec;
use core::ops::Range;

/// Granules for which a word stands: never more than a page has, so that the objects of a word are of one span.
pub(crate) const BITS: usize = if cfg!(modelled) { PAGE_SIZE / GRANULE } else { usize::BITS as usize };
const _: () = assert!(PAGE_SIZE.is_multiple_of(BITS * GRANULE));

pub(crate) struct MarkMap {
    words: Table<AtomicUsize>,
}

// SAFETY: a table.
unsafe impl Handle for MarkMap {}

impl MarkMap {
    pub fn new(granules: usize) -> Result<MarkMap, MapError> {
        Ok(MarkMap { words: Table::new(granules.div_ceil(BITS))? })
    }

    /// Makes the bits of these granules cost memory now.
    pub fn pretouch(&self, granules: Range<usize>) {
        self.words.pretouch(granules.start / BITS..granules.end / BITS);
    }

    /// Whether the bit is set.
    #[nowritebarrierrec]
    #[inline(always)]
    pub fn is_marked(&self, granule: usize) -> bool {
        // Relaxed: a mark carries no data; what an object holds is ordered by the pointer to it.
        observe(&self.words[granule / BITS], Ordering::Relaxed) >> (granule % BITS) & 1 != 0
    }

    /// Starts to load a word (which stands for the granules from `word * BITS` on).
    #[inline(always)]
    pub fn prefetch(&self, word: usize) {
        prefetch::to_read(core::ptr::from_ref(&self.words[word]).addr());
    }

    /// Sets the bit; true for exactly one of all that try.
    #[nowritebarrierrec]
    #[inline(always)]
    pub fn try_mark(&self, granule: usize) -> bool {
        // Most finds are of marked objects: look before the locked instruction.
        if self.looks_marked(granule) {
            return false;
        }
        let bit = 1 << (granule % BITS);
        // Relaxed: see `is_marked`; uniqueness needs only atomicity.
        fetch_or(&self.words[granule / BITS], bit) & bit == 0
    }

    /// Whether the bit is set; if it is only just being set, perhaps not.
    #[nowritebarrierrec]
    #[inline(always)]
    pub fn looks_marked(&self, granule: usize) -> bool {
        // Relaxed: see `is_marked`.
        observe(&self.words[granule / BITS], Ordering::Relaxed) & 1 << (granule % BITS) != 0
    }

    /// Sets these bits of a word and returns those that were clear: each goes to exactly one of all that try.
    #[nowritebarrierrec]
    #[inline(always)]
    pub fn mark(&self, word: usize, bits: usize) -> usize {
        let word = &self.words[word];
        // As in `try_mark`.
        let clear = bits & !observe(word, Ordering::Relaxed);
        if clear == 0 {
            return 0;
        }
        clear & !fetch_or(word, clear)
    }

    /// Sets the bit.
    #[nowritebarrierrec]
    #[inline]
    pub fn set(&self, granule: usize) {
        // Relaxed: see `is_marked`.
        self.words[granule / BITS].fetch_or(1 << (granule % BITS), Ordering::Relaxed);
    }

    /// Sets the bits of the slots of `slot` bytes each that begin in `[first, end)`, which are offsets in bytes.
    pub fn set_slots(&self, first: usize, end: usize, slot: usize) {
        // Relaxed: see `is_marked`.
        for_slots(first, end, slot, |i, bits| _ = self.words[i].fetch_or(bits, Ordering::Relaxed));
    }

    /// Clears them again.
    pub fn clear_slots(&self, first: usize, end: usize, slot: usize) {
        // Relaxed: see `is_marked`.
        for_slots(first, end, slot, |i, bits| _ = self.words[i].fetch_and(!bits, Ordering::Relaxed));
    }

    /// Clears the bit.
    #[nowritebarrierrec]
    pub fn unset(&self, granule: usize) {
        self.words[granule / BITS].fetch_and(!(1 << (granule % BITS)), Ordering::Relaxed);
    }

    /// The first of the slots at `first`, `first + slot`, ... below `end` whose bit is set; `end` if there is none. In bytes, as
    /// for `set_slots`. Nothing but these slots has bits there.
    pub fn find_marked(&self, first: usize, end: usize, slot: usize) -> usize {
        let from = first / GRANULE;
        let mut asked = usize::MAX << (from % BITS);
        for i in from / BITS..end.div_ceil(BITS * GRANULE) {
            // Relaxed, here and below: who owns the span has ordered it.
            let found = self.words[i].load(Ordering::Relaxed) & asked;
            if found != 0 {
                let at = (i * BITS + found.trailing_zeros() as usize) * GRANULE;
                // A slot of an odd number of words begins with its granule or in the middle of it.
                let odd = !slot.is_multiple_of(GRANULE);
                return if odd { first + at.saturating_sub(first).div_ceil(slot) * slot } else { at }.min(end);
            }
            asked = usize::MAX;
        }
        end
    }

    /// As [`find_marked`](MarkMap::find_marked), whose bit is clear.
    pub fn find_clear(&self, first: usize, end: usize, slot: usize) -> usize {
        if !slot.is_power_of_two() || slot > BITS * GRANULE {
            return self.find_clear_by_count(first, end, slot);
        }
        let (from, step) = (first / GRANULE, slot / GRANULE);
        // As a word has room for a whole number of steps, the same bits of each word are asked for.
        const ALL: usize = usize::MAX >> (usize::BITS as usize - BITS);
        let every = if step == BITS { 1 } else { ALL / ((1 << step) - 1) } << (from % step);
        let mut asked = every & usize::MAX << (from % BITS);
        for i in from / BITS..end.div_ceil(BITS * GRANULE) {
            let found = !self.words[i].load(Ordering::Relaxed) & asked;
            if found != 0 {
                return ((i * BITS + found.trailing_zeros() as usize) * GRANULE).min(end);
            }
            asked = every;
        }
        end
    }

    /// A word that has as many bits as slots begin in it has no clear one.
    fn find_clear_by_count(&self, first: usize, end: usize, slot: usize) -> usize {
        let mut at = first;
        while at < end {
            let (word, bit) = (at / GRANULE / BITS, at / GRANULE % BITS);
            let marks = self.words[word].load(Ordering::Relaxed);
            let behind = ((word + 1) * BITS * GRANULE).min(end);
            let slots = (behind - at).div_ceil(slot);
            if ((marks >> bit).count_ones() as usize) < slots {
                return (at..behind).step_by(slot).find(|at| marks >> (at / GRANULE % BITS) & 1 == 0).unwrap_or(end);
            }
            at += slots * slot;
        }
        end
    }

    /// Whether no bit is set in `[first, first + n)`, whole words.
    #[nowritebarrierrec]
    #[inline(always)]
    pub fn is_clear(&self, first: usize, n: usize) -> bool {
        let (mut any, mut i) = (0, first / BITS);
        while i < (first + n) / BITS {
            // Relaxed: see `is_marked`.
            any |= observe(&self.words[i], Ordering::Relaxed);
            i += 1;
        }
        any == 0
    }

    /// How many bits are set in `[first, first + n)`.
    pub fn count(&self, first: usize, n: usize) -> usize {
        let mut sum = 0;
        for_words(first, n, |i, mask| sum += (self.words[i].load(Ordering::Relaxed) & mask).count_ones() as usize);
        sum
    }

    /// Makes `[first, first + n)` what it is in `from`. The caller owns the span that these stand for.
    pub fn copy(&self, from: &MarkMap, first: usize, n: usize) {
        for_words(first, n, |i, mask| {
            // Relaxed: as in `clear`, and `from` does not change.
            let (old, new) = (self.words[i].load(Ordering::Relaxed), from.words[i].load(Ordering::Relaxed) & mask);
            if mask == usize::MAX {
                if old != new {
                    self.words[i].store(new, Ordering::Relaxed);
                }
            } else {
                self.words[i].fetch_xor((old ^ new) & mask, Ordering::Relaxed);
            }
        });
    }

    /// Clears `[first, first + n)`. The caller owns the span that these stand for.
    pub fn clear(&self, first: usize, n: usize) {
        for_words(first, n, |i, mask| {
            // Relaxed: the sweep state of the span publishes it.
            if mask == usize::MAX {
                if self.words[i].load(Ordering::Relaxed) != 0 {
                    self.words[i].store(0, Ordering::Relaxed);
                }
            } else {
                self.words[i].fetch_and(!mask, Ordering::Relaxed);
            }
        });
    }
}

/// Sets bits of a word and returns what it held.
#[nowritebarrierrec]
#[inline(always)]
fn fetch_or(word: &AtomicUsize, bits: usize) -> usize {
    crate::sync::modelled("MarkMap::mark");
    if faults::active(Fault::MarkByStore) {
        let old = observe(word, Ordering::Relaxed);
        faults::linger(64);
        word.store(old | bits, Ordering::Relaxed);
        return old;
    }
    // Relaxed: see `is_marked`.
    word.fetch_or(bits, Ordering::Relaxed)
}

/// Calls `f(word index, mask)` for the words that hold bits `[first, first + n)`.
fn for_words(first: usize, n: usize, mut f: impl FnMut(usize, usize)) {
    let mut at = first;
    while at < first + n {
        let low = at % BITS;
        let take = (BITS - low).min(first + n - at);
        let mask = if take == usize::BITS as usize { usize::MAX } else { ((1 << take) - 1) << low };
        f(at / BITS, mask);
        at += take;
    }
}

/// Calls `f(word index, bits)` for the words that hold the bits of the slots at `first`, `first + slot`, ... below `end`.
fn for_slots(first: usize, end: usize, slot: usize, mut f: impl FnMut(usize, usize)) {
    let mut at = first;
    while at < end {
        let (word, mut bits) = (at / GRANULE / BITS, 0);
        while at < end && at / GRANULE / BITS == word {
            bits |= 1 << (at / GRANULE % BITS);
            at += slot;
        }
        f(word, bits);
    }
}

/// A word of marks by itself, for its model.
#[cfg(modelled)]
pub struct MarkWord(MarkMap);

#[cfg(modelled)]
#[allow(missing_docs, clippy::new_without_default)]
impl MarkWord {
    pub fn new() -> MarkWord {
        MarkWord(MarkMap::new(BITS).expect("a small table"))
    }

    pub fn try_mark(&self, bit: usize) -> bool {
        self.0.try_mark(bit)
    }

    pub fn mark(&self, bits: usize) -> usize {
        self.0.mark(0, bits)
    }

    pub fn count(&self) -> usize {
        self.0.count(0, BITS)
    }
}

#[cfg(all(test, not(modelled)))]
mod tests {
    use super::*;
    use crate::layout::SLOT_ALIGN;
    use proptest::prelude::{Strategy, prop, prop_assert_eq, prop_oneof, proptest};
    use std::collections::BTreeSet;

    const GRANULES: usize = 400;

    #[derive(Clone, Debug)]
    enum Step {
        TryMark(usize),
        Set(usize),
        Unset(usize),
        /// The bits of one word.
        Mark(usize, usize),
        /// See `slots`.
        SetSlots(usize, usize, usize),
        ClearSlots(usize, usize, usize),
        Clear(usize, usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0..GRANULES).prop_map(Step::TryMark),
            (0..GRANULES).prop_map(Step::Set),
            (0..GRANULES).prop_map(Step::Unset),
            (0..GRANULES / BITS, proptest::num::usize::ANY).prop_map(|(word, bits)| Step::Mark(word, bits)),
            slots().prop_map(|(first, end, slot)| Step::SetSlots(first, end, slot)),
            slots().prop_map(|(first, end, slot)| Step::ClearSlots(first, end, slot)),
            (0..GRANULES, 0..GRANULES).prop_map(|(first, n)| Step::Clear(first, n.min(GRANULES - first))),
        ]
    }

    /// Where slots begin, where they end, and how long one is, in bytes.
    fn slots() -> impl Strategy<Value = (usize, usize, usize)> {
        let words = prop_oneof![2..140_usize, prop::sample::select(vec![2, 3, 4, 5, 8, 128])];
        (0..GRANULES, 0..=GRANULES, words, 0..2_usize).prop_map(|(first, end, words, half)| {
            // Those of a power of two begin at a multiple of it.
            let half = if words.is_power_of_two() { 0 } else { half };
            (first * GRANULE + half * SLOT_ALIGN, end * GRANULE, words * SLOT_ALIGN)
        })
    }

    proptest! {
        #![proptest_config(crate::testing::cases(256))]
        #[test]
        fn agrees_with_a_set_of_numbers(
            steps in prop::collection::vec(step(), 1..60),
            (first, n) in (0..GRANULES, 0..GRANULES),
        ) {
            let map = MarkMap::new(GRANULES).unwrap();
            let mut model = BTreeSet::new();
            for step in steps {
                match step {
                    Step::TryMark(g) => prop_assert_eq!(map.try_mark(g), model.insert(g)),
                    Step::Set(g) => {
                        map.set(g);
                        model.insert(g);
                    }
                    Step::Unset(g) => {
                        map.unset(g);
                        model.remove(&g);
                    }
                    Step::Mark(word, bits) => {
                        let fresh = (0..BITS).filter(|b| bits >> b & 1 != 0 && model.insert(word * BITS + b));
                        let fresh = fresh.fold(0, |sum, b| sum | 1 << b);
                        prop_assert_eq!(map.mark(word, bits), fresh);
                    }
                    Step::SetSlots(first, end, slot) => {
                        map.set_slots(first, end, slot);
                        model.extend((first..end).step_by(slot).map(|at| at / GRANULE));
                    }
                    Step::ClearSlots(first, end, slot) => {
                        map.clear_slots(first, end, slot);
                        (first..end).step_by(slot).for_each(|at| _ = model.remove(&(at / GRANULE)));
                    }
                    Step::Clear(first, n) => {
                        map.clear(first, n);
                        model.retain(|g| !(first..first + n).contains(g));
                    }
                }
            }
            prop_assert_eq!((0..GRANULES).filter(|g| map.is_marked(*g)).collect::<BTreeSet<_>>(), model.clone());
            let n = n.min(GRANULES - first);
            prop_assert_eq!(map.count(first, n), model.range(first..first + n).count());
        }
    }

    proptest! {
        #![proptest_config(crate::testing::cases(256))]
        /// Free runs of a span: its slots begin at its base, and nothing else has bits in it.
        #[test]
        fn marked_and_clear_slots_are_found(
            page in 0..2_usize,
            words in prop_oneof![2..140_usize, prop::sample::select(vec![2, 3, 4, 5, 8, 128])],
            // Each run is as long as its number says; every second one is of marked slots.
            runs in prop::collection::vec(0..80_usize, 1..20),
            from in prop::sample::select(vec![0, 1, 2, 7, 100, 300]),
        ) {
            let (base, slot) = (page * PAGE_SIZE, words * SLOT_ALIGN);
            let n = PAGE_SIZE / slot;
            let mut marked: Vec<bool> = runs.iter().enumerate().flat_map(|(i, len)| vec![i % 2 == 0; *len]).collect();
            marked.resize(n, false);
            let map = MarkMap::new(3 * PAGE_SIZE / GRANULE).unwrap();
            let at = |i: usize| base + i * slot;
            (0..n).filter(|i| marked[*i]).for_each(|i| map.set(at(i) / GRANULE));
            // Other spans do not count.
            map.set((base + PAGE_SIZE) / GRANULE);
            let (from, end) = (from.min(n), at(n));
            let first = |set| (from..n).find(|i| marked[*i] == set).map_or(end, at);
            prop_assert_eq!(map.find_marked(at(from), end, slot), first(true));
            prop_assert_eq!(map.find_clear(at(from), end, slot), first(false));
        }
    }

    #[test]
    fn each_bit_is_returned_once() {
        let map = MarkMap::new(512).unwrap();
        assert_eq!(map.mark(1, 0b0110), 0b0110);
        assert_eq!(map.mark(1, 0b1100), 0b1000);
        assert_eq!(map.mark(1, 0b1110), 0);
        assert_eq!(map.count(0, 512), 3);
        assert!(map.is_marked(BITS + 1) && !map.is_marked(BITS));
    }

    #[test]
    fn ranges_count_and_clear_exactly() {
        for (first, n) in [(0, 64), (3, 5), (60, 10), (1, 200), (64, 128), (127, 1)] {
            let map = MarkMap::new(512).unwrap();
            (0..512).for_each(|g| map.set(g));
            assert_eq!(map.count(first, n), n);
            map.clear(first, n);
            assert_eq!(map.count(first, n), 0);
            assert_eq!(map.count(0, 512), 512 - n);
        }
    }
}
