//! Planted faults: known ways to break the collector, one of which can be switched on by name at run time, so that
//! tests, models and the stress tool can show that they notice.
//!
//! A fault that opens a window of a few instructions keeps it open for a while ([`linger`]), so that it shows on a real
//! machine, too; nothing of that is on the path without it.
//!
//! Compiled in only with the feature `faults` (or under loom); otherwise [`active`] is the constant `false`.

macro_rules! faults {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// A planted fault.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(u32)]
        pub enum Fault {
            $($(#[$doc])* $variant,)*
        }

        /// All faults, by the name under which they are chosen.
        pub const ALL: &[(&str, Fault)] = &[$(($name, Fault::$variant)),*];
    };
}
faults! {
    /// A pointer store does not shade what it overwrites.
    NoDeletionBarrier = "no-deletion-barrier",
    /// A pointer store does not shade what it stores.
    NoInsertionBarrier = "no-insertion-barrier",
    /// Marks stay for a partial cycle, but the barrier does not: what is stored in between is not remembered.
    YoungUnremembered = "young-unremembered",
    /// Between cycles whose marks stay, words that name dead objects shade them.
    DeadShaded = "dead-shaded",
    /// Objects allocated while marking are white.
    AllocWhite = "alloc-white",
    /// The pointers in objects allocated while marking are not shaded.
    InitUnshaded = "init-unshaded",
    /// The barrier buffer is thrown away instead of flushed.
    SkipFlush = "skip-flush",
    /// A thread without a P shades what it stores (the race of 2015).
    ShadeWithoutP = "shade-without-p",
    /// The verifier's walk sees an object that does not exist in the marker's eyes: it unmarks one.
    VerifierDisagrees = "verifier-disagrees",
    /// Stacks are not scanned.
    SkipStacks = "skip-stacks",
    /// Of a large object only the first piece is scanned.
    LosePieces = "lose-pieces",
    /// Pointers that a slice of marking has found and not yet tested are forgotten at its end.
    ForgetFound = "forget-found",
    /// Under a memory limit the collector takes all the processor time that it can use.
    NoCpuLimit = "no-cpu-limit",
    /// Mutators that find nothing to mark go on allocating, however long others take.
    NoWaitBeyondGoal = "no-wait-beyond-goal",
    /// A mutator waits for the end of a cycle where it holds up stops.
    WaitInPlace = "wait-in-place",
    /// Free memory is kept for ever.
    NoScavenger = "no-scavenger",
    /// The scavenger gives a page more back than it took: one that may be in use.
    ScavengeInUse = "scavenge-in-use",
    /// Sweeping is left to whoever starts the next cycle.
    NoProportionalSweep = "no-proportional-sweep",
    /// What a weak pointer gives out while marking is not shaded.
    WeakUpgradeUnshaded = "weak-upgrade-unshaded",
    /// Weak pointers give out objects that were found dead, as long as they are not swept.
    WeakUpgradeDead = "weak-upgrade-dead",
    /// A weak pointer to a dead object finds the next object that gets its record.
    StaleWeak = "stale-weak",
    /// What moves out of a cleanup's task is not shaded.
    CleanupUnshaded = "cleanup-unshaded",
    /// Slots of dead objects are handed out before their drop has run.
    PendingDropReused = "pending-drop-reused",
    /// Conservative words find dead objects that are to be dropped.
    DoomedFound = "doomed-found",
    /// The check for leaked goroutines does not look at memory outside the heap.
    LeaksBlind = "leaks-blind",
    /// The check for leaked goroutines does not go on from those that were found to have a waker.
    LeaksEndEarly = "leaks-end-early",
    /// The heap profile does not notice that objects die.
    SampleNotFreed = "sample-not-freed",
    /// Spans in custody are not swept.
    CustodyUnswept = "custody-unswept",
    /// Values that pass through channels, joins and locks are copied without shading.
    SkipBulkBarrier = "skip-bulk-barrier",
    /// Bulk moves of pointers neither shade what they overwrite nor what they store.
    SkipMoveBarrier = "skip-move-barrier",
    /// What a goroutine has mutable access to is not scanned with its stack.
    MutableUnscanned = "mutable-unscanned",
    /// Entering mutable access shades nothing.
    EnterUnshaded = "enter-unshaded",
    /// Leaving mutable access shades nothing.
    LeaveUnshaded = "leave-unshaded",
    /// Settable roots are stored without shading.
    RootCellUnshaded = "rootcell-unshaded",
    /// What barriers recorded is not shaded before marking ends, but when the P is taken next.
    ShadeAfterTermination = "shade-after-termination",
    /// A span that is to be swept is found and taken off its list in two steps, so two may sweep it.
    SweepWithoutOwnership = "sweep-without-ownership",
    /// Spans that need sweeping are allocated from as they are.
    AllocUnswept = "alloc-unswept",
    /// Spans that were cached when marking ended go on being used.
    StaleCache = "stale-cache",
    /// The lists of work buffers have no tags.
    UntaggedBuffers = "untagged-buffers",
    /// A work buffer is handed over without Release. No x86 machine minds; ThreadSanitizer does.
    UnpublishedBuffers = "unpublished-buffers",
    /// The registers of a goroutine that is suspended in place are not scanned.
    FrameUnscanned = "frame-unscanned",
    /// The vector registers of a goroutine that a signal has descheduled are not scanned.
    XRegsUnscanned = "xregs-unscanned",
    /// The marker does not scan the host's own table of threads (the verifier does).
    AllmsUnscanned = "allms-unscanned",
    /// The marker does not scan the host's own table of Ps (the verifier does).
    AllpsUnscanned = "allps-unscanned",
    /// Who has no P makes an M all the same, instead of borrowing the P that is meant for it.
    AllocmUnborrowed = "allocm-unborrowed",
    /// Threads are made by whoever wants one, not by the template thread.
    NewmDirect = "newm-direct",
    /// A goroutine that was descheduled continues with the vector registers of whoever was last.
    XRegsOfAnother = "xregs-of-another",
    /// The context of a call that asks for more stack is stored in the G without the barrier.
    CtxtUnbarriered = "ctxt-unbarriered",
    /// Of a goroutine that does not run the stack is scanned, and not the G.
    GUnscanned = "g-unscanned",
    /// Stacks are guarded as on a kernel that marks no guard pages.
    NoGuardMarks = "no-guard-marks",
    /// A thread that gives its P up goes on with the state word that it had.
    WordKept = "word-kept",
    /// Who takes a P goes on with the phase in which it gave the last one up.
    StalePhase = "stale-phase",
    /// Marking begins without a stop: the barrier goes on P by P, while objects are scanned.
    BarrierLate = "barrier-late",
    /// A P is given up with pointers in its barrier buffer, and who takes it next starts with an empty one.
    BufferLost = "buffer-lost",
    /// A stop fits between a store's test of the state word and the store.
    StopBeforeStore = "stop-before-store",
    /// Marking ends when no list has work and no root is left to scan, whatever the Ps have to themselves.
    MarkedByCount = "marked-by-count",
    /// That a P has handed out work in the ragged barrier is forgotten when another one has taken it.
    HandOutForgotten = "hand-out-forgotten",
    /// Marks are set by a load and a store.
    MarkByStore = "mark-by-store",
    /// A stop fits between an allocation's look at the phase and its claim of a slot.
    StopInAllocation = "stop-in-allocation",
    /// Dropping a root clears its slot at once.
    RootCleared = "root-cleared",
    /// The marker does not scan the table of roots (the verifier does).
    RootsUnscanned = "roots-unscanned",
    /// An object is published before its value is written.
    PublishEarly = "publish-early",
    /// A goroutine that parks in a word goes in there whatever has come into it meanwhile.
    ParkOverwrites = "park-overwrites",
    /// What has become ready is stored, whoever goes into the word meanwhile.
    ReadyOverwrites = "ready-overwrites",
    /// Who waits for a file does not look again, after it has said so, whether it may.
    WaitUnchecked = "wait-unchecked",
    /// A timer counts as out of its heap before it has fired.
    TimerOutEarly = "timer-out-early",
    /// A timer is stopped without another look, under the lock, whether it is still in the heap.
    TimerStopUnchecked = "timer-stop-unchecked",
    /// Who finds a goroutine in the queue of one of the channels that it selects from does not ask whether somebody else has.
    SelectDoneUnclaimed = "select-done-unclaimed",
    /// Who gives a mutex back writes its state without an exchange.
    MutexReleasedPlain = "mutex-released-plain",
    /// Who has been woken for a mutex, and finds it taken, waits again and still counts as on its way.
    MutexStillWoken = "mutex-still-woken",
    /// The lock with which a goroutine parks is given back before its stack is at rest.
    ParkUnlocksEarly = "park-unlocks-early",
    /// A thief takes goroutines off a queue before it has read which.
    StealHeadFirst = "steal-head-first",
    /// A goroutine counts as in the queue before it is written there.
    RunqTailEarly = "runq-tail-early",
    /// What runs next is taken without an exchange.
    RunnextBlind = "runnext-blind",
    /// Who looks for work passes over what idle Ps have, which may be on their way to somebody.
    IdlePassedOver = "idle-passed-over",
    /// Who stops looking for work does not look once more.
    RestUnchecked = "rest-unchecked",
    /// Who submits work looks for sleepers without a fence in between.
    WakeUnfenced = "wake-unfenced",
    /// Who comes back from a blocking call takes its P without an exchange.
    SyscallExitPlain = "syscall-exit-plain",
    /// Who leaves a P behind while a stop is announced counts it as stopped, whoever else has.
    LeftBehindUnclaimed = "left-behind-unclaimed",
    /// An idle P is taken without an exchange.
    AcquirePlain = "acquire-plain",
    /// Who answers a request looks what is wanted first, and takes the flag off second.
    ClearPreemptLast = "clear-preempt-last",
    /// A stopper that waits for another one keeps its P running.
    StopperKeepsP = "stopper-keeps-p",
    /// A handshake runs its function for a P that was left behind without taking that first.
    HandshakeUnclaimed = "handshake-unclaimed",
    /// Marking ends without the second look, under the stop.
    NoSecondLook = "no-second-look",
    /// The area of vector registers that are about to be restored is free at once.
    XRegsFreedEarly = "xregs-freed-early",
    /// The status of a goroutine changes while its stack is scanned.
    StatusIgnoresScan = "status-ignores-scan",
    /// Who finds a stack that is being scanned scans it, too.
    ScanShared = "scan-shared",
    /// Who is suspended for a scan does not come by the door.
    SuspendedForOne = "suspended-for-one",
    /// A signal is sent to a thread also while another one is under way to it.
    SignalTwice = "signal-twice",
    /// A signal counts as under way until its handler has ended.
    SignalAnsweredLate = "signal-answered-late",
    /// A goroutine goes on with the time slice of the one before.
    SliceInherited = "slice-inherited",
    /// A goroutine that ends is for others to use before it is untied from its M.
    ExitUntiesLate = "exit-unties-late",
    /// Who leaves the runtime looks for a refused signal before it says that it has left.
    RefusalSoughtEarly = "refusal-sought-early",
    /// A dead G is taken off the P's list where the goroutine may be descheduled.
    GfgetUnguarded = "gfget-unguarded",
    /// A signal that was refused does not come again.
    RefusalForgotten = "refusal-forgotten",
    /// Who has found the turn taken queues for it without another look.
    TurnUnchecked = "turn-unchecked",
    /// A turn that is handed on counts as free as well.
    TurnFreed = "turn-freed",
    /// Whether anybody waits for the turn is looked at before the lock is taken.
    TurnSeenEarly = "turn-seen-early",
    /// A time limit wakes who waits for his turn also where that has come.
    TurnExpiryUnchecked = "turn-expiry-unchecked",
    /// Who gets his turn waits at once, whoever has had it since he tried.
    TurnUntried = "turn-untried",
    /// Who sleeps until the next timer does not look again, after it has said until when.
    WatchUnchecked = "watch-unchecked",
    /// Who sleeps until the next timer clears its note when others can see that it sleeps.
    WatchClearedLate = "watch-cleared-late",
    /// sysmon says that it sleeps after it has given the lock back under which it saw that it may.
    SysmonAsleepLate = "sysmon-asleep-late",
    /// sysmon clears its note when others can see that it sleeps.
    SysmonClearedLate = "sysmon-cleared-late",
    /// Who is about to sleep for a lock that is given back by a plain store does not have the other threads fenced.
    SleeperUnfenced = "sleeper-unfenced",
}

#[cfg(any(feature = "faults", modelled))]
mod on {
    use super::{ALL, Fault};
    use crate::heap::Heap;
    use crate::mark::GcWork;
    use barrier_lint::nowritebarrierrec;
    use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

    /// The chosen fault + 1. A std atomic also under loom: it is configuration, not modelled state.
    static CHOSEN: AtomicU32 = AtomicU32::new(0);

    /// Whether this fault is switched on.
    #[nowritebarrierrec]
    #[inline]
    pub fn active(fault: Fault) -> bool {
        // Relaxed: chosen before the threads that look at it start.
        CHOSEN.load(Ordering::Relaxed) == fault as u32 + 1
    }

    /// Keeps the window open that an active fault has just made, for up to so many microseconds: a few instructions of a
    /// real machine are rarely met. Now and then, or everything would be slow; never under models, which try all orders.
    /// May run without a P.
    #[nowritebarrierrec]
    pub fn linger(micros: u32) {
        #[cfg(modelled)]
        let _ = micros;
        #[cfg(not(modelled))]
        {
            // Relaxed: random numbers. With the clock: a window that few come to is met by the first of them, too.
            static DICE: AtomicU32 = AtomicU32::new(0);
            let now = crate::sync::nanos();
            let mut dice = DICE.fetch_add(0x9e37_79b9, Ordering::Relaxed) ^ now as u32;
            dice = (dice ^ dice >> 16).wrapping_mul(0x85eb_ca6b);
            dice = (dice ^ dice >> 13).wrapping_mul(0xc2b2_ae35);
            dice ^= dice >> 16;
            if dice.is_multiple_of(8) {
                let end = now + u64::from(dice / 8 % 64) * u64::from(micros) * 1000 / 64;
                while crate::sync::nanos() < end {
                    crate::sync::yield_now();
                }
            }
        }
    }

    /// The heap that a planted fault without a P reaches for.
    static HEAP: AtomicUsize = AtomicUsize::new(0);

    pub(crate) fn remember(heap: &'static Heap) {
        HEAP.store(core::ptr::from_ref(heap).expose_provenance(), Ordering::SeqCst);
    }

    /// What the write barrier of early 2015 did on a thread without a P: shade, with a work buffer of its own.
    pub(crate) fn shade_without_p(new: usize) {
        // SAFETY: null, or a heap of this process, which lives for ever (under loom: of this execution).
        let heap = unsafe { core::ptr::with_exposed_provenance::<Heap>(HEAP.load(Ordering::SeqCst)).as_ref() };
        if let Some(heap) = heap
            && heap.marking()
        {
            crate::sync::step("shades without a P", new);
            let mut gcw = GcWork::new(&heap.config.stress);
            heap.shade(&mut gcw, new);
            gcw.dispose(heap);
            crate::sync::step("handed out", new);
        }
    }

    /// Switches one fault on, by name, or all off.
    ///
    /// # Errors
    /// The name, if there is no such fault.
    pub fn choose(name: Option<&str>) -> Result<(), String> {
        let value = match name {
            None => 0,
            Some(name) => match ALL.iter().find(|(n, _)| *n == name) {
                Some((_, fault)) => *fault as u32 + 1,
                None => {
                    let names: Vec<&str> = ALL.iter().map(|(n, _)| *n).collect();
                    return Err(format!("no fault is called `{name}`: {}", names.join(", ")));
                }
            },
        };
        CHOSEN.store(value, Ordering::SeqCst);
        Ok(())
    }
}
#[cfg(any(feature = "faults", modelled))]
pub use on::{active, choose, linger};
#[cfg(any(feature = "faults", modelled))]
pub(crate) use on::{remember, shade_without_p};

#[cfg(not(any(feature = "faults", modelled)))]
use barrier_lint::nowritebarrierrec;

/// Whether this fault is switched on: never, in this build.
#[cfg(not(any(feature = "faults", modelled)))]
#[nowritebarrierrec]
#[inline(always)]
pub const fn active(_: Fault) -> bool {
    false
}

/// Keeps the window of an active fault open: there is none, in this build.
#[cfg(not(any(feature = "faults", modelled)))]
#[nowritebarrierrec]
#[inline(always)]
pub const fn linger(_: u32) {}

/// Keeps a window open, as [`linger`], if one of these faults is active.
#[inline]
pub(crate) fn linger_for(any: &[Fault], micros: u32) {
    if any.iter().any(|fault| active(*fault)) {
        linger(micros);
    }
}
