//! The cap on the collector's processor time under a memory limit (as Go's CPU limiter).
//!
//! A live heap that does not fit the limit would make one cycle follow the other, and mutators would do nothing but
//! assist: a death spiral. So a bucket fills with the processor time that the collector takes from mutators, and
//! drains with the time that mutators have for themselves. While it is full (the collector has had more than half),
//! nobody assists and no cycle starts by itself, and the heap passes the limit instead. The bucket's size is what the
//! collector may take at once, for a single large cycle. It can run over by as much again. What would break if it
//! could not: a slice of marking would count as the few microseconds that the bucket was short of full, and the next
//! one would come as many microseconds later.
//!
//! ```text
//! fill += collector's time - mutators' time          limited: fill >= capacity
//! mutators' time = time that Ps are held - collector's time - time of idle marking
//! ```
//! Time in which a P is not held (blocked, idle) belongs to nobody: with it, one busy thread beside many idle Ps would
//! never fill the bucket. Sources: Go's soft memory limit proposal (48409), section on the death spiral.

use crate::events::Event;
use crate::faults::{self, Fault};
use crate::heap::{Config, Heap};
use crate::sync::{AtomicBool, AtomicU64, Lock, Ordering, Rank, nanos};
use barrier_lint::nowritebarrierrec;

/// The bucket's size for each P, nanoseconds.
const CAPACITY: u64 = 500_000_000;

// Relaxed throughout: estimates.
const O: Ordering = Ordering::Relaxed;

pub(crate) struct Limiter {
    /// There is a memory limit. Otherwise nothing here is used.
    on: bool,
    limited: AtomicBool,
    /// Time that the collector has taken from mutators: assists, workers, stops, sweeping for a cycle.
    gc: AtomicU64,
    /// Time of marking by Ps that had nothing else to do.
    idle: AtomicU64,
    bucket: Lock<Bucket>,
}

#[derive(Default)]
struct Bucket {
    fill: u64,
    /// What the three sums were when `fill` was computed.
    gc: u64,
    idle: u64,
    held: u64,
}

impl Bucket {
    fn add(&mut self, gc: u64, idle: u64, held: u64, capacity: u64) {
        let took = gc - self.gc;
        let mutators = held.saturating_sub(self.held).saturating_sub(took + (idle - self.idle));
        (self.gc, self.idle, self.held) = (gc, idle, held.max(self.held));
        self.fill = (self.fill + took).saturating_sub(mutators).min(2 * capacity);
    }
}

impl Limiter {
    pub fn new(config: &Config) -> Limiter {
        Limiter {
            on: config.memory_limit.is_some(),
            limited: AtomicBool::new(false),
            gc: AtomicU64::new(0),
            idle: AtomicU64::new(0),
            bucket: Lock::new(Rank::Limiter, Bucket::default()),
        }
    }

    /// Whether the time for which Ps are held is wanted.
    #[nowritebarrierrec]
    pub fn on(&self) -> bool {
        self.on
    }

    /// Whether the collector has had more than its half.
    pub fn limited(&self) -> bool {
        self.limited.load(O) && !faults::active(Fault::NoCpuLimit)
    }

    /// The collector took `ns` from a mutator.
    pub fn took(&self, ns: u64) {
        self.gc.fetch_add(ns, O);
    }

    /// Counts what `f` takes as the collector's.
    pub fn timed<R>(&self, f: impl FnOnce() -> R) -> R {
        if !self.on {
            return f();
        }
        let begin = nanos();
        let result = f();
        self.took(nanos() - begin);
        result
    }

    /// A P that had nothing else to do marked for `ns`.
    pub fn idled(&self, ns: u64) {
        self.idle.fetch_add(ns, O);
    }

    /// Brings the bucket up to date. The caller holds a P.
    pub fn update(&self, heap: &Heap) {
        if !self.on {
            return;
        }
        // Somebody else is at it: as good.
        let Some(mut bucket) = self.bucket.try_lock() else { return };
        let now = nanos();
        let held = heap.ps().map(|p| p.held(now)).sum();
        let capacity = CAPACITY * heap.procs() as u64;
        bucket.add(self.gc.load(O), self.idle.load(O), held, capacity);
        let full = bucket.fill >= capacity;
        drop(bucket);
        if self.limited.swap(full, O) != full {
            heap.emit(&Event::Limited { on: full });
        }
    }
}

#[cfg(all(test, not(modelled)))]
mod tests {
    use super::*;

    #[test]
    fn the_bucket_fills_above_half_and_drains_below() {
        let mut b = Bucket::default();
        // 60 of 100: 20 more than the mutators' share.
        b.add(60, 0, 100, 1000);
        assert_eq!(b.fill, 20);
        // Idle marking is nobody's time.
        b.add(60, 50, 150, 1000);
        assert_eq!(b.fill, 20);
        b.add(70, 50, 200, 1000);
        assert_eq!(b.fill, 0, "40 of the mutators against 10");
        b.add(1570, 50, 1700, 1000);
        assert_eq!(b.fill, 1500, "it runs over");
        b.add(9570, 50, 9700, 1000);
        assert_eq!(b.fill, 2000, "but not without end");
    }
}
