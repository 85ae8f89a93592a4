use gc_core::{Gc, Trace};

#[derive(Trace)]
union Either {
    number: u64,
    object: Gc<u64>,
}

fn main() {}
