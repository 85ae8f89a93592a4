//! A default body that implementations could replace.
use barrier_lint::nowritebarrierrec;

#[nowritebarrierrec]
trait Marked {
    fn m(&self) {}
}

fn main() {}
