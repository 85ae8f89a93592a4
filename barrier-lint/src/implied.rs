//! What the twins of checked bodies name: questions that need types only. Nothing here is ever called.

use core::cell::{Ref, RefMut};
use core::marker::PhantomData;
use core::mem::ManuallyDrop;
use core::ops::{Deref, DerefMut};
use core::pin::Pin;
use core::ptr::NonNull;
use core::time::Duration;
use std::rc::Rc;
use std::sync::Arc;

/// A value of the type that `f` gives. Owns what it is given, drops nothing.
#[doc(hidden)]
pub const fn opaque<A, R, F: FnOnce(A) -> R>(args: A, f: F) -> R {
    core::mem::forget(args);
    core::mem::forget(f);
    panic!("a twin ran")
}

/// What a `for` binds.
#[doc(hidden)]
pub const fn element<I: IntoIterator>(_: &I) -> I::Item {
    panic!("a twin ran")
}

/// Dereferencing a value of this type executes no write barrier.
///
/// # Safety
/// So it is. Written by `#[nowritebarrierrec] impl Deref`.
#[doc(hidden)]
pub unsafe trait CertifiedDeref {}

/// Nor does dereferencing it mutably.
///
/// # Safety
/// So it is. Written by `#[nowritebarrierrec] impl DerefMut`.
#[doc(hidden)]
pub unsafe trait CertifiedDerefMut {}

/// Values of this type are indexed without a call of the user's.
///
/// # Safety
/// So it is. Written by `#[nowritebarrierrec] impl Index`.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "indexing a `{Self}` calls its `Index`, which is not marked",
    label = "a hidden call, in a #[nowritebarrierrec] function",
    note = "mark its `impl Index` and `impl IndexMut` #[nowritebarrierrec], or call a marked method"
)]
pub unsafe trait Indexed {}

/// The operators of this type are the compiler's own, or certified with [`certify!`](crate::certify!).
///
/// # Safety
/// They execute no write barrier.
#[diagnostic::on_unimplemented(
    message = "an operator on `{Self}` is a hidden call",
    label = "only numbers, pointers and what is made of them are compared and computed with in a #[nowritebarrierrec] \
             function",
    note = "call a marked function; or, if the operators are derived or do nothing unusual, certify them: \
            `certify! {{ operators {Self}: \"reason\"; }}`"
)]
pub unsafe trait Operand {}

macro_rules! certified {
    ($what:ident: $([$($g:tt)*] $t:ty),* $(,)?) => {$(
        // SAFETY: the compiler's or the standard library's, which calls nothing of the user's here.
        #[diagnostic::do_not_recommend]
        unsafe impl<$($g)*> $what for $t {}
    )*};
}
certified!(CertifiedDeref:
    [T: ?Sized] &T, [T: ?Sized] &mut T, [T: ?Sized] Box<T>, [T: ?Sized] ManuallyDrop<T>, [T: ?Sized] Pin<&T>,
    [T: ?Sized] Pin<&mut T>, [T] Vec<T>, [] String, [T: ?Sized] Rc<T>, [T: ?Sized] Arc<T>, [T: ?Sized] Ref<'_, T>,
    [T: ?Sized] RefMut<'_, T>,
);
certified!(CertifiedDerefMut:
    [T: ?Sized] &mut T, [T: ?Sized] Box<T>, [T: ?Sized] ManuallyDrop<T>, [T: Unpin + ?Sized] Pin<&mut T>, [T] Vec<T>,
    [] String, [T: ?Sized] RefMut<'_, T>,
);
certified!(Indexed: [T] [T], [T, const N: usize] [T; N], [] str, [T] Vec<T>, [] String);
certified!(Operand:
    [] u8, [] u16, [] u32, [] u64, [] u128, [] usize, [] i8, [] i16, [] i32, [] i64, [] i128, [] isize, [] f32, [] f64,
    [] bool, [] char, [T: ?Sized] *const T, [T: ?Sized] *mut T, [] (), [] str, [] core::cmp::Ordering, [] core::sync::atomic::Ordering, [] Duration,
    [] std::time::Instant, [] core::alloc::Layout, [] core::any::TypeId,
    [T: ?Sized + Operand] &T, [T: ?Sized + Operand] &mut T, [T: Operand] [T], [T: Operand, const N: usize] [T; N],
    [T: Operand] Option<T>, [T: Operand, E: Operand] Result<T, E>, [T: ?Sized] NonNull<T>, [T: ?Sized] PhantomData<T>,
    [A: Operand, B: Operand] (A, B), [A: Operand, B: Operand, C: Operand] (A, B, C),
    [T: Operand] core::ops::Range<T>, [] core::num::NonZeroU32, [] core::num::NonZeroU64, [] core::num::NonZeroUsize,
);

#[doc(hidden)]
pub const fn operand<T: ?Sized + Operand>(_: &T) {}

#[doc(hidden)]
pub const fn indexed<T: ?Sized + Indexed>(_: Probe<T>) {}

#[doc(hidden)]
pub struct Strip<T: ?Sized>(PhantomData<*const T>);

#[doc(hidden)]
pub struct Probe<T: ?Sized>(PhantomData<*const T>);

#[doc(hidden)]
pub const fn strip<T: ?Sized>(_: &T) -> Strip<T> {
    Strip(PhantomData)
}

/// The type behind a value's references. The implementation with the most `&` in front goes first.
#[doc(hidden)]
pub trait Stripped {
    type Of: ?Sized;
    fn stripped(&self) -> Probe<Self::Of> {
        Probe(PhantomData)
    }
}
macro_rules! stripped {
    ($($t:ty => $of:ident),* $(,)?) => { $(impl<$of: ?Sized> Stripped for $t { type Of = $of; })* };
}
stripped!(
    &&&Strip<&&&T> => T, &&&Strip<&mut &&T> => T,
    &&Strip<&&T> => T, &&Strip<&mut &T> => T, &&Strip<&&mut T> => T, &&Strip<&mut &mut T> => T,
    &Strip<&T> => T, &Strip<&mut T> => T, &Strip<Box<T>> => T,
    Strip<T> => T,
);

/// What is known of a type's `Deref`. The implementation with the most `&` in front goes first.
#[doc(hidden)]
pub trait Answer {
    type Is;
    fn answer(&self) -> Self::Is
    where
        Self::Is: Sized,
    {
        panic!("a twin ran")
    }
}
#[doc(hidden)]
pub struct Plainly;
#[doc(hidden)]
pub struct Overloaded<T: ?Sized>(PhantomData<*const T>);

impl<T: ?Sized + CertifiedDeref + CertifiedDerefMut> Answer for &&&&Probe<T> {
    type Is = Plainly;
}
impl<T: ?Sized + CertifiedDeref + DerefMut> Answer for &&&Probe<T> {
    type Is = Overloaded<T>;
}
impl<T: ?Sized + CertifiedDeref> Answer for &&Probe<T> {
    type Is = Plainly;
}
impl<T: ?Sized + Deref> Answer for &Probe<T> {
    type Is = Overloaded<T>;
}
impl<T: ?Sized> Answer for Probe<T> {
    type Is = Plainly;
}

/// Answers that are no hidden call.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "what follows may call an overloaded `Deref` of this value's type, which is not marked",
    label = "a hidden call, in a #[nowritebarrierrec] function",
    note = "mark its `impl Deref`, and its `impl DerefMut` if it has one, #[nowritebarrierrec]"
)]
pub trait Reached {}
#[diagnostic::do_not_recommend]
impl Reached for Plainly {}

#[doc(hidden)]
pub const fn reached<A: Reached>(_: A) {
    panic!("a twin ran")
}
