use gc_core::{Gc, Trace};

#[derive(Trace)]
struct Node {
    next: Option<Gc<Node>>,
}

impl Drop for Node {
    fn drop(&mut self) {
        // The next one may be dead already.
        let _ = self.next.as_deref();
    }
}

fn main() {}
