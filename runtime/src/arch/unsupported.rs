//! Machines on which no goroutine can run yet: the crate builds, and a runtime refuses to start.

use barrier_lint::nowritebarrierrec;

/// Why a runtime does not start on this machine.
pub(crate) const REFUSED: Option<&str> = Some("tricolor runs on Linux on x86_64 only, for now");

pub(crate) const FIRST_FRAME: usize = if cfg!(modelled) { 3 * size_of::<usize>() } else { 0 };

pub(crate) mod async_preempt {
    pub(crate) const STACK_BYTES: usize = 0;
    pub(crate) const XREGS_BYTES: usize = 64;

    pub(crate) enum Frame {}

    pub(crate) fn xsave_mode() -> Result<u32, &'static str> {
        Err("this machine has no async_preempt")
    }
}

/// What a switch hands over.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Handed {
    pub(crate) value: usize,
    pub(crate) ctxt: usize,
}

pub(crate) unsafe fn switch(_: *mut usize, _: usize, _: usize, _: usize) -> Handed {
    unreachable!("no runtime starts here")
}

#[cfg(not(modelled))]
pub(crate) unsafe fn morestack(_: usize, _: *mut usize, _: usize, _: crate::proc::schedule::Mcall) -> usize {
    unreachable!("no runtime starts here")
}

#[cfg(modelled)]
pub(crate) use crate::model::morestack;

pub(crate) unsafe fn init_segment(_: usize, _: extern "C" fn(*mut ()), _: *mut (), _: usize) -> usize {
    unreachable!("no runtime starts here")
}

pub(crate) fn stack_pointer() -> usize {
    // In models: below the poisoned guard, above all others.
    usize::MAX - usize::from(cfg!(modelled))
}

pub(crate) unsafe fn init_stack(top: usize, _: extern "C" fn() -> Handed) -> usize {
    // In models: the whole stack is in use.
    if cfg!(modelled) { top - FIRST_FRAME } else { unreachable!("no runtime starts here") }
}

pub(crate) unsafe fn spill_and_call(_: *mut (), _: unsafe extern "C" fn(*mut (), usize) -> !) {
    unreachable!("no runtime starts here")
}

pub(crate) unsafe fn unspill(_: usize) -> ! {
    unreachable!("no runtime starts here")
}

pub(crate) unsafe fn call_on(_: usize, _: *mut (), _: unsafe extern "C" fn(*mut ())) {
    unreachable!("no runtime starts here")
}

pub(crate) fn spilled_frame_pointer(sp: usize) -> usize {
    sp
}

pub(crate) fn frame_pointer(sp: usize) -> usize {
    sp
}

pub(crate) fn own_frame_pointer() -> usize {
    0
}

pub(crate) fn keeps_frame_pointers<T>() -> bool {
    let _ = size_of::<T>();
    false
}

#[nowritebarrierrec]
pub(crate) fn interrupted_at(context: &libc::ucontext_t) -> (usize, usize, usize) {
    // In models: where the goroutine's stack is.
    (0, if cfg!(modelled) { context.uc_stack.ss_sp.addr() } else { 0 }, 0)
}

#[nowritebarrierrec]
pub(crate) unsafe fn way_back(_: usize, _: usize) -> Option<usize> {
    None
}

#[nowritebarrierrec]
pub(crate) fn go_on_at(_: &mut libc::ucontext_t, _: usize, _: usize) {}

#[nowritebarrierrec]
pub(crate) fn restart_point(_: usize) -> Option<usize> {
    None
}

pub(crate) fn init_vectors() {}

pub(crate) fn clear_vectors() {}

pub(crate) fn shadow_stacks() -> bool {
    false
}
