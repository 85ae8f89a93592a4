use gc_core::{Gc, GcCell};

// A pointer outside the heap: the collector would not find it, and `new` is not const. (`RootCell` is for statics.)
static HEAD: GcCell<Option<Gc<u64>>> = GcCell::new(None);

fn main() {}
