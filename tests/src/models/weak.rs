//! Weak pointers beside a whole cycle, on the production collector.

use super::Model;
use super::world::TwoPs;
use gc_core::{Gc, GcCell, Trace, Weak};
use loom::thread;

pub const MODEL: Model = Model {
    name: "weak",
    property: "what a weak pointer gives out survives the cycle, at whatever point of it; once it gives nothing it never \
               does again, also when the slot is used again",
    source: "protocols: `Weak::upgrade`; golang/go#67552 (weak pointers)",
    threads: 2,
    bound: Some(3),
    least: 10,
    run: upgrade,
    twins: &["weak-upgrade-unshaded"],
};

#[derive(Trace)]
struct Node {
    next: GcCell<Option<Gc<Node>>>,
}

fn node(next: Option<Gc<Node>>) -> Gc<Node> {
    Gc::new(Node { next: GcCell::new(next) })
}

fn upgrade() {
    let world = TwoPs::start();
    // Nothing but the weak pointer leads to X; Y hangs on X.
    let weak = Weak::new(node(Some(node(None))));
    let mutator = thread::spawn(move || {
        world.enter(|| {
            // From its scan on the mutator's stack is black, and X comes onto it only afterwards.
            world.safepoint();
            let x = weak.upgrade();
            if let Some(x) = x {
                world.push(x);
            }
            world.safepoint();
            if x.is_none() {
                // The new object may get the slot of X.
                world.push(node(None));
                assert!(weak.upgrade().is_none(), "a weak pointer found an object again that was dead");
            }
            x.map(|x| (Gc::as_ptr(x).addr(), x.next.get().map(|y| Gc::as_ptr(y).addr())))
        })
    });
    world.collect();
    if let Some((x, y)) = mutator.join().expect("the mutator") {
        assert!(world.alive(x), "X came from a weak pointer and was freed");
        assert!(y.is_some_and(|y| world.alive(y)), "Y hangs on X and was freed");
        assert!(weak.upgrade().is_some(), "X is alive and its weak pointer is empty");
    }
}
