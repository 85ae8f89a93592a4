//! Where values live: inside the garbage-collected heap or outside it.

use core::cell::{Cell, UnsafeCell};
use core::marker::PhantomData;
use core::mem::{ManuallyDrop, MaybeUninit};
use core::ptr::NonNull;
use core::sync::atomic;

/// The place of types that live in the garbage-collected heap.
pub enum OnHeap {}

/// The place of types that never do.
pub enum OffHeap {}

/// The one place where values of a type live.
///
/// Implemented by derives only: `#[derive(NotInHeap)]` gives [`OffHeap`], the heap's own derive gives [`OnHeap`]. A
/// type with both has two implementations, which the compiler refuses (E0119). Types without a derive (numbers, raw
/// pointers) have no place: they may be part of either.
///
/// # Safety
/// Values of the type are never allocated at the other place.
pub unsafe trait Place {
    /// [`OnHeap`] or [`OffHeap`].
    type At;
}

/// A type whose values can live outside the heap: they hold nothing that the collector would have to follow.
///
/// Off-heap allocators take only such types. Derive it for structs, enums and unions; every field must have it.
///
/// ```
/// use barrier_lint::{NoBarrierPtr, NotInHeap};
/// #[derive(NotInHeap)]
/// struct Span { start: usize, pages: u32, next: NoBarrierPtr<Span> }
/// fn alloc_off_heap<T: NotInHeap>(v: T) -> T { v }
/// alloc_off_heap(Span { start: 0, pages: 1, next: NoBarrierPtr::null() });
/// ```
///
/// # Safety
/// No value of the type holds a pointer that keeps a heap object alive.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not known to be free of heap pointers",
    label = "not `NotInHeap`",
    note = "derive `NotInHeap` for it, or point to it with a `NoBarrierPtr` whose referent another root keeps alive"
)]
pub unsafe trait NotInHeap {}

macro_rules! off_heap {
    ($($t:ty),* $(,)?) => {$(
        // SAFETY: plain data.
        unsafe impl NotInHeap for $t {}
    )*};
}
off_heap!(
    (),
    bool,
    char,
    u8,
    u16,
    u32,
    u64,
    u128,
    usize,
    i8,
    i16,
    i32,
    i64,
    i128,
    isize,
    f32,
    f64,
    atomic::AtomicBool,
    atomic::AtomicU8,
    atomic::AtomicU16,
    atomic::AtomicU32,
    atomic::AtomicU64,
    atomic::AtomicUsize,
    atomic::AtomicI8,
    atomic::AtomicI16,
    atomic::AtomicI32,
    atomic::AtomicI64,
    atomic::AtomicIsize,
    &'static str,
);

macro_rules! off_heap_with {
    ($([$($g:tt)*] $t:ty),* $(,)?) => {$(
        // SAFETY: the wrapper adds no pointer; a raw one is an address, not an owner.
        unsafe impl<$($g)*> NotInHeap for $t {}
    )*};
}
off_heap_with!(
    [T: ?Sized] *const T,
    [T: ?Sized] *mut T,
    [T: ?Sized] NonNull<T>,
    [T: ?Sized] PhantomData<T>,
    [T] atomic::AtomicPtr<T>,
    [T: NotInHeap] Option<T>,
    [T: NotInHeap] [T],
    [T: NotInHeap, const N: usize] [T; N],
    [T: NotInHeap + ?Sized] UnsafeCell<T>,
    [T: NotInHeap + ?Sized] Cell<T>,
    [T: NotInHeap + ?Sized] ManuallyDrop<T>,
    [T: NotInHeap] MaybeUninit<T>,
    [A: NotInHeap, B: NotInHeap] (A, B),
    [R] fn() -> R,
    [A, R] fn(A) -> R,
    [A, R] unsafe fn(A) -> R,
    [A, R] unsafe extern "C" fn(A) -> R,
    [R] unsafe extern "C" fn() -> R,
    [A, R] extern "C" fn(A) -> R,
    [R] extern "C" fn() -> R,
);
