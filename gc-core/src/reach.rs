//! What can be reached from some roots and not from others: a walk over the heap for a question that marking does not
//! answer, because for the collector everything is a root that some goroutine may still use.
//!
//! It has a map of its own and reads *every word* of an object as if it were a pointer: an object may also hold, in fields
//! that are none of the collector's business, handles whose [`Root`](crate::Root)s keep other objects. So what is not reached
//! cannot be, and what is reached perhaps cannot. The world is stopped and everything is swept, so that a look-up finds
//! live objects only ([`Heap::stopped_and_swept`]). No malloc.

use crate::heap::Heap;
use crate::mark::{Found, Scanner};
use crate::offheap::Pile;
use crate::sync::{Ordering, word};
use crate::verify::Seen;
use crate::world::StopReason;

/// The objects that were reached so far.
pub struct Reach<'a> {
    heap: &'a Heap,
    seen: Seen,
    todo: Pile<usize>,
}

impl Heap {
    /// Between two cycles: sweeps what is left, clears dropped roots, stops the world, and runs `work`, under the rules of
    /// [`between_cycles`](Heap::between_cycles). A safepoint; needs a P.
    pub fn stopped_and_swept(&self, why: StopReason, work: &mut dyn FnMut()) {
        self.between_cycles(&mut || {
            self.finish_sweep();
            self.roots.reclaim_dropped();
            self.stop_the_world(why);
            work();
            self.start_the_world();
        });
    }

    /// Nothing is reached yet. Inside [`stopped_and_swept`](Heap::stopped_and_swept).
    pub fn reach(&self) -> Reach<'_> {
        Reach { heap: self, seen: Seen::of(self), todo: Pile::new() }
    }
}

impl Reach<'_> {
    /// What this word points into is reached, if that is an object.
    #[inline]
    pub fn word(&mut self, word: usize) {
        if let Some(base) = self.heap.find_object(word) {
            let granule = self.heap.granule_of(base);
            if !self.seen.has(granule) {
                self.seen.flip(granule);
                self.todo.push(base);
            }
        }
    }

    /// Whether the object that `word` points into is.
    pub fn has(&self, word: usize) -> bool {
        self.heap.find_object(word).is_some_and(|base| self.seen.has(self.heap.granule_of(base)))
    }

    /// What `scan` finds: a goroutine's stack, a host's tables. The scanner says that it is a verifier's.
    pub fn from(&mut self, scan: impl FnOnce(&mut Scanner<'_>)) {
        let heap = self.heap;
        let mut sink = |found: Found| match found {
            Found::Typed(word) | Found::Word(word) => self.word(word),
            // Its words are told one by one.
            Found::Lent(..) => {}
        };
        scan(&mut Scanner::verify(heap, &mut sink));
    }

    /// What roots hold; those that are part of a handle ([`Root::of_handle`](crate::Root::of_handle)) only `with_handles`.
    pub fn from_roots(&mut self, with_handles: bool) {
        self.heap.roots.each(with_handles, &mut |object| self.word(object));
    }

    /// What weak pointers may still give out, and dead objects whose drop has not ended, and those whose drop comes as they
    /// are not in `alive`, which is what the collector would keep: the drop may use what they hold.
    pub fn from_afterlife(&mut self, alive: &Reach<'_>) {
        let heap = self.heap;
        heap.each_weak(&mut |object| self.word(object));
        heap.each_span(&mut |span| {
            // Relaxed: the stop orders it.
            let (slot, doomed) = (span.slot.load(Ordering::Relaxed), span.doomed.load(Ordering::Relaxed));
            let desc = heap.classes.get(span.class.load(Ordering::Relaxed)).desc();
            if desc.is_none_or(|desc| desc.drop.is_none()) {
                return;
            }
            for base in (span.base.load(Ordering::Relaxed)..span.end()).step_by(slot) {
                if (doomed > 0 || heap.find_object(base).is_some()) && !alive.seen.has(heap.granule_of(base)) {
                    self.words(base, slot);
                }
            }
        });
    }

    /// Goes on from what was reached to all that it leads to.
    pub fn spread(&mut self) {
        while let Some(base) = self.todo.pop() {
            let bytes = self.heap.size_of_object(self.heap.class_of_object(base), base);
            self.words(base, bytes);
        }
    }

    fn words(&mut self, base: usize, bytes: usize) {
        for at in (base..base + bytes).step_by(size_of::<usize>()) {
            // SAFETY: a word of a slot; the world is stopped.
            let value = unsafe { word::at(at) }.load(Ordering::Relaxed);
            self.word(value);
        }
    }
}
