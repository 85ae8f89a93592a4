//! Checks of the stack that find a request (`stack::grow`): a goroutine's way to `newstack` and back. No stack grows here.

use super::{Goroutine, current_m, on_g0};
use crate::proc::schedule::Mcall;
use gc_core::{Gc, Trace};

/// The switch to g0, with the context in a register, and the way back.
///
/// # Safety
/// As that of the assembly.
pub(crate) unsafe fn morestack(ctxt: usize, _sp: *mut usize, _g0: usize, newstack: Mcall) -> usize {
    let m = current_m();
    let Some(gp) = m.curg() else { panic!("no goroutine runs here") };
    on_g0(m, gp, newstack, ctxt);
    // A request was answered.
    0
}

impl Goroutine {
    /// Takes a word off its stack. From now on no memory has it, if no other place does.
    pub fn take_off_stack(self, i: usize) -> usize {
        let at = self.stack_word(i);
        // SAFETY: its own stack.
        unsafe { core::mem::take(&mut *at) }
    }

    /// A check of the stack in a function whose environment is the object at `env`, which nothing else may hold meanwhile.
    pub fn check_stack<T: Trace>(self, env: usize) -> usize {
        // SAFETY: an object, as the models say.
        let env: Gc<T> = unsafe { Gc::from_ptr(core::ptr::with_exposed_provenance_mut(env)) };
        crate::stack::ensure_with(0, env, |env| Gc::as_ptr(env).expose_provenance())
    }

    /// Whether its G holds a context.
    pub fn has_ctxt(self) -> bool {
        self.0.ctxt.get().is_some()
    }
}
