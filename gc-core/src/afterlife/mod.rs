//! What happens to objects after they were found dead: weak pointers turn empty, cleanups and drops run.
//!
//! ```text
//!           sweep of its span                    run_afterlife, on a goroutine
//! dead ───► weak pointers empty, cleanups due ─► each cleanup runs
//!      └──► doomed: its drop is due           ─► dropped ─► the slot is free
//! ```
//! An object is found dead by the flip that ends marking, and swept before the next mark phase. The sweeper only takes
//! notes: user code never runs in it, nor without a P. `record` keeps weak pointers and cleanups by object, `custody`
//! the spans with doomed slots, in which nobody allocates; here is what runs them.
//!
//! **No way back.** From the flip on, a dead object can be reached by nobody: not by [`Weak::upgrade`], which reads the
//! fresh marks; not by a stale word on a stack, since a look-up needs a mark or a publication, and a doomed slot has
//! neither; not by its own drop, which gets `&mut self` of a type without `Gc`s. What would break otherwise: it would
//! be used after it was dropped.
//!
//! **One runner at a time**, so user code that waits in a drop holds up the other drops, as a finaliser does in Go. It
//! has safepoints, so cycles go by while it runs; in between it owns nothing but a batch of slots that no map shows.

mod cleanup;
mod custody;
mod record;
mod weak;

pub use cleanup::{Cleanup, add_cleanup};
pub use weak::Weak;

use crate::events::Event;
use crate::heap::Heap;
use crate::layout::GRANULE;
use crate::p::GcP;
use crate::sync::{AtomicBool, AtomicUsize, MapError, Ordering};
use core::panic::AssertUnwindSafe;
use custody::Custody;
use record::Records;
use std::panic::catch_unwind;

/// Doomed objects that the runner takes at once.
const BATCH: usize = 32;

pub(crate) struct Afterlife {
    pub records: Records,
    pub custody: Custody,
    /// Drops and cleanups that are to run.
    due: AtomicUsize,
    /// Somebody runs them.
    running: AtomicBool,
}

impl Afterlife {
    /// For a heap with `bytes` bytes of address space.
    pub fn new(bytes: usize) -> Result<Afterlife, MapError> {
        Ok(Afterlife {
            records: Records::new(bytes)?,
            custody: Custody::new(bytes / GRANULE)?,
            due: AtomicUsize::new(0),
            running: AtomicBool::new(false),
        })
    }

    /// What is to run.
    #[inline]
    pub fn due(&self) -> usize {
        // Relaxed: a hint.
        self.due.load(Ordering::Relaxed)
    }

    /// `n` more drops or cleanups are to run.
    fn add_due(&self, n: usize) {
        // Relaxed: a hint, beside the lists that say what they are.
        self.due.fetch_add(n, Ordering::Relaxed);
    }

    fn take_due(&self, n: usize) {
        // Relaxed: as above.
        self.due.fetch_sub(n, Ordering::Relaxed);
    }
}

impl Heap {
    /// Whether drops or cleanups are to run: the host should have [`run_afterlife`](Heap::run_afterlife) called. One
    /// load; may be late.
    #[inline]
    pub fn afterlife_due(&self) -> bool {
        self.afterlife.due() > 0
    }

    /// Runs cleanups and drops of objects that were found dead, about `budget` of them, and says how many. Returns 0
    /// when there are none, or somebody else runs them now.
    ///
    /// Runs user code, so the caller holds no lock; a safepoint; needs a P. A panic of a drop or a cleanup ends that
    /// one only: the panic hook reports it. Source: Go's `runFinalizersAndCleanups`.
    pub fn run_afterlife(&self, budget: usize) -> usize {
        let life = &self.afterlife;
        // Acquire and Release: the runners take turns.
        if !self.afterlife_due() || life.running.swap(true, Ordering::Acquire) {
            return 0;
        }
        let (mut drops, mut cleanups) = (0, 0);
        while drops + cleanups < budget {
            if self.run_cleanup() {
                cleanups += 1;
            } else {
                match self.run_drops(BATCH.min(budget - drops - cleanups)) {
                    0 => break,
                    n => drops += n,
                }
            }
            // Relaxed: a hint; what it leads to synchronises.
            if GcP::current().preempt.load(Ordering::Relaxed) {
                self.world.at_safepoint(&mut || {});
            }
        }
        if drops + cleanups > 0 {
            self.emit(&Event::Afterlife { drops, cleanups });
        }
        life.running.store(false, Ordering::Release);
        drops + cleanups
    }
}

/// Runs user code; a panic ends there. The hook has reported it.
fn unless_panic(run: impl FnOnce()) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(run)) {
        // The payload may panic when it is dropped. Its payload, if any, is leaked.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(payload))).map_err(core::mem::forget);
    }
}
