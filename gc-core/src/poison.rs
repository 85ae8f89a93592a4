//! Poison (a stress switch): free slots hold a pattern, so that a write to one is noticed.
//!
//! The owner of a span fills its free slots when it sweeps the span and when it makes one. With poison on a P claims
//! slots one by one and checks each before it is used: if the pattern is gone, somebody has written through a pointer
//! to an object that the collector found dead, which is fatal. The pattern is no address, so reading a pointer from a
//! freed slot and following it faults. Not covered: spans whose pages went back to the page heap.

use crate::heap::{Heap, Span};
use crate::sync::{Ordering, word};

/// What free slots are filled with: not a canonical address on any machine.
const POISON: usize = 0xdead_510f_dead_510f_u64 as usize;
const WORD: usize = size_of::<usize>();

impl Heap {
    /// Fills the free slots of a span that the caller owns and has swept or made.
    pub(crate) fn poison_free_slots(&self, span: &Span) {
        let slot = span.slot.load(Ordering::Relaxed);
        for base in (span.base.load(Ordering::Relaxed)..span.end()).step_by(slot) {
            if !self.alloc_map().is_marked(self.granule_of(base)) {
                for at in (base..base + slot).step_by(WORD) {
                    // Relaxed: nobody else has business here; the owner publishes the slot when it is used.
                    // SAFETY: a free slot of a span that the caller owns.
                    unsafe { word::at(at) }.store(POISON, Ordering::Relaxed);
                }
            }
        }
    }

    /// Fails unless the free slot at `base` is as `poison_free_slots` left it.
    pub(crate) fn check_poison(&self, span: &Span, base: usize) {
        for at in (base..base + span.slot.load(Ordering::Relaxed)).step_by(WORD) {
            // SAFETY: a free slot of a span that the caller owns.
            let found = unsafe { word::at(at) }.load(Ordering::Relaxed);
            if found != POISON {
                self.written_to(span, base, at - base, found);
            }
        }
    }

    #[cold]
    fn written_to(&self, span: &Span, base: usize, offset: usize, found: usize) -> ! {
        let name = self.class_name(span.class.load(Ordering::Relaxed));
        crate::throw!(
            "poison: a freed slot of `{name}` at {base:#x} was written to: byte {offset} of it holds {found:#x}. \
             A pointer to the object was kept where the collector does not see it"
        )
    }
}
