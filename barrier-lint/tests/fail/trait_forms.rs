//! The form for inherent methods, in the impl of a trait.
use barrier_lint::nowritebarrierrec;

#[nowritebarrierrec]
trait Marked {
    fn m(&self);
}
struct S;
impl Marked for S {
    #[nowritebarrierrec]
    fn m(&self) {}
}

fn main() {}
