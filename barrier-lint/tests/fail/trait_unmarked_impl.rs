//! An unmarked implementation of a marked method.
use barrier_lint::nowritebarrierrec;

#[nowritebarrierrec]
trait Marked {
    fn m(&self);
}
struct S;
impl Marked for S {
    fn m(&self) {}
}

fn main() {}
