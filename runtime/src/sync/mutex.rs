//! `Mutex`: mutable access to a value, one goroutine at a time.
//!
//! There is no guard. While `with` lasts the content lies on the holder's stack and counts as part of it; plain
//! stores to it need no barrier. It is copied out on entering and back on leaving (also by a panic), and each copy
//! shades all its words with no safepoint in between. What would break with a guard: leaked, it would yield a
//! `&'static mut` into the heap whose stores no barrier sees.
//!
//! Who runs has it again at once (Go's normal mode): a release wakes the first one that waits, who tries for it like anybody
//! else. As long as he is on his way (`WOKEN`) nobody else is woken. He who has tried in vain goes to the front again, and
//! after a millisecond he is handed it (Go's starvation mode, for one waiter at a time).
//!
//! ```text
//! 0 ──take──► HELD ──who finds it so queues──► HELD WAITED
//!                                                  │ release: the first one is off the queue
//!                        he starves: HELD, and his ◄┴► WOKEN, and WAITED if there are more: whoever takes it
//! ```
//! What would break if a release wrote the state without an exchange: it would not see who has just queued, who then waits for
//! ever; if one who waits again left `WOKEN` set: nobody would be woken any more.

use super::{Waiters, goroutine, waiter, wake};
use crate::g::WaitReason;
use crate::proc::newm::this_m;
use crate::proc::runq::runqempty;
use crate::time::nanotime;
use core::cell::UnsafeCell;
use core::fmt;
use core::mem::{ManuallyDrop, MaybeUninit};
use gc_core::faults::{self, Fault};
use gc_core::sync::current::Region;
use gc_core::sync::{AtomicU32, AtomicUsize, Ordering, Rank, RawLock, modelled};
use gc_core::{Conservative, Gc, Heap, Root};

/// Somebody has the value.
const HELD: u32 = 1;
/// Somebody is in the queue. Written under `lock`.
const WAITED: u32 = 2;
/// Somebody who was in the queue is on his way.
const WOKEN: u32 = 4;

/// Who has waited so long, in nanoseconds, in vain is handed the mutex.
const STARVES: u64 = if cfg!(modelled) { 0 } else { 1_000_000 };
/// How often who finds it held looks again before he waits, and how long between two looks, where the holder runs elsewhere.
const LOOKS: u32 = if cfg!(modelled) { 0 } else { 4 };
const PAUSES: u32 = 30;

struct Inner<T> {
    state: AtomicU32,
    /// Of the queue.
    lock: RawLock,
    waiters: Waiters,
    handles: AtomicUsize,
    heap: &'static Heap,
    value: UnsafeCell<MaybeUninit<T>>,
}

// SAFETY: the queue is under `lock`, the value is the holder's.
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
        Mutex::make(goroutine("Mutex::new").sched.heap(), value)
    }

    pub(crate) fn make(heap: &'static Heap, value: T) -> Mutex<T> {
        let inner: Gc<Conservative<Inner<T>>> = Gc::new(Conservative(Inner {
            state: AtomicU32::new(0),
            lock: RawLock::new(Rank::Waited),
            waiters: Waiters::new(),
            handles: AtomicUsize::new(1),
            heap,
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
    /// Who comes while it is free has it, also before those who wait; who has waited for a millisecond in vain is handed it.
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
        if !self.inner().take(0) {
            self.acquire_slow();
        }
    }

    #[cold]
    fn acquire_slow(&self) {
        modelled("Mutex::acquire");
        let inner = self.inner();
        let gp = goroutine("Mutex::with");
        // Whoever holds it may be about to give it back, if there is a P for him besides this one, which has nothing else
        // to do.
        for _ in 0..LOOKS {
            if gp.sched.procs() == 1 || this_m().p().is_none_or(|p| !runqempty(p)) {
                break;
            }
            (0..PAUSES).for_each(|_| core::hint::spin_loop());
            if inner.take(0) {
                return;
            }
        }
        let since = nanotime();
        // Allocation is a safepoint, so not under the lock.
        let w = waiter(gp);
        let mut woken = 0;
        while !inner.take(woken) {
            inner.lock.lock();
            if inner.take_or_announce(woken) {
                inner.lock.unlock();
                return;
            }
            let again = woken != 0;
            w.starves.set(again && nanotime() - since >= STARVES);
            inner.waiters.wait(w, again, &inner.lock, WaitReason::Mutex);
            if w.starves.get() {
                return;
            }
            woken = WOKEN;
        }
    }
}

impl<T> Inner<T> {
    /// Takes it if nobody has it. `woken`: `WOKEN`, which it takes off, by him for whom it is set; else 0.
    #[inline]
    fn take(&self, woken: u32) -> bool {
        let taken = |state| (state & HELD == 0).then_some(state & !woken | HELD);
        // Acquire: pairs with the Release of who has given it back: the value is as he left it.
        self.state.fetch_update(Ordering::Acquire, Ordering::Relaxed, taken).is_ok()
    }

    /// As `take`; if somebody has it he will know that there is a queue. Under the lock.
    fn take_or_announce(&self, woken: u32) -> bool {
        let kept = if faults::active(Fault::MutexStillWoken) { 0 } else { woken };
        let announced = |state| (state & HELD != 0).then_some(state & !kept | WAITED);
        while !self.take(woken) {
            // Relaxed: the value is not looked at, and the queue is under the lock.
            if self.state.fetch_update(Ordering::Relaxed, Ordering::Relaxed, announced).is_ok() {
                return false;
            }
        }
        true
    }

    /// By the holder.
    fn release(&self) {
        // Whoever is on his way will see to the others.
        let free = |state| (state & (WAITED | WOKEN) != WAITED).then_some(state & !HELD);
        if faults::active(Fault::MutexReleasedPlain)
            && let Some(state) = free(self.state.load(Ordering::Relaxed))
        {
            faults::linger(64);
            return self.state.store(state, Ordering::Release);
        }
        // Release: pairs with the Acquire in `take`.
        if self.state.fetch_update(Ordering::Release, Ordering::Relaxed, free).is_err() {
            self.release_slow();
        }
    }

    /// There is a queue, and nobody on his way: both stay so, as only the holder wakes.
    #[cold]
    fn release_slow(&self) {
        modelled("Mutex::release");
        self.lock.lock();
        let Some(w) = self.waiters.pop() else { gc_core::throw!("a mutex is waited for by nobody") };
        let (mut off, on) = if w.starves.get() { (0, 0) } else { (HELD, WOKEN) };
        if !self.waiters.any() {
            off |= WAITED;
        }
        // Release: as in `release`.
        _ = self.state.fetch_update(Ordering::Release, Ordering::Relaxed, |state| Some(state & !off | on));
        let gp = w.g;
        self.lock.unlock();
        wake(Some(gp));
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
        inner.release();
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

#[cfg(all(test, not(modelled)))]
mod tests {
    use super::*;
    use core::time::Duration;

    fn on_one_p(f: impl FnOnce() + Send + 'static) {
        let _turn = crate::runtime::turn();
        // SAFETY: uses neither the heap nor thread-locals nor locks of std.
        unsafe { crate::Runtime::builder().procs(1).run(f) };
    }

    /// The mutex, which this goroutine has, and another one, which waits for it.
    fn waited_for() -> (Mutex<u64>, crate::JoinHandle<()>) {
        let mutex = Mutex::new(0);
        mutex.acquire();
        let waiter = mutex.clone();
        let other = crate::spawn(move || waiter.with(|n| *n += 1));
        until_it_waits(&mutex);
        (mutex, other)
    }

    fn until_it_waits(mutex: &Mutex<u64>) {
        while state(mutex) != HELD | WAITED {
            crate::yield_now();
        }
    }

    fn state(mutex: &Mutex<u64>) -> u32 {
        mutex.inner().state.load(Ordering::SeqCst)
    }

    #[test]
    fn who_gives_it_back_has_it_again_before_the_one_that_it_wakes() {
        on_one_p(|| {
            let (mutex, first) = waited_for();
            let waiter = mutex.clone();
            let second = crate::spawn(move || waiter.with(|n| *n += 1));
            // It queues.
            crate::time::sleep(Duration::from_millis(1));
            mutex.inner().release();
            assert_eq!(state(&mutex), WOKEN | WAITED);
            mutex.acquire();
            assert_eq!(state(&mutex), HELD | WOKEN | WAITED);
            mutex.inner().release();
            assert_eq!(state(&mutex), WOKEN | WAITED, "the first one will see to the second");
            first.join().unwrap();
            second.join().unwrap();
            assert_eq!((state(&mutex), mutex.with(|n| *n)), (0, 2));
        });
    }

    #[test]
    fn who_has_tried_in_vain_for_long_is_handed_it() {
        on_one_p(|| {
            let (mutex, other) = waited_for();
            crate::time::sleep(Duration::from_nanos(2 * STARVES));
            mutex.inner().release();
            mutex.acquire();
            until_it_waits(&mutex);
            mutex.inner().release();
            assert_eq!(state(&mutex), HELD, "it is his already");
            other.join().unwrap();
            assert_eq!((state(&mutex), mutex.with(|n| *n)), (0, 1));
        });
    }

    #[test]
    fn who_waits_again_comes_first() {
        on_one_p(|| {
            let (mutex, first) = waited_for();
            let turns = Mutex::new(Vec::new());
            let (m, t) = (mutex.clone(), turns.clone());
            let second = crate::spawn(move || m.with(|n| t.with(|t| t.push(*n))));
            // The second one queues, and then the first one again.
            crate::time::sleep(Duration::from_millis(1));
            mutex.inner().release();
            mutex.acquire();
            crate::time::sleep(Duration::from_millis(1));
            mutex.inner().release();
            first.join().unwrap();
            second.join().unwrap();
            assert_eq!(turns.with(core::mem::take), [1], "the first one had been there");
            assert_eq!(state(&mutex), 0);
        });
    }
}
