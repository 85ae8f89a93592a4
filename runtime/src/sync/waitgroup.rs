//! `WaitGroup`: waits until a number of things are done.

use super::{Waiters, goroutine, waiter, wake};
use crate::g::WaitReason;
use core::cell::Cell;
use core::fmt;
use gc_core::sync::{Rank, RawLock};
use gc_core::{Conservative, Gc, Root};

struct Inner {
    lock: RawLock,
    count: Cell<usize>,
    waiters: Waiters,
}

// SAFETY: the cells are under `lock`.
unsafe impl Sync for Inner {}
// SAFETY: as above.
unsafe impl Send for Inner {}

/// Counts what is still to do; `wait` returns when the count is 0. A clone is another handle to the same counter.
/// Source: Go's `sync.WaitGroup`.
pub struct WaitGroup {
    root: Root<Conservative<Inner>>,
    inner: *const Inner,
}

// SAFETY: the shared object is Sync; the pointer goes with the root.
unsafe impl Send for WaitGroup {}
// SAFETY: as above.
unsafe impl Sync for WaitGroup {}

impl WaitGroup {
    /// A counter at 0. Needs a P; a safepoint.
    ///
    /// # Panics
    /// Outside a goroutine.
    #[allow(clippy::new_without_default)] // it needs a goroutine
    pub fn new() -> WaitGroup {
        goroutine("WaitGroup::new");
        let inner: Gc<Conservative<Inner>> = Gc::new(Conservative(Inner {
            lock: RawLock::new(Rank::Waited),
            count: Cell::new(0),
            waiters: Waiters::new(),
        }));
        WaitGroup { root: Root::of_handle(inner), inner: &raw const **inner }
    }

    fn inner(&self) -> &Inner {
        // SAFETY: `root` keeps it.
        unsafe { &*self.inner }
    }

    /// Adds `n` things to do; before they start, so that `wait` cannot miss them. Does not need a P.
    ///
    /// # Panics
    /// If the count overflows.
    pub fn add(&self, n: usize) {
        let inner = self.inner();
        inner.lock.lock();
        let sum = inner.count.get().checked_add(n);
        if let Some(sum) = sum {
            inner.count.set(sum);
        }
        inner.lock.unlock();
        assert!(sum.is_some(), "WaitGroup counter overflow");
    }

    /// One thing is done. Does not need a P.
    ///
    /// # Panics
    /// If there was nothing to do.
    pub fn done(&self) {
        let inner = self.inner();
        inner.lock.lock();
        let left = inner.count.get().checked_sub(1);
        inner.count.set(left.unwrap_or(0));
        inner.lock.unlock();
        assert!(left.is_some(), "WaitGroup::done more often than add");
        // Waiters leave one by one: each `ready` comes after the lock is given back.
        while left == Some(0) {
            inner.lock.lock();
            let next = if inner.count.get() == 0 { inner.waiters.pop().map(|w| w.g) } else { None };
            inner.lock.unlock();
            if next.is_none() {
                return;
            }
            wake(next);
        }
    }

    /// Waits until the count is 0. Needs a P; a safepoint.
    ///
    /// # Panics
    /// Outside a goroutine.
    pub fn wait(&self) {
        let gp = goroutine("WaitGroup::wait");
        let w = waiter(gp);
        let inner = self.inner();
        inner.lock.lock();
        if inner.count.get() == 0 {
            inner.lock.unlock();
        } else {
            inner.waiters.wait(w, false, &inner.lock, WaitReason::WaitGroup);
        }
    }
}

impl Clone for WaitGroup {
    fn clone(&self) -> Self {
        WaitGroup { root: self.root.clone(), inner: self.inner }
    }
}

impl fmt::Debug for WaitGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WaitGroup").finish_non_exhaustive()
    }
}
