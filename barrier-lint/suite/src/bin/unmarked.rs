//! No function is marked.

fn main() {
    barrier_lint_suite::in_another_crate(1);
}
