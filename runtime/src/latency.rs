//! How long goroutines waited for the scheduler and the collector: a histogram for each way to wait.
//!
//! Recorded where the wait ends, with or without a P, inside the runtime. Two looks at the clock cost as much as half of a
//! switch, so what happens at every switch is measured one time in [`SAMPLE`] (as with Go's `gTrackingPeriod`): of each
//! goroutine every 64th time that it becomes Runnable, of each P every 64th blocking call that finds it where it was. What
//! is slow anyway is always measured.
//!
//! **Preemption.** `P::asked_at` says since when the goroutine on a P has been asked for something.
//!
//! ```text
//! requester: asked_at = now, unless there is a time already; then the preempt flag
//! goroutine, when it is at rest:      takes asked_at, records it as what it has come to
//! `clear_preempt`, before it goes on: clears the flag; then asked_at = 0
//! ```
//! What would break if the requester set the flag first, or `clear_preempt` forgot the time first: a time that stays
//! behind while the flag is clear, and counts as the latency of the next request. The other way round, a request that
//! meets the answer to another one is not measured, and no more.

use crate::g::{self, G};
use crate::histogram::{Distribution, Histogram};
use crate::p::P;
use crate::sched::Sched;
use crate::time::nanotime;
use barrier_lint::nowritebarrierrec;
use gc_core::WorkKind;
use gc_core::events::Event;
use gc_core::sync::{MapError, Ordering, Table};

// Relaxed throughout: statistics. Times of goroutines are ordered by the queues that these go through, those of Ps by the
// preempt flag, whose accesses are SeqCst.
const O: Ordering = Ordering::Relaxed;

/// What happens at every switch is measured one time in so many.
const SAMPLE: u32 = 64;

macro_rules! latencies {
    ($($(#[$doc:meta])* $row:ident = $name:literal, one in $one_in:expr;)*) => {
        /// What a goroutine has waited for, or what has waited for it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        #[repr(u8)]
        pub enum Latency {
            $($(#[$doc])* $row,)*
        }

        impl Latency {
            /// All of them.
            pub const ALL: &[Latency] = &[$(Latency::$row),*];

            /// A name of a few words.
            pub fn name(self) -> &'static str {
                match self {
                    $(Latency::$row => $name,)*
                }
            }

            fn one_in(self) -> u32 {
                match self {
                    $(Latency::$row => $one_in,)*
                }
            }
        }
    };
}

latencies! {
    /// From becoming runnable until it runs.
    RunQueue = "run queue", one in SAMPLE;
    /// From the end of a blocking call (the kernel's return) until the goroutine goes on with the P that it had left.
    SyscallExit = "syscall exit", one in SAMPLE;
    /// The same, having waited for that P, which a stop of the world had.
    SyscallExitStopped = "syscall exit after a stop", one in 1;
    /// The same, with another P that was idle.
    SyscallExitOtherP = "syscall exit with another P", one in 1;
    /// The same, with none: it was queued.
    SyscallExitQueued = "syscall exit queued", one in 1;
    /// From a request to the goroutine that runs (for a stop, a handshake, a scan, or as its time slice is over) until
    /// it has come to a safepoint: a poll, an allocation, a check of the stack.
    PreemptSafepoint = "preemption at a safepoint", one in 1;
    /// The same, until it has left the thread by itself: it waits, yields, or has ended.
    PreemptLeft = "preemption, left by itself", one in 1;
    /// The same, until it has entered a blocking call.
    PreemptSyscall = "preemption by a syscall", one in 1;
    /// The same, until a signal has suspended it where it was.
    PreemptSuspended = "preemption, suspended", one in 1;
    /// The same, until a signal has made it leave the thread in the middle of its code.
    PreemptDescheduled = "preemption, descheduled", one in 1;
    /// How long it marked before an allocation, or for a collection that it waits for, at a time.
    Assist = "assist", one in 1;
}

/// All times of a scheduler.
pub(crate) struct Latencies {
    /// By [`Latency`]; none in models.
    rows: Table<Histogram>,
}

impl Latencies {
    pub(crate) fn new() -> Result<Latencies, MapError> {
        Ok(Latencies { rows: Table::new(if cfg!(modelled) { 0 } else { Latency::ALL.len() })? })
    }

    /// Bytes of the histograms.
    pub(crate) fn bytes(&self) -> usize {
        self.rows.len() * size_of::<Histogram>()
    }

    /// A copy for the program. Allocates.
    pub(crate) fn read(&self) -> Vec<LatencyRow> {
        let rows = Latency::ALL.iter().zip(self.rows.as_slice());
        rows.map(|(latency, times)| LatencyRow {
            latency: *latency,
            name: latency.name(),
            one_in: latency.one_in(),
            times: times.read(),
        })
        .collect()
    }
}

/// How long goroutines have waited for one thing so far.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LatencyRow {
    /// For what.
    pub latency: Latency,
    /// Its name, as in reports.
    pub name: &'static str,
    /// One in so many is measured.
    pub one_in: u32,
    /// The times that were measured.
    pub times: Distribution,
}

/// It has lasted from `since` until now. May run without a P.
#[inline(never)]
#[nowritebarrierrec]
pub(crate) fn record(sched: &Sched, row: Latency, since: u64) {
    if !cfg!(modelled) {
        sched.latencies.rows[row as usize].record(nanotime().saturating_sub(since));
    }
}

/// The time, if this is one that is measured; else 0. May run without a P.
#[inline]
#[nowritebarrierrec]
pub(crate) fn sample(tick: u32) -> u64 {
    if !cfg!(modelled) && tick.is_multiple_of(SAMPLE) { nanotime() } else { 0 }
}

/// `gp` is about to be Runnable; nobody else can make it so. May run without a P.
#[inline]
#[nowritebarrierrec]
pub(crate) fn readied(gp: &G) {
    if !cfg!(modelled) {
        let n = gp.readied.load(O).wrapping_add(1);
        gp.readied.store(n, O);
        if n.is_multiple_of(SAMPLE) {
            gp.since.store(nanotime(), O);
        }
    }
}

/// `gp` was Runnable, and runs.
#[inline]
pub(crate) fn runs(sched: &Sched, gp: &G) {
    if !cfg!(modelled) && gp.readied.load(O).is_multiple_of(SAMPLE) {
        record(sched, Latency::RunQueue, gp.since.load(O));
    }
}

/// Whoever runs on `p` is about to be asked for something. May run without a P.
#[nowritebarrierrec]
pub(crate) fn asked(p: &P, now: u64) {
    if cfg!(modelled) {
        return;
    }
    // SAFETY: null or an M, which `allms` keeps.
    if let Some(m) = unsafe { p.m.get().as_ref() }
        && let Some(gp) = m.curg()
        && gp.status.load(O) == g::RUNNING
    {
        // The first one counts.
        let _ = p.asked_at.compare_exchange(0, now, O, O);
    }
}

/// The goroutine that ran on `p`, which this M holds, has come to rest. May run without a P afterwards.
#[inline]
#[nowritebarrierrec]
pub(crate) fn preempted(sched: &Sched, p: &P, how: Latency) {
    if !cfg!(modelled) && p.asked_at.load(O) != 0 {
        answered(sched, p, how);
    }
}

#[cold]
#[inline(never)]
#[nowritebarrierrec]
fn answered(sched: &Sched, p: &P, how: Latency) {
    let since = p.asked_at.swap(0, O);
    if since != 0 {
        record(sched, how, since);
    }
}

/// What `p` was asked for is answered: its flag is clear.
#[inline]
#[nowritebarrierrec]
pub(crate) fn forget_request(p: &P) {
    if !cfg!(modelled) && p.asked_at.load(O) != 0 {
        p.asked_at.store(0, O);
    }
}

/// Hears of the collector's work for `sched`, a scheduler's address.
pub(crate) fn heard(event: &Event, sched: usize) {
    // SAFETY: `enter` passes its scheduler, which lives for ever.
    let sched = unsafe { &*core::ptr::with_exposed_provenance::<Sched>(sched) };
    crate::trace::heard(sched, event);
    if let Event::Mark { kind: WorkKind::Assist, ns, .. } = *event {
        sched.latencies.rows[Latency::Assist as usize].record(ns);
    }
}

#[cfg(test)]
mod tests {
    use super::{O, asked};
    use crate::proc::newm::this_m;
    use crate::proc::schedule::clear_preempt;
    use gc_core::sync::Ordering;
    use gc_core::sync::current::Region;

    /// Where a request comes between a goroutine's answer to another one and the end of that answer.
    #[test]
    fn a_request_that_meets_an_answer_leaves_no_time_behind() {
        let _turn = crate::runtime::turn();
        // SAFETY: uses neither the heap nor thread-locals nor locks of std.
        unsafe {
            crate::Runtime::builder().procs(1).async_preempt(false).run(|| {
                let _region = Region::enter();
                let (Some(p), Some(gp)) = (this_m().p(), this_m().curg()) else { panic!("a goroutine has a P") };
                let answer = || {
                    // The second half of a request.
                    p.gcp().preempt.store(true, Ordering::SeqCst);
                    clear_preempt(gp.sched, this_m(), p);
                };
                // Where the machine is slow sysmon ends the time slice meanwhile, and asks as well: then again.
                let seen = (0..100).find_map(|_| {
                    p.slice_over.store(false, O);
                    answer();
                    asked(p, 17);
                    let first = p.asked_at.load(O);
                    asked(p, 18);
                    let second = p.asked_at.load(O);
                    answer();
                    let seen = (first, second, p.asked_at.load(O));
                    (!p.slice_over.load(O)).then_some(seen)
                });
                assert_eq!(seen, Some((17, 17, 0)), "it runs, so it is asked; the first one counts; it is answered");
            });
        }
    }
}
