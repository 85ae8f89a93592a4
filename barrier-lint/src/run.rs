//! The run-time half: in builds with debug assertions, a barrier inside a no-barrier function ends the process and says
//! both names. It sees what went through a function pointer, a false reason, or assembly, as soon as that runs.
//!
//! Each thread knows the innermost `#[nowritebarrierrec]` function that it is in. Such a function notes itself when it is
//! entered and, when it is left, what was noted before; a `#[yeswritebarrierrec]` function notes that there is none, so
//! that the outer one is back afterwards, on whatever thread the goroutine then is. What may be entered with a note and
//! left on another thread is therefore a gate. A `#[writebarrier]` function asks.

use core::cell::Cell;
use core::sync::atomic::{AtomicPtr, Ordering};

/// The name of a function and where it stands.
#[derive(Clone, Copy)]
pub struct Function(pub &'static str);

std::thread_local! {
    // No destructor and no lazy initialisation: may be read anywhere.
    static INNERMOST: Cell<Option<Function>> = const { Cell::new(None) };
}

/// Until it goes, this thread is in a no-barrier function, or behind a gate.
pub struct Inside {
    outer: Option<Function>,
}

impl Inside {
    /// Notes a function, or that there is none.
    // Not inlined, so that no address of a thread's is carried across a switch to another one.
    #[inline(never)]
    pub fn enter(function: Option<Function>) -> Inside {
        Inside { outer: INNERMOST.replace(function) }
    }
}

impl Drop for Inside {
    #[inline(never)]
    fn drop(&mut self) {
        INNERMOST.set(self.outer);
    }
}

/// What ends the process, given the barrier and the function.
pub type Violation = fn(barrier: &str, function: &str) -> !;

static VIOLATION: AtomicPtr<()> = AtomicPtr::new(core::ptr::null_mut());

/// Sets what happens when a barrier runs inside a no-barrier function. Without it, the process prints both and aborts.
///
/// The function is called on the thread in question, which may hold no P and any lock.
pub fn on_violation(end: Violation) {
    // Release: pairs with the Acquire in `barrier`; a code pointer needs no more.
    VIOLATION.store(end as *mut (), Ordering::Release);
}

/// A barrier runs. In builds without debug assertions nobody notes anything, and nobody asks.
///
/// Called by `#[writebarrier]` functions; for barriers in assembly or inlined code, by hand.
///
/// ```
/// # #[cfg(debug_assertions)]
/// barrier_lint::barrier("GcCell::set");
/// ```
#[inline(never)]
pub fn barrier(name: &str) {
    let Some(Function(function)) = INNERMOST.get() else { return };
    // What it does may have barriers of its own.
    INNERMOST.set(None);
    let end = VIOLATION.load(Ordering::Acquire);
    if end.is_null() {
        eprintln!("fatal error: a write barrier ({name}) inside the no-barrier function {function}");
        std::process::abort();
    }
    // SAFETY: stored by `on_violation`, which takes a `Violation`.
    unsafe { core::mem::transmute::<*mut (), Violation>(end)(name, function) }
}

/// Says whether the calling thread is on a system stack now.
pub type OnSystemStack = fn() -> bool;

static ON_SYSTEM_STACK: AtomicPtr<()> = AtomicPtr::new(core::ptr::null_mut());

/// Sets how `#[systemstack]` functions find out, at entry and in builds with debug assertions, whether their caller told
/// the truth. Without it they do not ask.
pub fn on_system_stack(test: OnSystemStack) {
    // Release: as in `on_violation`.
    ON_SYSTEM_STACK.store(test as *mut (), Ordering::Release);
}

/// At the entry of a `#[systemstack]` function.
#[doc(hidden)]
#[inline(never)]
pub fn check_system_stack(function: &str) {
    let test = ON_SYSTEM_STACK.load(Ordering::Acquire);
    // SAFETY: null, or stored by `on_system_stack`, which takes an `OnSystemStack`.
    let is = test.is_null() || unsafe { core::mem::transmute::<*mut (), OnSystemStack>(test)() };
    if !is {
        eprintln!("fatal error: the #[systemstack] function {function} was called on a goroutine's stack");
        std::process::abort();
    }
}
