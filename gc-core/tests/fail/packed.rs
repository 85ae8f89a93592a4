use gc_core::{Gc, Trace};

#[derive(Trace)]
#[repr(C, packed(4))]
struct Packed {
    small: u32,
    object: Gc<u64>,
}

fn main() {}
