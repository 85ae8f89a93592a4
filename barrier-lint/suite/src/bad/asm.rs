//! Assembly that calls.

use super::{at_exit, helper};
use barrier_lint::{nowritebarrierrec, record};

pub fn run() {
    in_asm();
    passed_to_asm();
    falls_through();
    asm_function();
}

#[nowritebarrierrec(asm = "not true")]
fn in_asm() {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: never runs: the flag is not set.
    unsafe {
        std::arch::asm!("test rsp, rsp", "jnz 2f", "call {}", "2:", sym helper, clobber_abi("C"));
    }
}

/// As a switch to another stack is given what to call there.
#[nowritebarrierrec(asm = "not true")]
fn passed_to_asm() {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: never runs: the flag is not set.
    unsafe {
        std::arch::asm!("test rsp, rsp", "jnz 2f", "call {}", "2:", in(reg) at_exit as extern "C" fn(), clobber_abi("C"));
    }
}

// Ends in the next function.
#[cfg(target_arch = "x86_64")]
std::arch::global_asm!(
    ".text",
    ".type suite_falls_through,@function",
    ".globl suite_falls_through",
    "suite_falls_through:",
    "test rsp, rsp",
    "jz 2f",
    "ret",
    "2:",
    "nop",
    ".size suite_falls_through, . - suite_falls_through",
    ".type suite_after_it,@function",
    "suite_after_it:",
    "call {}",
    "ret",
    ".size suite_after_it, . - suite_after_it",
    sym helper
);

#[inline(never)]
fn falls_through() {
    record!("barrier_lint", root);
    // SAFETY: it returns at once.
    unsafe { suite_falls_through() }
}

#[cfg(target_arch = "x86_64")]
std::arch::global_asm!(
    ".text",
    ".globl suite_asm_function",
    ".type suite_asm_function,@function",
    "suite_asm_function:",
    "ret",
    "call {}",
    ".size suite_asm_function, . - suite_asm_function",
    sym helper
);

unsafe extern "C" {
    fn suite_asm_function();
    fn suite_falls_through();
}

#[inline(never)]
fn asm_function() {
    record!("barrier_lint", root);
    // SAFETY: it returns at once.
    unsafe { suite_asm_function() }
}
