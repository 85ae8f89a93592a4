use gc_core::{Gc, Trace};
use std::cell::Cell;

#[derive(Trace)]
struct Counter {
    n: Cell<u64>,
}

fn share(counter: Gc<Counter>) {
    std::thread::spawn(move || counter.n.set(1));
}

fn main() {}
