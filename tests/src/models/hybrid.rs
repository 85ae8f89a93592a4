//! The hybrid barrier (golang/go#17503) between one mutator and a whole cycle, on the production collector.
//!
//! The mutator's stack is explicit: what lies on it is scanned once per cycle, at a safepoint or when the mutator has
//! ended; after that it is black, and what the mutator reads afterwards is found through the barrier alone.

use super::Model;
use super::world::TwoPs;
use gc_core::{Gc, GcCell, Root, Trace};
use loom::thread;

pub const DELETION: Model = Model {
    name: "hybrid-deletion",
    property: "what is read from the heap onto a black stack, and then cut from the heap, survives the cycle",
    source: "golang/go proposal 17503 (hybrid write barrier): the deletion half",
    threads: 2,
    bound: Some(3),
    least: 4000,
    run: deletion,
    drives: &["gc_write_barrier", "Heap::greyobject", "WbBuf::flush", "Heap::finish_mark"],
    twins: &["no-deletion-barrier", "skip-flush", "shade-after-termination"],
};

pub const INSERTION: Model = Model {
    name: "hybrid-insertion",
    property: "what only a grey stack holds, and is then stored into a black object and dropped, survives the cycle",
    source: "golang/go proposal 17503 (hybrid write barrier): the insertion half",
    threads: 2,
    bound: Some(3),
    least: 3900,
    run: insertion,
    drives: &["gc_write_barrier", "Heap::greyobject", "WbBuf::flush", "Heap::finish_mark"],
    twins: &["no-insertion-barrier", "skip-flush", "shade-after-termination"],
};

pub const BIRTH: Model = Model {
    name: "birth",
    property: "an object that is allocated while marking, and what it was initialised with, survive the cycle",
    source: "design: allocate black, shade what initialising stores put in",
    threads: 2,
    bound: Some(3),
    least: 11800,
    run: birth,
    drives: &["publish_black", "Heap::greyobject", "WbBuf::flush", "Heap::finish_mark"],
    twins: &["alloc-white", "init-unshaded"],
};

#[derive(Trace)]
struct Node {
    next: GcCell<Option<Gc<Node>>>,
}

fn node(next: Option<Gc<Node>>) -> Gc<Node> {
    Gc::new(Node { next: GcCell::new(next) })
}

fn deletion() {
    let world = TwoPs::start();
    let a = Root::new(node(Some(node(None))));
    let holder = a.get();
    let mutator = thread::spawn(move || {
        world.enter(|| {
            world.safepoint();
            let x = holder.next.get().expect("nobody else cuts it");
            world.push(x);
            holder.next.set(None);
            world.safepoint();
            Gc::as_ptr(x).addr()
        })
    });
    world.collect();
    let x = mutator.join().expect("the mutator");
    assert!(world.alive(x), "X is on the mutator's stack and was freed");
    drop(a);
}

fn insertion() {
    let world = TwoPs::start();
    let b = Root::new(node(None));
    let holder = b.get();
    let x = node(None);
    world.push(x);
    let mutator = thread::spawn(move || {
        world.enter(|| {
            world.safepoint();
            holder.next.set(Some(x));
            world.pop();
            world.safepoint();
        })
    });
    world.collect();
    mutator.join().expect("the mutator");
    assert!(world.alive(Gc::as_ptr(x).addr()), "X is reachable through B and was freed");
    drop(b);
}

fn birth() {
    let world = TwoPs::start();
    let x = node(None);
    world.push(x);
    let mutator = thread::spawn(move || {
        world.enter(|| {
            world.safepoint();
            let born = node(Some(x));
            world.pop();
            world.push(born);
            world.safepoint();
            Gc::as_ptr(born).addr()
        })
    });
    world.collect();
    let born = mutator.join().expect("the mutator");
    assert!(world.alive(born), "an object born while marking was freed");
    assert!(world.alive(Gc::as_ptr(x).addr()), "what an object born while marking points to was freed");
}
