//! What a host supplies: the only way in which the collector reaches the threads it serves.
//!
//! The runtime implements this with its scheduler, the tests of this crate with plain threads, the models with two or
//! three loom threads.

use crate::barrier::Entered;
use crate::mark::Scanner;
use crate::p::GcP;
use barrier_lint::nowritebarrierrec;

/// Why the world is stopped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
#[repr(u8)]
pub enum StopReason {
    /// A cycle starts: the barrier goes on.
    GcStart,
    /// Marking ends: the barrier goes off.
    MarkTermination,
    /// Objects are counted ([`Heap::census`](crate::Heap::census), [`Heap::for_each_object`](crate::Heap)).
    Census,
    /// The number of Ps changes.
    SetProcs,
    /// The program asked.
    User,
    /// Where all goroutines are is written down.
    Profile,
    /// The main goroutine has ended: nobody starts the world again.
    End,
}

impl StopReason {
    /// All of them, in the order of their numbers (`reason as usize`).
    pub const ALL: [StopReason; 7] = [
        StopReason::GcStart,
        StopReason::MarkTermination,
        StopReason::Census,
        StopReason::SetProcs,
        StopReason::User,
        StopReason::Profile,
        StopReason::End,
    ];

    /// What reports call it.
    #[nowritebarrierrec]
    pub fn name(self) -> &'static str {
        match self {
            StopReason::GcStart => "start of marking",
            StopReason::MarkTermination => "end of marking",
            StopReason::Census => "census",
            StopReason::SetProcs => "set_procs",
            StopReason::User => "user",
            StopReason::Profile => "profile",
            StopReason::End => "end of main",
        }
    }
}

impl core::fmt::Display for StopReason {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.name())
    }
}

/// The threads that use a heap.
///
/// `GcP::preempt` is the host's word to the owner of a P: "come to a safepoint". The host sets it for a stop, for
/// `for_each_p`, and at the end of a time slice, and clears it when the owner has come; while it is set the collector
/// does no more than one batch of marking there.
///
/// # Safety
/// Every thread that uses the heap holds a P, taken with [`Heap::acquire_p`](crate::Heap::acquire_p) and given up with
/// [`Heap::release_p`](crate::Heap::release_p); the methods keep what they promise.
pub unsafe trait World: Sync {
    /// Returns when no other thread runs with a P; each of them went through `release_p` or is held where it neither
    /// allocates nor stores. The caller holds a P and is on a stack that is no root. Competing requests queue.
    fn stop_the_world(&self, why: StopReason);

    /// Ends the stop; threads take their Ps back with `acquire_p`.
    fn start_the_world(&self);

    /// The ragged barrier: runs `f` once for every P, on its own thread at a safepoint or by the caller for one that
    /// nobody runs with. The caller holds a P and is on a stack that is no root.
    fn for_each_p(&self, f: &(dyn Fn(&GcP) + Sync));

    /// A safepoint of the calling mutator: honours a pending stop, lets others scan its stack, and runs `work` on a
    /// stack that is no root. May come back on another P.
    fn at_safepoint(&self, work: &mut dyn FnMut());

    /// Marking is about to start, the world is stopped: how many stacks there are to scan. Constant time.
    fn begin_mark(&self, cycle: u32) -> usize;

    /// Scans stack `i` (below what `begin_mark` returned), unless that has happened in this cycle. `false`: its owner
    /// is running now and will scan itself; ask again later. With a stack, in one step in which its owner does not
    /// run, goes the owner's [`Entered`] list.
    fn scan_stack(&self, i: usize, scanner: &mut Scanner<'_>) -> bool;

    /// Scans the host's own tables.
    fn scan_roots(&self, scanner: &mut Scanner<'_>);

    /// The list of the calling mutator for what it has mutable access to ([`GcMut`](crate::GcMut)): scanned by
    /// [`Scanner::entered`] in the same step as its stack, and its own as long as it lives.
    fn entered(&self) -> &'static Entered;

    /// Return addresses on the stack of the calling mutator, innermost first, for the heap profile: writes them to `into` and
    /// says how many. Inside an allocation: no safepoint, no malloc. None unless the host can tell.
    fn callers(&self, into: &mut [usize]) -> usize {
        let _ = into;
        0
    }

    /// Marking begins: wakes all idle Ps.
    fn wake_workers(&self);

    /// There is work of the collector for one P more, marking or fresh memory to be made ready: wakes an idle one, if there is
    /// any and nobody is looking for work already (Go's `enlistWorker`).
    fn enlist_worker(&self) {}

    /// A mutator has nothing to do but wait for the collector: lets others run.
    fn pause(&self);
}

#[cfg(test)]
mod tests {
    use super::StopReason;

    #[test]
    fn reasons_have_numbers_and_names_of_their_own() {
        for (i, reason) in StopReason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, i);
            assert_eq!(StopReason::ALL.iter().filter(|r| r.name() == reason.name()).count(), 1);
        }
    }
}
