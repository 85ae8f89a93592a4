use gc_core::{Gc, Trace};
use std::cell::Cell;

#[derive(Trace)]
struct Node {
    // Stores without a write barrier.
    next: Cell<Option<Gc<Node>>>,
}

fn main() {}
