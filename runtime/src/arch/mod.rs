//! What differs from machine to machine: the switch between stacks, the first frame of a goroutine, the spill of the
//! callee-saved registers around a blocking call. One file per architecture with the same functions.

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod x86_64;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
pub(crate) use x86_64::{
    FIRST_FRAME, call_on, frame_pointer, init_stack, keeps_frame_pointers, spill_and_call, spilled_frame_pointer,
    switch,
};

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
#[path = "async_preempt/x86_64.rs"]
#[allow(dead_code)] // what other architectures and the harness of `mkpreempt` need, too
pub(crate) mod async_preempt;

#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
compile_error!("tricolor runs on Linux x86_64 only, for now");
