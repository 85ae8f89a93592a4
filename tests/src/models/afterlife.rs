//! Dead objects: weak pointers, cleanups and drops beside a whole cycle, on the production collector.

use super::Model;
use super::world::TwoPs;
use gc_core::{Gc, GcCell, Trace, Weak, add_cleanup};
use loom::thread;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

pub const WEAK: Model = Model {
    name: "weak",
    property: "what a weak pointer gives out survives the cycle, at whatever point of it; once it gives nothing it never \
               does again, also when its record and the slot are used again",
    source: "protocols: `Weak::upgrade`; golang/go#67552 (weak pointers)",
    threads: 2,
    bound: Some(2),
    least: 4600,
    run: upgrade,
    drives: &["Heap::alive", "Heap::finish_mark"],
    // An object that only weak pointers lead to is white when all else is marked, so its shading may come as late as the stop
    // that ends marking: the second look there (golang/go#27993) has a twin here.
    twins: &["weak-upgrade-unshaded", "weak-upgrade-dead", "stale-weak", "no-second-look"],
};

pub const CLEANUP: Model = Model {
    name: "cleanup",
    property: "what a cleanup's argument holds survives a cycle in which it moves from the task to a black stack",
    source: "golang/go runtime.AddCleanup; protocols: values in transit",
    threads: 2,
    bound: Some(2),
    least: 4500,
    run: cleanup,
    drives: &["Heap::run_cleanup", "Heap::finish_mark"],
    twins: &["cleanup-unshaded"],
};

pub const DROP: Model = Model {
    name: "drop",
    property: "a slot is handed out only when the dead object in it has been dropped, and no drop meets a live one",
    source: "design: the slot stays unallocatable until the drop has run",
    threads: 2,
    bound: None,
    least: 320,
    run: drops,
    drives: &["Heap::run_drops"],
    twins: &["pending-drop-reused"],
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
                // The new object may get the slot of X, and its weak pointer the record.
                let new = node(None);
                world.push(new);
                let other = Weak::new(new);
                assert!(weak.upgrade().is_none(), "a weak pointer found an object again that was dead");
                assert!(other != weak && other.upgrade().is_some());
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

fn cleanup() {
    let world = TwoPs::start();
    // Nothing but the cleanup's argument leads to Y.
    add_cleanup(node(None), move |y: Gc<Node>| world.push(y), node(None));
    world.collect();
    let mutator = thread::spawn(move || {
        world.enter(|| {
            // From its scan on the mutator's stack is black, and Y comes onto it only afterwards.
            world.safepoint();
            assert_eq!(world.bury(1), 1, "the cleanup is due");
            world.safepoint();
            world.top()
        })
    });
    world.collect();
    let y = mutator.join().expect("the mutator").expect("Y was pushed");
    assert!(world.alive(y), "Y came out of a cleanup's task and was freed");
}

/// Counts its drop.
#[derive(Trace)]
struct Counted {
    drops: Arc<AtomicUsize>,
}

impl Drop for Counted {
    fn drop(&mut self) {
        // Others may run in here.
        thread::yield_now();
        self.drops.fetch_add(1, Ordering::Relaxed);
    }
}

fn drops() {
    let world = TwoPs::start();
    let [x, y] = [(); 2].map(|()| Arc::new(AtomicUsize::new(0)));
    Gc::new(Counted { drops: x.clone() });
    world.collect();
    let drops = y.clone();
    let mutator = thread::spawn(move || {
        world.enter(|| {
            let y = Gc::new(Counted { drops });
            world.push(y);
            world.safepoint();
            Gc::as_ptr(y).addr()
        })
    });
    assert_eq!(world.bury(1), 1, "a drop is due");
    let y_at = mutator.join().expect("the mutator");
    assert!(world.alive(y_at));
    assert_eq!((x.load(Ordering::Relaxed), y.load(Ordering::Relaxed)), (1, 0), "drops of the dead X and the live Y");
}
