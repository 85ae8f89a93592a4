//! What the attributes' expansions name. Nothing here is called at run time.

use core::marker::PhantomData;
use core::pin::Pin;

/// The witness of a certified function: the type of the same name implements it.
///
/// # Safety
/// The function of the same name executes no write barrier, or does so behind a `#[yeswritebarrierrec]` function.
/// Written by the attributes and by [`certify!`](crate::certify!), never by hand.
#[diagnostic::on_unimplemented(
    message = "`{Self}` may execute a write barrier: it is not marked #[nowritebarrierrec] or #[yeswritebarrierrec]",
    label = "called from a #[nowritebarrierrec] function",
    note = "mark `{Self}` #[nowritebarrierrec] (its body is then checked too), or split the caller at a \
            #[yeswritebarrierrec] function that holds a P"
)]
pub unsafe trait NoWb {
    /// Named by the expansion of a certified caller.
    const CERTIFIED: () = ();
}

/// Answer of a certified method's witness: the type that the method was found on.
#[doc(hidden)]
pub struct Of<S: ?Sized>(PhantomData<*const S>);

impl<S: ?Sized> Of<S> {
    pub const NEW: Self = Of(PhantomData);
}

/// Answer of the witness of a method that may execute a barrier.
#[doc(hidden)]
pub struct MayBarrier<S: ?Sized>(PhantomData<*const S>);

impl<S: ?Sized> MayBarrier<S> {
    pub const NEW: Self = MayBarrier(PhantomData);
}

/// Answers of certified methods.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "this method may execute a write barrier: it is marked #[writebarrier]",
    label = "called from a #[nowritebarrierrec] function",
    note = "split the caller at a #[yeswritebarrierrec] function that holds a P"
)]
pub trait Certified {}
#[diagnostic::do_not_recommend]
impl<S: ?Sized> Certified for Of<S> {}
#[diagnostic::do_not_recommend]
impl Certified for () {}

/// A receiver of this type reaches a method of `S` without running unmarked code on the way.
///
/// # Safety
/// `Deref` of the type, if it is overloaded, executes no write barrier. Written by the attributes.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "a #[nowritebarrierrec] method is called on `{Self}` through an overloaded Deref",
    label = "the receiver is auto-dereferenced by user code, which is a hidden call",
    note = "call a marked function that gives the inner value; or, if it is a smart pointer without methods of its own, \
            mark its `impl Deref` #[nowritebarrierrec(receiver = \"reason\")]"
)]
pub unsafe trait Reaches<S: ?Sized> {}

/// The type that a witness was found on can be reached from a receiver of type `T`.
#[doc(hidden)]
pub trait Direct<T: ?Sized> {}

#[diagnostic::do_not_recommend]
impl<T: ?Sized> Direct<T> for () {}
#[diagnostic::do_not_recommend]
impl<T: ?Sized, S: ?Sized> Direct<T> for MayBarrier<S> {}
impl<T: ?Sized + Reaches<S>, S: ?Sized> Direct<T> for Of<S> {}

macro_rules! direct {
    ($([$($g:tt)*] $t:ty => $s:ty;)*) => {$(
        // SAFETY: these are dereferenced by the compiler itself, or coerced.
        #[diagnostic::do_not_recommend]
        unsafe impl<$($g)*> Reaches<$s> for $t {}
    )*};
}
direct! {
    [S: ?Sized] S => S;
    [S: ?Sized] &S => S;
    [S: ?Sized] &mut S => S;
    [S: ?Sized] &&S => S;
    [S: ?Sized] &&mut S => S;
    [S: ?Sized] &mut &S => S;
    [S: ?Sized] &mut &mut S => S;
    [S: ?Sized] &&&S => S;
    [S: ?Sized] Box<S> => S;
    [S: ?Sized] &Box<S> => S;
    [S: ?Sized] &mut Box<S> => S;
    [S: ?Sized] Pin<&S> => S;
    [S: ?Sized] Pin<&mut S> => S;
    [S, const N: usize] [S; N] => [S];
    [S, const N: usize] &[S; N] => [S];
    [S, const N: usize] &mut [S; N] => [S];
    [S, const N: usize] &&[S; N] => [S];
    [S, const N: usize] Box<[S; N]> => [S];
    [S: ?Sized] *mut S => *const S;
    [S: ?Sized] &*mut S => *const S;
}

/// Named by the expansion of a method call.
#[doc(hidden)]
pub const fn direct<T: ?Sized, W: Certified + Direct<T>>(_: &T, _: W) -> ! {
    panic!("a check ran")
}

/// Two names of one function.
#[doc(hidden)]
pub const fn same<F: Copy>(_: F, _: F) {}

/// Two names of one type.
#[doc(hidden)]
pub const fn same_type<T>(_: PhantomData<T>) {}

/// Numbers, `bool`, `char` and raw pointers: conversions and operators of theirs are the compiler's own.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a primitive type, so this conversion is a hidden call",
    label = "only primitive arguments are allowed in a #[nowritebarrierrec] function"
)]
pub trait Prim: Copy {}
macro_rules! prim {
    ($($t:ty)*) => { $(#[diagnostic::do_not_recommend] impl Prim for $t {})* };
}
prim!(u8 u16 u32 u64 u128 usize i8 i16 i32 i64 i128 isize f32 f64 bool char);
#[diagnostic::do_not_recommend]
impl<T: ?Sized> Prim for *const T {}
#[diagnostic::do_not_recommend]
impl<T: ?Sized> Prim for *mut T {}

/// Passes a primitive value through.
#[doc(hidden)]
#[inline(always)]
pub const fn prim<T: Prim>(v: T) -> T {
    v
}

/// Passes a value through that is dropped without a call.
#[doc(hidden)]
#[inline(always)]
pub const fn copied<T: Copy>(v: T) -> T {
    v
}

/// What `?` may stand on.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "`?` on `{Self}` converts the error with `From`, which is a hidden call",
    label = "`?` only on an `Option` in a #[nowritebarrierrec] function; use `match` or `let .. else`"
)]
pub trait QuestionMark {}
impl<T> QuestionMark for Option<T> {}

/// Passes an `Option` through.
#[doc(hidden)]
#[inline(always)]
pub const fn question_mark<T: QuestionMark>(v: T) -> T {
    v
}

/// What a `#[nowritebarrier]` function may call by the name of a store.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "this store executes a write barrier, in a #[nowritebarrier] function",
    label = "barriered store",
    note = "move it to a function that is handed a `Wb`, or make the field a `NoBarrierPtr`"
)]
pub trait NoStore {}

/// Answer for a receiver whose method is not a barriered store.
#[doc(hidden)]
pub struct Plain;
impl NoStore for Plain {}

/// Named by the expansion of a method call in a `#[nowritebarrier]` function.
#[doc(hidden)]
pub const fn no_store<W: NoStore>(_: W) -> ! {
    panic!("a check ran")
}

macro_rules! unless_store {
    ($($name:ident)*) => {
        /// Answers for all types; the inherent answer of a `#[writebarrier]` method goes first.
        #[doc(hidden)]
        #[allow(non_snake_case)]
        pub trait UnlessStore {
            $(fn $name(&self) -> Plain { Plain })*
        }
        impl<T: ?Sized> UnlessStore for T {}
    };
}
unless_store! {
    is_store__set is_store__store is_store__swap is_store__replace is_store__take
    is_store__write is_store__update is_store__fetch_update is_store__compare_exchange
    is_store__compare_exchange_weak is_store__copy_from is_store__copy_from_slice
    is_store__fill is_store__clear is_store__init
}
