//! Sweeping: lazily, when a P needs a span, and in the background.
//!
//! A span is swept once per cycle, by its owner (whoever popped it from the unswept list of its class, or the P that
//! has it cached): clear its part of the old map, which will take the next cycle's marks (or copy the fresh marks to it, if
//! they are to stay: `mark::partial`), and reset the publication index, so that from now on the fresh marks alone say what
//! is allocated. Dead objects that somebody waits for are noted first (`afterlife`): a span with objects that are to be
//! dropped goes into custody, and not to its class. No marking starts before the last span is swept, and no object is
//! allocated in an unswept one.

use crate::alloc::List;
use crate::events::Event;
use crate::faults::{self, Fault};
use crate::heap::{Heap, PAGE_SIZE, Span};
use crate::layout::GRANULE;
use crate::p::GcP;
use crate::stress::Window;
use crate::sync::Ordering;

/// Spans per background slice.
const SLICE: usize = 64;
/// Spans per refill: what is due and was not paid is due at the next one.
const SHARE: usize = 16;

/// What the sweep of a span found.
pub(crate) struct Swept {
    /// Slots in use.
    pub alive: usize,
    /// Whether there are objects to be dropped.
    pub doomed: bool,
}

impl Heap {
    /// Sweeps a span that the caller owns. With `keep` the caller goes on owning it, unless objects of it are to be
    /// dropped; else it goes to its class's list, or its pages go back if nothing in it is alive. Says whether the
    /// caller still owns it.
    pub(crate) fn sweep_owned(&self, span: &Span, keep: bool) -> bool {
        crate::sync::modelled("Heap::sweep_owned");
        let Swept { alive, doomed } = self.sweep_slots(span);
        if doomed {
            self.take_into_custody(span);
            return false;
        }
        if !keep {
            self.list_swept(span, alive);
        }
        keep
    }

    /// Gives a swept span to its class's list, or its pages back.
    pub(crate) fn list_swept(&self, span: &Span, alive: usize) {
        if alive == 0 {
            self.free_span(span);
        } else if alive == span.nelems.load(Ordering::Relaxed) as usize {
            self.push_swept(span, List::Full);
        } else {
            self.push_swept(span, List::Partial);
        }
    }

    /// The sweep itself, of a span that nobody else touches.
    pub(crate) fn sweep_slots(&self, span: &Span) -> Swept {
        debug_assert!(!self.marking(), "a span is swept while marking");
        self.sweep_records(span);
        let doomed = self.doom_dead(span);
        // Relaxed: the owner's fields; lists and page heap publish them by their locks.
        let base = span.base.load(Ordering::Relaxed);
        let (first, n) = (self.granule_of(base), span.bytes() / GRANULE);
        let alive = self.alloc_map().count(first, n);
        if self.marks_stay() {
            self.mark_map().copy(self.alloc_map(), first, n);
        } else {
            self.mark_map().clear(first, n);
        }
        if !(doomed && faults::active(Fault::DoomedFound)) {
            span.published.store(base, Ordering::Relaxed);
        }
        if self.config.stress.poison && !doomed {
            self.poison_free_slots(span);
        }
        self.window(Window::SweepToPublish);
        // Release: see `heap::span`.
        span.sweepgen.store(self.sweepgen(), Ordering::Release);
        self.pacer.swept(span.bytes() / PAGE_SIZE);
        Swept { alive, doomed }
    }

    /// Sweeps one span of any class; `false` when none is left. The caller holds a P, so no flip happens meanwhile.
    pub(crate) fn sweep_one(&self) -> bool {
        let at = &self.classes.sweep_at;
        loop {
            // Relaxed: a cursor; the lists decide.
            let class = at.load(Ordering::Relaxed);
            if class >= self.classes.len() {
                return self.sweep_one_in_custody();
            }
            if let Some(span) = self.pop_unswept(class as u32) {
                self.sweep_owned(span, false);
                return true;
            }
            let _ = at.compare_exchange(class, class + 1, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// Whether something may be left to sweep. Only where that is so, what sweeps in an allocation reads the clock.
    fn may_sweep(&self) -> bool {
        // Relaxed: a hint; a span that it misses is swept by the next one who asks.
        self.classes.sweep_at.load(Ordering::Relaxed) < self.classes.len() || self.custody_unswept()
    }

    /// Sweeps up to `most` spans while `wanted` says so. Returns how many it was. The caller holds a P.
    fn sweep_while(&self, most: usize, mut wanted: impl FnMut() -> bool) -> usize {
        let mut spans = 0;
        while spans < most && wanted() && self.sweep_one() {
            spans += 1;
        }
        if spans > 0 {
            self.emit(&Event::Sweep { spans });
        }
        spans
    }

    /// Sweeps a while in the background. The caller holds `p`. `false`: nothing is left to sweep.
    pub fn sweep_slice(&self, p: &GcP) -> bool {
        let mut first = true;
        // Relaxed: a hint. One span is swept in any case, so that who asks again makes progress.
        self.sweep_while(SLICE, || core::mem::take(&mut first) || !p.preempt.load(Ordering::Relaxed)) > 0
    }

    /// Before taking `npages` pages at once: sweeps about as much as may give them back.
    pub(crate) fn sweep_for_pages(&self, npages: usize) {
        if self.may_sweep() {
            self.limiter.timed(|| self.sweep_while(npages.clamp(2, 128), || true));
        }
    }

    /// Pays for what is allocated by sweeping, in proportion: see `pacer`. At most a share, so a refill stays short.
    pub(crate) fn sweep_in_proportion(&self) {
        if !faults::active(Fault::NoProportionalSweep) {
            let due = || self.pacer.sweep_debt() > 0;
            if due() {
                self.limiter.timed(|| self.sweep_while(SHARE, due));
            }
        }
    }

    /// Sweeps everything that is left, the spans in all Ps' caches included. The caller holds a P, on a stack that is
    /// no root.
    pub(crate) fn finish_sweep(&self) {
        self.sweep_while(usize::MAX, || true);
        if self.cycle() == 0 {
            return;
        }
        // SAFETY: the host runs the closure where nobody else uses that P (`World::for_each_p`).
        self.world.for_each_p(&|q| unsafe { q.cache() }.flush_if_stale(self));
    }
}
