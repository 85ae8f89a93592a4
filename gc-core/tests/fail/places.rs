//! A type lives in the heap or outside it, and so does what holds it.
use barrier_lint::{NoBarrierPtr, NotInHeap};
use gc_core::{Gc, Trace};

#[derive(NotInHeap)]
struct Span {
    pages: u32,
    next: NoBarrierPtr<Span>,
}

/// Both.
#[derive(NotInHeap, Trace)]
struct Both {
    n: u32,
}

/// A heap object that embeds what is never in the heap.
#[derive(Trace)]
struct Object {
    span: Span,
    spans: [Span; 2],
}

/// What is never in the heap embeds a heap object, or what keeps one alive.
#[derive(NotInHeap)]
struct Table {
    first: Gc<Node>,
    node: Node,
}
#[derive(Trace)]
struct Node {
    next: Option<Gc<Node>>,
}

fn main() {
    let _ = Gc::new(Span { pages: 1, next: NoBarrierPtr::null() });
}
