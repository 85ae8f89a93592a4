//! Counters, statistics and the `gctrace` line.

use crate::heap::{Heap, PAGE_SIZE};
use crate::sync::{AtomicU64, AtomicUsize, Lock, Ordering, nanos};
use crate::world::StopReason;
use core::fmt;
use std::time::Duration;

// Relaxed throughout: statistics.
const O: Ordering = Ordering::Relaxed;

/// What the collector has done. All figures are since the heap was made, unless they say otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Cycles whose marking has ended.
    pub cycles: u32,
    /// Bytes in use: what the last cycle left alive plus what was allocated since, in slots, to the page.
    pub heap_live: usize,
    /// Bytes at which the next cycle should have ended; `usize::MAX` if cycles only run on request.
    pub heap_goal: usize,
    /// Bytes that the last cycle found alive.
    pub marked_bytes: usize,
    /// Objects that the last cycle found alive.
    pub marked_objects: usize,
    /// Bytes of slots ever handed out.
    pub allocated_bytes: u64,
    /// Bytes of pages that were ever used; the heap's part of the resident set is at most this.
    pub heap_used: usize,
    /// Bytes of `heap_used` that are free now.
    pub heap_free: usize,
    /// Stops of the world by the collector.
    pub stops: u64,
    /// Sum of the times from the request of a stop until the world stood, by the collector's stops.
    pub time_to_stop: Duration,
    /// Sum of the times that the world stood, by the collector's stops.
    pub time_stopped: Duration,
    /// Longest time that the world stood in one of the collector's stops.
    pub longest_stop: Duration,
    /// Processor time of marking by mutators (assists), workers (a quarter of the Ps), and idle Ps.
    pub mark_assist: Duration,
    /// See `mark_assist`.
    pub mark_dedicated: Duration,
    /// See `mark_assist`.
    pub mark_idle: Duration,
    /// Longest scan of a part of a large object, in bytes; smaller objects are scanned whole.
    pub largest_piece: usize,
    /// Drops of dead objects and cleanups that are to run.
    pub afterlife_due: usize,
    /// Dead objects that were dropped.
    pub dropped_objects: u64,
    /// Cleanups that have run.
    pub cleanups: u64,
    /// Objects that the verifier has walked, over all cycles; 0 unless it is on.
    pub verified_objects: u64,
    /// Stack words that pointed to dead slots when the verifier looked.
    pub stale_words: u64,
}

pub(crate) struct Counters {
    /// When the heap was made ([`nanos`]).
    made: u64,
    allocs: AtomicU64,
    stops: AtomicU64,
    stop_ns: AtomicU64,
    stopped_ns: AtomicU64,
    longest_ns: AtomicU64,
    verified: AtomicU64,
    stale: AtomicU64,
    worked_ns: [AtomicU64; 3],
    live_after: AtomicUsize,
    objects_after: AtomicUsize,
    /// Of the current cycle: (to stop, stopped) of its two stops, and the length of marking.
    cycle: Lock<CycleTimes>,
}

#[derive(Default)]
struct CycleTimes {
    start: (Duration, Duration),
    end: (Duration, Duration),
    mark: Duration,
    worked: [u64; 3],
    goal: usize,
}

impl Counters {
    pub fn new() -> Counters {
        let zero = || AtomicU64::new(0);
        Counters {
            made: nanos(),
            allocs: zero(),
            stops: zero(),
            stop_ns: zero(),
            stopped_ns: zero(),
            longest_ns: zero(),
            verified: zero(),
            stale: zero(),
            worked_ns: [zero(), zero(), zero()],
            live_after: AtomicUsize::new(0),
            objects_after: AtomicUsize::new(0),
            cycle: Lock::new(CycleTimes::default()),
        }
    }

    /// Counts an allocation (only where every one comes by).
    pub fn count_alloc(&self) -> u64 {
        self.allocs.fetch_add(1, O)
    }

    pub fn live_after_mark(&self) -> usize {
        self.live_after.load(O)
    }

    /// A stop by the collector: how long it took to come about, and how long it lasted.
    pub fn stopped(&self, why: StopReason, to_stop: u64, stopped: u64) {
        self.stops.fetch_add(1, O);
        self.stop_ns.fetch_add(to_stop, O);
        self.stopped_ns.fetch_add(stopped, O);
        self.longest_ns.fetch_max(stopped, O);
        let times = (Duration::from_nanos(to_stop), Duration::from_nanos(stopped));
        let mut cycle = self.cycle.lock();
        match why {
            StopReason::GcStart => cycle.start = times,
            _ => cycle.end = times,
        }
    }

    /// The verifier walked `objects` and met `stale` stack words that point to dead slots.
    pub fn verified(&self, objects: usize, stale: usize) {
        self.verified.fetch_add(objects as u64, O);
        self.stale.fetch_add(stale as u64, O);
    }

    /// Marking has ended; the world is stopped.
    pub fn cycle_ended(&self, heap: &Heap, began: u64) {
        let (bytes, objects) = heap.cycle.marked();
        self.live_after.store(bytes, O);
        self.objects_after.store(objects, O);
        let mut cycle = self.cycle.lock();
        cycle.mark = Duration::from_nanos(nanos().saturating_sub(began));
        for (i, w) in heap.cycle.worked.iter().enumerate() {
            cycle.worked[i] = w.load(O);
            self.worked_ns[i].fetch_add(cycle.worked[i], O);
        }
        cycle.goal = heap.pacer.figures().1;
    }

    /// The `gctrace` line of cycle `number`, if wanted.
    pub fn trace(&self, heap: &Heap, number: u32) {
        if !heap.config.gctrace {
            return;
        }
        let since = Duration::from_nanos(nanos() - self.made);
        let cycle = self.cycle.lock();
        let all: u64 = self.worked_ns.iter().map(|w| w.load(O)).sum::<u64>() + self.stopped_ns.load(O);
        let share = all as f64 * 100.0 / (since.as_nanos() as f64 * heap.config.procs as f64);
        let ms = |d: Duration| Ms(d.as_secs_f64() * 1e3);
        let cpu = |i: usize| Ms(cycle.worked[i] as f64 / 1e6);
        let mb = |bytes: usize| Ms(bytes as f64 / f64::from(1 << 20));
        let (at_start, at_end) = heap.pacer.last();
        crate::fatal::print_line(format_args!(
            "gc {number} @{:.3}s {share:.0}%: stop {}+{} mark {} stop {}+{} ms (to stop+stopped), \
             cpu {}/{}/{} ms (assist/dedicated/idle), {}->{}->{} MiB, {} MiB goal, {} P",
            since.as_secs_f64(),
            ms(cycle.start.0),
            ms(cycle.start.1),
            ms(cycle.mark),
            ms(cycle.end.0),
            ms(cycle.end.1),
            cpu(2),
            cpu(0),
            cpu(1),
            mb(at_start),
            mb(at_end),
            mb(self.live_after.load(O)),
            mb(cycle.goal),
            heap.config.procs,
        ));
    }
}

/// A figure with three significant digits or so.
struct Ms(f64);

impl fmt::Display for Ms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = match self.0 {
            x if x < 1.0 => 3,
            x if x < 10.0 => 2,
            x if x < 100.0 => 1,
            _ => 0,
        };
        write!(f, "{:.*}", digits, self.0)
    }
}

impl Stats {
    pub(crate) fn collect(heap: &Heap) -> Stats {
        let c = &heap.counters;
        let (heap_live, heap_goal, allocated_bytes) = heap.pacer.figures();
        let (used, free) = heap.pages.usage();
        let (afterlife_due, dropped_objects, cleanups) = heap.afterlife.figures();
        let ns = |a: &AtomicU64| Duration::from_nanos(a.load(O));
        Stats {
            cycles: heap.cycle.completed(),
            heap_live,
            heap_goal,
            marked_bytes: c.live_after.load(O),
            marked_objects: c.objects_after.load(O),
            allocated_bytes,
            heap_used: used * PAGE_SIZE,
            heap_free: free * PAGE_SIZE,
            stops: c.stops.load(O),
            time_to_stop: ns(&c.stop_ns),
            time_stopped: ns(&c.stopped_ns),
            longest_stop: ns(&c.longest_ns),
            mark_assist: ns(&c.worked_ns[2]),
            mark_dedicated: ns(&c.worked_ns[0]),
            mark_idle: ns(&c.worked_ns[1]),
            largest_piece: heap.cycle.largest_piece.load(O),
            afterlife_due,
            dropped_objects,
            cleanups,
            verified_objects: c.verified.load(O),
            stale_words: c.stale.load(O),
        }
    }
}
