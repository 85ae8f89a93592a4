//! `Mutex`: mutable access to a value, one goroutine at a time.
//!
//! There is no guard. While `with` lasts the content lies on the holder's stack and counts as part of it; plain
//! stores to it need no barrier. It is copied out on entering and back on leaving (also by a panic), and each copy
//! shades all its words with no safepoint in between. What would break with a guard: leaked, it would yield a
//! `&'static mut` into the heap whose stores no barrier sees.

use super::{Waiters, goroutine, waiter, wake};
use crate::g::WaitReason;
use core::cell::{Cell, UnsafeCell};
use core::fmt;
use core::mem::{ManuallyDrop, MaybeUninit};
use gc_core::sync::current::Region;
use gc_core::sync::{AtomicUsize, Ordering, Rank, RawLock};
use gc_core::{Conservative, Gc, Heap, Root};

struct Inner<T> {
    lock: RawLock,
    held: Cell<bool>,
    waiters: Waiters,
    handles: AtomicUsize,
    heap: &'static Heap,
    value: UnsafeCell<MaybeUninit<T>>,
}

// SAFETY: cells are under `lock`, the value is the holder's.
unsafe impl<T: Send> Sync for Inner<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Send for Inner<T> {}

/// A value that one goroutine at a time may change. Cloning gives another handle to the same mutex; the value is
/// dropped with the last one, where that happens on a goroutine.
///
/// ```
/// # unsafe { tricolor::Runtime::builder().run(|| {
/// let m = tricolor::sync::Mutex::new(0);
/// let handles: Vec<_> = (0..4).map(|_| { let m = m.clone(); tricolor::spawn(move || m.with(|n| *n += 1)) }).collect();
/// handles.into_iter().for_each(|h| h.join().unwrap());
/// assert_eq!(m.with(|n| *n), 4);
/// # }) }
/// ```
pub struct Mutex<T: Send + 'static> {
    root: Root<Conservative<Inner<T>>>,
    inner: *const Inner<T>,
}

// SAFETY: the shared object is Sync for values that are Send; the pointer goes with the root.
unsafe impl<T: Send> Send for Mutex<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Mutex<T> {}

impl<T: Send + 'static> Mutex<T> {
    /// A free mutex around `value`. Needs a P; a safepoint.
    ///
    /// # Panics
    /// Outside a goroutine.
    pub fn new(value: T) -> Mutex<T> {
        let gp = goroutine("Mutex::new");
        let inner: Gc<Conservative<Inner<T>>> = Gc::new(Conservative(Inner {
            lock: RawLock::new(Rank::Waited),
            held: Cell::new(false),
            waiters: Waiters::new(),
            handles: AtomicUsize::new(1),
            heap: gp.sched.heap(),
            value: UnsafeCell::new(MaybeUninit::new(value)),
        }));
        Mutex { root: Root::of_handle(inner), inner: &raw const **inner }
    }

    fn inner(&self) -> &Inner<T> {
        // SAFETY: `root` keeps it.
        unsafe { &*self.inner }
    }

    /// Runs `f` with the content, when no other goroutine does; waits for that. A panic in `f` gives the mutex back
    /// and goes on (there is no poison). Needs a P; a safepoint, and `f` may contain some. Source: Go's `sync.Mutex`.
    ///
    /// Calling it on the same mutex inside `f` waits for ever.
    ///
    /// # Panics
    /// Outside a goroutine, and if `f` does.
    pub fn with<R>(&self, f: impl for<'a> FnOnce(&'a mut T) -> R) -> R {
        self.acquire();
        let inner = self.inner();
        // SAFETY: held: the value is ours. It moves to this stack, which may be black, so it is shaded first.
        let value = unsafe {
            let _region = Region::enter();
            let slot = (*inner.value.get()).as_ptr();
            inner.heap.shade_value(slot);
            slot.read()
        };
        let mut held = Held { mutex: self, value: ManuallyDrop::new(value) };
        f(&mut held.value)
    }

    fn acquire(&self) {
        crate::proc::park::poll();
        let inner = self.inner();
        inner.lock.lock();
        if !inner.held.replace(true) {
            inner.lock.unlock();
            return;
        }
        inner.lock.unlock();
        // Allocation is a safepoint, so not under the lock.
        let w = waiter(goroutine("Mutex::with"));
        inner.lock.lock();
        if !inner.held.replace(true) {
            inner.lock.unlock();
            return;
        }
        // `release` hands the mutex over: when this returns it is ours.
        inner.waiters.wait(w, &inner.lock, WaitReason::Mutex);
    }

    fn release(&self) {
        let inner = self.inner();
        inner.lock.lock();
        let next = inner.waiters.pop();
        if next.is_none() {
            inner.held.set(false);
        }
        inner.lock.unlock();
        wake(next);
    }
}

/// Puts the content back, also when a panic goes by.
struct Held<'a, T: Send + 'static> {
    mutex: &'a Mutex<T>,
    value: ManuallyDrop<T>,
}

impl<T: Send + 'static> Drop for Held<'_, T> {
    fn drop(&mut self) {
        let inner = self.mutex.inner();
        // SAFETY: still held. The object may be black, so what goes in is shaded, with no safepoint before the store.
        unsafe {
            let _region = Region::enter();
            inner.heap.shade_value(&raw const *self.value);
            (*inner.value.get()).write(core::ptr::read(&raw const *self.value));
        }
        self.mutex.release();
    }
}

impl<T: Send + 'static> Clone for Mutex<T> {
    fn clone(&self) -> Self {
        // Relaxed: the new handle is passed on by something that synchronises.
        self.inner().handles.fetch_add(1, Ordering::Relaxed);
        Mutex { root: self.root.clone(), inner: self.inner }
    }
}

impl<T: Send + 'static> Drop for Mutex<T> {
    fn drop(&mut self) {
        if self.inner().handles.fetch_sub(1, Ordering::SeqCst) != 1 || !core::mem::needs_drop::<T>() {
            return;
        }
        if let Some(_gp) = crate::g::getg()
            && crate::p::holds_one()
        {
            let inner = self.inner();
            // SAFETY: the last handle: nobody else reaches the value any more.
            let value = unsafe {
                let _region = Region::enter();
                let slot = (*inner.value.get()).as_ptr();
                inner.heap.shade_value(slot);
                slot.read()
            };
            drop(value);
        }
    }
}

impl<T: Send + 'static> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mutex").finish_non_exhaustive()
    }
}
