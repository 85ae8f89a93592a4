//! Partial cycles: marks that stay, and the stores in between that are remembered.
//!
//! An object is made before a cycle that is not partial, so it is old; what is made after it is young, and the next cycle takes
//! the old one for scanned.

use super::Model;
use super::world::TwoPs;
use gc_core::{Gc, GcCell, GcMut, Root, Trace};
use loom::thread;

pub const STORED: Model = Model {
    name: "partial-store",
    property: "a young object that is stored into an old one, at whatever moment, survives the next cycle, which scans nothing \
               old but what is remembered",
    source: "Demers et al., POPL 1990 (sticky mark bits); design: hybrid barrier",
    threads: 2,
    bound: Some(3),
    least: 20000,
    run: stored,
    drives: &["gc_write_barrier", "WbBuf::flush", "Heap::remember_all", "Heap::finish_mark"],
    twins: &["young-unremembered", "skip-flush", "no-insertion-barrier"],
};

pub const ENTERED: Model = Model {
    name: "partial-access",
    property: "a young object that mutable access has put into an old one survives the next cycle",
    source: "protocols: mutable access to heap structs; as partial-store",
    threads: 2,
    bound: Some(3),
    least: 27000,
    run: entered,
    drives: &["GcMut::try_with", "Heap::shade_words", "Heap::finish_mark"],
    twins: &["young-unremembered", "leave-unshaded"],
};

#[derive(Trace)]
struct Node {
    next: GcCell<Option<Gc<Node>>>,
}

#[derive(Trace)]
struct Holder {
    inner: GcMut<Option<Gc<Node>>>,
}

fn node() -> Gc<Node> {
    Gc::new(Node { next: GcCell::new(None) })
}

/// A young object is put into an old one by `put`, and taken off the stack.
fn survives<T: Trace>(old: fn() -> Gc<T>, put: fn(Gc<T>, Gc<Node>)) {
    let world = TwoPs::start_partial();
    let b = Root::new(old());
    let holder = b.get();
    world.cycle();
    let mutator = thread::spawn(move || {
        world.enter(|| {
            let x = node();
            world.push(x);
            world.safepoint();
            put(holder, x);
            world.pop();
            world.safepoint();
            Gc::as_ptr(x).addr()
        })
    });
    world.cycle();
    let x = mutator.join().expect("the mutator");
    assert!(world.alive(x), "X is reachable through B, which is old, and was freed");
    drop(b);
}

fn stored() {
    survives(node, |holder, x| holder.next.set(Some(x)));
}

fn entered() {
    survives(|| Gc::new(Holder { inner: GcMut::new(None) }), |holder, x| holder.inner.with(|inner| *inner = Some(x)));
}
