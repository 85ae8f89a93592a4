//! A clean root, but no canary.

use barrier_lint::nowritebarrierrec;
use std::hint::black_box;

/// The forbidden function. The suite's library has a root, so this program does without it.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn gc_write_barrier(new: usize) -> usize {
    black_box(new)
}

#[nowritebarrierrec]
fn clean(n: usize) -> usize {
    n + 1
}

fn main() {
    gc_write_barrier(clean(1));
}
