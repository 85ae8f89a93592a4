//! Functions that are marked to have barriers.
use barrier_lint::{nowritebarrier, nowritebarrierrec, writebarrier};

struct GcCell;
impl GcCell {
    #[writebarrier]
    fn set(&self, _: usize) {}
}
struct Obj {
    next: GcCell,
}

#[writebarrier]
fn grow() {}

#[nowritebarrierrec]
fn free_function() {
    grow()
}
#[nowritebarrierrec]
fn method(o: &Obj) {
    o.next.set(1)
}
#[nowritebarrier]
fn shallow(o: &mut Obj, c: &GcCell) {
    o.next.set(1);
    let f = || c.set(2);
    f()
}

fn main() {}
