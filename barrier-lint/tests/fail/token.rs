//! Permission by type: who has no token cannot store.
use barrier_lint::{SystemStack, Wb, yeswritebarrierrec};
use std::marker::PhantomData;

struct P(PhantomData<u8>);
impl P {
    fn wb(&self) -> Wb<'_> {
        // SAFETY: whoever has a P holds it.
        unsafe { Wb::conjure() }
    }
}
fn releasep(_: &mut P) {}
fn handoffp(_: P) {}
fn store(_: Wb<'_>, _: u32) {}
trait Tr {
    fn m(&self);
}
struct S;
fn on_system_stack<F: FnOnce() + 'static>(_: F) {}
fn needs_system_stack(_: &SystemStack) {}

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
fn to_thread(wb: Wb<'static>, on: SystemStack) {
    std::thread::spawn(move || store(wb, 1));
    std::thread::spawn(move || needs_system_stack(&on));
}
static STORED: Option<Wb<'static>> = None;

fn main() {}
