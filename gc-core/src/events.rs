//! Events: what the collector does, told to whoever listens.
//!
//! A fixed-size table of functions with a word of data each. Listeners are called on the thread where it happens, one
//! after the other, on paths that hold a P; some of them inside the runtime, so a listener may neither allocate in
//! this heap, nor wait, nor take a lock whose holder may be at a safepoint. `gctrace` and [`Stats`](crate::Stats) are
//! made from the same events: they are the two listeners that every heap has.
//!
//! An entry is one word: null, or a pair of function and data in memory that is never freed. So whoever reads an
//! entry sees a function with its own data, and never with that of another listener which used the entry before.

use crate::heap::Heap;
use crate::mark::WorkKind;
use crate::offheap;
use crate::sync::{AtomicPtr, AtomicU32, Ordering};
use crate::world::StopReason;
use core::fmt;

/// Listeners that a heap can have.
pub const MAX_LISTENERS: usize = if cfg!(modelled) { 1 } else { 8 };

/// Something that the collector did. Times in nanoseconds, sizes in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// Marking begins. Emitted by the starter, behind the stop.
    CycleStart {
        /// Number of the cycle.
        cycle: u32,
        /// Heap in use.
        live: usize,
        /// Heap size at which the cycle should end; `usize::MAX` if it runs on request only.
        goal: usize,
    },
    /// Marking has ended; sweeping begins. Emitted behind the stop, by the last marker.
    CycleEnd {
        /// Number of the cycle.
        cycle: u32,
        /// What earlier cycles had marked stayed marked ([`Config::partial`](crate::Config::partial)).
        partial: bool,
        /// Heap in use when marking began.
        at_start: usize,
        /// Heap in use when it ended.
        at_end: usize,
        /// What was found alive, in a partial cycle also what an earlier one had found.
        marked: usize,
        /// Objects, likewise.
        objects: usize,
        /// The goal of this cycle.
        goal: usize,
        /// How long marking took.
        mark_ns: u64,
    },
    /// A stop of the world by the collector. Emitted behind it.
    Stop {
        /// Why.
        reason: StopReason,
        /// From the request until the world stood.
        to_stop_ns: u64,
        /// How long it stood.
        stopped_ns: u64,
    },
    /// A slice of marking: assists too ([`WorkKind::Assist`]).
    Mark {
        /// On whose account.
        kind: WorkKind,
        /// How long it took.
        ns: u64,
        /// How much of that the thread ran.
        cpu_ns: u64,
        /// How much was scanned.
        bytes: usize,
    },
    /// Spans were swept.
    Sweep {
        /// How many.
        spans: usize,
    },
    /// Free memory went back to the operating system.
    Scavenge {
        /// How much.
        bytes: usize,
        /// How long the system call took.
        ns: u64,
    },
    /// Free memory was made ready for use ahead of need, by a P that had nothing else to do.
    Pretouch {
        /// How much.
        bytes: usize,
        /// How long the system calls took.
        ns: u64,
    },
    /// Dead objects were dropped and cleanups were run, by one call of [`Heap::run_afterlife`].
    Afterlife {
        /// Objects.
        drops: usize,
        /// Cleanups.
        cleanups: usize,
    },
    /// The cap on the collector's processor time under a memory limit came into effect, or ceased to.
    Limited {
        /// Whether it is in effect now.
        on: bool,
    },
}

/// What is called for each event: the event, and the word given to [`Heap::listen`].
pub type Listener = fn(&Event, usize);

/// The table.
pub(crate) struct Listeners {
    entries: [AtomicPtr<(Listener, usize)>; MAX_LISTENERS],
    /// Entries in use: mostly 0, one look for all.
    used: AtomicU32,
}

impl Listeners {
    pub fn new() -> Listeners {
        let null = |_| AtomicPtr::new(core::ptr::null_mut());
        Listeners { entries: std::array::from_fn(null), used: AtomicU32::new(0) }
    }
}

/// Names a listener, for [`Heap::unlisten`].
#[derive(Debug, PartialEq, Eq)]
pub struct ListenerId(usize);

/// A heap has no room for another listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyListeners;

impl fmt::Display for TooManyListeners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a heap has {MAX_LISTENERS} listeners at most")
    }
}

impl std::error::Error for TooManyListeners {}

impl Heap {
    /// Calls `listener` with `data` for every event from now on. See [`events`](crate::events) for what it may do.
    /// May be called without a P. Each call keeps 16 bytes for ever.
    ///
    /// # Errors
    /// [`TooManyListeners`], [`MAX_LISTENERS`] being allowed.
    pub fn listen(&self, listener: Listener, data: usize) -> Result<ListenerId, TooManyListeners> {
        let pair = offheap::persistent_new((listener, data)).as_ptr();
        for (i, entry) in self.listeners.entries.iter().enumerate() {
            // Release: pairs with the Acquire in `tell`.
            if entry.compare_exchange(core::ptr::null_mut(), pair, Ordering::Release, Ordering::Relaxed).is_ok() {
                self.listeners.used.fetch_add(1, Ordering::Relaxed);
                return Ok(ListenerId(i));
            }
        }
        Err(TooManyListeners)
    }

    /// Ends what [`listen`](Heap::listen) began. Calls that are under way on other threads may still come to an end
    /// after this returns.
    pub fn unlisten(&self, id: ListenerId) {
        self.listeners.used.fetch_sub(1, Ordering::Relaxed);
        // Relaxed: publishes nothing.
        self.listeners.entries[id.0].store(core::ptr::null_mut(), Ordering::Relaxed);
    }

    /// Tells everyone. The caller holds a P.
    pub(crate) fn emit(&self, event: &Event) {
        self.counters.on(event);
        if self.config.gctrace {
            self.counters.trace(self, event);
        }
        // Relaxed: a listener that comes just now may miss this one.
        if self.listeners.used.load(Ordering::Relaxed) > 0 {
            self.tell(event);
        }
    }

    #[cold]
    fn tell(&self, event: &Event) {
        for entry in &self.listeners.entries {
            // Acquire: pairs with the Release in `listen`.
            // SAFETY: null, or a pair that `listen` put into memory that is never freed.
            if let Some((listener, data)) = unsafe { entry.load(Ordering::Acquire).as_ref() } {
                listener(event, *data);
            }
        }
    }
}
