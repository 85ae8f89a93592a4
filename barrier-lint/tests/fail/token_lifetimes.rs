//! No token survives the release of its P.
use barrier_lint::{Wb, yeswritebarrierrec};

struct P;
impl P {
    fn wb(&self) -> Wb<'_> {
        // SAFETY: whoever has a P holds it.
        unsafe { Wb::conjure() }
    }
}
fn releasep(_: &mut P) {}
fn handoffp(_: P) {}
fn store(_: Wb<'_>, _: u32) {}
fn on_system_stack<F: FnOnce() + 'static>(_: F) {}

fn after_move(p: P) {
    let wb = p.wb();
    handoffp(p);
    store(wb, 1)
}
fn after_mut(mut p: P) {
    let wb = p.wb();
    releasep(&mut p);
    store(wb, 1)
}
fn captured(p: &P) {
    let wb = p.wb();
    on_system_stack(move || store(wb, 1))
}
fn boxed(p: &P) -> Box<dyn FnOnce()> {
    let wb = p.wb();
    Box::new(move || store(wb, 1))
}
struct Holder<'p>(Wb<'p>);
#[yeswritebarrierrec(wb = "the test has no Ps")]
fn leaves_the_gate() -> Holder<'static> {
    Holder(wb)
}

fn main() {}
