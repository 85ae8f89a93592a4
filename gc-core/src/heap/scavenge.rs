//! The scavenger: gives free pages back to the operating system (as Go's).
//!
//! After each cycle it is known how much the heap will grow until the next one has ended: to the goal. The heap keeps
//! that much memory and a tenth more, times what fragmentation costs (at most two), so that what the next cycle's garbage leaves is
//! not given back only to be asked for again. The rest goes: one piece at a time, with no stop of the world and no
//! lock while the system call runs; by Ps that have nothing else to do, by busy ones for a hundredth of their time,
//! and, where a memory limit would be passed, by the allocation that would pass it.

use super::{Heap, NoPages, PAGE_SIZE};
use crate::events::Event;
use crate::faults::{self, Fault};
use crate::p::GcP;
use crate::sync::{AtomicU64, AtomicUsize, Ordering, nanos};
use barrier_lint::nowritebarrierrec;

/// Most pages in one system call: 1 MiB, some 50 us.
const PIECE: usize = (1 << 20) / PAGE_SIZE;
/// Pieces of an idle P's slice.
const SLICE: usize = 8;
/// A busy P scavenges one part in this many of the time.
const SHARE: u64 = 100;

// Relaxed throughout: estimates; the page heap's lock orders what matters.
const O: Ordering = Ordering::Relaxed;

pub(crate) struct Scavenger {
    /// Pages that the heap keeps: see the module's text.
    keep: AtomicUsize,
    /// When a busy P may scavenge again ([`nanos`]).
    next: AtomicU64,
}

impl Scavenger {
    pub fn new() -> Scavenger {
        Scavenger { keep: AtomicUsize::new(usize::MAX), next: AtomicU64::new(0) }
    }

    /// From now on the heap keeps `bytes` bytes of pages.
    pub fn set_keep(&self, bytes: usize) {
        self.keep.store(bytes.div_ceil(PAGE_SIZE), O);
    }

    /// Pages that the heap keeps.
    pub fn keep(&self) -> usize {
        self.keep.load(O)
    }
}

impl Heap {
    /// Whether the heap has memory that it had better give back. For the host, which should see to it that a P without
    /// work calls [`scavenge_slice`](Heap::scavenge_slice). May run without a P.
    #[nowritebarrierrec]
    #[inline]
    pub fn scavenge_wanted(&self) -> bool {
        self.pages.warm() > 0
            && self.pages.resident() > self.scavenger.keep.load(O)
            && !faults::active(Fault::NoScavenger)
    }

    /// Gives back to the operating system what the heap has too much, for less than a millisecond. For Ps that have
    /// nothing else to do; the caller holds `p`. `false`: nothing is left to give.
    pub fn scavenge_slice(&self, p: &GcP) -> bool {
        for _ in 0..SLICE {
            if !self.scavenge_wanted() || self.scavenge(PIECE) == 0 {
                return false;
            }
            // Relaxed: a hint.
            if p.preempt.load(O) {
                break;
            }
        }
        true
    }

    /// As [`scavenge_slice`](Heap::scavenge_slice), for Ps that have other things to do: at most a hundredth of the
    /// time. To be called now and then; mostly it does nothing. The caller holds a P.
    #[inline]
    pub fn scavenge_share(&self) {
        if self.scavenge_wanted() {
            self.scavenge_in_turn();
        }
    }

    fn scavenge_in_turn(&self) {
        let (now, next) = (nanos(), self.scavenger.next.load(O));
        // Whoever moves the time on does it.
        if now < next || self.scavenger.next.compare_exchange(next, u64::MAX, O, O).is_err() {
            return;
        }
        self.scavenge(PIECE);
        let end = nanos();
        self.scavenger.next.store(end + (end - now) * SHARE, O);
    }

    /// Gives `pages` pages back, if there are so many, whatever the heap wants to keep.
    pub(crate) fn scavenge_now(&self, pages: usize) {
        let mut left = pages;
        while left > 0 {
            match self.scavenge(left.min(PIECE)) {
                0 => return,
                n => left = left.saturating_sub(n),
            }
        }
    }

    /// How many pages may cost memory under the memory limit, if there is one.
    pub(super) fn pages_within_limit(&self) -> Option<usize> {
        self.config.memory_limit.map(|limit| limit.saturating_sub(self.table_bytes()) / PAGE_SIZE)
    }

    /// `n` pages for a span. Where that passes the memory limit, as many others go back.
    pub(crate) fn alloc_pages(&self, n: usize) -> Result<usize, NoPages> {
        let before = self.pages.resident();
        let first = self.pages.alloc(&self.spans, n);
        if let Some(most) = self.pages_within_limit() {
            let now = self.pages.resident();
            if now > before && now > most {
                self.scavenge_now((now - most).min(n));
            }
        }
        self.pretouch_in_time();
        first
    }

    fn scavenge(&self, pages: usize) -> usize {
        let begin = nanos();
        let n = self.pages.scavenge(&self.spans, pages);
        if n > 0 {
            self.emit(&Event::Scavenge { bytes: n * PAGE_SIZE, ns: nanos() - begin });
        }
        n
    }
}
