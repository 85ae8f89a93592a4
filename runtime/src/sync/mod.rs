//! Locks for goroutines: they park the goroutine, never its thread.

mod mutex;
mod waitgroup;

pub use mutex::Mutex;
pub use waitgroup::WaitGroup;

use crate::g::{G, WaitReason};
use crate::proc::park::{park, ready};
use core::cell::Cell;
use gc_core::sync::RawLock;
use gc_core::{Conservative, Gc};

/// A goroutine that waits for a lock. The links have no barrier: a waiter's stack keeps its own alive.
struct Waiter {
    g: &'static G,
    /// Kept alive by the waiter's stack.
    next: Cell<*const Waiter>,
    /// It has been woken in vain, and long ago begun to wait: what it waits for is handed to it.
    starves: Cell<bool>,
}

/// Waiters in order of arrival; under the lock of what they wait for.
struct Waiters {
    first: Cell<*const Waiter>,
    last: Cell<*const Waiter>,
}

impl Waiters {
    fn new() -> Waiters {
        Waiters { first: Cell::new(core::ptr::null()), last: Cell::new(core::ptr::null()) }
    }

    /// Whether somebody waits.
    fn any(&self) -> bool {
        !self.first.get().is_null()
    }

    /// Waits until `pop` and `ready`; gives `lock` back meanwhile. `w` was made before the lock was taken. `again`: it has
    /// waited before, and goes to the front.
    fn wait(&self, w: Gc<Conservative<Waiter>>, again: bool, lock: &RawLock, reason: WaitReason) {
        let p: *const Waiter = &raw const **w;
        w.next.set(if again { self.first.get() } else { core::ptr::null() });
        // SAFETY: a queued waiter is alive: its parked stack points to it.
        match unsafe { self.last.get().as_ref() } {
            Some(last) if !again => last.next.set(p),
            _ => self.first.set(p),
        }
        if w.next.get().is_null() {
            self.last.set(p);
        }
        w.g.set_awaits(lock);
        park(w.g, lock, reason);
        gc_core::keep_alive(w);
    }

    /// The first waiter, off the list; the caller readies its goroutine after it has given the lock back, and uses it no more
    /// after that.
    fn pop<'a>(&self) -> Option<&'a Waiter> {
        // SAFETY: as in `wait`.
        let w = unsafe { self.first.get().as_ref() }?;
        w.g.clear_awaits();
        self.first.set(w.next.get());
        if w.next.get().is_null() {
            self.last.set(core::ptr::null());
        }
        Some(w)
    }
}

/// A waiter for `gp`. A safepoint, so not under a lock.
fn waiter(gp: &'static G) -> Gc<Conservative<Waiter>> {
    Gc::new(Conservative(Waiter { g: gp, next: Cell::new(core::ptr::null()), starves: Cell::new(false) }))
}

fn wake(gp: Option<&'static G>) {
    if let Some(gp) = gp {
        ready(gp);
    }
}

fn goroutine(what: &str) -> &'static G {
    match crate::g::getg() {
        Some(gp) if crate::p::holds_one() => gp,
        _ => panic!("`{what}` is called on a goroutine, not in a blocking call or on another thread"),
    }
}
