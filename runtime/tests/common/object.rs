//! Objects with an identity, by which one that was lost is noticed.
#![allow(dead_code)]

use tricolor::Gc;

/// An object with an identity, and a second one behind it.
#[derive(tricolor::Trace)]
pub struct Object {
    pub id: u64,
    tail: Gc<(u64, u64)>,
}

pub fn object(id: u64) -> Gc<Object> {
    Gc::new(Object { id, tail: Gc::new((id, !id)) })
}

/// Its identity, if it is unharmed. A slot that was freed has been taken by `churn`.
pub fn id(o: Gc<Object>) -> u64 {
    assert_eq!(*o.tail, (o.id, !o.id), "object {} was lost or changed", o.id);
    o.id
}

/// Whether it is the object `wanted`, unharmed.
pub fn check(o: Gc<Object>, wanted: u64) {
    assert_eq!(id(o), wanted, "object {wanted} was lost or changed");
}

/// Collects, and fills what became free with other objects of the same types.
pub fn churn() {
    (0..3).for_each(|i| check(object(u64::MAX - i), u64::MAX - i));
}
