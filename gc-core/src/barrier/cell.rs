//! `GcCell`: a pointer field of a heap object.

use super::store;
use crate::gc::Gc;
use crate::layout::{Kind, Trace, TypeDesc};
use crate::sync::current::Region;
use crate::sync::{Ordering, word};
use barrier_lint::{Wb, writebarrier};
use core::cell::UnsafeCell;
use core::fmt;
use core::marker::PhantomData;

/// What a [`GcCell`] can hold: [`Gc`], or an `Option` of one.
///
/// # Safety
/// `into_word` gives null or an object's base, and `from_word` is its inverse.
pub unsafe trait CellValue: Copy + 'static {
    /// As a word.
    fn into_word(self) -> usize;
    /// Back from a word.
    ///
    /// # Safety
    /// `word` came from `into_word` of this type, and the object is alive.
    unsafe fn from_word(word: usize) -> Self;
}

// SAFETY: a `Gc` is an object's base.
unsafe impl<T: ?Sized + 'static> CellValue for Gc<T> {
    #[inline(always)]
    fn into_word(self) -> usize {
        self.addr()
    }
    #[inline(always)]
    unsafe fn from_word(word: usize) -> Self {
        // SAFETY: the caller's contract.
        unsafe { Gc::from_addr(word) }
    }
}

// SAFETY: null, or an object's base.
unsafe impl<T: ?Sized + 'static> CellValue for Option<Gc<T>> {
    #[inline(always)]
    fn into_word(self) -> usize {
        self.map_or(0, Gc::addr)
    }
    #[inline(always)]
    unsafe fn from_word(word: usize) -> Self {
        // SAFETY: the caller's contract; null is `None`.
        (word != 0).then(|| unsafe { Gc::from_addr(word) })
    }
}

/// A pointer field that can change while the object is shared: every store runs the write barrier.
///
/// `set` releases and `get` acquires, so what an object was made with is seen by whoever finds it here. Storing, and
/// the compound operations, need a P: on a thread without one (inside `blocking`, or a foreign thread) they are a
/// fatal error in every build. Source: Go's `writebarrierptr` and hybrid barrier (proposal 17503).
///
/// ```
/// # use gc_core::{Gc, GcCell};
/// # #[derive(gc_core::Trace)] struct Node { next: GcCell<Option<Gc<Node>>> }
/// fn link(a: Gc<Node>, b: Gc<Node>) {
///     a.next.set(Some(b));
///     assert!(a.next.get().is_some());
/// }
/// ```
#[repr(transparent)]
pub struct GcCell<V> {
    word: UnsafeCell<usize>,
    value: PhantomData<V>,
}

// SAFETY: all access is atomic; what is handed out is a `V`.
unsafe impl<V: Send + Sync> Sync for GcCell<V> {}
// SAFETY: as above.
unsafe impl<V: Send + Sync> Send for GcCell<V> {}

// SAFETY: one word that is null or an object's base.
unsafe impl<V: CellValue> Trace for GcCell<V> {
    const DESC: &'static TypeDesc = &TypeDesc {
        size: size_of::<usize>(),
        align: align_of::<usize>(),
        kind: Kind::Pointer,
        fields: &[],
        drop: None,
        name: "GcCell",
    };
}

impl<V: CellValue> GcCell<V> {
    /// A cell, on its way into a new object.
    #[inline]
    pub fn new(value: V) -> GcCell<V> {
        GcCell { word: UnsafeCell::new(value.into_word()), value: PhantomData }
    }

    fn slot(&self) -> usize {
        self.word.get().expose_provenance()
    }

    /// The pointer in the cell. Does not need a P by itself.
    #[inline(always)]
    pub fn get(&self) -> V {
        // Acquire: pairs with the Release of `set`.
        // SAFETY: the cell's own word, which only holds what `into_word` gave; the object is alive since it is
        // reachable from here.
        unsafe { V::from_word(word::at(self.slot()).load(Ordering::Acquire)) }
    }

    /// Stores a pointer, with the write barrier.
    #[writebarrier]
    #[inline(always)]
    pub fn set(&self, value: V) {
        // SAFETY: the cell's own word.
        unsafe { store::store(self.slot(), value.into_word()) }
    }

    /// As [`set`](GcCell::set), for runtime code that must show the permission to run a barrier.
    #[writebarrier]
    #[inline(always)]
    pub fn set_with(&self, _: Wb<'_>, value: V) {
        self.set(value);
    }

    /// Stores `new` and returns what was there.
    #[writebarrier]
    pub fn swap(&self, new: V) -> V {
        crate::sync::modelled("GcCell::swap");
        // SAFETY: the cell's own word.
        let slot = unsafe { word::at(self.slot()) };
        let new = new.into_word();
        let _region = Region::enter();
        // What another thread stores between this look and the swap has been shaded by its own barrier (insertion).
        store::before_store(self.slot(), || slot.load(Ordering::Relaxed), new);
        // AcqRel: as `get` and `set`.
        // SAFETY: as in `get`.
        unsafe { V::from_word(slot.swap(new, Ordering::AcqRel)) }
    }

    /// Stores `new` if the cell holds `old`.
    ///
    /// # Errors
    /// What the cell holds instead.
    #[writebarrier]
    pub fn compare_exchange(&self, old: V, new: V) -> Result<V, V> {
        // SAFETY: the cell's own word.
        let slot = unsafe { word::at(self.slot()) };
        let (old, new) = (old.into_word(), new.into_word());
        let _region = Region::enter();
        store::before_store(self.slot(), || old, new);
        // AcqRel, and Acquire on failure: as `get` and `set`.
        match slot.compare_exchange(old, new, Ordering::AcqRel, Ordering::Acquire) {
            // SAFETY: as in `get`.
            Ok(word) => Ok(unsafe { V::from_word(word) }),
            // SAFETY: as in `get`.
            Err(word) => Err(unsafe { V::from_word(word) }),
        }
    }
}

impl<V: CellValue + Default> Default for GcCell<V> {
    fn default() -> Self {
        GcCell::new(V::default())
    }
}

impl<V: CellValue + fmt::Debug> fmt::Debug for GcCell<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("GcCell").field(&format_args!("{:#x}", self.get().into_word())).finish()
    }
}
