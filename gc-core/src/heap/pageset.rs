//! A set of pages: one bit each. All accesses are under the page heap's lock.

use crate::sync::{AtomicUsize, MapError, Ordering, Table};

const BITS: usize = usize::BITS as usize;

pub(super) struct PageSet(Table<AtomicUsize>);

/// The bits `from..to` of one word.
fn mask(from: usize, to: usize) -> usize {
    debug_assert!(from < to && to <= BITS);
    (usize::MAX >> (BITS - (to - from))) << from
}

impl PageSet {
    pub fn new(pages: usize) -> Result<PageSet, MapError> {
        Ok(PageSet(Table::new(pages.div_ceil(BITS))?))
    }

    // Relaxed throughout: under the lock.

    /// Calls `f` for the words that hold `[first, end)`, with the bits meant.
    fn words(first: usize, end: usize, mut f: impl FnMut(usize, usize)) {
        let mut at = first;
        while at < end {
            let next = (at / BITS * BITS + BITS).min(end);
            f(at / BITS, mask(at % BITS, (next - 1) % BITS + 1));
            at = next;
        }
    }

    pub fn insert(&self, first: usize, n: usize) {
        Self::words(first, first + n, |i, mask| {
            self.0[i].store(self.0[i].load(Ordering::Relaxed) | mask, Ordering::Relaxed);
        });
    }

    pub fn remove(&self, first: usize, n: usize) {
        Self::words(first, first + n, |i, mask| {
            self.0[i].store(self.0[i].load(Ordering::Relaxed) & !mask, Ordering::Relaxed);
        });
    }

    /// How many of the `n` pages from `first` on are in the set.
    pub fn count(&self, first: usize, n: usize) -> usize {
        let mut sum = 0;
        Self::words(first, first + n, |i, mask| {
            sum += (self.0[i].load(Ordering::Relaxed) & mask).count_ones() as usize;
        });
        sum
    }

    /// The last page of `[first, end)` that is in the set (`inside`) or is not.
    pub fn last(&self, first: usize, end: usize, inside: bool) -> Option<usize> {
        let mut end = end;
        while end > first {
            let start = ((end - 1) / BITS * BITS).max(first);
            let word = self.0[start / BITS].load(Ordering::Relaxed);
            let word = if inside { word } else { !word };
            let hits = word & mask(start % BITS, (end - 1) % BITS + 1);
            if hits != 0 {
                return Some(start / BITS * BITS + hits.ilog2() as usize);
            }
            end = start;
        }
        None
    }
}

#[cfg(all(test, not(modelled)))]
mod tests {
    use super::*;
    use proptest::prelude::{any, prop, prop_assert_eq, proptest};
    use std::collections::BTreeSet;

    const PAGES: usize = 300;

    proptest! {
        #![proptest_config(crate::testing::cases(256))]
        #[test]
        fn agrees_with_a_set_of_numbers(
            steps in prop::collection::vec((any::<bool>(), 0..PAGES, 1..PAGES), 1..40),
            (first, length) in (0..PAGES, 0..PAGES),
        ) {
            let set = PageSet::new(PAGES).unwrap();
            let mut model = BTreeSet::new();
            for (insert, first, n) in steps {
                let n = n.min(PAGES - first);
                if insert {
                    set.insert(first, n);
                    model.extend(first..first + n);
                } else {
                    set.remove(first, n);
                    (first..first + n).for_each(|p| { model.remove(&p); });
                }
            }
            let end = (first + length).min(PAGES);
            prop_assert_eq!(set.count(first, end - first), model.range(first..end).count());
            prop_assert_eq!(set.last(first, end, true), model.range(first..end).next_back().copied());
            prop_assert_eq!(set.last(first, end, false), (first..end).rev().find(|p| !model.contains(p)));
        }
    }
}
