//! `Weak<T>`: finds an object as long as it is alive, without keeping it alive.

use super::record::RecordId;
use crate::gc::Gc;
use crate::heap::Heap;
use crate::layout::{NoGc, Trace, TypeDesc};
use crate::p::holder;
use crate::sync::current::Region;
use barrier_lint::writebarrier;
use core::fmt;
use core::hash::{Hash, Hasher};
use core::marker::PhantomData;

/// A pointer to an object that does not keep it alive.
///
/// Plain data, `Copy`, and nothing to the collector, so it may lie anywhere: in heap objects, in malloc'd memory, in
/// statics. Making one and [`upgrade`](Weak::upgrade) need a P. All weak pointers to one object are equal, also after
/// it has died, and share one record of 24 bytes, which goes with the object. Source: Go's `weak.Pointer`.
///
/// ```
/// # use gc_core::{Gc, Weak};
/// fn cached(cache: &mut Option<Weak<[u8]>>, read: impl FnOnce() -> Gc<[u8]>) -> Gc<[u8]> {
///     cache.and_then(|weak| weak.upgrade()).unwrap_or_else(|| {
///         let fresh = read();
///         *cache = Some(Weak::new(fresh));
///         fresh
///     })
/// }
/// ```
pub struct Weak<T: ?Sized> {
    heap: &'static Heap,
    record: RecordId,
    target: PhantomData<*const T>,
}

// SAFETY: gives a `Gc<T>` to who asks; the record is atomic.
unsafe impl<T: ?Sized + Send + Sync> Send for Weak<T> {}
// SAFETY: as above.
unsafe impl<T: ?Sized + Send + Sync> Sync for Weak<T> {}

// SAFETY: a number; needs no drop.
unsafe impl<T: ?Sized> NoGc for Weak<T> {}
// SAFETY: to the collector a number.
unsafe impl<T: ?Sized + 'static> Trace for Weak<T> {
    const DESC: &'static TypeDesc = &TypeDesc::data::<Self>("Weak");
}

impl<T: ?Sized> Weak<T> {
    /// A weak pointer to `object`. Needs a P. Takes longer the more objects beside it have weak pointers or cleanups:
    /// it looks through those of the same span.
    pub fn new(object: Gc<T>) -> Weak<T> {
        let heap = holder("a weak pointer is made").heap();
        let weak = Weak { heap, record: heap.weak_record(object.addr()), target: PhantomData };
        crate::gc::keep_alive(object);
        weak
    }

    /// The object, or `None` once it was found dead. Needs a P, of the object's own heap: in another one the object is
    /// as good as dead.
    ///
    /// An object that only weak pointers lead to is found dead by the next cycle that begins, or by the present one.
    /// Once this has returned `None` it always will.
    #[writebarrier]
    pub fn upgrade(&self) -> Option<Gc<T>> {
        let _region = Region::enter();
        let p = holder("a weak pointer is upgraded");
        if !core::ptr::eq(p.heap(), self.heap) {
            return None;
        }
        let object = self.heap.alive(p, self.record)?;
        // SAFETY: the record was made for a `Gc<T>`, and the object is alive: it is marked, or not found dead and shaded
        // if marking is on; no safepoint since then.
        Some(unsafe { Gc::from_addr(object) })
    }
}

impl<T: ?Sized> Clone for Weak<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T: ?Sized> Copy for Weak<T> {}

impl<T: ?Sized> PartialEq for Weak<T> {
    fn eq(&self, other: &Self) -> bool {
        core::ptr::eq(self.heap, other.heap) && self.record == other.record
    }
}
impl<T: ?Sized> Eq for Weak<T> {}

impl<T: ?Sized> Hash for Weak<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.record.hash(state);
    }
}

impl<T: ?Sized> fmt::Debug for Weak<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Weak#{}.{}", self.record.id, self.record.tag)
    }
}
