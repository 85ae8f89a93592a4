use gc_core::{NoGc, Trace};
use std::rc::Rc;

struct Shared(Rc<u8>);
// SAFETY: holds no `Gc`.
unsafe impl NoGc for Shared {}

#[derive(Trace)]
struct Holder {
    #[trace(no_gc)]
    shared: Shared,
}

fn main() {}
