//! The runtime's own lock: a word and a futex ([`FutexLock`]).
//!
//! Code inside the runtime may not take a std or malloc lock (their holder may be suspended), and a lock that is
//! taken without a P may not allocate, use thread-locals or call function pointers. Who holds one is not suspended where it
//! is (`current::locks`).
//!
//! Which may be taken while which are held says their [`Rank`].

use super::current;
#[cfg(modelled)]
use super::explorer;
#[cfg(not(modelled))]
use super::futex_lock::FutexLock;
use super::rank::{Rank, Ranked};
use barrier_lint::nowritebarrierrec;
use core::cell::UnsafeCell;
use core::ops::{Deref, DerefMut};

/// A lock without data, for code that must not run drop glue.
#[cfg(not(modelled))]
pub struct RawLock {
    futex: FutexLock,
    rank: Ranked,
}

/// In models: the explorer's own, which blocks; a loop in which one of three threads waits need not end there. Leaked, as this
/// one needs no drop either.
#[cfg(modelled)]
pub struct RawLock {
    model: &'static ModelLock,
    rank: Ranked,
}

#[cfg(modelled)]
struct ModelLock {
    mutex: explorer::sync::Mutex<()>,
    /// The holder's.
    guard: UnsafeCell<Option<explorer::sync::MutexGuard<'static, ()>>>,
}

// SAFETY: `guard` is touched by the holder only, and a model's threads share an OS thread.
#[cfg(modelled)]
unsafe impl Send for ModelLock {}
// SAFETY: as above.
#[cfg(modelled)]
unsafe impl Sync for ModelLock {}

#[cfg(modelled)]
impl ModelLock {
    /// Whether `guard` is one: then it is kept.
    fn keep(&self, guard: Option<explorer::sync::MutexGuard<'static, ()>>) -> bool {
        let taken = guard.is_some();
        if taken {
            // SAFETY: this thread holds the lock.
            unsafe { *self.guard.get() = guard };
        }
        taken
    }

    fn unlock(&self) {
        // SAFETY: the caller holds the lock. First out, then dropped: from then on it is another one's.
        let guard = unsafe { (*self.guard.get()).take() };
        assert!(guard.is_some(), "unlock of a lock that nobody holds");
        drop(guard);
    }
}

#[nowritebarrierrec]
impl RawLock {
    /// A free lock of this rank.
    #[cfg(not(modelled))]
    pub const fn new(rank: Rank) -> RawLock {
        RawLock { futex: FutexLock::new(), rank: Ranked::new(rank) }
    }

    /// A free lock of this rank that [`unlock_kept`](RawLock::unlock_kept) gives back without an exchange, where the kernel
    /// helps.
    pub fn kept(rank: Rank) -> RawLock {
        #[cfg(not(modelled))]
        return RawLock { futex: FutexLock::kept(), rank: Ranked::new(rank) };
        #[cfg(modelled)]
        RawLock::new(rank)
    }

    /// A free lock of this rank.
    #[cfg(modelled)]
    pub fn new(rank: Rank) -> RawLock {
        let model = ModelLock { mutex: explorer::sync::Mutex::new(()), guard: UnsafeCell::new(None) };
        RawLock { model: Box::leak(Box::new(model)), rank: Ranked::new(rank) }
    }

    /// Says the rank of a lock in zeroed memory, before another thread sees it.
    #[inline]
    pub fn set_rank(&self, rank: Rank) {
        self.rank.set(rank);
    }

    /// Takes the lock if it is free. Waits for nobody, so it may be out of order.
    #[inline]
    pub fn try_lock(&self) -> bool {
        current::lock();
        let free = self.acquire();
        if free {
            self.rank.taken();
        } else {
            current::unlock();
        }
        free
    }

    #[cfg(modelled)]
    fn acquire(&self) -> bool {
        self.model.keep(self.model.mutex.try_lock().ok())
    }

    #[cfg(not(modelled))]
    #[inline]
    fn acquire(&self) -> bool {
        self.futex.try_take()
    }

    /// Takes the lock; may run without a P.
    #[inline]
    pub fn lock(&self) {
        // First the count: a holder that is suspended would hold up whoever suspended it.
        current::lock();
        self.rank.check();
        self.wait();
    }

    /// Takes one more lock of a rank; `below` is the last of that rank that this thread has taken, at a lower address. May
    /// run without a P.
    #[inline]
    pub fn lock_above(&self, below: &RawLock) {
        current::lock();
        self.rank.check_above(&below.rank);
        self.wait();
    }

    #[cfg(modelled)]
    fn wait(&self) {
        self.model.keep(self.model.mutex.lock().ok());
        self.rank.taken();
    }

    #[cfg(not(modelled))]
    #[inline]
    fn wait(&self) {
        self.futex.take();
        self.rank.taken();
    }

    /// Gives the lock back.
    ///
    /// The caller holds it.
    #[inline]
    pub fn unlock(&self) {
        self.rank.given_back();
        #[cfg(modelled)]
        self.model.unlock();
        #[cfg(not(modelled))]
        self.futex.give_back();
        current::unlock();
    }

    /// Gives the lock back, and looks at it once more.
    ///
    /// The caller holds it, and keeps it alive until this returns.
    #[inline]
    pub fn unlock_kept(&self) {
        self.rank.given_back();
        #[cfg(modelled)]
        self.model.unlock();
        #[cfg(not(modelled))]
        self.futex.give_back_kept();
        current::unlock();
    }
}

/// A [`RawLock`] with the data that it guards.
pub struct Lock<T> {
    raw: RawLock,
    data: UnsafeCell<T>,
}

// SAFETY: `raw` lets one thread at a time at `data`.
unsafe impl<T: Send> Send for Lock<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Lock<T> {}

#[nowritebarrierrec]
impl<T> Lock<T> {
    /// A free lock of this rank around `data`.
    #[cfg(not(modelled))]
    pub const fn new(rank: Rank, data: T) -> Lock<T> {
        Lock { raw: RawLock::new(rank), data: UnsafeCell::new(data) }
    }

    /// A free lock of this rank around `data`.
    #[cfg(modelled)]
    pub fn new(rank: Rank, data: T) -> Lock<T> {
        Lock { raw: RawLock::new(rank), data: UnsafeCell::new(data) }
    }

    /// Says the rank of a lock in zeroed memory, before another thread sees it.
    #[inline]
    pub fn set_rank(&self, rank: Rank) {
        self.raw.set_rank(rank);
    }

    /// Takes the lock until the guard goes.
    #[inline]
    pub fn lock(&self) -> Guard<'_, T> {
        self.raw.lock();
        Guard { lock: self }
    }

    /// Takes the lock if it is free.
    #[inline]
    pub fn try_lock(&self) -> Option<Guard<'_, T>> {
        self.raw.try_lock().then(|| Guard { lock: self })
    }
}

/// Holds a [`Lock`].
pub struct Guard<'a, T> {
    lock: &'a Lock<T>,
}

#[nowritebarrierrec(receiver = "derefs to what the lock guards")]
impl<T> Deref for Guard<'_, T> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the guard exists, so this thread holds the lock.
        unsafe { &*self.lock.data.get() }
    }
}

#[nowritebarrierrec]
impl<T> DerefMut for Guard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the guard exists, so this thread alone holds the lock.
        unsafe { &mut *self.lock.data.get() }
    }
}

#[nowritebarrierrec]
impl<T> Drop for Guard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.lock.raw.unlock();
    }
}

#[cfg(all(test, not(modelled)))]
mod tests {
    use super::*;

    #[test]
    fn who_holds_a_lock_is_not_suspended() {
        let before = current::locks();
        let lock = Lock::new(Rank::Unranked, 7);
        let held = lock.lock();
        assert_eq!(current::locks(), before + 1);
        assert!(lock.try_lock().is_none());
        assert_eq!(current::locks(), before + 1, "a refusal does not count");
        drop(held);
        assert_eq!(current::locks(), before);
        assert_eq!(lock.try_lock().map(|held| (*held, current::locks())), Some((7, before + 1)));
        assert_eq!(current::locks(), before);
    }

    #[test]
    fn a_refused_try_leaves_the_lock_with_its_holder() {
        let lock = Lock::new(Rank::Unranked, 1);
        let held = lock.lock();
        assert!(lock.try_lock().is_none());
        // A refusal that made and dropped a guard would have freed the lock.
        assert!(lock.try_lock().is_none());
        drop(held);
        assert!(lock.try_lock().is_some());
    }

    #[test]
    fn one_at_a_time() {
        let lock = Lock::new(Rank::Unranked, 0u64);
        std::thread::scope(|s| {
            for _ in 0..4 {
                s.spawn(|| (0..50_000).for_each(|_| *lock.lock() += 1));
            }
        });
        assert_eq!(*lock.lock(), 200_000);
    }
}
