//! Partial cycles: what was marked stays marked, and only what is younger is looked at (sticky mark bits).
//!
//! Most of what a cycle marks has been marked by the one before. Where that is so the marks *stay* when it ends:
//!
//! ```text
//!            ┌───────────── yes, and the barrier stays on ─────────────┐
//!            │                                                         ▼
//!  full cycle ends: do its marks stay?  ◄── asked again when it ends ── partial cycle
//!    ▲       │
//!    └── no ─┘  (the sweeper clears the map)
//! ```
//! - The sweeper copies the fresh marks to the map of the next cycle instead of clearing it. What is made from then on is
//!   white: objects are made in slots without a mark.
//! - **The barrier stays on** between the cycles, and remembers where pointers to young objects are stored into old ones, so
//!   that no marked object points to a white one without anybody knowing: the granule that was stored into waits on the
//!   lists of grey objects, once (a bit in the map `stored`). What is overwritten is of no interest: every cycle scans all
//!   roots and all stacks, so nobody has anything hidden from it. Values that are copied as a whole, into objects of which
//!   only their owner knows where, are shaded as while marking (`barrier::bulk`, `barrier::mutable`).
//! - The next cycle is like any other, but for the marks that are there already: it scans what is on the lists, the roots
//!   and the stacks, and what it reaches from there without a mark.
//!
//! So a partial cycle costs what the young objects cost that are alive. It takes for alive whatever was, so rubbish
//! collects among what is marked until a full cycle comes: when half of what was free after the last full one is taken,
//! when somebody asks for a whole collection, under a memory limit, and when it did not pay: most of what was young is alive,
//! or remembering stores has cost more than it saved. Then there are only full ones for a while. Where a program stores and
//! does not allocate, no cycle would come to see that; so a P that remembers too much asks for one.
//!
//! What would break with the barrier off in between: a pointer to a new object in an old one, which nobody scans (fault
//! `young-unremembered`). What would break if a buffer were not emptied before marking begins: where something was stored
//! would be taken for what was overwritten.
//!
//! Source: Demers, Weiser, Hayes, Boehm, Bobrow and Shenker, "Combining generational and conservative garbage collection",
//! POPL 1990. Go tried the same with a barrier that is always on (Hudson, ISMM keynote, 2018), and left it.

use super::work::{GcWork, Grey, Shade};
use crate::faults::{self, Fault};
use crate::heap::{Heap, PAGE_SIZE};
use crate::layout::GRANULE;
use crate::sync::{AtomicBool, AtomicU32, AtomicUsize, Ordering, fence};
use barrier_lint::nowritebarrierrec;

/// A store that is remembered costs about as much as so many bytes of marking.
const STORE: usize = 6;
/// Full cycles after it did not pay, at first and at most: each time twice as many.
const REST: [u32; 2] = [2, 32];

/// Whether marks stay. The flips of a cycle write it, or ask; all but `full_wanted` changes while the world is stopped only.
pub(crate) struct Partial {
    /// They do. While marking: this cycle is partial.
    stay: AtomicBool,
    /// Somebody waits for a full cycle.
    full_wanted: AtomicBool,
    /// Number of the last full cycle that ended.
    full: AtomicU32,
    /// Full cycles until it is tried again, and after it has not paid the next time.
    rest: AtomicU32,
    next_rest: AtomicU32,
    /// Stores that a P may remember before the next cycle without anybody asking what for.
    budget: AtomicUsize,
    /// A P has remembered more.
    overdue: AtomicBool,
}

impl Partial {
    pub fn new() -> Partial {
        Partial {
            stay: AtomicBool::new(false),
            full_wanted: AtomicBool::new(false),
            full: AtomicU32::new(0),
            rest: AtomicU32::new(0),
            next_rest: AtomicU32::new(REST[0]),
            budget: AtomicUsize::new(0),
            overdue: AtomicBool::new(false),
        }
    }

    /// The next cycle that starts when none is under way is to be full, or the one after it.
    pub fn want_full(&self) {
        // Relaxed: who wants it asks again after each cycle.
        self.full_wanted.store(true, Ordering::Relaxed);
    }

    /// Number of the last full cycle that ended.
    pub fn last_full(&self) -> u32 {
        // Acquire: pairs with the Release in `Heap::choose_next`: the cycle's results are there.
        self.full.load(Ordering::Acquire)
    }
}

/// What a cycle has cost and brought, in bytes.
#[derive(Clone, Copy)]
pub(crate) struct Yield {
    /// Of all marked objects.
    pub marked: usize,
    /// Of objects that stayed marked, which a full cycle would have marked again; 0 if most young objects were alive, so that
    /// hardly anything was freed.
    pub spared: usize,
    /// Whether enough of the heap is free for another cycle that finds no old rubbish.
    pub room: bool,
}

impl Heap {
    /// Whether marks stay: between cycles, that the next one is partial; while marking, that this one is.
    #[nowritebarrierrec]
    #[inline]
    pub(crate) fn marks_stay(&self) -> bool {
        // Relaxed: changes only while the world is stopped, and every reader holds a P (or was stopped in between).
        self.cycle.partial.stay.load(Ordering::Relaxed)
    }

    /// Whether a cycle is due because so many stores were remembered since the last one.
    #[inline]
    pub(super) fn overdue(&self) -> bool {
        // Relaxed: a hint.
        self.cycle.partial.overdue.load(Ordering::Relaxed)
    }

    /// Cycle `number` has ended: whether its marks stay. `remembered`: stores between the last one and this. The world is
    /// stopped.
    pub(super) fn choose_next(&self, number: u32, remembered: usize, brought: Yield) {
        let c = &self.cycle.partial;
        // Relaxed: the stop orders them.
        let was_full = !c.stay.load(Ordering::Relaxed);
        let wanted = c.full_wanted.swap(false, Ordering::Relaxed);
        let (rest, next) = (c.rest.load(Ordering::Relaxed), c.next_rest.load(Ordering::Relaxed));
        let paid = brought.spared > remembered.saturating_mul(STORE);
        if !was_full {
            c.rest.store(if paid { 0 } else { next }, Ordering::Relaxed);
            c.next_rest.store(if paid { REST[0] } else { (next * 2).min(REST[1]) }, Ordering::Relaxed);
        } else if rest > 0 {
            c.rest.store(rest - 1, Ordering::Relaxed);
        }
        let stay = if wanted || !self.config.partial {
            false
        } else if self.config.stress.partial {
            // Not for ever, so that what died among the old is found.
            !number.is_multiple_of(4)
        } else {
            brought.room && if was_full { rest == 0 } else { paid }
        };
        c.stay.store(stay, Ordering::Relaxed);
        c.budget.store(brought.marked / STORE, Ordering::Relaxed);
        c.overdue.store(false, Ordering::Relaxed);
        if was_full {
            // Release: pairs with the Acquire in `last_full`.
            c.full.store(number, Ordering::Release);
        }
    }
}

#[nowritebarrierrec]
impl Heap {
    /// A P has remembered so many stores since the last cycle.
    #[inline]
    pub(crate) fn has_remembered(&self, n: usize) {
        let c = &self.cycle.partial;
        // Relaxed: a hint.
        if n > c.budget.load(Ordering::Relaxed) && !c.overdue.load(Ordering::Relaxed) {
            c.overdue.store(true, Ordering::Relaxed);
        }
    }

    /// Between cycles whose marks stay: remembers stores, each where and what. The caller holds the P of `gcw`.
    pub(crate) fn remember_all(&self, gcw: &mut GcWork, stores: &[[usize; 2]]) {
        crate::sync::modelled("Heap::remember_all");
        // Once: the compiler cannot know that they stay.
        let (stored, old, bounds) = (&self.stored, self.alloc_map(), self.bounds);
        // Mostly the last few objects are stored into, which lie side by side.
        let mut young = usize::MAX;
        let mut i = 0;
        while i < stores.len() {
            let [slot, new] = stores[i];
            i += 1;
            // A root outside the heap is scanned by every cycle.
            if !bounds.contain(slot) {
                continue;
            }
            let granule = bounds.granule_of(slot);
            let page = granule / (PAGE_SIZE / GRANULE);
            if page == young || stored.looks_marked(granule) {
                continue;
            }
            if bounds.contain(new) && !old.looks_marked(bounds.granule_of(new)) {
                if self.all_young(page) {
                    young = page;
                } else {
                    self.remember(gcw, slot);
                }
            }
        }
    }

    /// Whether the last cycle has marked this object. (The sweeper may not have copied its mark yet.)
    #[inline]
    fn is_old(&self, base: usize) -> bool {
        self.alloc_map().looks_marked(self.granule_of(base))
    }

    /// Whether this word is a part of an old object: between cycles, or while marking (of the last cycle then).
    #[inline]
    pub(super) fn in_old(&self, word: usize) -> bool {
        self.find_object(word).is_some_and(|object| self.is_old(object))
    }

    /// Whether no old object lies in this page, as far as the page alone says.
    #[inline]
    fn all_young(&self, page: usize) -> bool {
        let first = page * (PAGE_SIZE / GRANULE);
        // What begins in a page before this one may end here.
        self.page_map.get(page, Ordering::Relaxed).span as usize == page + 1
            && self.alloc_map().is_clear(first, PAGE_SIZE / GRANULE)
    }

    /// Puts the granule in which `slot` lies on the list, if that is a part of an old object.
    #[inline(never)]
    fn remember(&self, gcw: &mut GcWork, slot: usize) {
        if self.in_old(slot) && self.stored.try_mark(self.granule_of(slot)) {
            gcw.put(self, Grey::stored(slot & !(GRANULE - 1)));
        }
    }

    /// As [`find_object`](Heap::find_object), between cycles, of what the last one has not marked.
    ///
    /// While marking everything is swept and no pages change hands, so a word that is no pointer any more finds an object or
    /// nothing. Here it may find a dead one that is not swept yet, which must not get onto a list: so only swept spans count,
    /// in which all below `published` is alive or young. And its pages may be given back and used anew meanwhile: so their
    /// entry in the page map must be the same afterwards. A swept span with a young object stays until the next cycle.
    pub(super) fn find_young(&self, word: usize) -> Option<usize> {
        if !self.contains(word) {
            return None;
        }
        let number = self.page_of(word);
        // Acquire: as in `find_object`.
        let page = self.page_map.get(number, Ordering::Acquire);
        if page.span == 0 {
            return None;
        }
        let span = &self.spans[page.span as usize - 1];
        // Acquire: pairs with the Releases of who sweeps and caches it (`heap::span`).
        let swept = span.sweepgen.load(Ordering::Acquire).wrapping_sub(self.sweepgen());
        let slot = span.slot_of(word)?;
        // Acquire: as in `find_object`.
        let published = span.published.load(Ordering::Acquire);
        // Acquire: pairs with the fence in `publish_span`.
        fence(Ordering::Acquire);
        let same = self.page_map.get(number, Ordering::Relaxed) == page;
        let young = matches!(swept, 0 | 3) && slot < published && !self.is_old(slot);
        (same && young || faults::active(Fault::DeadShaded)).then_some(slot)
    }

    /// The granule at this address is not on the list any more.
    pub(super) fn forget_stored(&self, at: usize) {
        self.stored.unset(self.granule_of(at));
    }
}
