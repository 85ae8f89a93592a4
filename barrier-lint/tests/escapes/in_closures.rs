//! Implied calls in closures.
#![allow(dead_code)]
use barrier_lint::nowritebarrierrec;

struct D;
impl Drop for D {
    fn drop(&mut self) {}
}

#[nowritebarrierrec]
fn make() -> D {
    D
}
#[nowritebarrierrec]
fn f() -> Option<u32> {
    Some(1).map(|x| {
        make();
        x
    })
}

fn main() {}
