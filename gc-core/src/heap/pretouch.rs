//! Fresh memory ahead of need: where the heap grows, a P that has nothing else to do makes its next pages warm (as HotSpot's
//! `AlwaysPreTouch` does for the whole heap at the start).
//!
//! Who first uses a page waits for a page fault, a microsecond or more, which is half as long as it takes to fill it with
//! small objects. If an idle P has touched it before, he does not. So a heap of a mebibyte and more keeps some warm free
//! pages: an eighth of what is in use, 4 MiB at most. Whoever takes one of the last quarter wakes a P for more.
//!
//! They are free pages as any other: they count for the memory limit, and the scavenger gives back what turns out to be
//! too much. It is not asked for more than either would leave. A page belongs to the memory node of the processor that
//! touched it.

use super::{Heap, PAGE_SIZE};
use crate::events::Event;
use crate::layout::GRANULE;
use crate::p::GcP;
use crate::sync::{Ordering, nanos};
use core::ops::Range;

/// Most pages that are kept warm ahead of need. None in models and under Miri, where a page costs nothing.
const MOST: usize = if cfg!(any(modelled, miri)) { 0 } else { (4 << 20) / PAGE_SIZE };
/// Most pages in one system call: 128 KiB, some 50 us.
const PIECE: usize = 16;
/// Pieces of a slice.
const SLICE: usize = 8;

impl Heap {
    /// How many warm free pages there should be, and how many of them are missing.
    #[inline]
    fn pretouch_wanted(&self) -> (usize, usize) {
        if MOST == 0 {
            return (0, 0);
        }
        let (resident, warm) = (self.pages.resident(), self.pages.warm());
        let share = resident.saturating_sub(warm) / 8;
        let wanted = if share < PIECE { 0 } else { share.min(MOST) };
        (wanted, wanted.saturating_sub(warm))
    }

    /// Pages that may be made warm before the scavenger would give them back, or the memory limit is passed.
    fn pretouch_room(&self) -> usize {
        let limit = self.config.memory_limit.map_or(usize::MAX, |l| l.saturating_sub(self.table_bytes()) / PAGE_SIZE);
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

    /// Makes pages warm that the heap will soon need, for half a millisecond or so. For Ps that have nothing else to do;
    /// the caller holds `p`. `false`: there are enough, or the operating system gives none (Linux before 5.14 cannot).
    pub fn pretouch_slice(&self, p: &GcP) -> bool {
        for _ in 0..SLICE {
            let (_, missing) = self.pretouch_wanted();
            let n = missing.min(PIECE).min(self.pretouch_room());
            if n == 0 || !self.pretouch(n) {
                return false;
            }
            // Relaxed: a hint.
            if p.preempt.load(Ordering::Relaxed) {
                break;
            }
        }
        true
    }

    fn pretouch(&self, pages: usize) -> bool {
        let begin = nanos();
        let n = self.pages.pretouch(&self.spans, pages, |pages| self.pretouch_tables(pages));
        if n > 0 {
            self.emit(&Event::Pretouch { bytes: n * PAGE_SIZE, ns: nanos() - begin });
        }
        n > 0
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
