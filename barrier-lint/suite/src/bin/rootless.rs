//! A gate and a canary, but no root.

use barrier_lint::{canary, yeswritebarrierrec};
use std::hint::black_box;

/// The forbidden function. The suite's library has a root, so this program does without it.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn gc_write_barrier(new: usize) -> usize {
    black_box(new)
}

#[canary]
fn canary_of_rootless() -> usize {
    gc_write_barrier(1)
}

#[yeswritebarrierrec]
fn gate() -> usize {
    gc_write_barrier(2)
}

fn main() {
    gate();
}
