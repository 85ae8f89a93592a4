#![deny(warnings)]
use gc_core::{Gc, GcCell, Trace};

#[derive(Trace)]
#[allow(dead_code)]
struct Plain {
    id: u64,
    name: Gc<str>,
    next: GcCell<Option<Gc<Plain>>>,
    pair: (u32, Option<Gc<[Gc<Plain>]>>),
    grid: [[GcCell<Option<Gc<u8>>>; 3]; 2],
}

#[derive(Trace)]
#[allow(dead_code)]
struct Generic<T, const N: usize>
where
    T: Copy,
{
    items: [Option<Gc<T>>; N],
    tail: Option<T>,
}

#[derive(Trace)]
#[allow(dead_code)]
enum Shape {
    Nothing,
    Leaf(u64),
    Node { left: Gc<Shape>, right: Gc<Shape> },
}

#[derive(Trace)]
struct Unit;

fn main() {
    assert!(Plain::DESC.has_pointers());
    assert!(Generic::<u32, 4>::DESC.has_pointers());
    assert!(Shape::DESC.has_pointers());
    assert!(!Unit::DESC.has_pointers());
    assert!(!<Option<u64>>::DESC.has_pointers());
    assert_eq!(Plain::DESC.size, size_of::<Plain>());
}
