//! Permission by type: who has no token cannot store.
use barrier_lint::{SystemStack, Wb};

fn store(_: Wb<'_>, _: u32) {}
trait Tr {
    fn m(&self);
}
struct S;

fn none() {
    store(1)
}
impl Drop for S {
    fn drop(&mut self) {
        store(1)
    }
}
impl Tr for S {
    fn m(&self) {
        store(1)
    }
}
fn to_thread(wb: Wb<'static>, on: SystemStack, by_ref: &SystemStack) {
    send(wb);
    send(on);
    send(by_ref);
}
fn send<T: Send>(_: T) {}
static STORED: Option<Wb<'static>> = None;

fn main() {}
