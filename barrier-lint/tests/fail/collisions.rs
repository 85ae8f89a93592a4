//! A marked function's name is taken as a type, too.
use barrier_lint::nowritebarrierrec;

mod lock {}
#[nowritebarrierrec]
fn lock() {}

mod a {
    #[barrier_lint::nowritebarrierrec]
    pub fn park() {}
}
mod b {
    use crate::a::park;
    mod park {}
}

fn main() {}
