//! M: an operating-system thread that runs goroutines, as Go's `m`.
//!
//! Ms live in the GC heap and are never freed: `allms` is their root; the first one lies in the `Sched`. Its stack is
//! g0: the scheduler's loop runs there, and so does everything of the collector that is heavy. No goroutine code ever
//! does.
//!
//! Who may touch what: `p`, `curg`, `oldp` belong to the M's own thread; `nextp`, `inherits` and `spinning` are
//! written by who wakes the M, before that; `schedlink` is under the scheduler lock.

use crate::g::G;
use crate::p::P;
use crate::sched::Sched;
use crate::sight::Sight;
use crate::storm::Storm;
use barrier_lint::{NoBarrierPtr, nowritebarrierrec};
use gc_core::Trace;
use gc_core::layout::TypeDesc;
use gc_core::sync::{AtomicBool, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Note, current};

/// The last point at which an M met the scheduler, for the report of a stop that does not come about.
#[repr(u8)]
#[derive(Clone, Copy)]
pub(crate) enum Door {
    Execute = 1,
    Poll,
    Allocation,
    Syscall,
    SyscallEnd,
    Idle,
    Mark,
    Suspended,
}

impl Door {
    const NAMES: [&'static str; 9] = [
        "none yet",
        "when the scheduler switched to it",
        "a poll",
        "an allocation",
        "the start of a blocking call",
        "the end of a blocking call",
        "idle",
        "a slice of marking",
        "suspended by a signal",
    ];

    pub(crate) fn name(byte: u8) -> &'static str {
        Self::NAMES.get(byte as usize).copied().unwrap_or("?")
    }
}

/// A thread of the scheduler.
pub(crate) struct M {
    pub(crate) id: AtomicU32,
    pub(crate) sched: AtomicPtr<Sched>,
    /// Saved sp of the scheduler's loop while a goroutine runs here.
    pub(crate) g0_sp: AtomicUsize,
    /// The goroutine that runs here. Kept alive by `allgs`.
    pub(crate) curg: NoBarrierPtr<G>,
    /// The P held. Kept alive by `allps`.
    pub(crate) p: NoBarrierPtr<P>,
    /// The P to take at wake-up. Kept alive by `allps`.
    pub(crate) nextp: NoBarrierPtr<P>,
    /// Its own goroutine, for which it is woken, goes on with the time slice of that P.
    pub(crate) inherits: AtomicBool,
    /// The P left behind by a blocking call. Kept alive by `allps`.
    pub(crate) oldp: NoBarrierPtr<P>,
    /// Next idle M. Kept alive by `allms`.
    pub(crate) schedlink: NoBarrierPtr<M>,
    /// The only goroutine that runs here. Kept alive by `allgs`.
    pub(crate) lockedg: NoBarrierPtr<G>,
    /// It looks for work that nobody has been woken for.
    pub(crate) spinning: AtomicBool,
    /// Sleeps here when idle.
    pub(crate) park: Note,
    /// Sleeps here while the world is stopped.
    pub(crate) stop: Note,
    pub(crate) tid: AtomicU32,
    /// Lowest address of the signal stack; 0: none.
    pub(crate) altstack: AtomicUsize,
    /// Highest address of its own stack that is in use.
    pub(crate) g0_hi: AtomicUsize,
    /// Where it is, for who asks.
    pub(crate) sight: Sight,
    /// Signals to it without reason.
    pub(crate) storm: Storm,
    /// The signal mask of this thread.
    pub(crate) sigmask: AtomicU64,
    /// A signal to this thread is under way: it is not sent twice.
    pub(crate) signal_pending: AtomicBool,
    /// What the kernel knows of that, in models: it has a signal for this thread.
    #[cfg(modelled)]
    pub(crate) kernel: Note,
    /// Signals that the kernel dropped because of that, in models, of which this is no part.
    #[cfg(modelled)]
    pub(crate) dropped: core::sync::atomic::AtomicU32,
    /// When it was last asked for something ([`nanotime`](crate::time::nanotime)).
    pub(crate) asked_at: AtomicU64,
    pub(crate) door: AtomicU8,
    pub(crate) door_at: AtomicU64,
}

// SAFETY: an M keeps no object alive: numbers, off-heap addresses, stack addresses, and `NoBarrierPtr`s, whose referents
// `allgs`, `allms` and `allps` keep.
unsafe impl Trace for M {
    const DESC: &'static TypeDesc = &TypeDesc::of_fields::<M>("tricolor::M", &[]);
}

impl M {
    pub(crate) fn new(id: u32) -> M {
        M {
            id: AtomicU32::new(id),
            sched: AtomicPtr::new(core::ptr::null_mut()),
            g0_sp: AtomicUsize::new(0),
            curg: NoBarrierPtr::null(),
            p: NoBarrierPtr::null(),
            nextp: NoBarrierPtr::null(),
            inherits: AtomicBool::new(false),
            oldp: NoBarrierPtr::null(),
            schedlink: NoBarrierPtr::null(),
            lockedg: NoBarrierPtr::null(),
            spinning: AtomicBool::new(false),
            park: Note::new(),
            stop: Note::new(),
            tid: AtomicU32::new(0),
            altstack: AtomicUsize::new(0),
            g0_hi: AtomicUsize::new(0),
            sight: Sight::new(),
            storm: Storm::new(),
            sigmask: AtomicU64::new(0),
            signal_pending: AtomicBool::new(false),
            #[cfg(modelled)]
            kernel: Note::new(),
            #[cfg(modelled)]
            dropped: Default::default(),
            asked_at: AtomicU64::new(0),
            door: AtomicU8::new(0),
            door_at: AtomicU64::new(0),
        }
    }

    /// The P that this M holds, if any.
    #[nowritebarrierrec]
    pub(crate) fn p(&self) -> Option<&'static P> {
        // SAFETY: `allps` keeps every P.
        unsafe { self.p.get().as_ref() }
    }

    /// The goroutine that runs here, if any.
    #[nowritebarrierrec]
    pub(crate) fn curg(&self) -> Option<&'static G> {
        // SAFETY: `allgs` keeps every G.
        unsafe { self.curg.get().as_ref() }
    }

    /// The only goroutine that runs here, if there is one.
    #[nowritebarrierrec]
    pub(crate) fn lockedg(&self) -> Option<&'static G> {
        // SAFETY: `allgs` keeps every G.
        unsafe { self.lockedg.get().as_ref() }
    }

    /// Notes where this M passes; since when it is there counts from the door before. May run without a P.
    #[nowritebarrierrec]
    pub(crate) fn passes(&self, door: Door) {
        // Relaxed: read by reports only.
        self.door.store(door as u8, gc_core::sync::Ordering::Relaxed);
    }

    /// Notes where this M met the scheduler. May run without a P.
    #[nowritebarrierrec]
    pub(crate) fn at(&self, door: Door) {
        use gc_core::sync::Ordering::Relaxed;
        // Relaxed: read by reports only.
        self.door.store(door as u8, Relaxed);
        self.door_at.store(crate::time::coarse(), Relaxed);
    }
}

/// The M of this thread; `None` on a foreign thread. Not to be kept across a switch: a goroutine changes its M.
#[inline(always)]
#[nowritebarrierrec]
pub(crate) fn getm() -> Option<&'static M> {
    // SAFETY: `mstart` sets the word to an M, and `allms` keeps every M.
    unsafe { current::m().cast::<M>().as_ref() }
}

/// Sets a link to an M. May run without a P.
#[nowritebarrierrec]
pub(crate) fn set_m_no_write_barrier(field: &NoBarrierPtr<M>, m: *mut M) {
    // SAFETY: `allms` keeps every M alive.
    unsafe { field.set_no_write_barrier(m) }
}

/// Sets a link to an M if it is `old`; whether it was. May run without a P.
#[nowritebarrierrec]
pub(crate) fn cas_m_no_write_barrier(field: &NoBarrierPtr<M>, old: *mut M, m: *mut M) -> bool {
    // SAFETY: `allms` keeps every M alive.
    unsafe { field.cas_no_write_barrier(old, m) }
}
