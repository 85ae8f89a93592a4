//! `RootCell`: a static that holds a pointer into the heap, and can change.
//!
//! The pointer lies in a slot of the heap's root table, which is scanned as a root; so it is a heap cell outside the
//! heap, and a store shades what it overwrites and what it stores like any other. The cell itself is a constant
//! until it is set for the first time, when it takes a slot. Its slot belongs to one heap: under another one (of a
//! later runtime in this process) the cell is empty until it is set there. What would break without the shading: as
//! with `GcCell`, a pointer moves from a slot that is not scanned yet to a stack that is.

use super::store::before_store;
use crate::faults::{self, Fault};
use crate::gc::Gc;
use crate::heap::Heap;
use crate::p::holder;
use crate::root::Slot;
use crate::sync::current::Region;
use crate::sync::{AtomicPtr, Ordering, Rank, RawLock};
use barrier_lint::writebarrier;
use core::fmt;
use core::marker::PhantomData;
use core::ptr;

/// A pointer outside the heap that the collector knows and that can change: for statics.
///
/// Reading and storing need a P; dropping one does not. Where a pointer never changes, [`Root`](crate::Root) is
/// smaller.
///
/// ```
/// # use gc_core::{Gc, RootCell};
/// static CONFIG: RootCell<str> = RootCell::new();
///
/// fn set_config(text: &str) {
///     CONFIG.set(Some(Gc::from_text(text)));
/// }
/// ```
pub struct RootCell<T: ?Sized> {
    /// Null until it is set for the first time.
    slot: AtomicPtr<Slot>,
    /// Where the slot is. Changes with `slot`, under `lock`.
    heap: AtomicPtr<Heap>,
    lock: RawLock,
    target: PhantomData<*const T>,
}

// SAFETY: hands out a `Gc<T>`; the slot is atomic, and what names it is under `lock`.
unsafe impl<T: ?Sized + Send + Sync> Send for RootCell<T> {}
// SAFETY: as above.
unsafe impl<T: ?Sized + Send + Sync> Sync for RootCell<T> {}

impl<T: ?Sized> RootCell<T> {
    /// An empty one.
    #[cfg(not(modelled))]
    pub const fn new() -> RootCell<T> {
        RootCell {
            slot: AtomicPtr::new(ptr::null_mut()),
            heap: AtomicPtr::new(ptr::null_mut()),
            lock: RawLock::new(Rank::RootCell),
            target: PhantomData,
        }
    }

    /// An empty one.
    #[cfg(modelled)]
    pub fn new() -> RootCell<T> {
        RootCell {
            slot: AtomicPtr::new(ptr::null_mut()),
            heap: AtomicPtr::new(ptr::null_mut()),
            lock: RawLock::new(Rank::RootCell),
            target: PhantomData,
        }
    }

    /// The pointer, if one was set in the heap of this thread. Fatal on a thread without a P.
    pub fn get(&self) -> Option<Gc<T>> {
        let slot = self.slot(holder("a root cell is read").heap())?;
        // Acquire: pairs with the Release of `swap`.
        let addr = slot.object.load(Ordering::Acquire);
        // SAFETY: the slot keeps the object alive; it holds what `swap` was given.
        (addr != 0).then(|| unsafe { Gc::from_addr(addr) })
    }

    /// Stores a pointer, with the write barrier. Fatal on a thread without a P.
    #[writebarrier]
    pub fn set(&self, value: Option<Gc<T>>) {
        self.swap(value);
    }

    /// Stores a pointer and returns what was there. As [`set`](RootCell::set).
    #[writebarrier]
    pub fn swap(&self, value: Option<Gc<T>>) -> Option<Gc<T>> {
        let heap = holder("a root cell is set").heap();
        let slot = self.slot(heap).unwrap_or_else(|| self.new_slot(heap));
        let new = value.map_or(0, Gc::addr);
        let _region = Region::enter();
        if !faults::active(Fault::RootCellUnshaded) {
            // Relaxed: only to shade it.
            before_store(ptr::from_ref(slot).addr(), || slot.object.load(Ordering::Relaxed), new);
        }
        // Release: pairs with the Acquire of `get` and of the scan; Acquire: as `get`.
        let old = slot.object.swap(new, Ordering::AcqRel);
        // SAFETY: as in `get`; it is on this stack from here on, shaded if that is black.
        (old != 0).then(|| unsafe { Gc::from_addr(old) })
    }

    /// The slot, if it is one of this heap's.
    fn slot(&self, heap: &'static Heap) -> Option<&'static Slot> {
        // Acquire: pairs with the Release in `new_slot`.
        heap.roots.own(self.slot.load(Ordering::Acquire))
    }

    /// Takes an empty slot of this heap, unless somebody was faster; a slot of another heap is given back there.
    #[cold]
    fn new_slot(&self, heap: &'static Heap) -> &'static Slot {
        self.lock.lock();
        let slot = self.slot(heap).unwrap_or_else(|| {
            self.give_back();
            let slot = heap.roots.add_slot(heap, 0);
            self.heap.store(ptr::from_ref(heap).cast_mut(), Ordering::Relaxed);
            // Release: pairs with the Acquire in `slot`.
            self.slot.store(ptr::from_ref(slot).cast_mut(), Ordering::Release);
            slot
        });
        self.lock.unlock();
        slot
    }

    /// Gives the slot back to its heap. The caller holds the lock, or the only reference.
    fn give_back(&self) {
        // SAFETY: null, or a heap, which lives for ever.
        if let Some(heap) = unsafe { self.heap.load(Ordering::Relaxed).as_ref() }
            && let Some(slot) = heap.roots.own(self.slot.load(Ordering::Relaxed))
        {
            heap.roots.defer_slot(slot);
        }
    }
}

impl<T: ?Sized> Default for RootCell<T> {
    fn default() -> Self {
        RootCell::new()
    }
}

impl<T: ?Sized> Drop for RootCell<T> {
    fn drop(&mut self) {
        self.give_back();
    }
}

impl<T: ?Sized> fmt::Debug for RootCell<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RootCell").finish_non_exhaustive()
    }
}
