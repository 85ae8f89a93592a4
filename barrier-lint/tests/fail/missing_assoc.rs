//! A function without `self` in an impl, marked by itself.
use barrier_lint::{nowritebarrierrec, yeswritebarrierrec};

struct S;
impl S {
    #[nowritebarrierrec]
    fn new() -> Self {
        S
    }
    #[yeswritebarrierrec]
    fn get() -> Option<Box<Self>> {
        None
    }
    #[nowritebarrierrec]
    fn says_no_self() {}
}

fn main() {}
