//! A gate without an instruction of its own, and a function with the same code: the linker makes them one, and calls
//! of the one look like calls of the other.

use barrier_lint::{Record, canary, record};
use barrier_lint_suite::SLOT;
use std::hint::black_box;

#[canary]
fn canary_of_merged() {
    SLOT.set(1);
}

#[inline(never)]
fn gate(n: usize) {
    SLOT.set(black_box(n));
}

#[used]
#[unsafe(link_section = "barrier_lint_fns")]
static GATE: Record = Record(gate as *const (), 3);

#[inline(never)]
fn helper(n: usize) {
    SLOT.set(black_box(n));
}

#[inline(never)]
fn root(n: usize) {
    record!("barrier_lint", root);
    helper(n);
}

fn main() {
    let n = std::env::args().count();
    gate(n);
    root(n + 1);
}
