//! A cycle, from trigger to sweep.
//!
//! ```text
//!  Off ──start_cycle──► Mark ──terminate──► Off
//! ```
//! This is a full cycle; `partial` says what is different where marks stay.
//!
//! 1. **Start** (by a mutator in its allocation slow path, or `collect`): sweep what is left, so that both maps are
//!    what they should be; stop the world; swap the maps, turn the barrier on, hand out the root jobs; go on.
//! 2. **Mark**, concurrently, in slices of at most a millisecond: by workers (a quarter of the Ps' time), by idle Ps,
//!    and by mutators that allocate fast (assists).
//! 3. **Terminate** (by a marker that finds no work): a ragged barrier makes every P hand out its barrier buffer and
//!    its work. If anybody has handed out work or taken some meanwhile, marking goes on; else the world is stopped, and
//!    everything is looked at once more, since a P may have recorded a pointer after its turn. If nothing is left, marking
//!    is done: barrier off, maps swapped, everything unswept.
//!
//! Both flips happen with every P stopped, so a store, an allocation or a scan sees one phase only. What would break
//! without the second look: a store between a P's turn in the ragged barrier and the stop shades an object that
//! nobody scans. What would break if the ragged barrier only looked whether there is work on the list in the end: a marker
//! has taken what another one handed out, and the world is stopped in vain.

use super::MarkMap;
use crate::events::Event;
use crate::faults::{self, Fault};
use crate::heap::{Heap, Phase};
use crate::mark::Partial;
use crate::p::GcP;
use crate::stress::Window;
use crate::sync::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering, cpu_nanos, lower, nanos};
use crate::world::StopReason;
use barrier_lint::nowritebarrierrec;

/// The longest time a marker works before it looks for others, nanoseconds.
const SLICE: u64 = 1_000_000;

/// On whose account marking is done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WorkKind {
    /// A worker's share: a quarter of the Ps.
    Dedicated,
    /// A P that has nothing else to do.
    Idle,
    /// A mutator that allocates, or that waits for the cycle.
    Assist,
}

/// The state of the current cycle.
pub(crate) struct Cycle {
    /// Number of the last cycle that started.
    number: AtomicU32,
    /// Number of the last cycle whose marking ended.
    completed: AtomicU32,
    phase: AtomicU32,
    /// Grows by 2 when marking ends; see `heap::span`.
    sweepgen: AtomicU32,
    /// Which of the two maps says what is alive; while marking, the other one takes the marks.
    alive: AtomicUsize,
    /// Somebody is starting a cycle.
    starting: AtomicBool,
    pub(super) partial: Partial,
    /// Somebody is trying to end marking.
    terminating: AtomicBool,
    marked_bytes: AtomicUsize,
    marked_objects: AtomicUsize,
    /// Longest scan of a piece of a large object, in bytes, over all cycles.
    pub(crate) largest_piece: AtomicUsize,
    /// Processor nanoseconds of marking in this cycle, by [`WorkKind`].
    pub(crate) worked: [AtomicU64; 3],
    /// When marking began ([`nanos`]).
    began: AtomicU64,
}

impl Cycle {
    pub fn new() -> Cycle {
        Cycle {
            number: AtomicU32::new(0),
            completed: AtomicU32::new(0),
            phase: AtomicU32::new(Phase::Off as u32),
            sweepgen: AtomicU32::new(0),
            alive: AtomicUsize::new(0),
            starting: AtomicBool::new(false),
            partial: Partial::new(),
            terminating: AtomicBool::new(false),
            marked_bytes: AtomicUsize::new(0),
            marked_objects: AtomicUsize::new(0),
            largest_piece: AtomicUsize::new(0),
            worked: std::array::from_fn(|_| AtomicU64::new(0)),
            began: AtomicU64::new(0),
        }
    }

    /// Adds to what was marked in this cycle.
    #[nowritebarrierrec]
    pub fn count_marked(&self, bytes: usize, objects: usize) {
        // Relaxed: summed up in the stop that ends marking.
        self.marked_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.marked_objects.fetch_add(objects, Ordering::Relaxed);
    }

    /// Bytes and objects marked by the last cycle (or so far by this one).
    pub fn marked(&self) -> (usize, usize) {
        (self.marked_bytes.load(Ordering::Relaxed), self.marked_objects.load(Ordering::Relaxed))
    }

    /// Number of the last cycle whose marking ended.
    pub fn completed(&self) -> u32 {
        // Acquire: pairs with the Release in `finish_mark`: the cycle's results are there.
        self.completed.load(Ordering::Acquire)
    }
}

impl Heap {
    // Relaxed loads of the three below: they change only while the world is stopped, and every reader holds a P (or
    // was stopped in between).

    /// The number of the last cycle that started; 0 before the first.
    #[nowritebarrierrec]
    #[inline]
    pub fn cycle(&self) -> u32 {
        self.cycle.number.load(Ordering::Relaxed)
    }

    /// Whether marking is on.
    #[nowritebarrierrec]
    #[inline]
    pub fn marking(&self) -> bool {
        self.cycle.phase.load(Ordering::Relaxed) == Phase::Mark as u32
    }

    /// What the collector is doing.
    pub fn phase(&self) -> Phase {
        if self.marking() { Phase::Mark } else { Phase::Off }
    }

    #[nowritebarrierrec]
    pub(crate) fn sweepgen(&self) -> u32 {
        self.cycle.sweepgen.load(Ordering::Relaxed)
    }

    /// The map that says which slots were alive when the last cycle ended.
    #[nowritebarrierrec]
    #[inline(always)]
    pub(crate) fn alloc_map(&self) -> &MarkMap {
        &self.maps[self.cycle.alive.load(Ordering::Relaxed)]
    }

    /// The map that takes the marks; between cycles, the one that the sweeper clears.
    #[nowritebarrierrec]
    #[inline(always)]
    pub(crate) fn mark_map(&self) -> &MarkMap {
        &self.maps[self.cycle.alive.load(Ordering::Relaxed) ^ 1]
    }

    /// Starts a cycle, unless one runs or somebody else is about to. The caller holds a P, on a stack that is no
    /// root. Says whether it did.
    pub(crate) fn start_cycle(&self) -> bool {
        // Acquire and Release: the starters take turns.
        if self.marking() || self.cycle.starting.swap(true, Ordering::Acquire) {
            return false;
        }
        let before = self.cycle();
        let begin = nanos();
        self.finish_sweep();
        self.roots.reclaim_dropped();
        let t0 = nanos();
        let stop = !faults::active(Fault::BarrierLate);
        if stop {
            self.stop_the_world(StopReason::GcStart);
        }
        let t1 = nanos();
        // The stop may have waited for another one, in which a cycle started and even ended.
        let mine = !self.marking() && self.cycle() == before;
        if mine {
            self.begin_mark();
        }
        if stop {
            self.start_the_world();
        }
        self.stopped(StopReason::GcStart, t1 - t0, nanos() - t1);
        self.limiter.took(t0 - begin);
        lower(&self.cycle.starting, Ordering::Release);
        if mine {
            let (live, goal, _) = self.pacer.figures();
            self.emit(&Event::CycleStart { cycle: before.wrapping_add(1), live, goal });
            self.world.wake_workers();
        }
        mine
    }

    /// Counts a stop.
    fn stopped(&self, reason: StopReason, to_stop_ns: u64, stopped_ns: u64) {
        // All Ps stood.
        self.limiter.took(stopped_ns * self.procs() as u64);
        self.emit(&Event::Stop { reason, to_stop_ns, stopped_ns });
        self.limiter.update(self);
    }

    /// The flip that starts marking. The world is stopped.
    fn begin_mark(&self) {
        let c = &self.cycle;
        // Relaxed throughout: the stop orders them.
        let number = c.number.load(Ordering::Relaxed).wrapping_add(1);
        c.number.store(number, Ordering::Relaxed);
        // What stays marked stays counted.
        if !self.marks_stay() {
            c.marked_bytes.store(0, Ordering::Relaxed);
            c.marked_objects.store(0, Ordering::Relaxed);
        }
        c.worked.iter().for_each(|w| w.store(0, Ordering::Relaxed));
        c.began.store(nanos(), Ordering::Relaxed);
        if self.marks_stay() {
            for q in self.ps() {
                // SAFETY: the world is stopped: the stopper acts for every P.
                unsafe { q.flush() };
            }
        }
        let stacks = self.world.begin_mark(number);
        self.work.jobs.start(self.roots.pieces(), stacks);
        self.pacer.begin(self);
        c.phase.store(Phase::Mark as u32, Ordering::Relaxed);
        for q in self.ps() {
            q.worked.store(0, Ordering::Relaxed);
        }
        if faults::active(Fault::BarrierLate) {
            faults::linger(2000);
        }
        self.write_states();
        crate::sync::step("marking begins", 0);
    }

    /// Marks for at most a millisecond; between cycles a dedicated worker starts one that is overdue. The caller holds `p`, on
    /// a stack that is no root and with no goroutine. May stop the world, to end marking. `false`: found nothing to do.
    pub fn mark_slice(&self, p: &'static GcP, kind: WorkKind) -> bool {
        if !self.marking() {
            return kind == WorkKind::Dedicated && self.overdue() && self.start_cycle();
        }
        self.mark_some(p, kind, usize::MAX).0
    }

    /// As [`mark_slice`](Heap::mark_slice) while marking, until about `bytes` bytes are scanned. Says how many were, too.
    fn mark_some(&self, p: &'static GcP, kind: WorkKind, bytes: usize) -> (bool, usize) {
        let (begin, cpu) = (nanos(), cpu_nanos());
        let worker = kind != WorkKind::Assist;
        let (mut scanned, mut did) = (0, false);
        loop {
            // What is scanned counts at once, so that mutators need not pay for it.
            let mut counted = 0;
            let now = self.drain(p, &mut |n| {
                self.pacer.marked(n - core::mem::replace(&mut counted, n), worker);
                scanned + n >= bytes || nanos() - begin >= SLICE
            });
            self.pacer.marked(now - counted, worker);
            // SAFETY: this thread holds `p`; the marker's borrow has ended.
            if unsafe { p.gcw() }.has_shared() {
                self.world.enlist_worker();
            }
            scanned += now;
            did |= now > 0;
            // Relaxed: a hint.
            if scanned >= bytes || nanos() - begin >= SLICE || p.preempt.load(Ordering::Relaxed) {
                break;
            }
            if self.work.any_full() {
                continue;
            }
            if self.root_job(p) {
                did = true;
                continue;
            }
            break;
        }
        let spent = nanos() - begin;
        // Relaxed: statistics.
        let cpu_ns = cpu_nanos() - cpu;
        self.cycle.worked[kind as usize].fetch_add(cpu_ns, Ordering::Relaxed);
        if kind == WorkKind::Dedicated {
            p.worked.fetch_add(spent, Ordering::Relaxed);
        }
        match kind {
            WorkKind::Idle => self.limiter.idled(spent),
            WorkKind::Dedicated | WorkKind::Assist => self.limiter.took(spent),
        }
        self.limiter.update(self);
        self.emit(&Event::Mark { kind, ns: spent, cpu_ns, bytes: scanned });
        (did || self.terminate(p), scanned)
    }

    /// Whether `p` owes the collector a slice: a quarter of its time since marking began; between cycles, the start of one
    /// that is overdue.
    #[inline]
    pub fn worker_due(&self, p: &GcP) -> bool {
        if self.marking() { self.owes(p) } else { self.overdue() }
    }

    fn owes(&self, p: &GcP) -> bool {
        // Relaxed: statistics.
        let since = nanos().saturating_sub(self.cycle.began.load(Ordering::Relaxed));
        p.worked.load(Ordering::Relaxed) * 4 <= since
    }

    /// Tries to end marking. The caller holds `p` and found no work. `true`: something happened, look again.
    fn terminate(&self, p: &'static GcP) -> bool {
        let may_be_done = || self.work.jobs.done() && !self.work.any_full();
        // Acquire and Release: those who try take turns.
        if !may_be_done() || self.cycle.terminating.swap(true, Ordering::Acquire) {
            return false;
        }
        let number = self.cycle();
        let handed_out = self.work.handed_out();
        crate::sync::modelled("Heap::terminate");
        if !faults::active(Fault::MarkedByCount) {
            self.world.for_each_p(&|q| {
                // SAFETY: the host runs this where nobody else uses that P (`World::for_each_p`).
                unsafe { q.flush() };
            });
        }
        self.window(Window::RaggedBarrierToStop);
        if faults::active(Fault::NoSecondLook) {
            faults::linger(1000);
        }
        let quiet = handed_out == self.work.handed_out() || faults::active(Fault::HandOutForgotten);
        if self.marking() && self.cycle() == number && quiet && may_be_done() {
            self.finish_mark(p, number);
        }
        lower(&self.cycle.terminating, Ordering::Release);
        true
    }

    /// Stops the world, looks once more, and ends marking if nothing is left.
    fn finish_mark(&self, p: &'static GcP, number: u32) {
        crate::sync::modelled("Heap::finish_mark");
        let t0 = nanos();
        self.stop_the_world(StopReason::MarkTermination);
        let t1 = nanos();
        let mut ended = None;
        if self.marking() && self.cycle() == number {
            let skip = faults::active(Fault::MarkedByCount);
            if !skip {
                for q in self.ps() {
                    // SAFETY: the world is stopped: the stopper acts for every P.
                    unsafe { q.flush() };
                }
            }
            let done = self.work.jobs.done() && !self.work.any_full();
            if done || skip || faults::active(Fault::NoSecondLook) {
                ended = Some(self.end_mark(p));
            }
        }
        let stopped = nanos() - t1;
        self.start_the_world();
        // The cached spans of this P are stale; the others' Ps find that when they are acquired.
        // SAFETY: this thread holds `p`.
        unsafe { p.cache() }.flush_if_stale(self);
        self.stopped(StopReason::MarkTermination, t1 - t0, stopped);
        if let Some(event) = ended {
            self.emit(&event);
        }
    }

    /// The flip that ends marking. The world is stopped, and there is no grey object. Returns what to tell
    /// about the cycle.
    fn end_mark(&self, p: &'static GcP) -> Event {
        if self.config.verify {
            self.verify(p);
        }
        let mut remembered = 0;
        for q in self.ps() {
            // SAFETY: the world is stopped: the stopper acts for every P.
            unsafe {
                q.cache().whiten(self);
                remembered += q.wb().take_remembered();
            }
        }
        let c = &self.cycle;
        // Relaxed throughout: the stop orders them.
        c.phase.store(Phase::Off as u32, Ordering::Relaxed);
        c.alive.fetch_xor(1, Ordering::Relaxed);
        c.sweepgen.fetch_add(2, Ordering::Relaxed);
        self.classes.sweep_at.store(0, Ordering::Relaxed);
        let goal = self.pacer.figures().1;
        let mark_ns = nanos().saturating_sub(c.began.load(Ordering::Relaxed));
        let (marked, objects) = c.marked();
        let partial = self.marks_stay();
        let number = c.number.load(Ordering::Relaxed);
        let brought = self.pacer.end(self, mark_ns, partial);
        self.choose_next(number, remembered, brought);
        self.pacer.plan(self.marks_stay());
        self.counters.marked(marked, objects);
        self.write_states();
        crate::sync::step("marking ends", 0);
        // Release: pairs with the Acquire in `completed`.
        c.completed.store(number, Ordering::Release);
        let (at_start, at_end) = self.pacer.last();
        Event::CycleEnd { cycle: number, partial, at_start, at_end, marked, objects, goal, mark_ns }
    }

    /// Runs `work` while no cycle runs: waits for the end of the current one, and none starts before `work` has returned
    /// (Go's `gcsema`). `work` runs as that of [`World::at_safepoint`](crate::World::at_safepoint) does; it must not
    /// panic, nor wait for a collection. One caller at a time. A safepoint; needs a P.
    pub fn between_cycles(&self, work: &mut dyn FnMut()) {
        // Acquire and Release: as in `start_cycle`, whose callers then believe that somebody else is about to start one.
        while self.cycle.starting.swap(true, Ordering::Acquire) {
            self.world.pause();
        }
        while self.marking() {
            let mut did = false;
            self.world.at_safepoint(&mut || did = self.mark_slice(GcP::current(), WorkKind::Assist));
            if !did {
                self.world.pause();
            }
        }
        self.world.at_safepoint(work);
        lower(&self.cycle.starting, Ordering::Release);
    }

    /// Runs a full cycle, sweep included, that starts after the call. A safepoint; needs a P.
    pub fn collect(&self) {
        let full = self.cycle().wrapping_add(1);
        let mut next = full;
        loop {
            // A partial one that is under way or to come is the last, and none comes behind a cycle that runs already.
            if self.marks_stay() || self.marking() {
                self.cycle.partial.want_full();
            }
            self.run_cycles(next);
            if self.cycle.partial.last_full().wrapping_sub(full) as i32 >= 0 {
                return;
            }
            next = self.cycle.completed().wrapping_add(1);
        }
    }

    /// Runs a cycle, partial if the next one is, and sweeps. As [`collect`](Heap::collect).
    pub fn collect_some(&self) {
        self.run_cycles(self.cycle().wrapping_add(1));
    }

    /// Runs cycles until number `want` has ended, and sweeps.
    fn run_cycles(&self, want: u32) {
        while (self.cycle.completed().wrapping_sub(want) as i32) < 0 {
            let mut did = false;
            self.world.at_safepoint(&mut || {
                let p = GcP::current();
                did = if self.marking() { self.mark_slice(p, WorkKind::Assist) } else { self.start_cycle() };
            });
            if !did {
                self.world.pause();
            }
        }
        self.world.at_safepoint(&mut || {
            let begin = nanos();
            self.finish_sweep();
            self.limiter.took(nanos() - begin);
        });
    }

    /// Before an allocation of about `bytes`: starts a cycle, assists, or only lets others stop us, if that is due. A
    /// safepoint: the goroutine may come back on another P.
    pub(crate) fn before_alloc(&self, p: &'static GcP, bytes: usize) {
        if self.config.gc_every > 0 && self.counters.count_alloc().is_multiple_of(u64::from(self.config.gc_every)) {
            self.collect_some();
            return;
        }
        if self.limiter.limited() {
            self.limiter.update(self);
        }
        let (marking, limited) = (self.marking(), self.limiter.limited());
        let start = !marking && !limited && (self.pacer.triggered() || self.overdue());
        let owed = if marking && !limited { self.pacer.debt(bytes) } else { 0 };
        // Relaxed: a hint; what it leads to synchronises.
        if start || owed > 0 || p.preempt.load(Ordering::Relaxed) {
            self.help(start, owed);
        }
    }

    /// A mutator comes to a safepoint and does its share: starts a cycle, or marks the bytes that it owes.
    ///
    /// There may be nothing for it to do: somebody else starts the cycle, or ends it, or marks the last objects. What it owes is
    /// forgiven then, unless the heap is far beyond its goal: there it pays, or waits for the others, whatever keeps them (the
    /// host may have taken their processor away), until the cycle has ended; the heap would grow for as long. It waits as
    /// `run_cycles` does, so nobody waits for a mutator that waits here.
    fn help(&self, mut start: bool, mut owed: usize) {
        let last = self.cycle.completed();
        loop {
            let mut helped = true;
            self.world.at_safepoint(&mut || {
                if owed > 0 && self.marking() {
                    let (did, marked) = self.mark_some(GcP::current(), WorkKind::Assist, owed);
                    (helped, owed) = (did, owed.saturating_sub(marked));
                } else if start {
                    helped = self.start_cycle() || self.marking();
                    start = !helped;
                }
            });
            let over = self.cycle.completed() != last || self.limiter.limited();
            if (owed == 0 && !start) || over || !self.pacer.far_beyond_goal() {
                if helped {
                    self.pacer.owe(owed);
                }
                return;
            }
            if !helped {
                crate::sync::modelled("Heap::help");
                while faults::active(Fault::WaitInPlace) && self.cycle.completed() == last {
                    crate::sync::yield_now();
                }
                self.world.pause();
            }
        }
    }
}
