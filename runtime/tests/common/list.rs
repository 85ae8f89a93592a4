//! Lists of objects, and a runtime in which a lost one is noticed at once.
#![allow(dead_code)]

use crate::common::with_procs;
use tricolor::gc::Stress;
use tricolor::{Builder, Gc, GcCell, Trace};

#[derive(Trace)]
pub struct Node {
    pub id: u64,
    pub next: GcCell<Option<Gc<Node>>>,
}

pub fn node(id: u64) -> Gc<Node> {
    Gc::new(Node { id, next: GcCell::new(None) })
}

/// Every collection is verified, and what is freed is overwritten.
pub fn watched(procs: usize) -> Builder {
    let mut stress = Stress::default();
    stress.poison = true;
    with_procs(procs).stress(stress).verify(true)
}
