//! A gate that is inlined, so that its caller would be taken for one; and a root.

use barrier_lint::{canary, nowritebarrierrec, record};
use barrier_lint_suite::{SLOT, in_another_crate};

#[canary]
fn canary_of_inlined() {
    in_another_crate(1);
}

#[inline(always)]
fn gate() {
    record!("barrier_lint", gate);
}

#[inline(always)]
fn promises() {
    record!("barrier_lint", root);
}

barrier_lint::certify! { fn middle: "not true"; }
#[inline(never)]
fn middle() {
    gate();
    promises();
    SLOT.set(1);
}

#[nowritebarrierrec]
fn root() {
    middle();
}

fn main() {
    root();
}
