use gc_core::{Gc, Trace};

/// Not `NoGc`: it may hold anything.
struct Handle(*mut u8);

#[derive(Trace)]
struct Window {
    #[trace(no_gc)]
    handle: Handle,
    title: Gc<str>,
}

fn main() {}
