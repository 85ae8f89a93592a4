//! The rings that events go to, one for each thread, in memory that is not the heap's.
//!
//! Only its own thread writes to a ring, with plain stores, without a lock, and with or without a P: so also at the end of a
//! blocking call whose P is gone, where a barrier or an allocation would be wrong. (The last ring is that of all threads
//! that are no Ms, which take turns by a lock.)
//!
//! ```text
//! writer                                    reader, on any thread
//! slot.seq = 2n + 1     being written       n < head, so it was complete
//! the event                                 seq must be 2n + 2, before and after the event is read
//! slot.seq = 2n + 2     event n is there    else: it has been overtaken, and what is older has been as well
//! head = n + 1
//! ```
//!
//! A writer is never interrupted by another one on its thread: whoever writes is inside the runtime, and a signal handler
//! writes only where it has interrupted the program's own code. What would break otherwise: two events in one slot.
//! Without the second look at `seq` a reader would mix two events; if it read the oldest first, it would leave gaps that it
//! does not know of.

use barrier_lint::nowritebarrierrec;
use gc_core::sync::{AtomicU64, MapError, Ordering, Table, Zeroed, fence};

/// An event as it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Raw {
    pub(super) time: u64,
    /// 0: none. Of events without a goroutine: a length in nanoseconds.
    pub(super) goid: u64,
    pub(super) kind: u8,
    pub(super) p: u16,
    pub(super) arg: u32,
}

struct Slot {
    seq: AtomicU64,
    time: AtomicU64,
    goid: AtomicU64,
    /// Kind, P and argument.
    word: AtomicU64,
}

// SAFETY: numbers, whose zero bytes are the value zero: no event yet.
unsafe impl Zeroed for Slot {
    fn zeroed() -> Slot {
        let zero = || AtomicU64::new(0);
        Slot { seq: zero(), time: zero(), goid: zero(), word: zero() }
    }
}

/// Bytes of an event.
pub(super) const SLOT: usize = size_of::<Slot>();

/// The last events of each thread.
pub(super) struct Rings {
    /// How many there have been, by ring.
    heads: Table<AtomicU64>,
    slots: Table<Slot>,
    /// Events that each keeps.
    len: usize,
}

impl Rings {
    pub(super) fn new(rings: usize, len: usize) -> Result<Rings, MapError> {
        Ok(Rings { heads: Table::new(rings)?, slots: Table::new(rings * len)?, len })
    }

    /// Events that a ring keeps.
    pub(super) fn kept(&self) -> usize {
        self.len
    }

    #[nowritebarrierrec]
    fn slot(&self, ring: usize, n: u64) -> &Slot {
        &self.slots[ring * self.len + n as usize % self.len]
    }

    /// How many events there have been in a ring; those before are complete.
    pub(super) fn head(&self, ring: usize) -> u64 {
        // Acquire: pairs with the Release in `write`.
        self.heads[ring].load(Ordering::Acquire)
    }

    /// By its own thread only. May run without a P.
    #[nowritebarrierrec]
    pub(super) fn write(&self, ring: usize, e: Raw) {
        // Relaxed: only this thread writes it.
        let n = self.heads[ring].load(Ordering::Relaxed);
        let slot = self.slot(ring, n);
        // Relaxed, and the fence: pairs with the fence in `read`. Who has seen part of the new event sees this as well.
        slot.seq.store(2 * n + 1, Ordering::Relaxed);
        fence(Ordering::Release);
        slot.time.store(e.time, Ordering::Relaxed);
        slot.goid.store(e.goid, Ordering::Relaxed);
        let word = u64::from(e.kind) | u64::from(e.p) << 8 | u64::from(e.arg) << 32;
        slot.word.store(word, Ordering::Relaxed);
        // Release: pairs with the Acquire in `read`: who sees it sees the event.
        slot.seq.store(2 * n + 2, Ordering::Release);
        // Release: pairs with the Acquire in `head`: the events before it are complete.
        self.heads[ring].store(n + 1, Ordering::Release);
    }

    /// Event number `n`, unless it has been overwritten.
    pub(super) fn read(&self, ring: usize, n: u64) -> Option<Raw> {
        let slot = self.slot(ring, n);
        if slot.seq.load(Ordering::Acquire) != 2 * n + 2 {
            return None;
        }
        // Relaxed: the second look decides.
        let (time, goid) = (slot.time.load(Ordering::Relaxed), slot.goid.load(Ordering::Relaxed));
        let word = slot.word.load(Ordering::Relaxed);
        // Pairs with the fence in `write`.
        fence(Ordering::Acquire);
        let whole = slot.seq.load(Ordering::Relaxed) == 2 * n + 2;
        whole.then_some(Raw { time, goid, kind: word as u8, p: (word >> 8) as u16, arg: (word >> 32) as u32 })
    }

    /// Shows `f` the events without a gap, the newest first, while it wants more. On any thread.
    pub(super) fn newest(&self, ring: usize, mut f: impl FnMut(Raw) -> bool) {
        let (end, newest) = loop {
            let end = self.head(ring);
            if end == 0 {
                return;
            }
            if let Some(newest) = self.read(ring, end - 1) {
                break (end, newest);
            }
            // The writer has gone all the way round since the look at `head`.
        };
        if !f(newest) {
            return;
        }
        // The writer overtakes the older ones first, so after the first that is gone there are no others.
        for n in (end.saturating_sub(self.len as u64)..end - 1).rev() {
            if !self.read(ring, n).is_some_and(&mut f) {
                return;
            }
        }
    }
}

#[cfg(all(test, not(modelled)))]
mod tests {
    use super::{Raw, Rings};
    use gc_core::sync::Ordering;
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;

    /// Event number `n`; all its parts say so.
    fn numbered(n: u64) -> Raw {
        Raw { time: n, goid: !n, kind: n as u8, p: n as u16, arg: n as u32 }
    }

    const LEN: usize = 256;
    /// One of two.
    const RING: usize = 1;

    fn rings() -> Rings {
        Rings::new(2, LEN).expect("memory")
    }

    fn newest(ring: &Rings) -> Vec<Raw> {
        let mut seen = Vec::new();
        ring.newest(RING, |raw| {
            seen.push(raw);
            true
        });
        seen
    }

    #[test]
    fn a_ring_keeps_the_newest() {
        let ring = rings();
        assert!(newest(&ring).is_empty());
        for n in 0..3 * LEN as u64 + 7 {
            ring.write(RING, numbered(n));
            let seen = newest(&ring);
            assert_eq!(seen.len(), LEN.min(n as usize + 1));
            seen.iter().zip((0..=n).rev()).for_each(|(raw, n)| assert_eq!(*raw, numbered(n)));
        }
    }

    /// The writer stops in the middle of an event wherever it may: nobody takes the slot for whole.
    #[test]
    fn a_torn_slot_is_seen() {
        let ring = rings();
        (0..LEN as u64).for_each(|n| ring.write(RING, numbered(n)));
        let n = LEN as u64;
        ring.slot(RING, 0).seq.store(2 * n + 1, Ordering::SeqCst);
        ring.slot(RING, 0).goid.store(!n, Ordering::SeqCst);
        assert_eq!((ring.read(RING, 0), ring.read(RING, n)), (None, None));
        assert_eq!(newest(&ring).len(), LEN - 1);
    }

    #[test]
    fn readers_see_whole_events_without_gaps_while_a_writer_spins() {
        let (ring, stop) = (Arc::new(rings()), Arc::new(AtomicBool::new(false)));
        let writer = std::thread::spawn({
            let (ring, stop) = (ring.clone(), stop.clone());
            move || {
                let mut n = 0;
                while !stop.load(Ordering::Relaxed) {
                    ring.write(RING, numbered(n));
                    n += 1;
                }
                n
            }
        });
        let (mut last, mut cut) = (0, 0);
        let begin = std::time::Instant::now();
        while last < 2_000_000 || cut < 10 {
            assert!(begin.elapsed().as_secs() < 120, "the writer is at {last}, and has overtaken a reader {cut} times");
            let before = ring.head(RING);
            let seen = newest(&ring);
            for raw in &seen {
                assert_eq!(*raw, numbered(raw.time), "torn");
            }
            for pair in seen.windows(2) {
                assert_eq!(pair[0].time, pair[1].time + 1, "a gap");
            }
            let end = seen.first().map_or(0, |newest| newest.time + 1);
            assert!(end >= before, "not the newest: {end} of {before}");
            last = end;
            cut += usize::from(before > LEN as u64 && seen.len() < LEN);
        }
        stop.store(true, Ordering::Relaxed);
        let n = writer.join().expect("no panic");
        assert_eq!(newest(&ring).first(), Some(&numbered(n - 1)));
    }
}
