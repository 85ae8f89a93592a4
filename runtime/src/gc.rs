//! The collector, as a program sees it.

use crate::g::getg;
use core::time::Duration;
use gc_core::GcP;
use gc_core::sync::Ordering;

pub use gc_core::events;
pub use gc_core::{CensusRow, Cleanup, Stats, Stress, Window, add_cleanup, keep_alive};

/// Runs a whole collection, sweep included, that starts after the call. A safepoint; needs a P. Source: Go's
/// `runtime.GC`.
///
/// # Panics
/// Outside a goroutine.
pub fn collect() {
    let gp = getg().expect("`collect` is called on a goroutine");
    gp.sched.heap().collect();
}

/// What the collector has done so far. Needs a P.
pub fn stats() -> Stats {
    GcP::current().heap().stats()
}

/// What the heap holds, by type; the largest first. After [`collect`], what is reachable. A safepoint; stops the world
/// for as long as it takes to count.
///
/// # Panics
/// Outside a goroutine.
pub fn census() -> Vec<CensusRow> {
    let gp = getg().expect("`census` is called on a goroutine");
    gp.sched.heap().census()
}

/// Calls `listener` with `data` for everything that the collector does from now on, on the thread that does it. What
/// it may do there is little: see [`events`]. Needs a P.
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

/// How the stops of the world went.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct StopStats {
    /// Number of stops.
    pub count: u64,
    /// From the request until the last P had stopped: the last one, and the longest.
    pub to_stop: [Duration; 2],
    /// From then until the world ran again: the last one, and the longest.
    pub stopped: [Duration; 2],
}

/// How the stops of the world went so far.
///
/// # Panics
/// Outside a goroutine.
pub fn stops() -> StopStats {
    let gp = getg().expect("`stops` is called on a goroutine");
    let t = &gp.sched.stops;
    let get = |a: &gc_core::sync::AtomicU64| Duration::from_nanos(a.load(Ordering::SeqCst));
    StopStats {
        count: t.count.load(Ordering::SeqCst),
        to_stop: [get(&t.last_to_stop), get(&t.max_to_stop)],
        stopped: [get(&t.last_stopped), get(&t.max_stopped)],
    }
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
    /// When the signal came there was nothing to do any more.
    pub late: u64,
    /// Goroutines that were descheduled in the middle of their code, at the end of a time slice.
    pub descheduled: u64,
    /// Time slices that did not end so: outside the program's own code (libc, other libraries), with too little stack
    /// left, while a panic unwinds, or because too many are descheduled so already.
    pub not_descheduled: u64,
    /// Bytes outside the heap for the vector registers of descheduled goroutines.
    pub register_bytes: u64,
}

/// What came of suspending goroutines by signals so far.
///
/// # Panics
/// Outside a goroutine.
pub fn suspensions() -> SuspendStats {
    let gp = getg().expect("`suspensions` is called on a goroutine");
    let c = &gp.sched.suspensions;
    let get = |n: &gc_core::sync::AtomicU64| n.load(Ordering::SeqCst);
    SuspendStats {
        sent: get(&c.sent),
        suspended: get(&c.suspended),
        restarted: get(&c.restarted),
        in_runtime: get(&c.refused[0]),
        on_other_stack: get(&c.refused[1]),
        in_handler: get(&c.refused[2]),
        late: get(&c.late),
        descheduled: get(&c.descheduled),
        not_descheduled: c.denied.iter().map(get).sum(),
        register_bytes: gp.sched.xregs.bytes() as u64,
    }
}

/// Stops the world, runs `f` on a system stack, and starts it again. For tests.
#[doc(hidden)]
pub fn with_stopped_world(f: &mut dyn FnMut()) {
    let gp = getg().expect("on a goroutine");
    let world: &dyn gc_core::World = gp.sched;
    world.at_safepoint(&mut || {
        gp.sched.heap().stop_the_world(gc_core::StopReason::User);
        f();
        gp.sched.heap().start_the_world();
    });
}

/// Runs `f` once for every P. For tests.
#[doc(hidden)]
pub fn for_each_p(f: &(dyn Fn(u32) + Sync)) {
    let gp = getg().expect("on a goroutine");
    let world: &dyn gc_core::World = gp.sched;
    world.at_safepoint(&mut || world.for_each_p(&|p: &GcP| f(p.id)));
}

/// A stop inside a stop, which is fatal. For tests; called on the system stack of `with_stopped_world`.
#[doc(hidden)]
pub fn nested_stop_for_tests() {
    if let Some(m) = crate::m::getm() {
        // SAFETY: an M's scheduler lives for ever.
        let sched = unsafe { &*m.sched.load(Ordering::SeqCst) };
        gc_core::World::stop_the_world(sched, gc_core::StopReason::User);
    }
}
