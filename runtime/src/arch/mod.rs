//! What differs from machine to machine: the switch between stacks, the first frames of a goroutine and of a stack
//! segment, the spill of the callee-saved registers around a blocking call, the registers of an interrupted thread. One
//! file per architecture with the same functions; where there is none, and in models, a stub that refuses at
//! start.

#[cfg(all(target_arch = "x86_64", target_os = "linux", not(modelled)))]
mod x86_64;
#[cfg(all(target_arch = "x86_64", target_os = "linux", not(modelled)))]
pub(crate) use x86_64::{
    FIRST_FRAME, Handed, REFUSED, call_on, clear_vectors, frame_pointer, go_on_at, init_segment, init_stack,
    init_vectors, interrupted_at, keeps_frame_pointers, morestack, own_frame_pointer, restart_point, shadow_stacks,
    spill_and_call, spilled_frame_pointer, stack_pointer, switch, unspill, way_back,
};

#[cfg(all(target_arch = "x86_64", target_os = "linux", not(modelled)))]
#[path = "async_preempt/x86_64.rs"]
#[allow(dead_code)] // what other architectures and the harness of `mkpreempt` need, too
pub(crate) mod async_preempt;

#[cfg(not(all(target_arch = "x86_64", target_os = "linux", not(modelled))))]
mod unsupported;
/// In models goroutines have threads of their own (`model::whole`).
#[cfg(not(any(modelled, all(target_arch = "x86_64", target_os = "linux"))))]
pub(crate) use unsupported::switch;
#[cfg(not(all(target_arch = "x86_64", target_os = "linux", not(modelled))))]
pub(crate) use unsupported::{
    FIRST_FRAME, Handed, REFUSED, async_preempt, call_on, clear_vectors, frame_pointer, go_on_at, init_segment,
    init_stack, init_vectors, interrupted_at, keeps_frame_pointers, morestack, own_frame_pointer, restart_point,
    shadow_stacks, spill_and_call, spilled_frame_pointer, stack_pointer, unspill, way_back,
};
