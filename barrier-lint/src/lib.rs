//! Types and attributes that forbid write barriers.
#![deny(missing_docs)]

extern crate self as barrier_lint;

mod place;
mod ptr;
mod token;

pub use barrier_lint_macros::{
    NotInHeap, nowritebarrier, nowritebarrierrec, writebarrier, yeswritebarrierrec,
};
pub use place::{NotInHeap, OffHeap, OnHeap, Place};
pub use ptr::NoBarrierPtr;
pub use token::{SystemStack, Wb};

/// The witness of a certified function: the type of the same name implements it.
///
/// # Safety
/// The function of the same name executes no write barrier, or does so behind a `#[yeswritebarrierrec]` function.
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
