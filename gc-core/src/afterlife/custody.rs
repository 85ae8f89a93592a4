//! Doomed objects: dead, of a type that needs drop, not dropped yet. Their spans are in *custody*.
//!
//! ```text
//! in a class's list or cached ──sweep finds doomed slots──► custody ──the last one is dropped──► class's list, or freed
//! ```
//! A span in custody is in a list here and in no other, so nobody allocates in it: that is what keeps a doomed slot
//! from being handed out. Its publication index is at its base and a doomed slot has no mark, so to everyone else the
//! slot is empty; its bit in the map `doomed` says that a drop is due, and goes when the runner takes it. The count in
//! `Span::doomed` goes down only when the drop has run, so a span stays for those that are being dropped, too.
//!
//! Cycles go on meanwhile. A flip makes all spans in custody unswept (the lists change roles as a class's do); they
//! are swept here, in place, under the lock, before the next mark phase. That may find more of their objects dead.
//!
//! What would break: a slot handed out before its drop ran would lose the new object to that drop (the fault
//! `pending-drop-reused`); a span left out of the sweep would take marks into a map that still has the old ones.

use super::{BATCH, unless_panic};
use crate::alloc::List;
use crate::faults::{self, Fault};
use crate::heap::{Heap, Span};
use crate::layout::{DropFn, GRANULE};
use crate::mark::MarkMap;
use crate::stress::Window;
use crate::sync::current::Region;
use crate::sync::{AtomicUsize, Lock, MapError, Ordering, Rank};

pub(crate) struct Custody {
    /// First span (id, 0: none) of each list: `lists[sweepgen / 2 % 2]` has the swept spans, the other one the rest.
    lists: Lock<[u32; 2]>,
    /// Spans in the lists.
    len: AtomicUsize,
    /// A bit for the first granule of each slot whose drop is due. Set by the span's sweeper, cleared under the lock.
    doomed: MarkMap,
}

// Relaxed throughout: under the lock, or the span's owner, or (`len`) ordered by the flip's stop.

impl Custody {
    pub fn new(granules: usize) -> Result<Custody, MapError> {
        Ok(Custody {
            lists: Lock::new(Rank::Custody, [0; 2]),
            len: AtomicUsize::new(0),
            doomed: MarkMap::new(granules)?,
        })
    }

    fn link(&self, heap: &Heap, head: &mut u32, span: &Span) {
        span.prev.store(0, Ordering::Relaxed);
        span.next.store(*head, Ordering::Relaxed);
        if *head != 0 {
            heap.span_by_id(*head).prev.store(heap.span_id(span), Ordering::Relaxed);
        }
        *head = heap.span_id(span);
        self.len.fetch_add(1, Ordering::Relaxed);
    }

    fn unlink(&self, heap: &Heap, head: &mut u32, span: &Span) {
        let (prev, next) = (span.prev.load(Ordering::Relaxed), span.next.load(Ordering::Relaxed));
        if next != 0 {
            heap.span_by_id(next).prev.store(prev, Ordering::Relaxed);
        }
        match prev {
            0 => *head = next,
            prev => heap.span_by_id(prev).next.store(next, Ordering::Relaxed),
        }
        self.len.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Heap {
    /// How the objects of a span are dropped, if they are.
    fn drop_of(&self, span: &Span) -> Option<DropFn> {
        self.classes.get(span.class.load(Ordering::Relaxed)).desc().and_then(|desc| desc.drop)
    }

    /// Part of a span's sweep, before its old marks are cleared: notes the objects that are to be dropped. Says
    /// whether any of this span's are, in which case the owner hands it to [`take_into_custody`](Heap::take_into_custody).
    pub(crate) fn doom_dead(&self, span: &Span) -> bool {
        if self.drop_of(span).is_none() {
            return false;
        }
        let published = span.published.load(Ordering::Relaxed);
        let mut n = 0;
        for slot in (span.base.load(Ordering::Relaxed)..span.end()).step_by(span.slot.load(Ordering::Relaxed)) {
            let granule = self.granule_of(slot);
            let was_object = slot < published || self.mark_map().is_marked(granule);
            if was_object && !self.alloc_map().is_marked(granule) {
                self.afterlife.custody.doomed.set(granule);
                n += 1;
            }
        }
        self.afterlife.add_due(n);
        span.doomed.fetch_add(n as u32, Ordering::Relaxed) + n as u32 > 0
    }

    /// Takes a span that was just swept and has doomed slots from its owner.
    pub(crate) fn take_into_custody(&self, span: &Span) {
        let custody = &self.afterlife.custody;
        let mut lists = custody.lists.lock();
        custody.link(self, &mut lists[self.swept_set()], span);
    }

    /// Sweeps one span in custody, if one needs it. The caller holds a P.
    pub(crate) fn sweep_one_in_custody(&self) -> bool {
        self.custody_unswept() && self.sweep_first(&mut self.afterlife.custody.lists.lock())
    }

    /// Whether a span in custody may be unswept.
    pub(crate) fn custody_unswept(&self) -> bool {
        self.afterlife.custody.len.load(Ordering::Relaxed) > 0 && !faults::active(Fault::CustodyUnswept)
    }

    fn sweep_first(&self, lists: &mut [u32; 2]) -> bool {
        let (custody, swept) = (&self.afterlife.custody, self.swept_set());
        if lists[swept ^ 1] == 0 {
            return false;
        }
        let span = self.span_by_id(lists[swept ^ 1]);
        custody.unlink(self, &mut lists[swept ^ 1], span);
        self.sweep_slots(span);
        custody.link(self, &mut lists[swept], span);
        true
    }

    /// Drops up to `most` doomed objects, of one span; says how many. The caller is the runner.
    pub(super) fn run_drops(&self, most: usize) -> usize {
        crate::sync::modelled("Heap::run_drops");
        let mut batch = [0; BATCH];
        let Some((span, n)) = self.take_doomed(&mut batch[..most.min(BATCH)]) else { return 0 };
        let Some(drop_object) = self.drop_of(span) else { unreachable!("a doomed object that needs no drop") };
        let too_early = faults::active(Fault::PendingDropReused);
        if too_early {
            self.dropped(span, n);
        }
        self.window(Window::BeforeDrop);
        for slot in &batch[..n] {
            let object = core::ptr::with_exposed_provenance_mut(*slot);
            // SAFETY: an object of the span's type, found dead and taken off the map once: nobody else can reach it,
            // and its slot stays empty until `dropped`.
            unless_panic(|| unsafe { drop_object(object) });
        }
        if !too_early {
            self.dropped(span, n);
        }
        n
    }

    /// Takes doomed slots of some span off the map. The span is in custody until [`dropped`](Heap::dropped).
    fn take_doomed(&self, batch: &mut [usize]) -> Option<(&Span, usize)> {
        let custody = &self.afterlife.custody;
        let mut lists = custody.lists.lock();
        while lists[self.swept_set()] == 0 {
            if !self.sweep_first(&mut lists) {
                return None;
            }
        }
        let span = self.span_by_id(lists[self.swept_set()]);
        let mut n = 0;
        for slot in (span.base.load(Ordering::Relaxed)..span.end()).step_by(span.slot.load(Ordering::Relaxed)) {
            let granule = self.granule_of(slot);
            if n < batch.len() && custody.doomed.is_marked(granule) {
                custody.doomed.clear(granule, 1);
                batch[n] = slot;
                n += 1;
            }
        }
        (n > 0).then_some((span, n))
    }

    /// `n` objects of a span in custody were dropped. If they were the last ones, the span goes back.
    fn dropped(&self, span: &Span, n: usize) {
        // The span goes back in the phase in which it was found done.
        let _region = Region::enter();
        let custody = &self.afterlife.custody;
        self.afterlife.take_due(n);
        {
            let mut lists = custody.lists.lock();
            if span.doomed.fetch_sub(n as u32, Ordering::Relaxed) > n as u32 {
                return;
            }
            let swept = self.swept_set();
            if span.sweepgen.load(Ordering::Relaxed) == self.sweepgen() {
                custody.unlink(self, &mut lists[swept], span);
            } else {
                // A cycle has ended while they were dropped.
                custody.unlink(self, &mut lists[swept ^ 1], span);
                if self.sweep_slots(span).doomed {
                    custody.link(self, &mut lists[swept], span);
                    return;
                }
            }
        }
        if self.config.stress.poison {
            self.poison_free_slots(span);
        }
        let first = self.granule_of(span.base.load(Ordering::Relaxed));
        // While marking, look-ups run, so pages stay what they are; an empty span is of use, too.
        if self.marking() {
            self.push_swept(span, List::Partial);
        } else {
            self.list_swept(span, self.alloc_map().count(first, span.bytes() / GRANULE));
        }
    }
}
