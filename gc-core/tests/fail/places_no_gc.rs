//! `#[trace(no_gc)]` does not bring into the heap what must stay outside it.
use barrier_lint::NotInHeap;
use gc_core::{Gc, NoGc, Trace};

#[derive(NotInHeap)]
struct Span {
    pages: u32,
}
// SAFETY: holds a number.
unsafe impl NoGc for Span {}

#[derive(Trace)]
struct Object {
    #[trace(no_gc)]
    span: Span,
}

fn main() {
    let _ = Gc::new(Object { span: Span { pages: 1 } });
}
