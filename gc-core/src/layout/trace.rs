//! `Trace`: how a Rust type says where its pointers are.

use super::{Field, Kind, NoGc, TypeDesc};
use core::cell::{Cell, UnsafeCell};
use core::marker::PhantomData;
use core::mem::MaybeUninit;
use core::ops::Deref;
use core::sync::atomic;

/// A type that may live in the heap. Write `#[derive(Trace)]`; the fields' descriptors are put together at compile
/// time, and the collector reads bitmaps: marking never calls code of the type.
///
/// **Drop.** An object of a type that needs drop is dropped some time after it was found dead, on a goroutine that the
/// host chooses. Other objects may be gone by then, so what a drop runs must not reach them: a type with fields that
/// may hold a `Gc` has no `Drop` impl of its own (the derive refuses it), and a field with drop glue is `Trace` by that
/// same rule, or [`NoGc`]. A type with a `Drop` impl is `Send`, as is any owned std type.
///
/// ```
/// # use gc_core::{Gc, Trace};
/// #[derive(Trace)]
/// struct Source { name: String, log: std::fs::File, first: Option<Gc<u64>> }
///
/// #[derive(Trace)]
/// struct Temporary { path: std::path::PathBuf } // no `Gc`, so it may have a `Drop` impl
/// impl Drop for Temporary {
///     fn drop(&mut self) { let _ = std::fs::remove_file(&self.path); }
/// }
/// ```
///
/// # Safety
/// `DESC` has the type's size and alignment and names every `Gc` in it. Dropping a value may happen on any thread that
/// holds a P, and touches no object of the heap.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be part of a heap object",
    label = "the collector does not know where its pointers are",
    note = "write `#[derive(Trace)]` on your own types; containers such as `Vec` keep their elements where no write \
            barrier sees them unless the elements are `NoGc`: use `Gc<[T]>`"
)]
pub unsafe trait Trace: 'static {
    /// Where the pointers are.
    const DESC: &'static TypeDesc;
}

macro_rules! data {
    ($($t:ty),* $(,)?) => {$(
        // SAFETY: plain data.
        unsafe impl NoGc for $t {}
        // SAFETY: holds no `Gc`.
        unsafe impl Trace for $t {
            const DESC: &'static TypeDesc = &TypeDesc::data::<$t>(stringify!($t));
        }
    )*};
}
data!(
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
    &'static str,
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
    core::time::Duration,
    std::time::Instant,
);

// SAFETY: holds nothing.
unsafe impl<T: 'static> Trace for PhantomData<T> {
    const DESC: &'static TypeDesc = &TypeDesc::data::<Self>("PhantomData");
}

// SAFETY: as its content; a `Cell` in the heap cannot be `Sync`, so only data may be in one (checked below).
unsafe impl<T: Trace> Trace for Cell<T> {
    const DESC: &'static TypeDesc = {
        assert!(!T::DESC.has_pointers(), "a Cell stores without a write barrier: use GcCell for pointers");
        T::DESC
    };
}

// SAFETY: as its content, which is data.
unsafe impl<T: Trace> Trace for UnsafeCell<T> {
    const DESC: &'static TypeDesc = {
        assert!(!T::DESC.has_pointers(), "an UnsafeCell stores without a write barrier: use GcCell for pointers");
        T::DESC
    };
}

// SAFETY: `N` elements one after the other.
unsafe impl<T: Trace, const N: usize> Trace for [T; N] {
    const DESC: &'static TypeDesc =
        &TypeDesc::of_fields::<[T; N]>("array", &[Field { offset: 0, desc: T::DESC, count: N }]);
}

// SAFETY: a niche-filled pointer is a pointer (null when `None`); any other payload is ambiguous.
unsafe impl<T: Trace> Trace for Option<T> {
    const DESC: &'static TypeDesc = match T::DESC.kind {
        Kind::Pointer if size_of::<Option<T>>() == size_of::<usize>() => T::DESC,
        _ => &TypeDesc::of_enum::<Option<T>>("Option", &[T::DESC]),
    };
}

// SAFETY: the payloads' words are ambiguous.
unsafe impl<T: Trace, E: Trace> Trace for Result<T, E> {
    const DESC: &'static TypeDesc = &TypeDesc::of_enum::<Result<T, E>>("Result", &[T::DESC, E::DESC]);
}

macro_rules! tuple {
    ($($t:ident $i:tt),*) => {
        // SAFETY: each element at its offset.
        unsafe impl<$($t: Trace),*> Trace for ($($t,)*) {
            const DESC: &'static TypeDesc = &TypeDesc::of_fields::<Self>(
                "tuple",
                &[$(Field { offset: core::mem::offset_of!(Self, $i), desc: $t::DESC, count: 1 }),*],
            );
        }
    };
}
tuple!(A 0);
tuple!(A 0, B 1);
tuple!(A 0, B 1, C 2);
tuple!(A 0, B 1, C 2, D 3);
tuple!(A 0, B 1, C 2, D 3, E 4);
tuple!(A 0, B 1, C 2, D 3, E 4, F 5);

/// Lets any type live in the heap: each of its words is treated as if it might be a pointer.
///
/// For what passes through a runtime (closures, values in channels), whose types cannot be asked. Interior mutation
/// of pointers in it is the owner's business: it must shade what it overwrites and what it stores.
#[repr(transparent)]
pub struct Conservative<T>(pub T);

impl<T> Deref for Conservative<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

// SAFETY: every word is looked at; needs no drop.
unsafe impl<T: 'static> Trace for Conservative<T> {
    const DESC: &'static TypeDesc = {
        assert!(
            !core::mem::needs_drop::<T>(),
            "a conservative object must not need drop: it may hold a `Gc`, and what that points to may be gone already"
        );
        &TypeDesc::conservative::<T>("conservative")
    };
}

// SAFETY: as its content, if it is initialised; conservative, since it may not be.
unsafe impl<T: 'static> Trace for MaybeUninit<T> {
    const DESC: &'static TypeDesc = &TypeDesc::conservative::<T>("MaybeUninit");
}
