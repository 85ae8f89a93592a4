//! A gate and a canary, but no root.

use barrier_lint::{canary, yeswritebarrierrec};
use barrier_lint_suite::in_another_crate;

#[canary]
fn canary_of_rootless() {
    in_another_crate(1);
}

#[yeswritebarrierrec]
fn gate() {
    in_another_crate(2);
}

fn main() {
    gate();
}
