//! What a user of Tricolor writes: generated code must name no crate but `tricolor`.
//!
//! `cargo verify --only outside` builds and runs it, and compares its line.

use tricolor::{Gc, GcCell, Trace};

/// A node of a list that is made and read on the goroutine heap.
#[derive(Trace)]
struct Node {
    id: u64,
    next: GcCell<Option<Gc<Node>>>,
}

fn node(id: u64) -> Gc<Node> {
    Gc::new(Node { id, next: GcCell::new(None) })
}

#[tricolor::main(unsafe)]
fn main() {
    let answer = tricolor::spawn(move || 41 + 1).join().unwrap();

    // A ring, so that the collector has something to go round.
    let first = node(1);
    let second = node(2);
    first.next.set(Some(second));
    second.next.set(Some(first));
    tricolor::gc::collect();

    let after = first.next.get().expect("the second node");
    let around = after.next.get().expect("the first node");
    assert_eq!(around.id, first.id);
    println!("outside: {answer} from a goroutine, nodes {} {} after a collection", around.id, after.id);
}
