use gc_core::{Gc, Trace};

#[derive(Trace)]
struct Node {
    children: Vec<Gc<Node>>,
}

fn main() {}
