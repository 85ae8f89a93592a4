//! Fresh memory ahead of need: where the heap grows, a P that has nothing else to do makes its next pages warm (as HotSpot's
//! `AlwaysPreTouch` does for the whole heap at the start).
//!
//! Who first uses a page waits for a page fault, a microsecond or more, which is half as long as it takes to fill it with
//! small objects. If an idle P has touched it before, he does not. So a heap of a mebibyte and more keeps some warm free
//! pages: an eighth of what is in use, 4 MiB at most, and no more than will be allocated before the next cycle: a P that is
//! idle then has marking to do, and the peak comes at its end. Whoever takes one of the last quarter wakes a P for more.
//!
//! They are free pages as any other: they count for the memory limit, and the scavenger gives back what turns out to be
//! too much. It is not asked for more than either would leave. Where there was nothing to be had (the reservation is used
//! up, or Linux is older than 5.14), nobody asks again before the next cycle has ended. A page belongs to the memory node of
//! the processor that touched it.

use super::{Heap, PAGE_SIZE};
use crate::events::Event;
use crate::layout::GRANULE;
use crate::sync::{AtomicBool, Ordering, nanos};
use core::ops::Range;

/// Most pages that are kept warm ahead of need. None in models and under Miri, where a page costs nothing.
const MOST: usize = if cfg!(any(modelled, miri)) { 0 } else { (4 << 20) / PAGE_SIZE };
/// Most pages in one system call: 128 KiB, some 50 us.
const PIECE: usize = 16;

// Relaxed throughout: estimates and hints; the page heap's lock orders what matters.
const O: Ordering = Ordering::Relaxed;

pub(crate) struct Pretouch {
    /// There was nothing to be had.
    refused: AtomicBool,
}

impl Pretouch {
    pub fn new() -> Pretouch {
        Pretouch { refused: AtomicBool::new(false) }
    }

    /// A cycle has ended.
    pub fn try_again(&self) {
        self.refused.store(false, O);
    }
}

impl Heap {
    /// How many warm free pages there should be, and how many of them are missing.
    #[inline]
    fn pretouch_wanted(&self) -> (usize, usize) {
        if MOST == 0 || self.pretouch.refused.load(O) {
            return (0, 0);
        }
        let (resident, warm) = (self.pages.resident(), self.pages.warm());
        let share = resident.saturating_sub(warm) / 8;
        let soon = self.pacer.until_trigger() / PAGE_SIZE;
        let wanted = if share < PIECE { 0 } else { share.min(MOST).min(soon) };
        (wanted, wanted.saturating_sub(warm))
    }

    /// Pages that may be made warm before the scavenger would give them back, or the memory limit is passed.
    fn pretouch_room(&self) -> usize {
        let limit = self.pages_within_limit().unwrap_or(usize::MAX);
        self.scavenger.keep().min(limit).saturating_sub(self.pages.resident())
    }

    /// Pages were taken: wakes a P if few warm ones are left, and more are allowed.
    #[inline]
    pub(super) fn pretouch_in_time(&self) {
        let (wanted, missing) = self.pretouch_wanted();
        if missing > wanted / 4 * 3 && self.pretouch_room() > 0 {
            self.world.enlist_worker();
        }
    }

    /// Makes some pages warm that the heap will soon need, for some 50 us. For Ps that have nothing else to do, which then
    /// look for work again; the caller holds one. `false`: there are enough, or none are to be had.
    pub fn pretouch_slice(&self) -> bool {
        let (_, missing) = self.pretouch_wanted();
        let pages = missing.min(PIECE).min(self.pretouch_room());
        if pages == 0 {
            return false;
        }
        let begin = nanos();
        let n = self.pages.pretouch(&self.spans, pages, |pages| self.pretouch_tables(pages));
        if n == 0 {
            self.pretouch.refused.store(true, O);
            return false;
        }
        self.emit(&Event::Pretouch { bytes: n * PAGE_SIZE, ns: nanos() - begin });
        true
    }

    /// What there is in the tables for these pages and their granules.
    fn pretouch_tables(&self, pages: Range<usize>) {
        self.page_map.pretouch(pages.clone());
        self.spans.pretouch(pages.clone());
        let granule = |page: usize| page * (PAGE_SIZE / GRANULE);
        for map in &self.maps {
            map.pretouch(granule(pages.start)..granule(pages.end));
        }
    }
}

#[cfg(all(test, not(any(modelled, miri))))]
mod tests {
    use super::*;
    use crate::heap::Config;
    use crate::testing;

    #[test]
    fn a_memory_limit_is_kept() {
        let limit = 32 << 20;
        let heap = testing::heap_with(2 * limit / PAGE_SIZE, Config { memory_limit: Some(limit), ..Config::default() });
        let p = heap.new_p();
        heap.acquire_p(p);
        heap.alloc_pages((limit >> 20) * 7 / 8 * ((1 << 20) / PAGE_SIZE)).expect("room");
        let (wanted, missing) = heap.pretouch_wanted();
        let room = heap.pretouch_room();
        assert!(room > 0 && room < missing && wanted == missing, "{room} {missing} of {wanted}");
        while heap.pretouch_slice() {}
        // The tables have grown meanwhile.
        assert!(heap.pretouch_room() == 0 && (room / 10 * 9..=room).contains(&heap.pages.warm()), "{room}");
        assert!(heap.stats().footprint <= limit);
        heap.release_p(p);
    }

    #[test]
    fn where_nothing_is_to_be_had_nobody_asks_again_until_a_cycle_has_ended() {
        let heap = testing::heap(200);
        let p = heap.new_p();
        heap.acquire_p(p);
        let pages = heap.pages.capacity() - 10;
        heap.alloc_pages(pages).expect("room");
        let wanted = (pages / 8).min(MOST);
        assert_eq!(heap.pretouch_wanted(), (wanted, wanted));
        assert!(heap.pretouch_slice(), "the last ten");
        assert_eq!((heap.pages.warm(), heap.pretouch_wanted()), (10, (wanted, wanted - 10)));
        assert!(!heap.pretouch_slice());
        assert_eq!(heap.pretouch_wanted(), (0, 0));
        heap.collect();
        assert_eq!(heap.pretouch_wanted(), (wanted, wanted - 10));
        heap.release_p(p);
    }
}
