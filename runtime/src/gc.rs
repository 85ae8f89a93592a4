//! The collector, as a program sees it.

use crate::g::getg;
use crate::preempt::Denied;
use gc_core::GcP;
use gc_core::sync::Ordering;

pub use crate::histogram::Distribution;
pub use crate::latency::{Latency, LatencyRow};
pub use crate::stw::{LongStop, StopRow, StoppedP};

pub use gc_core::events;
pub use gc_core::{CensusRow, Cleanup, Stats, StopReason, Stress, Window, add_cleanup, keep_alive};

/// Runs a whole collection, sweep included, that starts after the call. A safepoint; needs a P. Source: Go's
/// `runtime.GC`.
///
/// # Panics
/// Outside a goroutine.
pub fn collect() {
    let gp = on_goroutine("collect");
    gp.sched.heap().collect();
}

/// What the collector has done so far. Needs a P.
pub fn stats() -> Stats {
    GcP::current().heap().stats()
}

/// What the heap holds, by type; the largest first. After [`collect`], what is reachable. A safepoint; stops the world
/// for as long as it takes to count. Goroutines that ask at the same time take turns.
///
/// # Panics
/// Outside a goroutine.
pub fn census() -> Vec<CensusRow> {
    let gp = on_goroutine("census");
    gp.sched.stop_turn.with(gp, || gp.sched.heap().census())
}

/// Calls `listener` with `data` for everything that the collector does from now on, on the thread that does it. What
/// it may do there is little: see [`events`]. Needs a P. One of the places is taken by the runtime itself.
///
/// # Errors
/// [`TooManyListeners`](events::TooManyListeners).
pub fn listen(listener: events::Listener, data: usize) -> Result<events::ListenerId, events::TooManyListeners> {
    GcP::current().heap().listen(listener, data)
}

/// Ends what [`listen`] began. Needs a P.
pub fn unlisten(id: events::ListenerId) {
    GcP::current().heap().unlisten(id);
}

/// The stops of the world so far, a row for each reason there is. Allocates with malloc.
///
/// ```
/// # unsafe { tricolor::Runtime::builder().run(|| {
/// tricolor::gc::with_stopped_world(|| ());
/// let stops = tricolor::gc::stops();
/// let user = stops.iter().find(|row| row.name == "user").unwrap();
/// assert_eq!(user.count, 1);
/// println!("p99 {:?}, longest {:?}", user.stopped.quantile(0.99), user.stopped.max());
/// # }) }
/// ```
///
/// # Panics
/// Outside a goroutine.
pub fn stops() -> Vec<StopRow> {
    on_goroutine("stops").sched.stops.read()
}

/// The ten longest stops of the world so far, and how each P came to stand; the longest first. Allocates with malloc.
///
/// ```
/// # unsafe { tricolor::Runtime::builder().procs(2).run(|| {
/// tricolor::gc::with_stopped_world(|| ());
/// let longest = tricolor::gc::longest_stops();
/// assert_eq!((longest.len(), longest[0].name), (1, "user"));
/// for p in &longest[0].ps {
///     println!("P{} stopped after {:?}: {}", p.p, p.after, p.how);
/// }
/// # }) }
/// ```
///
/// # Panics
/// Outside a goroutine.
pub fn longest_stops() -> Vec<LongStop> {
    on_goroutine("longest_stops").sched.longest_stops.read()
}

/// How long goroutines have waited for the scheduler and the collector so far, a row for each [`Latency`]. Allocates with
/// malloc.
///
/// ```
/// # unsafe { tricolor::Runtime::builder().run(|| {
/// use tricolor::gc::Latency;
/// (0..100).for_each(|_| tricolor::spawn(|| ()).join().unwrap());
/// let latencies = tricolor::gc::latencies();
/// let waits = latencies.iter().find(|row| row.latency == Latency::RunQueue).unwrap();
/// assert!(waits.times.count() > 0);
/// println!("{}: p99 {:?}, one in {}", waits.name, waits.times.quantile(0.99), waits.one_in);
/// # }) }
/// ```
///
/// # Panics
/// Outside a goroutine.
pub fn latencies() -> Vec<LatencyRow> {
    on_goroutine("latencies").sched.latencies.read()
}

/// What came of the signals that suspend goroutines which come to no safepoint by themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SuspendStats {
    /// Signals that were sent.
    pub sent: u64,
    /// Goroutines that were suspended where they were.
    pub suspended: u64,
    /// Of those: inside a barriered store, which began again.
    pub restarted: u64,
    /// Refused, because the thread was inside the runtime: it is asked again.
    pub in_runtime: u64,
    /// Refused, because the thread was not on its goroutine's stack.
    pub on_other_stack: u64,
    /// Refused, because the thread was in another signal handler, or its signal mask was changed.
    pub in_handler: u64,
    /// Refused, because the program has switched the thread's signal stack off or replaced it (`std::process::exit` switches
    /// off that of the thread that calls it): where it is it stays until it comes to a safepoint.
    pub no_signal_stack: u64,
    /// When the signal came there was nothing to do any more.
    pub late: u64,
    /// Goroutines that were descheduled in the middle of their code, at the end of a time slice.
    pub descheduled: u64,
    /// Time slices that did not end so; the fields below say why.
    pub not_descheduled: u64,
    /// With too little stack left.
    pub denied_stack: u64,
    /// While a panic unwound.
    pub denied_unwinding: u64,
    /// Outside the program's own code (libc, other libraries), or called from there.
    pub denied_text: u64,
    /// Too many goroutines were descheduled so already.
    pub denied_too_many: u64,
    /// Bytes outside the heap for the vector registers of descheduled goroutines.
    pub register_bytes: u64,
}

/// What came of suspending goroutines by signals so far.
///
/// # Panics
/// Outside a goroutine.
pub fn suspensions() -> SuspendStats {
    let gp = on_goroutine("suspensions");
    let c = &gp.sched.suspensions;
    let get = |n: &gc_core::sync::AtomicU64| n.load(Ordering::SeqCst);
    SuspendStats {
        sent: get(&c.sent),
        suspended: get(&c.suspended),
        restarted: get(&c.restarted),
        in_runtime: get(&c.refused[0]),
        on_other_stack: get(&c.refused[1]),
        in_handler: get(&c.refused[2]),
        no_signal_stack: get(&c.refused[3]),
        late: get(&c.late),
        descheduled: get(&c.descheduled),
        not_descheduled: c.denied.iter().map(get).sum(),
        denied_stack: get(&c.denied[Denied::Stack as usize]),
        denied_unwinding: get(&c.denied[Denied::Unwinding as usize]),
        denied_text: get(&c.denied[Denied::Text as usize]),
        denied_too_many: get(&c.denied[Denied::TooMany as usize]),
        register_bytes: gp.sched.xregs.bytes() as u64,
    }
}

/// Memory of the runtime that is neither the collected heap nor malloc's, by kind, in bytes: now. Source: Go's `MemStats`
/// (`StackSys`, `MSpanSys`, `GCSys`, `OtherSys`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OffHeap {
    /// Goroutine stacks, guards included: address space, of which a stack takes memory as it uses it. Stacks of
    /// goroutines that have ended are used again, not given back.
    pub stacks: usize,
    /// The threads' own stacks (address space, as `stacks`).
    pub thread_stacks: usize,
    /// Signal stacks of the threads, and the one for dumps.
    pub signal_stacks: usize,
    /// Vector registers of descheduled goroutines.
    pub registers: usize,
    /// Tables of goroutines, threads and Ps, as far as they are in use.
    pub scheduler: usize,
    /// Histograms ([`stops`], [`latencies`]).
    pub histograms: usize,
    /// The flight recorder ([`trace`](crate::trace)).
    pub trace: usize,
    /// The collector's.
    pub collector: gc_core::OffHeap,
}

impl OffHeap {
    /// The sum.
    pub fn total(&self) -> usize {
        let c = &self.collector;
        let collector = c.page_tables + c.work_buffers + c.afterlife + c.profile + c.roots + c.persistent + c.lists;
        let threads = self.thread_stacks + self.signal_stacks;
        self.stacks + threads + self.registers + self.scheduler + self.histograms + self.trace + collector
    }
}

/// What the runtime has outside the collected heap.
///
/// # Panics
/// Outside a goroutine.
pub fn off_heap() -> OffHeap {
    let sched = on_goroutine("off_heap").sched;
    let threads = sched.ms().count();
    OffHeap {
        stacks: sched.stacks.bytes(),
        thread_stacks: threads * crate::proc::newm::G0_STACK,
        signal_stacks: threads * crate::signal::ALTSTACK + crate::quit::bytes(),
        registers: sched.xregs.bytes(),
        scheduler: sched.table_bytes(),
        histograms: sched.stops.bytes() + sched.latencies.bytes(),
        trace: sched.trace.bytes(threads),
        collector: sched.heap().off_heap(),
    }
}

/// Stops the world, runs `f`, and starts the world again: meanwhile no other goroutine runs, except in blocking calls.
///
/// `f` runs on the thread's own stack. It may read the heap and store to it. It must not wait: others were stopped
/// wherever they were, so malloc's lock, std's and the program's may be held, and whoever waits for one of them (by
/// allocating, with malloc, or printing) may do so for ever. An allocation in the collected heap may want a collection,
/// which is fatal here, as is another stop; a panic ends the process.
///
/// A safepoint. Requesters take turns, parked; the collector's own stops come in between. Source: Go's
/// `stopTheWorld`.
///
/// # Panics
/// Outside a goroutine.
pub fn with_stopped_world<R>(f: impl FnOnce() -> R) -> R {
    if getg().is_none()
        && let Some(m) = crate::m::getm()
    {
        // SAFETY: an M's scheduler lives for ever.
        let sched = unsafe { &*m.sched.load(Ordering::SeqCst) };
        if crate::stw::has_stopped(sched, m) {
            gc_core::World::stop_the_world(sched, StopReason::User); // says that it cannot be
        }
    }
    let gp = on_goroutine("with_stopped_world");
    let (mut f, mut out) = (Some(f), None);
    gp.sched.stop_turn.with(gp, || {
        gc_core::World::at_safepoint(gp.sched, &mut || {
            gp.sched.heap().stop_the_world(StopReason::User);
            out = f.take().map(|f| f());
            gp.sched.heap().start_the_world();
        });
    });
    out.unwrap_or_else(|| unreachable!("a safepoint does its work once"))
}

/// The calling goroutine.
pub(crate) fn on_goroutine(what: &str) -> &'static crate::g::G {
    getg().unwrap_or_else(|| panic!("`{what}` is called on a goroutine"))
}

/// Runs `f` once for every P. For tests.
#[doc(hidden)]
pub fn for_each_p(f: &(dyn Fn(u32) + Sync)) {
    let gp = on_goroutine("for_each_p");
    let world: &dyn gc_core::World = gp.sched;
    world.at_safepoint(&mut || world.for_each_p(&|p: &GcP| f(p.id)));
}
