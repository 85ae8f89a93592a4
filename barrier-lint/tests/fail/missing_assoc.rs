//! A function without `self` in an impl, marked by itself.
use barrier_lint::nowritebarrierrec;

struct S;
impl S {
    #[nowritebarrierrec]
    fn new() -> Self {
        S
    }
}

fn main() {}
