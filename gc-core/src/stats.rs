//! Counters, statistics and the `gctrace` line.

use crate::events::Event;
use crate::heap::{Heap, PAGE_SIZE};
use crate::mark::WorkKind;
use crate::sync::{AtomicU64, AtomicUsize, Lock, Ordering, Rank, nanos};
use crate::world::StopReason;
use core::fmt;
use std::time::Duration;

// Relaxed throughout: statistics.
const O: Ordering = Ordering::Relaxed;

/// What the collector has done. All figures are since the heap was made, unless they say otherwise. Sizes are in bytes.
///
/// "At a refill" means when a P takes a free run of slots into its cache, or makes a large object; "at the end of
/// marking", under the stop that ends it. Times are of the wall clock, except processor times.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Cycles whose marking has ended.
    pub cycles: u32,
    /// Of these: partial ones, which kept the marks of the one before.
    pub partial_cycles: u64,
    /// In use: what the last cycle left alive plus what was allocated since, in slots. At a refill, to the page; set
    /// to `marked_bytes` at the end of marking.
    pub heap_live: usize,
    /// Heap size at which the next cycle should have ended; `usize::MAX` if cycles only run on request. At the end of
    /// marking.
    pub heap_goal: usize,
    /// What the last cycle found alive, or, if it was partial, an earlier one. At the end of marking.
    pub marked_bytes: usize,
    /// Objects that the last cycle found alive, or an earlier one. At the end of marking.
    pub marked_objects: usize,
    /// Slots ever handed out. At a refill.
    pub allocated_bytes: u64,
    /// Pages that were ever used. Now.
    pub heap_used: usize,
    /// Of `heap_used`: free. Now.
    pub heap_free: usize,
    /// Of `heap_free`: given back to the operating system. Now. The heap's part of the resident set is at most
    /// `heap_used - heap_returned`.
    pub heap_returned: usize,
    /// What counts against the memory limit: `heap_used - heap_returned` and the tables that grow with the heap. Now.
    pub footprint: usize,
    /// Stops of the world by the collector. Behind each of them, as the next three.
    pub stops: u64,
    /// Sum of the times from the request of a stop until the world stood, by the collector's stops.
    pub time_to_stop: Duration,
    /// Sum of the times that the world stood, by the collector's stops.
    pub time_stopped: Duration,
    /// Longest time that the world stood in one of the collector's stops.
    pub longest_stop: Duration,
    /// Processor time of marking by mutators (assists), workers (a quarter of the Ps), and idle Ps. Behind each slice,
    /// as the next five.
    pub mark_assist: Duration,
    /// See `mark_assist`.
    pub mark_dedicated: Duration,
    /// See `mark_assist`.
    pub mark_idle: Duration,
    /// Longest scan of a part of a large object, in bytes; smaller objects are scanned whole.
    pub largest_piece: usize,
    /// The longest slice of marking: what waited for that P waited no longer.
    pub longest_slice: Duration,
    /// Slices of marking by mutators.
    pub assists: u64,
    /// Bytes marked by mutators.
    pub assist_bytes: u64,
    /// Spans swept, except by refills that use them at once. Behind each slice.
    pub swept_spans: u64,
    /// Memory ever given back to the operating system. Behind each piece of a mebibyte at most.
    pub scavenged_bytes: u64,
    /// Time of the system calls that gave it back.
    pub scavenge_time: Duration,
    /// Memory ever made ready for use ahead of need. Behind each piece of 128 KiB at most.
    pub pretouched_bytes: u64,
    /// Time of the system calls that did it.
    pub pretouch_time: Duration,
    /// How often the cap on the collector's processor time under a memory limit came into effect.
    pub limited: u64,
    /// Drops of dead objects and cleanups that are to run, as far as is swept. Now.
    pub afterlife_due: usize,
    /// Dead objects that were dropped. Behind each call of [`run_afterlife`](crate::Heap::run_afterlife).
    pub dropped_objects: u64,
    /// Cleanups that have run. As `dropped_objects`.
    pub cleanups: u64,
    /// Objects that the verifier has walked, over all cycles; 0 unless it is on. At the end of marking.
    pub verified_objects: u64,
    /// Stack words that pointed to dead slots when the verifier looked. At the end of marking.
    pub stale_words: u64,
}

/// The collector's memory outside the pages of its heap, by kind, in bytes: now. Tables count as far as they are in use.
/// Source: Go's `MemStats` (`MSpanSys`, `GCSys`, `OtherSys`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct OffHeap {
    /// What there is for each page that was ever used: page map, spans, marks.
    pub page_tables: usize,
    /// Buffers for grey objects.
    pub work_buffers: usize,
    /// Records of weak pointers and cleanups.
    pub afterlife: usize,
    /// Sites of the heap profile.
    pub profile: usize,
    /// Slots of `Root`s.
    pub roots: usize,
    /// What is never given back: the collector's parts of Ps with their barrier buffers and caches, types' bitmaps,
    /// listeners. Of all heaps of the process.
    pub persistent: usize,
    /// Lists of the verifier, while it walks. Of all heaps of the process.
    pub lists: usize,
}

impl Heap {
    /// The collector's memory outside its pages, by kind. May be called without a P.
    pub fn off_heap(&self) -> OffHeap {
        let (persistent, lists) = crate::offheap::in_use();
        OffHeap {
            page_tables: self.page_table_bytes(),
            work_buffers: self.work.table_bytes(),
            afterlife: self.afterlife.records.bytes(),
            profile: self.profile.bytes(),
            roots: self.roots.bytes(),
            persistent,
            lists,
        }
    }
}

/// The listener that every heap has: what [`Stats`] and `gctrace` are made from.
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
    longest_slice_ns: AtomicU64,
    assists: AtomicU64,
    assist_bytes: AtomicU64,
    swept: AtomicU64,
    scavenged: AtomicU64,
    scavenge_ns: AtomicU64,
    pretouched: AtomicU64,
    pretouch_ns: AtomicU64,
    limited: AtomicU64,
    drops: AtomicU64,
    cleanups: AtomicU64,
    partial: AtomicU64,
    live_after: AtomicUsize,
    objects_after: AtomicUsize,
    /// Of the current cycle, for its line.
    cycle: Lock<CycleTimes>,
}

#[derive(Default)]
struct CycleTimes {
    /// (to stop, stopped) of the two stops.
    start: (u64, u64),
    end: (u64, u64),
    worked: [u64; 3],
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
            longest_slice_ns: zero(),
            assists: zero(),
            assist_bytes: zero(),
            swept: zero(),
            scavenged: zero(),
            scavenge_ns: zero(),
            pretouched: zero(),
            pretouch_ns: zero(),
            limited: zero(),
            drops: zero(),
            cleanups: zero(),
            partial: zero(),
            live_after: AtomicUsize::new(0),
            objects_after: AtomicUsize::new(0),
            cycle: Lock::new(Rank::Stats, CycleTimes::default()),
        }
    }

    /// Counts an allocation (only where every one comes by).
    pub fn count_alloc(&self) -> u64 {
        self.allocs.fetch_add(1, O)
    }

    pub fn live_after_mark(&self) -> usize {
        self.live_after.load(O)
    }

    /// The verifier walked `objects` and met `stale` stack words that point to dead slots.
    pub fn verified(&self, objects: usize, stale: usize) {
        self.verified.fetch_add(objects as u64, O);
        self.stale.fetch_add(stale as u64, O);
    }

    /// What the cycle that ends found; the world is stopped. The next one's pace depends on it, so it does not wait
    /// for the event.
    pub fn marked(&self, bytes: usize, objects: usize) {
        self.live_after.store(bytes, O);
        self.objects_after.store(objects, O);
    }

    /// Counts an event.
    pub fn on(&self, event: &Event) {
        match *event {
            Event::Stop { to_stop_ns, stopped_ns, reason } => {
                self.stops.fetch_add(1, O);
                self.stop_ns.fetch_add(to_stop_ns, O);
                self.stopped_ns.fetch_add(stopped_ns, O);
                self.longest_ns.fetch_max(stopped_ns, O);
                let mut cycle = self.cycle.lock();
                match reason {
                    StopReason::GcStart => cycle.start = (to_stop_ns, stopped_ns),
                    _ => cycle.end = (to_stop_ns, stopped_ns),
                }
            }
            Event::Mark { kind, ns, cpu_ns, bytes } => {
                self.worked_ns[kind as usize].fetch_add(cpu_ns, O);
                self.longest_slice_ns.fetch_max(ns, O);
                if kind == WorkKind::Assist {
                    self.assists.fetch_add(1, O);
                    self.assist_bytes.fetch_add(bytes as u64, O);
                }
            }
            Event::Sweep { spans } => {
                self.swept.fetch_add(spans as u64, O);
            }
            Event::Scavenge { bytes, ns } => {
                self.scavenged.fetch_add(bytes as u64, O);
                self.scavenge_ns.fetch_add(ns, O);
            }
            Event::Pretouch { bytes, ns } => {
                self.pretouched.fetch_add(bytes as u64, O);
                self.pretouch_ns.fetch_add(ns, O);
            }
            Event::Limited { on } => {
                self.limited.fetch_add(u64::from(on), O);
            }
            Event::Afterlife { drops, cleanups } => {
                self.drops.fetch_add(drops as u64, O);
                self.cleanups.fetch_add(cleanups as u64, O);
            }
            Event::CycleEnd { partial, .. } => {
                self.partial.fetch_add(u64::from(partial), O);
            }
            Event::CycleStart { .. } => {}
        }
    }

    /// The line of a cycle that has ended.
    pub fn trace(&self, heap: &Heap, event: &Event) {
        let Event::CycleEnd { cycle: number, partial, at_start, at_end, marked, goal, mark_ns, .. } = *event else {
            return;
        };
        let since = Duration::from_nanos(nanos() - self.made);
        let mut cycle = self.cycle.lock();
        let worked: [u64; 3] = std::array::from_fn(|i| self.worked_ns[i].load(O));
        let all: u64 = worked.iter().sum::<u64>() + self.stopped_ns.load(O);
        let share = all as f64 * 100.0 / (since.as_nanos() as f64 * heap.procs() as f64);
        let ms = |ns: u64| Ms(ns as f64 / 1e6);
        let cpu = |i: usize| ms(worked[i] - cycle.worked[i]);
        let mb = |bytes: usize| Ms(bytes as f64 / f64::from(1 << 20));
        crate::fatal::print_line(format_args!(
            "gc {number} @{:.3}s {share:.0}%: stop {}+{} mark {} stop {}+{} ms (to stop+stopped), \
             cpu {}/{}/{} ms (assist/dedicated/idle), {}->{}->{} MiB, {} MiB goal, {} P{}",
            since.as_secs_f64(),
            ms(cycle.start.0),
            ms(cycle.start.1),
            ms(mark_ns),
            ms(cycle.end.0),
            ms(cycle.end.1),
            cpu(2),
            cpu(0),
            cpu(1),
            mb(at_start),
            mb(at_end),
            mb(marked),
            mb(goal),
            heap.procs(),
            if partial { ", partial" } else { "" },
        ));
        cycle.worked = worked;
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
        let usage = heap.pages.usage();
        let ns = |a: &AtomicU64| Duration::from_nanos(a.load(O));
        Stats {
            cycles: heap.cycle.completed(),
            partial_cycles: c.partial.load(O),
            heap_live,
            heap_goal,
            marked_bytes: c.live_after.load(O),
            marked_objects: c.objects_after.load(O),
            allocated_bytes,
            heap_used: usage.top * PAGE_SIZE,
            heap_free: usage.free * PAGE_SIZE,
            heap_returned: usage.returned * PAGE_SIZE,
            footprint: (usage.top - usage.returned) * PAGE_SIZE + heap.table_bytes(),
            stops: c.stops.load(O),
            time_to_stop: ns(&c.stop_ns),
            time_stopped: ns(&c.stopped_ns),
            longest_stop: ns(&c.longest_ns),
            mark_assist: ns(&c.worked_ns[2]),
            mark_dedicated: ns(&c.worked_ns[0]),
            mark_idle: ns(&c.worked_ns[1]),
            largest_piece: heap.cycle.largest_piece.load(O),
            longest_slice: ns(&c.longest_slice_ns),
            assists: c.assists.load(O),
            assist_bytes: c.assist_bytes.load(O),
            swept_spans: c.swept.load(O),
            scavenged_bytes: c.scavenged.load(O),
            scavenge_time: ns(&c.scavenge_ns),
            pretouched_bytes: c.pretouched.load(O),
            pretouch_time: ns(&c.pretouch_ns),
            limited: c.limited.load(O),
            afterlife_due: heap.afterlife.due(),
            dropped_objects: c.drops.load(O),
            cleanups: c.cleanups.load(O),
            verified_objects: c.verified.load(O),
            stale_words: c.stale.load(O),
        }
    }
}
