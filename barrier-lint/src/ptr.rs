//! The pointer field without any barriered store.

use core::ptr::null_mut;
#[cfg(not(loom))]
use core::sync::atomic::AtomicPtr;
use core::sync::atomic::Ordering::{AcqRel, Acquire, Release};
#[cfg(loom)]
use loom::sync::atomic::AtomicPtr;

use crate::{NotInHeap, nowritebarrierrec};

/// An atomic pointer *field* that is always written without a write barrier.
///
/// A word is never sometimes barriered: what the scheduler links (G, M, P, mcache) has this type, and what the
/// collector must see has another. Each such field documents the root that keeps its referent alive.
///
/// `Send` and `Sync` like a raw pointer in an atomic: the field hands out addresses, not access; whoever dereferences
/// one answers for it.
///
/// ```
/// use barrier_lint::{NoBarrierPtr, nowritebarrierrec};
/// struct M { /// Kept alive by `allps`.
///            p: NoBarrierPtr<u32> }
/// #[nowritebarrierrec]
/// fn set_p_no_write_barrier(m: &M, p: *mut u32) {
///     // SAFETY: `allps` keeps every P.
///     unsafe { m.p.set_no_write_barrier(p) }
/// }
/// let mut p = 1;
/// let m = M { p: NoBarrierPtr::null() };
/// set_p_no_write_barrier(&m, &mut p);
/// assert_eq!(m.p.get(), &raw mut p);
/// ```
#[repr(transparent)]
pub struct NoBarrierPtr<T>(AtomicPtr<T>);

#[nowritebarrierrec]
impl<T> NoBarrierPtr<T> {
    /// A field that holds `p`.
    #[cfg(not(modelled))]
    #[inline]
    pub const fn new(p: *mut T) -> Self {
        NoBarrierPtr(AtomicPtr::new(p))
    }

    /// A field that holds `p`.
    #[cfg(modelled)]
    pub fn new(p: *mut T) -> Self {
        NoBarrierPtr(AtomicPtr::new(p))
    }

    /// A field that holds nil.
    #[cfg(not(modelled))]
    #[inline]
    pub const fn null() -> Self {
        Self::new(null_mut())
    }

    /// A field that holds nil.
    #[cfg(modelled)]
    pub fn null() -> Self {
        Self::new(null_mut())
    }

    /// The word. In a model that shuttle runs another thread may be chosen first.
    #[inline(always)]
    fn word(&self) -> &AtomicPtr<T> {
        #[cfg(shuttle)]
        shuttle::thread::sleep(core::time::Duration::ZERO);
        &self.0
    }

    /// Loads the pointer (`Acquire`, pairs with the setter's `Release`).
    #[inline]
    pub fn get(&self) -> *mut T {
        self.word().load(Acquire)
    }

    /// Stores the pointer (`Release`), never with a write barrier.
    ///
    /// # Safety
    /// As long as the field holds `p`, another root keeps `*p` alive. The call site must name that root.
    #[inline]
    pub unsafe fn set_no_write_barrier(&self, p: *mut T) {
        self.word().store(p, Release)
    }

    /// Stores the pointer and returns the one before (`AcqRel`), never with a write barrier.
    ///
    /// # Safety
    /// As [`set_no_write_barrier`](Self::set_no_write_barrier).
    #[inline]
    pub unsafe fn swap_no_write_barrier(&self, p: *mut T) -> *mut T {
        self.word().swap(p, AcqRel)
    }

    /// Stores `new` if the field holds `old` (`AcqRel`), never with a write barrier. Whether it did.
    ///
    /// # Safety
    /// As [`set_no_write_barrier`](Self::set_no_write_barrier), for `new`.
    #[inline]
    pub unsafe fn cas_no_write_barrier(&self, old: *mut T, new: *mut T) -> bool {
        self.word().compare_exchange(old, new, AcqRel, Acquire).is_ok()
    }
}

// SAFETY: the field is an address that the collector never has to follow.
unsafe impl<T> NotInHeap for NoBarrierPtr<T> {}
