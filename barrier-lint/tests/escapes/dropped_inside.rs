//! Listed methods that run code of the caller's types after all.
#![allow(dead_code)]
use barrier_lint::nowritebarrierrec;
use std::fmt;

struct D;
impl Drop for D {
    fn drop(&mut self) {}
}
struct Noisy;
impl fmt::Display for Noisy {
    fn fmt(&self, _: &mut fmt::Formatter) -> fmt::Result {
        Ok(())
    }
}

#[nowritebarrierrec]
fn drops_the_payload(o: Option<D>) -> bool {
    o.is_some_and(|_| true)
}
#[nowritebarrierrec]
fn formats(x: u32, n: &Noisy) {
    assert!(x == 0, "{n}");
}

fn main() {}
