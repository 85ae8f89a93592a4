//! Implementations that do not keep a marked trait's promise, and marks where no trait asks for them.
use barrier_lint::nowritebarrierrec;

#[nowritebarrierrec]
trait Marked {
    fn m(&self);
}
trait Plain {
    fn p(&self);
}
struct Unmarked;
impl Marked for Unmarked {
    fn m(&self) {}
}
struct Needless;
#[nowritebarrierrec]
impl Plain for Needless {
    fn p(&self) {}
}
struct BadBody;
#[nowritebarrierrec]
impl Marked for BadBody {
    fn m(&self) {
        bad()
    }
}
fn bad() {}

fn main() {}
