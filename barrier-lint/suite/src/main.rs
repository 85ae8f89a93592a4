//! One program with every row that the attributes cannot see. What must become of a root is the name of its module.
#![allow(clippy::wildcard_imports, non_snake_case)]

mod bad;
mod ok;
mod unknown;

fn main() {
    let n = std::env::args().count();
    barrier_lint_suite::enable(n > 5);
    println!("{}", bad::run(n) + ok::run(n) + unknown::run(n));
}
