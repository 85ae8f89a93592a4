//! `Gc<T>`: a pointer to an object of the heap, and how objects are made.

use crate::alloc::{ARRAY_HEADER, AllocError, alloc_array, alloc_value, alloc_value_no_safepoint, try_alloc_value};
use crate::barrier::{CellValue, GcCell};
use crate::layout::{Kind, Trace, TypeDesc};
use barrier_lint::{certify, nowritebarrierrec};
use core::fmt;
use core::marker::PhantomData;
use core::ops::Deref;
use core::ptr::NonNull;

/// A pointer to a heap object: one word, `Copy`, derefs to `&T`.
///
/// The object lives as long as it is reachable: from a goroutine's stack and registers, from a [`Root`](crate::Root),
/// or from another reachable object. It is *not* kept by a `Gc` in malloc'd memory (`Vec<Gc<T>>`), in a static or
/// thread-local, or on a thread that the runtime does not know: use a `Root` there.
///
/// A type that needs drop is read through [`Gc::with`] instead of by `Deref`, which does not compile for it: what such
/// an object owns outside the heap goes with it, and a reference into that does not keep the object alive.
///
/// Unsized targets are `[T]` and `str`, whose length is kept in the object, so the pointer is one word too.
#[repr(transparent)]
pub struct Gc<T: ?Sized> {
    ptr: NonNull<()>,
    target: PhantomData<*const T>,
}

// SAFETY: a shared reference to a `T` that anyone may keep.
unsafe impl<T: ?Sized + Send + Sync> Send for Gc<T> {}
// SAFETY: as above.
unsafe impl<T: ?Sized + Send + Sync> Sync for Gc<T> {}

impl<T: ?Sized> Clone for Gc<T> {
    #[inline(always)]
    fn clone(&self) -> Self {
        *self
    }
}
impl<T: ?Sized> Copy for Gc<T> {}

// SAFETY: one word, an object's base.
unsafe impl<T: ?Sized + 'static> Trace for Gc<T> {
    const DESC: &'static TypeDesc = &TypeDesc {
        size: size_of::<usize>(),
        align: align_of::<usize>(),
        kind: Kind::Pointer,
        fields: &[],
        drop: None,
        name: "Gc",
    };
}

impl<T: Trace> Gc<T> {
    /// Moves `value` into a new object.
    ///
    /// A safepoint. Needs a P: on a thread without one it is a fatal error; so is a full heap. A type that needs drop
    /// is dropped some time after the object was found dead; the rule for such types is at [`Trace`]. Source: Go's
    /// `mallocgc`.
    #[inline]
    pub fn new(value: T) -> Gc<T> {
        Gc { ptr: alloc_value(value).cast(), target: PhantomData }
    }

    /// As [`Gc::new`], but a full heap is an error.
    ///
    /// # Errors
    /// [`AllocError`] when there is no memory even after a whole collection. The memory limit is soft and causes none.
    #[inline]
    pub fn try_new(value: T) -> Result<Gc<T>, AllocError> {
        try_alloc_value(value).map(|ptr| Gc { ptr: ptr.cast(), target: PhantomData })
    }

    /// As [`Gc::try_new`], for a host's own small typed objects, where it cannot come to a safepoint: no cycle starts,
    /// nobody assists, and no collection makes room. From the claim of the slot to the end of `publish` is one region:
    /// no phase changes in between. `publish` puts the object where a root finds it; it runs no other allocation.
    ///
    /// Needs a P, and that nothing of the collector is under way on it: not inside a barrier, an allocation, or a
    /// function of [`World`](crate::World) that gets a [`Scanner`](crate::Scanner).
    ///
    /// # Errors
    /// [`AllocError`] when there is no memory.
    pub fn try_new_no_safepoint(value: T, publish: impl FnOnce(Gc<T>)) -> Result<(), AllocError> {
        alloc_value_no_safepoint(value, |ptr| publish(Gc { ptr: ptr.cast(), target: PhantomData }))
    }
}

impl<T: Trace + Copy> Gc<[T]> {
    /// A copy of `items` in one object. As [`Gc::new`].
    pub fn from_slice(items: &[T]) -> Gc<[T]> {
        Self::try_from_slice(items).unwrap_or_else(|e| e.fatal())
    }

    /// A copy of `items` in one object. As [`Gc::try_new`].
    ///
    /// # Errors
    /// [`AllocError`]
    pub fn try_from_slice(items: &[T]) -> Result<Gc<[T]>, AllocError> {
        // SAFETY: writes all elements; a copy runs no other code.
        let ptr = unsafe {
            alloc_array::<T>(items.len(), |at| at.as_ptr().copy_from_nonoverlapping(items.as_ptr(), items.len()))
        };
        ptr.map(|ptr| Gc { ptr, target: PhantomData })
    }
}

impl<V: CellValue> Gc<[GcCell<V>]> {
    /// `len` cells that all hold `value`. As [`Gc::new`]. More cells than bytes can count are a fatal error too.
    pub fn cells(len: usize, value: V) -> Gc<[GcCell<V>]> {
        Self::try_cells(len, value).unwrap_or_else(|e| e.fatal())
    }

    /// `len` cells that all hold `value`. As [`Gc::try_new`].
    ///
    /// # Errors
    /// [`AllocError`], also for more cells than bytes can count.
    pub fn try_cells(len: usize, value: V) -> Result<Gc<[GcCell<V>]>, AllocError> {
        // SAFETY: writes all elements; runs no other code.
        let ptr =
            unsafe { alloc_array::<GcCell<V>>(len, |at| (0..len).for_each(|i| at.add(i).write(GcCell::new(value)))) };
        ptr.map(|ptr| Gc { ptr, target: PhantomData })
    }
}

impl Gc<str> {
    /// A copy of `text` in one object. As [`Gc::new`].
    pub fn from_text(text: &str) -> Gc<str> {
        Self::try_from_text(text).unwrap_or_else(|e| e.fatal())
    }

    /// A copy of `text` in one object. As [`Gc::try_new`].
    ///
    /// # Errors
    /// [`AllocError`]
    pub fn try_from_text(text: &str) -> Result<Gc<str>, AllocError> {
        Gc::<[u8]>::try_from_slice(text.as_bytes()).map(|bytes| Gc { ptr: bytes.ptr, target: PhantomData })
    }
}

impl<T: ?Sized> Gc<T> {
    /// The object's address.
    #[inline(always)]
    pub(crate) fn addr(self) -> usize {
        self.ptr.as_ptr().expose_provenance()
    }

    /// # Safety
    /// `addr` is the base of a live object of type `T`.
    #[inline(always)]
    pub(crate) unsafe fn from_addr(addr: usize) -> Gc<T> {
        // SAFETY: an object's base is not null.
        let ptr = unsafe { NonNull::new_unchecked(core::ptr::with_exposed_provenance_mut(addr)) };
        Gc { ptr, target: PhantomData }
    }

    /// Whether both are the same object.
    #[inline]
    pub fn ptr_eq(a: Gc<T>, b: Gc<T>) -> bool {
        a.ptr == b.ptr
    }

    /// The object's base.
    #[inline]
    pub fn as_ptr(this: Gc<T>) -> *mut () {
        this.ptr.as_ptr()
    }

    /// Back from [`as_ptr`](Gc::as_ptr).
    ///
    /// # Safety
    /// `ptr` is the base of a live object that was made as a `Gc<T>`.
    #[inline]
    pub unsafe fn from_ptr(ptr: *mut ()) -> Gc<T> {
        // SAFETY: the caller's contract.
        Gc { ptr: unsafe { NonNull::new_unchecked(ptr) }, target: PhantomData }
    }
}

impl<T: ?Sized + Target> Gc<T> {
    /// Runs `f` on the object, which stays alive until `f` has ended, also by a panic.
    ///
    /// The way to read types that need drop. Say `name` is a `String` in the object: `&node.name[..]` points to malloc'd
    /// memory, so a compiler that needs the `Gc` no more may forget it, the object is found dead, and the text is
    /// freed under its reader. Here it is kept, and no reference gets out.
    ///
    /// ```
    /// # use gc_core::{Gc, Trace};
    /// # #[derive(Trace)] struct Node { name: String }
    /// fn length(node: Gc<Node>) -> usize {
    ///     Gc::with(node, |n| n.name.len())
    /// }
    /// ```
    #[inline]
    pub fn with<R>(this: Gc<T>, f: impl FnOnce(&T) -> R) -> R {
        let held = Held(this.ptr);
        // SAFETY: a `Gc` points to a live object of its type, and `held` keeps this one so until `f` has ended.
        f(unsafe { &*T::from_base(held.0) })
    }
}

/// An object that is alive until this is dropped. Local to a function, so that nobody can forget it.
struct Held(NonNull<()>);

impl Drop for Held {
    #[inline(always)]
    fn drop(&mut self) {
        core::hint::black_box(self.0);
    }
}

/// The types that a [`Gc`] can point to: sized ones, `[T]` and `str`.
///
/// # Safety
/// `from_base` turns the base of an object of this type into a pointer to its value.
pub unsafe trait Target {
    /// The value of the object at `base`.
    ///
    /// # Safety
    /// `base` is the base of a live object of this type.
    unsafe fn from_base(base: NonNull<()>) -> *const Self;
}

// SAFETY: a sized value starts at the object's base.
unsafe impl<T> Target for T {
    #[inline(always)]
    unsafe fn from_base(base: NonNull<()>) -> *const T {
        base.as_ptr().cast()
    }
}

// SAFETY: the header holds the length, the elements come behind it.
unsafe impl<T> Target for [T] {
    #[inline(always)]
    unsafe fn from_base(base: NonNull<()>) -> *const [T] {
        // SAFETY: the caller's contract: an array object, whose header is constant.
        unsafe { core::ptr::slice_from_raw_parts(base.byte_add(ARRAY_HEADER).as_ptr().cast(), *base.cast().as_ptr()) }
    }
}

// SAFETY: the bytes of a `str`, as `from_text` made them.
unsafe impl Target for str {
    #[inline(always)]
    unsafe fn from_base(base: NonNull<()>) -> *const str {
        // SAFETY: the caller's contract.
        unsafe { <[u8]>::from_base(base) as *const str }
    }
}

#[nowritebarrierrec(receiver = "derefs to the object: one load at most")]
impl<T: ?Sized + Target> Deref for Gc<T> {
    type Target = T;
    #[inline(always)]
    fn deref(&self) -> &T {
        const {
            assert!(
                !core::mem::needs_drop::<T>(),
                "a type that needs drop is read through `Gc::with`: a reference to what the object owns outside the \
                 heap does not keep the object alive"
            );
        }
        // SAFETY: a `Gc` points to a live object of its type: whoever holds it keeps it reachable (the entry
        // contract of the runtime).
        unsafe { &*value_at::<T>(self.ptr) }
    }
}

/// # Safety
/// As [`Target::from_base`].
#[inline(always)]
unsafe fn value_at<T: ?Sized + Target>(base: NonNull<()>) -> *const T {
    // SAFETY: the caller's contract.
    unsafe { T::from_base(base) }
}

certify! {
    fn value_at: "one of the three `from_base` above: arithmetic, and one load for arrays";
}

impl<T: ?Sized + Target + fmt::Debug> fmt::Debug for Gc<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Gc::with(*self, |value| value.fmt(f))
    }
}

impl<T: ?Sized + Target + fmt::Display> fmt::Display for Gc<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Gc::with(*self, |value| value.fmt(f))
    }
}

/// Keeps `value` alive up to here, whatever the optimiser knows about its last use.
#[inline(always)]
pub fn keep_alive<T: ?Sized>(value: Gc<T>) {
    core::hint::black_box(value.ptr);
}
