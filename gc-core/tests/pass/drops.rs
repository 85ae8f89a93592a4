#![deny(warnings)]
use gc_core::{Gc, GcCell, NoGc, Trace, Weak};
use std::collections::HashMap;

#[derive(Trace)]
#[allow(dead_code)]
struct Owner {
    name: String,
    cells: Vec<Option<(u32, Box<[u8]>)>>,
    map: HashMap<String, std::path::PathBuf>,
    weak: Vec<Weak<Owner>>,
    file: Option<std::fs::File>,
    result: Result<String, std::io::Error>,
    next: GcCell<Option<Gc<Owner>>>,
    temporary: Temporary,
}

#[derive(Trace)]
struct Temporary {
    path: String,
}

impl Drop for Temporary {
    fn drop(&mut self) {
        self.path.clear();
    }
}

/// Parameters need no bounds for drop: what they stand for has kept the rule itself.
#[derive(Trace)]
#[allow(dead_code)]
struct Entry<K, V> {
    key: K,
    value: V,
    next: Option<Gc<Entry<K, V>>>,
}

#[derive(Trace)]
#[allow(dead_code)]
enum Either {
    Text(String),
    Node(Gc<Either>),
}

#[allow(dead_code)]
struct Raw(*mut u8);
// SAFETY: points to no heap object.
unsafe impl NoGc for Raw {}

#[derive(Trace)]
#[allow(dead_code)]
struct Holder {
    #[trace(no_gc)]
    raw: Raw,
}

#[derive(Trace)]
#[allow(dead_code)]
enum Held {
    Raw(#[trace(no_gc)] Raw),
}

fn main() {
    assert!(Owner::DESC.drop.is_some() && Owner::DESC.has_pointers());
    assert!(Temporary::DESC.drop.is_some() && !Temporary::DESC.has_pointers());
    assert!(Entry::<String, u8>::DESC.drop.is_some());
    assert!(Entry::<u8, Weak<u8>>::DESC.drop.is_none());
    assert!(Either::DESC.drop.is_some() && Either::DESC.has_pointers());
    assert!(Holder::DESC.drop.is_none() && Held::DESC.drop.is_none());
}
