//! The global run queue, under the scheduler lock.
//!
//! Where as many goroutines are *kept* as may be (`preempt`), one that runs can no longer be descheduled in the middle of
//! its code. Then those that have run before go first, and goroutines that have never run are *held back*, each of them a
//! possible loop without end:
//!
//! ```text
//! spawn ─► queue ─► fewer kept than may be, or nobody else waits: runs
//!            │           ▲
//!            └─ held ────┘  after a second sysmon lets one more be kept
//! ```
//! So the time slices go round among those that are kept and those that come to safepoints, and each second one goroutine
//! is tried that may be either. What would break otherwise: with ten thousand loops in the queue, whoever yields would wait
//! behind all of them, a second for each.

use crate::g::{G, set_g_no_write_barrier};
use crate::sched::{Global, Sched};
use crate::time::nanotime;
use barrier_lint::{NoBarrierPtr, nowritebarrierrec};
use gc_core::sync::Ordering;

/// Gs, linked through `schedlink`. Kept alive by `allgs`.
pub(crate) struct Queue {
    head: NoBarrierPtr<G>,
    tail: NoBarrierPtr<G>,
}

#[nowritebarrierrec]
impl Queue {
    pub(crate) fn new() -> Queue {
        Queue { head: NoBarrierPtr::null(), tail: NoBarrierPtr::null() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.head.get().is_null()
    }

    /// Appends a list.
    fn append(&mut self, head: &G, tail: &G) {
        set_g_no_write_barrier(&tail.schedlink, core::ptr::null_mut());
        let head = core::ptr::from_ref(head).cast_mut();
        // SAFETY: null or a G of `allgs`.
        match unsafe { self.tail.get().as_ref() } {
            Some(last) => set_g_no_write_barrier(&last.schedlink, head),
            None => set_g_no_write_barrier(&self.head, head),
        }
        set_g_no_write_barrier(&self.tail, core::ptr::from_ref(tail).cast_mut());
    }

    fn push_front(&mut self, gp: &G) {
        set_g_no_write_barrier(&gp.schedlink, self.head.get());
        set_g_no_write_barrier(&self.head, core::ptr::from_ref(gp).cast_mut());
        if self.tail.get().is_null() {
            set_g_no_write_barrier(&self.tail, self.head.get());
        }
    }

    /// Takes the first one.
    fn pop(&mut self) -> Option<&'static G> {
        // SAFETY: null or a G of `allgs`.
        let gp = unsafe { self.head.get().as_ref() }?;
        set_g_no_write_barrier(&self.head, gp.schedlink.get());
        if self.head.get().is_null() {
            set_g_no_write_barrier(&self.tail, core::ptr::null_mut());
        }
        set_g_no_write_barrier(&gp.schedlink, core::ptr::null_mut());
        Some(gp)
    }

    /// Takes the first one that has an M of its own.
    fn pop_kept(&mut self) -> Option<&'static G> {
        let mut before: *mut G = core::ptr::null_mut();
        let mut at = self.head.get();
        // SAFETY: Gs of `allgs`, linked under the lock.
        while let Some(gp) = unsafe { at.as_ref() } {
            let next = gp.schedlink.get();
            if gp.lockedm().is_none() {
                before = at;
                at = next;
                continue;
            }
            // SAFETY: as above.
            match unsafe { before.as_ref() } {
                Some(before) => set_g_no_write_barrier(&before.schedlink, next),
                None => set_g_no_write_barrier(&self.head, next),
            }
            if next.is_null() {
                set_g_no_write_barrier(&self.tail, before);
            }
            set_g_no_write_barrier(&gp.schedlink, core::ptr::null_mut());
            return Some(gp);
        }
        None
    }
}

impl Sched {
    /// Whether as many goroutines are descheduled in the middle of their code as may be.
    #[nowritebarrierrec]
    pub(crate) fn all_kept(&self) -> bool {
        self.nkept.load(Ordering::SeqCst) >= self.most_kept.load(Ordering::SeqCst)
    }

    /// Puts a runnable G at the end of the global queue. May run without a P.
    #[nowritebarrierrec]
    pub(crate) fn globrunqput(&self, global: &mut Global, gp: &G) {
        self.globrunqputbatch(global, gp, gp, 1);
    }

    /// Puts a list of `n` runnable Gs at the end of the global queue. May run without a P.
    #[nowritebarrierrec]
    pub(crate) fn globrunqputbatch(&self, global: &mut Global, head: &G, tail: &G, n: usize) {
        global.runq.append(head, tail);
        self.runqsize.fetch_add(n, Ordering::SeqCst);
    }

    /// Puts one that was taken from the global queue back to its head. May run without a P.
    #[nowritebarrierrec]
    pub(crate) fn globrunqputback(&self, global: &mut Global, gp: &G) {
        global.runq.push_front(gp);
        self.runqsize.fetch_add(1, Ordering::SeqCst);
    }

    /// Takes the first G of the global queue that is not to be held back. May run without a P.
    #[nowritebarrierrec]
    pub(crate) fn globrunqpop(&self, global: &mut Global) -> Option<&'static G> {
        if self.all_kept() {
            while let Some(gp) = global.runq.pop() {
                // Relaxed: written before it was queued, which the lock orders.
                if !gp.fresh.load(Ordering::Relaxed) {
                    self.runqsize.fetch_sub(1, Ordering::SeqCst);
                    return Some(gp);
                }
                self.hold(global, gp);
            }
        }
        let gp = match self.unhold(global) {
            Some(gp) => Some(gp),
            None => global.runq.pop(),
        };
        if gp.is_some() {
            self.runqsize.fetch_sub(1, Ordering::SeqCst);
        }
        gp
    }

    /// Takes the first goroutine of the global queue that waits in the middle of its code. May run without a P.
    #[nowritebarrierrec]
    pub(crate) fn globrunqget_kept(&self, global: &mut Global) -> Option<&'static G> {
        let gp = global.runq.pop_kept();
        if gp.is_some() {
            self.runqsize.fetch_sub(1, Ordering::SeqCst);
        }
        gp
    }

    #[nowritebarrierrec]
    fn hold(&self, global: &mut Global, gp: &G) {
        if global.held.is_empty() {
            self.held_since.store(nanotime().max(1), Ordering::SeqCst);
        }
        global.held.append(gp, gp);
    }

    #[nowritebarrierrec]
    fn unhold(&self, global: &mut Global) -> Option<&'static G> {
        let gp = global.held.pop();
        if gp.is_some() {
            let since = if global.held.is_empty() { 0 } else { nanotime().max(1) };
            self.held_since.store(since, Ordering::SeqCst);
        }
        gp
    }

    /// Whether `gp`, found in a P's own queue, was held back instead of being run now: it has never run, and others wait.
    #[inline]
    #[nowritebarrierrec]
    pub(crate) fn held_back(&self, gp: &G) -> bool {
        // Relaxed: as in `globrunqpop`; the P's queue orders it.
        gp.fresh.load(Ordering::Relaxed) && self.all_kept() && self.hold_back(gp)
    }

    #[nowritebarrierrec]
    fn hold_back(&self, gp: &G) -> bool {
        let mut global = self.lock();
        if global.runq.is_empty() {
            return false;
        }
        self.hold(&mut global, gp);
        self.runqsize.fetch_add(1, Ordering::SeqCst);
        true
    }
}
