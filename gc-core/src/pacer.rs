//! When a cycle starts, when it should end, and how much mutators have to help (Go's pacer).
//!
//! **Goal.** The live heap plus the configured percentage of it, not below the minimum heap; and not above what the
//! memory limit leaves, which is the limit less everything that is not live objects: fragmentation, tables, some
//! headroom. The reservation is a limit too. A goal never lies below what is live.
//!
//! **Partial cycles** (`mark::partial`) do not move the goal, which is that of the last full one: they go on until half of
//! what that one had left free is taken by what stays marked. One that finds most of the young alive shows that the heap
//! has grown, and the goal grows with half of that: the full cycle that is next has all of it to mark. Each full cycle
//! after partial ones starts early, as it frees what has collected since the last full one: at a quarter of the way, but
//! not before an eighth of what is live has been allocated, within which the spans are swept; and never later than by its
//! runway.
//!
//! **Trigger.** Marking should end at the goal without assists. From the last cycles it is known how many bytes mutators
//! allocate while one byte is marked, each for the same processor time (`cons/mark`), and what share `u` of the
//! processor time workers and idle Ps had: a quarter at least. So mutators will allocate `cons/mark * (1 - u) / u` bytes
//! for each live one: the runway. The trigger lies that far before the goal, but between 1/2 and 19/20 of the way.
//! (Go's lower bound is 7/10, its `u` the quarter; with idle Ps that mark, which Go has too, that starts too late.)
//!
//! **Assists.** Where that does not suffice, each allocated byte owes as many bytes of marking as are left to mark per
//! byte left to the goal. What workers have marked is credit, which pays first. Nobody pays more than a slice at once;
//! what it did not get done in that time is still owed, unless there was nothing to do. A tenth beyond the goal credit is
//! worth nothing, and whoever finds nothing to do waits until there is, or the cycle has ended.
//!
//! **Sweeping** is paid for in the same way: each allocated byte owes as many pages as are unswept per byte left to
//! 9/10 of the trigger, so that whoever starts the next cycle has hardly anything left to sweep.

use crate::faults::{self, Fault};
use crate::heap::{Heap, PAGE_SIZE};
use crate::mark::{WorkKind, Yield};
use crate::sync::{AtomicU64, AtomicUsize, Lock, Ordering, Rank};

// Relaxed throughout: estimates; no other data depends on them.
const O: Ordering = Ordering::Relaxed;

/// Assist work is rounded up to this many bytes, so that a mutator does not switch stacks for every span.
const ASSIST_UNIT: usize = if cfg!(modelled) { PAGE_SIZE } else { 64 << 10 };
/// The most that a mutator is asked for at once, in bytes: less than a slice's worth. What more it owes is forgiven.
const ASSIST_MOST: usize = 1 << 20;
/// Ratios are fixed-point numbers with this one.
const ONE: usize = 256;
/// Cycles over which the runway is remembered.
const MEMORY: usize = 4;
/// What a partial cycle is expected to mark at least, as a part of what it may be: a short one says little of the next.
const YOUNG: usize = 8;
/// Cycles that marked less say nothing of how fast marking is, in bytes.
const SAMPLE: usize = 1 << 20;

pub(crate) struct Pacer {
    /// Bytes that survived the last cycle, plus what was allocated since.
    live: AtomicUsize,
    trigger: AtomicUsize,
    goal: AtomicUsize,
    /// Bytes that the last full cycle found alive, which the goal is computed from; and half of what a partial one marked that
    /// found most of the young alive.
    base: AtomicUsize,
    /// Bytes of pages beside those of objects when the last cycle ended.
    fragments: AtomicUsize,
    /// Bytes that this cycle, or the next one, is expected to mark.
    expected: AtomicUsize,
    /// Bytes that were marked before this cycle and stay so.
    kept: AtomicUsize,
    /// Bytes that it has marked.
    done: AtomicUsize,
    /// Bytes that workers marked and nobody has used to pay with.
    credit: AtomicUsize,
    /// Bytes of marking that mutators owe and have not been asked for yet.
    owed: AtomicUsize,
    allocated: AtomicU64,
    at_start: AtomicUsize,
    at_end: AtomicUsize,
    /// Bytes of runway for each live one, as it would have been right for each of the last cycles; the largest counts.
    runways: Lock<[f64; MEMORY]>,
    /// Heap size when sweeping began, pages to sweep, and pages swept since.
    sweep_from: AtomicUsize,
    sweep_pages: AtomicUsize,
    swept: AtomicUsize,
}

/// What a goal is computed from, all in bytes.
#[derive(Clone, Copy, Debug)]
struct Sizes {
    /// Live objects.
    live: usize,
    min_heap: usize,
    /// Memory that is no live object, and cannot become one.
    overhead: usize,
    limit: Option<usize>,
    /// The reservation.
    capacity: usize,
}

/// The heap size at which a cycle should have ended; `usize::MAX`: never.
fn goal_of(percent: Option<u32>, s: Sizes) -> usize {
    let grown = |bytes: usize, percent: u32| (bytes as u128 * u128::from(percent) / 100).min(1 << 62) as usize;
    let by_percent = percent.map_or(usize::MAX, |p| (s.live + grown(s.live, p)).max(grown(s.min_heap, p)));
    let by_limit = s.limit.map_or(usize::MAX, |limit| limit.saturating_sub(s.overhead + (limit / 32).max(1 << 20)));
    // As far as the address space goes a little more growth is better than one cycle after the other.
    let by_capacity = (s.capacity / 16 * 15).saturating_sub(s.overhead).max(s.live + s.live / 16);
    by_percent.min(by_limit.max(s.live)).min(by_capacity)
}

/// Where a cycle starts so that `runway` bytes are left to the goal.
fn trigger_of(live: usize, goal: usize, runway: usize) -> usize {
    if goal == usize::MAX {
        return usize::MAX;
    }
    let way = goal.saturating_sub(live);
    live + way.saturating_sub(runway).clamp(way / 2, way / 20 * 19)
}

/// How far the heap may grow beyond a goal that cannot be met.
fn beyond(goal: usize) -> usize {
    goal.saturating_add(goal / 10)
}

/// What a cycle took: processor time in nanoseconds, and bytes.
struct Cycle {
    /// The time of all Ps while it marked.
    all: f64,
    /// The part of workers and idle Ps.
    others: f64,
    /// The part of mutators that assisted.
    assists: f64,
    /// Allocated meanwhile.
    consumed: f64,
    marked: f64,
}

/// Bytes that mutators allocate while others mark one byte, if nobody assists.
fn runway_per_byte(c: Cycle) -> f64 {
    if c.marked <= 0.0 || c.all <= 0.0 {
        // Too short to tell anything.
        return 0.0;
    }
    let marking = c.others + c.assists;
    let cons_mark = (c.consumed / (c.all - marking).max(c.all / 100.0)) / (c.marked / marking.max(1.0));
    let share = (c.others / c.all).clamp(0.25, 0.9);
    cons_mark * (1.0 - share) / share
}

/// Bytes of pages that a heap will need until the next cycle has ended, and a tenth more: `in_use` bytes of pages held
/// `live` bytes of objects, and it will be as fragmented again. That says nothing of a heap with hardly an object, so
/// it counts for a factor of two at most.
fn keep_of(goal: usize, in_use: usize, live: usize) -> usize {
    let fragmented = (in_use as f64 / live.max(1) as f64).clamp(1.0, 2.0);
    // A float beyond the integers becomes the largest one.
    (goal as f64 * fragmented * 1.1) as usize
}

impl Pacer {
    pub fn new() -> Pacer {
        let zero = || AtomicUsize::new(0);
        Pacer {
            live: zero(),
            trigger: zero(),
            goal: zero(),
            base: zero(),
            fragments: zero(),
            expected: zero(),
            kept: zero(),
            done: zero(),
            credit: zero(),
            owed: zero(),
            allocated: AtomicU64::new(0),
            at_start: zero(),
            at_end: zero(),
            runways: Lock::new(Rank::Pacer, [0.0; MEMORY]),
            sweep_from: zero(),
            sweep_pages: zero(),
            swept: zero(),
        }
    }

    /// The heap was made.
    pub fn start(&self, heap: &Heap) {
        self.goal.store(self.goal_now(heap), O);
        // Nothing is known of how fast marking will be: as if slow.
        self.trigger.store(trigger_of(0, self.goal.load(O), usize::MAX), O);
    }

    fn goal_now(&self, heap: &Heap) -> usize {
        let config = &heap.config;
        // Without a percentage cycles run on request; only the limits bring one about by themselves.
        if config.percent.is_none() && config.memory_limit.is_none() {
            return usize::MAX;
        }
        let tables = if config.memory_limit.is_some() { heap.table_bytes() } else { 0 };
        let sizes = Sizes {
            live: self.base.load(O),
            min_heap: config.min_heap,
            overhead: self.fragments.load(O) + tables,
            limit: config.memory_limit,
            // A model's heap of four pages would be full at once.
            capacity: if cfg!(any(modelled, miri)) { usize::MAX } else { heap.bounds.bytes },
        };
        // What stays marked may be more than that. Before the next cycle it has to be swept, which takes a while.
        let live = self.live.load(O);
        goal_of(config.percent, sizes).max(if live > sizes.live { live + live / 8 } else { 0 })
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

    /// Bytes that will be allocated before the next cycle starts.
    #[inline]
    pub fn until_trigger(&self) -> usize {
        self.trigger.load(O).saturating_sub(self.live.load(O))
    }

    /// Marking starts. The world is stopped.
    pub fn begin(&self, heap: &Heap) {
        self.kept.store(if heap.marks_stay() { heap.counters.live_after_mark() } else { 0 }, O);
        self.done.store(0, O);
        self.credit.store(0, O);
        self.owed.store(0, O);
        self.at_start.store(self.live.load(O), O);
    }

    /// The marking of a cycle, `partial` or not, ends after `ns` nanoseconds. The world is stopped. Says what it has brought;
    /// [`plan`](Pacer::plan) is to come.
    pub fn end(&self, heap: &Heap, ns: u64, partial: bool) -> Yield {
        let (marked, _) = heap.cycle.marked();
        let at_end = self.live.load(O);
        self.at_end.store(at_end, O);
        self.learn(heap, ns, at_end);
        let in_use = heap.pages.usage().in_use();
        self.live.store(marked, O);
        self.fragments.store((in_use * PAGE_SIZE).saturating_sub(at_end), O);
        let kept = self.kept.load(O);
        let few_alive = marked.saturating_sub(kept) <= at_end.saturating_sub(kept) / 2;
        if !partial {
            self.base.store(marked, O);
        } else if !few_alive {
            // The heap grows. A full cycle is next, and has that much more to mark; but some of it will have died by then, or had
            // already with what was marked before: half of it counts.
            self.base.fetch_add(marked.saturating_sub(kept) / 2, O);
        }
        let (base, goal) = (self.base.load(O), self.goal_now(heap));
        self.goal.store(goal, O);
        self.sweep_from.store(marked, O);
        self.swept.store(0, O);
        self.sweep_pages.store(in_use, O);
        heap.scavenger.set_keep(self.keep(heap, in_use * PAGE_SIZE, at_end));
        heap.pretouch.try_again();
        let on_request = goal == usize::MAX;
        let enough = base >= heap.config.min_heap && goal - marked.min(goal) >= goal.saturating_sub(base) / 2;
        Yield {
            marked,
            spared: if few_alive { kept.saturating_sub(self.done.load(O)) } else { 0 },
            room: enough && !on_request && heap.config.memory_limit.is_none(),
        }
    }

    /// When the next cycle, `partial` or not, is to start. The world is stopped; [`end`](Pacer::end) came before.
    pub fn plan(&self, partial: bool) {
        let (live, goal) = (self.live.load(O), self.goal.load(O));
        let expected = if partial {
            let young = goal.saturating_sub(live) / YOUNG;
            if self.kept.load(O) > 0 { self.done.load(O).max(young) } else { young }
        } else {
            self.base.load(O)
        };
        self.expected.store(expected, O);
        let most = self.runways.lock().iter().fold(0.0_f64, |a, b| a.max(*b));
        let by_runway = trigger_of(live, goal, (most * expected as f64) as usize);
        // A full cycle after partial ones frees what has collected among the marked. It is rare, and the heap is as large as it
        // ever gets when it ends: so it starts as soon as there has been time to sweep.
        let soon = (goal.saturating_sub(live) / 4).max(live / 8);
        let early = if !partial && self.kept.load(O) > 0 { live + soon } else { usize::MAX };
        self.trigger.store(by_runway.min(early), O);
    }

    /// Learns how many bytes mutators allocate while others mark one. See the module's text.
    fn learn(&self, heap: &Heap, ns: u64, at_end: usize) {
        if self.kept.load(O) > 0 && self.done.load(O) < SAMPLE {
            return;
        }
        let worked = |kind: WorkKind| heap.cycle.worked[kind as usize].load(O) as f64;
        let others = worked(WorkKind::Dedicated) + worked(WorkKind::Idle);
        let consumed = at_end.saturating_sub(self.at_start.load(O));
        let now = runway_per_byte(Cycle {
            all: (ns * heap.procs() as u64) as f64,
            others,
            assists: worked(WorkKind::Assist),
            consumed: consumed as f64,
            marked: self.done.load(O) as f64,
        });
        let mut last = self.runways.lock();
        last.rotate_right(1);
        last[0] = now;
    }

    /// Bytes of pages that the heap may keep: what it needs, and what the limit leaves.
    fn keep(&self, heap: &Heap, in_use: usize, live: usize) -> usize {
        let by_limit =
            heap.config.memory_limit.map_or(usize::MAX, |l| (l / 20 * 19).saturating_sub(heap.table_bytes()));
        keep_of(self.goal.load(O), in_use, live).min(by_limit)
    }

    /// A worker marked `bytes` bytes (an assist otherwise).
    pub fn marked(&self, bytes: usize, by_worker: bool) {
        self.done.fetch_add(bytes, O);
        if by_worker {
            self.credit.fetch_add(bytes, O);
        }
    }

    /// Bytes to mark for each byte allocated now, times [`ONE`].
    fn ratio(&self) -> usize {
        let (live, goal, done) = (self.live.load(O), self.goal.load(O), self.done.load(O));
        // A heap with more alive than expected may still be all alive.
        let most = self.at_start.load(O).saturating_sub(self.kept.load(O));
        let expected = if done < self.expected.load(O) { self.expected.load(O) } else { most };
        let left = expected.saturating_sub(done).max(ASSIST_UNIT);
        // Past the goal there is a tenth of it left, and then nothing.
        let end = if live < goal { goal } else { beyond(goal) };
        let room = end.saturating_sub(live).max(ASSIST_UNIT);
        (left as u128 * ONE as u128 / room as u128).min(64 * ONE as u128) as usize
    }

    /// Whether the heap is as far beyond its goal as it may get.
    pub fn far_beyond_goal(&self) -> bool {
        self.live.load(O) >= beyond(self.goal.load(O)) && !faults::active(Fault::NoWaitBeyondGoal)
    }

    /// What a mutator has to mark before it allocates about `bytes`; mostly 0.
    pub fn debt(&self, bytes: usize) -> usize {
        let bytes = bytes.max(PAGE_SIZE);
        let owed = self.owed.fetch_add(bytes.saturating_mul(self.ratio()) / ONE, O);
        let far = self.far_beyond_goal();
        if owed < ASSIST_UNIT && !far {
            return 0;
        }
        let owed = self.owed.swap(0, O);
        if far {
            return owed.clamp(ASSIST_UNIT, ASSIST_MOST);
        }
        let mut paid = 0;
        // Take what the workers have earned.
        let _ = self.credit.fetch_update(O, O, |credit| {
            paid = credit.min(owed);
            Some(credit - paid)
        });
        (owed - paid).min(ASSIST_MOST)
    }

    /// A mutator that was asked for marking could not do `bytes` bytes of it in its slice. It, or another one, is asked
    /// again.
    pub fn owe(&self, bytes: usize) {
        self.owed.fetch_add(bytes, O);
    }

    /// `pages` pages were swept.
    pub fn swept(&self, pages: usize) {
        self.swept.fetch_add(pages, O);
    }

    /// How many pages should have been swept by now and were not.
    pub fn sweep_debt(&self) -> usize {
        let pages = self.sweep_pages.load(O);
        let (from, trigger) = (self.sweep_from.load(O), self.trigger.load(O));
        let way = trigger.saturating_sub(from) / 10 * 9;
        let gone = self.live.load(O).saturating_sub(from);
        let due = if way == 0 { pages } else { (pages as u128 * gone.min(way) as u128 / way as u128) as usize };
        due.saturating_sub(self.swept.load(O))
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

#[cfg(all(test, not(modelled)))]
mod tests {
    use super::*;

    const MB: usize = 1 << 20;

    fn sizes(live: usize) -> Sizes {
        Sizes { live, min_heap: 4 * MB, overhead: 0, limit: None, capacity: 1 << 36 }
    }

    #[test]
    fn the_goal_is_the_least_of_percent_limit_and_reservation() {
        assert_eq!(goal_of(Some(100), sizes(0)), 4 * MB, "the minimum heap");
        assert_eq!(goal_of(Some(50), sizes(0)), 2 * MB, "which scales with the percentage");
        assert_eq!(goal_of(Some(100), sizes(10 * MB)), 20 * MB);
        let limited = |live, mb| Sizes { limit: Some(mb * MB), overhead: MB, ..sizes(live) };
        assert_eq!(goal_of(Some(100), limited(10 * MB, 16)), 14 * MB, "a limit, less overhead and headroom");
        assert_eq!(goal_of(Some(100), limited(10 * MB, 100)), 20 * MB, "a limit far away");
        assert_eq!(goal_of(None, limited(10 * MB, 64)), 61 * MB, "a limit alone");
        assert_eq!(goal_of(Some(100), limited(100 * MB, 64)), 100 * MB, "never below what is live");
        let full = Sizes { capacity: 64 * MB, ..sizes(50 * MB) };
        assert_eq!(goal_of(Some(100), full), 60 * MB, "the reservation");
        assert!(goal_of(Some(100_000), sizes(usize::MAX >> 20)) > 0, "no overflow");
    }

    #[test]
    fn the_trigger_leaves_the_runway_within_bounds() {
        assert_eq!(trigger_of(100, 1100, 200), 900);
        assert_eq!(trigger_of(100, 1100, 0), 1050);
        assert_eq!(trigger_of(100, 1100, usize::MAX), 600);
        assert_eq!(trigger_of(100, 100, 5), 100);
        assert_eq!(trigger_of(100, usize::MAX, 0), usize::MAX);
    }

    #[test]
    fn a_full_cycle_after_partial_ones_starts_early() {
        let p = Pacer::new();
        p.goal.store(100 * MB, O);
        p.live.store(60 * MB, O);
        p.base.store(40 * MB, O);
        let trigger = |kept: usize, partial: bool| {
            p.kept.store(kept, O);
            p.plan(partial);
            p.trigger.load(O)
        };
        assert_eq!(trigger(0, false), 98 * MB, "nothing is known of how long it takes");
        assert_eq!(trigger(50 * MB, true), 98 * MB);
        assert_eq!(trigger(50 * MB, false), 70 * MB);
        p.goal.store(70 * MB, O);
        assert_eq!(trigger(50 * MB, false), 67 * MB + MB / 2, "there is as much to sweep");
        p.goal.store(64 * MB, O);
        assert_eq!(trigger(50 * MB, false), trigger(0, false), "no later than otherwise");
    }

    #[test]
    fn a_heap_keeps_what_it_will_need() {
        assert_eq!(keep_of(100 * MB, 60 * MB, 60 * MB), 110 * MB);
        assert_eq!(keep_of(100 * MB, 75 * MB, 60 * MB) / MB, 137);
        assert!(keep_of(4 * MB, MB, 416) < 9 * MB, "five objects on as many pages are not fragmentation");
        assert_eq!(keep_of(usize::MAX, MB, MB), usize::MAX);
    }

    #[test]
    fn the_runway_is_what_mutators_allocate_while_others_mark() {
        let cycle = Cycle { all: 100.0, others: 25.0, assists: 0.0, consumed: 75.0, marked: 100.0 };
        // A quarter of the time marked 100 bytes, the rest allocated 75.
        assert_eq!(runway_per_byte(cycle), 0.75);
        // A mutator that assisted for a third of its time would have allocated half as much again.
        let cycle = Cycle { all: 100.0, others: 25.0, assists: 25.0, consumed: 50.0, marked: 200.0 };
        assert_eq!(runway_per_byte(cycle), 0.75);
        // An idle P that marks all the time leaves less time to allocate.
        let cycle = Cycle { all: 100.0, others: 50.0, assists: 0.0, consumed: 50.0, marked: 200.0 };
        assert_eq!(runway_per_byte(cycle), 0.25);
        let nothing = Cycle { all: 100.0, others: 0.0, assists: 0.0, consumed: 5.0, marked: 0.0 };
        assert_eq!(runway_per_byte(nothing), 0.0);
    }

    #[test]
    fn credit_pays_first_and_nobody_pays_more_than_a_unit_of_a_slice() {
        let p = Pacer::new();
        p.goal.store(100 * MB, O);
        p.live.store(90 * MB, O);
        p.at_start.store(90 * MB, O);
        p.expected.store(40 * MB, O);
        // 40 MB for the 10 MB that are left.
        assert_eq!(p.ratio(), 4 * ONE);
        let pay = |bytes| {
            // The first call only runs into debt.
            p.debt(bytes);
            p.debt(8)
        };
        assert_eq!(pay(64 << 10), 4 * (64 << 10) + 4 * PAGE_SIZE);
        p.marked(10 * MB, true);
        assert_eq!(p.ratio(), 3 * ONE, "done is done");
        assert_eq!(pay(64 << 10), 0, "the worker has paid");
        p.credit.store(0, O);
        assert_eq!(pay(50 * MB), ASSIST_MOST);
        // A tenth beyond the goal nobody lives on credit.
        p.credit.store(50 * MB, O);
        p.live.store(109 * MB, O);
        assert_eq!(pay(8), 0);
        p.live.store(110 * MB, O);
        assert_eq!(pay(8), 64 * PAGE_SIZE);
        p.live.store(90 * MB, O);
        p.owed.store(0, O);
        p.credit.store(0, O);
        // More alive than expected: in the end everything that was there.
        p.marked(40 * MB, false);
        assert_eq!(p.ratio(), 4 * ONE);
        assert_eq!(p.credit.load(O), 0, "assists earn nothing");
    }

    #[test]
    fn sweep_debt_grows_to_all_pages_before_the_trigger() {
        let p = Pacer::new();
        p.sweep_from.store(100 * MB, O);
        p.trigger.store(200 * MB, O);
        p.sweep_pages.store(1000, O);
        p.live.store(100 * MB, O);
        assert_eq!(p.sweep_debt(), 0);
        p.live.store(145 * MB, O);
        assert_eq!(p.sweep_debt(), 500);
        p.swept(400);
        assert_eq!(p.sweep_debt(), 100);
        p.live.store(199 * MB, O);
        assert_eq!(p.sweep_debt(), 600);
    }
}
