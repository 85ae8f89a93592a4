//! Spans: runs of pages that hold slots of one size, or one large object.
//!
//! **Life.** The page heap hands out pages; `publish` fills the span's fields and then stores the page map with
//! Release, from where on conservative look-ups see it. A span is owned by whoever popped it from its class's lists
//! (a P's cache, a sweeper); only the owner moves `published` or sweeps.
//!
//! **Allocated slots.** A slot is allocated if it lies below `published`, or if the last cycle's marks (the *alloc
//! map*) have its bit. The owner walks upwards through the free runs; storing `published` with Release is what makes
//! a slot an object.
//!
//! **`sweepgen`**, against the heap's `g`, which grows by 2 at every flip that ends marking:
//! ```text
//! g      swept, in a list, ready to use           g + 3  swept, and in a P's cache
//! g - 2  needs sweeping                           g + 1  was cached when the flip came: its P sweeps it first
//! ```
//! Who stores one of the upper two does so with Release, which pairs with the Acquire in `find_young`: `published` has been
//! reset before.

use super::{Heap, PAGE_SIZE, Page};
use crate::alloc::Scan;
use crate::layout;
use crate::sync::{AtomicU32, AtomicUsize, MapError, Ordering, Table, Zeroed, fence};
use barrier_lint::nowritebarrierrec;
use core::ops::{Index, Range};

/// See the module's text. All fields are written by the owner, before publication unless noted.
#[cfg_attr(not(modelled), repr(align(64)))]
pub(crate) struct Span {
    /// Address of the first slot.
    pub base: AtomicUsize,
    /// Bytes of a slot.
    pub slot: AtomicUsize,
    /// All slots below this address are allocated. Moves while the span is in use.
    pub published: AtomicUsize,
    /// Index of the allocation class.
    pub class: AtomicU32,
    pub npages: AtomicU32,
    pub nelems: AtomicU32,
    magic: AtomicU32,
    /// See the module's text. Moves while the span is in use.
    pub sweepgen: AtomicU32,
    /// Next in a list of spans or of free runs (first page + 1; 0 ends).
    pub next: AtomicU32,
    /// Previous in a list of free runs, or of spans in custody.
    pub prev: AtomicU32,
    /// First record of an object of this span (`afterlife::record`). Moves while the span is in use.
    pub records: AtomicU32,
    /// Dead objects of this span that were not dropped yet (`afterlife::custody`). Moves while the span is in use.
    pub doomed: AtomicU32,
}

// SAFETY: integers.
unsafe impl Zeroed for Span {
    fn zeroed() -> Self {
        Span {
            base: AtomicUsize::new(0),
            slot: AtomicUsize::new(0),
            published: AtomicUsize::new(0),
            class: AtomicU32::new(0),
            npages: AtomicU32::new(0),
            nelems: AtomicU32::new(0),
            magic: AtomicU32::new(0),
            sweepgen: AtomicU32::new(0),
            next: AtomicU32::new(0),
            prev: AtomicU32::new(0),
            records: AtomicU32::new(0),
            doomed: AtomicU32::new(0),
        }
    }
}

impl Span {
    /// The slot that `addr` points into; `None` in the tail behind the last one. `addr` is in this span's pages.
    #[nowritebarrierrec]
    #[inline(always)]
    pub fn slot_of(&self, addr: usize) -> Option<usize> {
        // Relaxed (here and below): constant from publication on, which the caller has acquired.
        let base = self.base.load(Ordering::Relaxed);
        let index = layout::index_of(addr - base, self.magic.load(Ordering::Relaxed));
        if index >= self.nelems.load(Ordering::Relaxed) as usize {
            return None;
        }
        Some(base + index * self.slot.load(Ordering::Relaxed))
    }

    /// Address behind the last slot.
    #[inline]
    pub fn end(&self) -> usize {
        self.base.load(Ordering::Relaxed)
            + self.slot.load(Ordering::Relaxed) * self.nelems.load(Ordering::Relaxed) as usize
    }

    /// Pages of the span in bytes.
    #[inline]
    pub fn bytes(&self) -> usize {
        self.npages.load(Ordering::Relaxed) as usize * PAGE_SIZE
    }
}

/// All spans, by their first page.
pub(crate) struct Spans(Table<Span>);

#[nowritebarrierrec]
impl Index<usize> for Spans {
    type Output = Span;
    #[inline(always)]
    fn index(&self, page: usize) -> &Span {
        &self.0[page]
    }
}

impl Spans {
    pub fn new(npages: usize) -> Result<Spans, MapError> {
        Ok(Spans(Table::new(npages)?))
    }

    /// Makes what there is for these pages cost memory now.
    pub fn pretouch(&self, pages: Range<usize>) {
        self.0.pretouch(pages);
    }
}

impl Heap {
    /// Turns `npages` fresh pages at `first` into a span of `class` and lets the look-up see it. The span is in
    /// nobody's list: the caller owns it.
    pub(crate) fn publish_span(&self, first: usize, npages: usize, class: u32, slot: usize, sweepgen: u32) -> &Span {
        let span = &self.spans[first];
        let base = self.bounds.base + first * PAGE_SIZE;
        let large = slot > layout::SMALL_MAX;
        let nelems = if large { 1 } else { npages * PAGE_SIZE / slot };
        // Release: pairs with the fence in `find_young`: who reads one of these and another span's page map sees afterwards
        // that this was cleared.
        fence(Ordering::Release);
        // Relaxed: the Release of the page map below publishes them.
        span.base.store(base, Ordering::Relaxed);
        span.slot.store(slot, Ordering::Relaxed);
        span.published.store(base, Ordering::Relaxed);
        span.class.store(class, Ordering::Relaxed);
        span.npages.store(npages as u32, Ordering::Relaxed);
        span.nelems.store(nelems as u32, Ordering::Relaxed);
        span.magic.store(layout::div_magic(slot), Ordering::Relaxed);
        span.sweepgen.store(sweepgen, Ordering::Relaxed);
        let entry = Page { span: first as u32 + 1, class, data: self.classes.get(class).scan() == Scan::Data };
        for page in first..first + npages {
            // Release: pairs with the Acquire in `find_object`.
            self.page_map.set(page, entry, Ordering::Release);
        }
        span
    }

    /// Gives an empty span's pages back. The caller owns the span, and marking is off, so no look-up runs but those that are
    /// prepared for it (`find_young`), and those of slots of objects that live.
    pub(crate) fn free_span(&self, span: &Span) {
        let first = self.page_of(span.base.load(Ordering::Relaxed));
        let npages = span.npages.load(Ordering::Relaxed) as usize;
        for page in first..first + npages {
            // Relaxed: conservative look-ups happen while marking, and a flip orders this before them.
            self.page_map.clear(page, Ordering::Relaxed);
        }
        self.pages.free(&self.spans, first, npages);
    }

    /// The number by which lists name a span.
    pub(crate) fn span_id(&self, span: &Span) -> u32 {
        self.page_of(span.base.load(Ordering::Relaxed)) as u32 + 1
    }

    /// The span that a list names.
    pub(crate) fn span_by_id(&self, id: u32) -> &Span {
        &self.spans[id as usize - 1]
    }
}

#[cfg(all(test, not(modelled)))]
mod tests {
    use super::*;
    use crate::alloc::Scan;
    use crate::testing;
    use proptest::prelude::{any, prop, prop_assert_eq, proptest};

    /// Pages of the reservation that spans may take.
    const PAGES: usize = if cfg!(miri) { 24 } else { 200 };

    /// A span by its slots: where each starts, how long it is, and whether it is an object.
    type Slots = Vec<(usize, usize, bool)>;

    proptest! {
        #![proptest_config(testing::cases(64))]
        /// The look-up finds for any word what a list of all slots says.
        #[test]
        fn words_point_into_objects_or_to_nothing(
            spans in prop::collection::vec((2..=10_000_usize, 0..=100_usize, any::<u64>(), 0..8_u8), 1..12),
            words in prop::collection::vec((any::<prop::sample::Index>(), -3..4_isize), 1..400),
        ) {
            let heap = testing::heap(PAGES);
            let (mut slots, mut used) = (Slots::new(), 0);
            for (words, published, alive, fate) in spans {
                let size = words * layout::SLOT_ALIGN;
                let large = size > layout::SMALL_MAX;
                let slot = if large { size.next_multiple_of(PAGE_SIZE) } else { size };
                let npages = layout::span_pages(slot);
                if used + npages > PAGES {
                    break;
                }
                let first = heap.alloc_pages(npages).expect("room");
                used = first + npages;
                let class = heap.classes.sized(Scan::Data, slot);
                let span = heap.publish_span(first, npages, class, slot, heap.sweepgen());
                let nelems = if large { 1 } else { npages * PAGE_SIZE / slot };
                let base = heap.bounds.base + first * PAGE_SIZE;
                let published = nelems * published / 100;
                span.published.store(base + published * slot, Ordering::Relaxed);
                let mut of_span = Slots::new();
                for i in 0..nelems {
                    let survived = alive.rotate_left(i as u32) & 1 != 0;
                    if survived {
                        heap.alloc_map().set(heap.granule_of(base + i * slot));
                    }
                    of_span.push((base + i * slot, slot, survived || i < published));
                }
                if fate == 0 {
                    // The sweeper clears the bits of what it frees.
                    heap.alloc_map().clear(heap.granule_of(base), npages * PAGE_SIZE / layout::GRANULE);
                    heap.free_span(span);
                } else {
                    slots.extend(of_span);
                }
            }
            for (index, off) in words {
                // Near a slot's start, or anywhere, also outside the reservation.
                let anywhere = heap.bounds.base + index.index(used.max(1) * PAGE_SIZE + 100);
                let near = slots.get(index.index(slots.len().max(1))).map_or(heap.bounds.base, |s| s.0);
                let outside = heap.bounds.base.wrapping_add_signed(off * heap.bounds.bytes as isize);
                for word in [anywhere, near.wrapping_add_signed(off), outside] {
                    let holds = |s: &&(usize, usize, bool)| (s.0..s.0 + s.1).contains(&word) && s.2;
                    prop_assert_eq!(heap.find_object(word), slots.iter().find(holds).map(|s| s.0), "{:#x}", word);
                }
            }
        }
    }
}
