//! Permissions as zero-sized values: what a function may do is what it was handed.

use core::marker::PhantomData;

/// Permission to execute write barriers: this M holds *some* P.
///
/// A barriered store takes a `Wb`, so a function that was not handed one cannot execute a barrier, and neither can a
/// callback, a `Drop` or a trait method, whose signatures have no room for it. The token is bound to the thread
/// (`!Send`, `!Sync`) and to the lifetime `'p`; a function that may give the P up takes what the token borrows by
/// `&mut` or by value, so that no token survives it.
///
/// ```
/// use barrier_lint::Wb;
/// fn store(_wb: Wb<'_>, slot: &mut usize, p: usize) { *slot = p }
/// # let mut slot = 0;
/// // SAFETY: the example has neither a heap nor Ps.
/// let wb = unsafe { Wb::conjure() };
/// store(wb, &mut slot, 1);
/// ```
///
/// It cannot cross to another thread:
///
/// ```compile_fail,E0277
/// # use barrier_lint::Wb;
/// fn send<T: Send>(_: T) {}
/// fn f(wb: Wb<'_>) { send(wb) }
/// ```
#[derive(Clone, Copy)]
pub struct Wb<'p>(PhantomData<(&'p (), *mut ())>);

impl<'p> Wb<'p> {
    /// Makes a token from nothing.
    ///
    /// Reserved for `#[yeswritebarrierrec(wb = "..")]`, for the one audited store of user code, and for entry stubs.
    ///
    /// # Safety
    /// For all of `'p`, the calling M must hold a P (not necessarily the same one throughout).
    #[inline(always)]
    pub const unsafe fn conjure() -> Self {
        Wb(PhantomData)
    }

    /// As [`Wb::conjure`], but the token cannot outlive `anchor`.
    ///
    /// # Safety
    /// As for [`Wb::conjure`].
    #[doc(hidden)]
    #[inline(always)]
    pub const unsafe fn conjure_within(_anchor: &'p ()) -> Self {
        Wb(PhantomData)
    }
}

/// Proof that the caller runs on a system stack (g0 or a signal stack), not on a goroutine's.
///
/// Passed by reference, made only where the stacks are switched.
///
/// ```
/// use barrier_lint::SystemStack;
/// fn scan_stack_of_another_goroutine(_on: &SystemStack) {}
/// // SAFETY: the example never runs on a goroutine's stack.
/// let token = unsafe { SystemStack::conjure() };
/// scan_stack_of_another_goroutine(&token);
/// ```
pub struct SystemStack(PhantomData<*mut ()>);

impl SystemStack {
    /// Makes a token from nothing.
    ///
    /// # Safety
    /// As long as the token lives, its thread must run on a system stack.
    #[inline(always)]
    pub const unsafe fn conjure() -> Self {
        SystemStack(PhantomData)
    }
}
