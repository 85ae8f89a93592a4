//! A clean root, but no canary.

use barrier_lint::nowritebarrierrec;

#[nowritebarrierrec]
fn clean(n: usize) -> usize {
    n + 1
}

fn main() {
    barrier_lint_suite::in_another_crate(clean(1));
}
