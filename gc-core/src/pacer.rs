//! When a cycle starts, and how much mutators have to help.
//!
//! The goal is the live heap plus the configured percentage. A cycle starts when 7/10 of the way to the goal are
//! allocated; while it runs, each allocated byte owes as many bytes of scanning as let marking end at the goal if the
//! live heap is what it was. Background workers earn credit that pays for it first.

use crate::heap::{Config, Heap};
use crate::sync::{AtomicU64, AtomicUsize, Ordering};

// Relaxed throughout: estimates; no other data depends on them.
const O: Ordering = Ordering::Relaxed;

/// Assist work is rounded up to this many bytes, so that a mutator does not switch stacks for every span.
const ASSIST_UNIT: usize = 64 << 10;

pub(crate) struct Pacer {
    /// Bytes that survived the last cycle, plus what was allocated since.
    live: AtomicUsize,
    trigger: AtomicUsize,
    goal: AtomicUsize,
    /// Bytes to scan for each allocated byte, times 256.
    ratio: AtomicUsize,
    /// Bytes that workers scanned and nobody has used to pay with.
    credit: AtomicUsize,
    /// Bytes of scanning that mutators owe and have not been asked for yet.
    owed: AtomicUsize,
    allocated: AtomicU64,
    at_start: AtomicUsize,
    at_end: AtomicUsize,
}

impl Pacer {
    pub fn new(config: &Config) -> Pacer {
        let pacer = Pacer {
            live: AtomicUsize::new(0),
            trigger: AtomicUsize::new(0),
            goal: AtomicUsize::new(0),
            ratio: AtomicUsize::new(0),
            credit: AtomicUsize::new(0),
            owed: AtomicUsize::new(0),
            allocated: AtomicU64::new(0),
            at_start: AtomicUsize::new(0),
            at_end: AtomicUsize::new(0),
        };
        pacer.set_goal(config, 0);
        pacer
    }

    fn set_goal(&self, config: &Config, live: usize) {
        let Some(percent) = config.percent else {
            self.goal.store(usize::MAX, O);
            self.trigger.store(usize::MAX, O);
            return;
        };
        let grown = |bytes: usize| (bytes as u128 * u128::from(percent) / 100).min(usize::MAX as u128 / 4) as usize;
        let goal = (live + grown(live)).max(grown(config.min_heap));
        self.goal.store(goal, O);
        self.trigger.store(live + (goal - live) / 10 * 7, O);
    }

    /// `bytes` more are in use.
    pub fn allocated(&self, bytes: usize) {
        self.live.fetch_add(bytes, O);
        self.allocated.fetch_add(bytes as u64, O);
    }

    /// Whether it is time for a cycle.
    pub fn triggered(&self) -> bool {
        self.live.load(O) >= self.trigger.load(O)
    }

    /// Marking starts. The world is stopped.
    pub fn begin(&self, heap: &Heap) {
        let live = self.live.load(O);
        let expected = self.at_end_live(heap).max(1 << 20);
        let room = self.goal.load(O).saturating_sub(live).clamp(256 << 10, usize::MAX / 512);
        self.ratio.store((expected * 256 / room).clamp(32, 64 * 256), O);
        self.credit.store(0, O);
        self.owed.store(0, O);
        self.at_start.store(live, O);
    }

    /// What was live after the last cycle: the guess for this one.
    fn at_end_live(&self, heap: &Heap) -> usize {
        heap.counters.live_after_mark()
    }

    /// Marking ends. The world is stopped.
    pub fn end(&self, heap: &Heap) {
        let (marked, _) = heap.cycle.marked();
        self.at_end.store(self.live.load(O), O);
        self.live.store(marked, O);
        self.set_goal(&heap.config, marked);
    }

    /// A worker scanned `bytes` bytes.
    pub fn earn(&self, bytes: usize) {
        self.credit.fetch_add(bytes, O);
    }

    /// What a mutator has to scan before it allocates about `bytes`; mostly 0.
    pub fn debt(&self, bytes: usize) -> usize {
        let bytes = bytes.max(crate::heap::PAGE_SIZE);
        let owed = self.owed.fetch_add(bytes * self.ratio.load(O) / 256, O);
        if owed < ASSIST_UNIT {
            return 0;
        }
        let owed = self.owed.swap(0, O);
        let mut paid = 0;
        // Take what the workers have earned.
        let _ = self.credit.fetch_update(O, O, |credit| {
            paid = credit.min(owed);
            Some(credit - paid)
        });
        owed - paid
    }

    /// Bytes in use now, the goal, and the bytes ever allocated.
    pub fn figures(&self) -> (usize, usize, u64) {
        (self.live.load(O), self.goal.load(O), self.allocated.load(O))
    }

    /// Heap size when the last marking started and ended, in bytes.
    pub fn last(&self) -> (usize, usize) {
        (self.at_start.load(O), self.at_end.load(O))
    }
}
