//! Mutable access by plain stores (`GcMut`) between one mutator and a whole cycle: the three halves of the protocol in
//! `gc_core::GcMut`'s file, one model each.

use super::Model;
use super::world::TwoPs;
use gc_core::{Gc, GcMut, Root, Trace};
use loom::thread;

pub const INSIDE: Model = Model {
    name: "mutable-inside",
    property: "what a grey stack moves into a black object and back, with its own scan in between, survives the cycle",
    source: "protocols: the object is scanned in one step with the stack of who is inside",
    threads: 2,
    bound: Some(3),
    least: 1600,
    run: inside,
    drives: &["GcMut::try_with", "Scanner::entered", "Heap::greyobject", "WbBuf::flush", "Heap::finish_mark"],
    twins: &["mutable-unscanned"],
};

pub const ENTER: Model = Model {
    name: "mutable-enter",
    property: "what a black stack takes out of an object by a plain store survives the cycle",
    source: "protocols: entering while marking shades the contents",
    threads: 2,
    bound: Some(3),
    least: 1800,
    run: enter,
    drives: &["GcMut::try_with", "Heap::greyobject", "WbBuf::flush", "Heap::finish_mark"],
    twins: &["enter-unshaded"],
};

pub const LEAVE: Model = Model {
    name: "mutable-leave",
    property: "what only a grey stack holds, and plainly stores into a black object, survives the cycle",
    source: "protocols: leaving while marking shades the contents",
    threads: 2,
    bound: Some(3),
    least: 1700,
    run: leave,
    drives: &["GcMut::try_with", "Heap::greyobject", "WbBuf::flush", "Heap::finish_mark"],
    twins: &["leave-unshaded"],
};

#[derive(Trace)]
struct Node {
    id: u64,
}

#[derive(Trace)]
struct Bag {
    content: GcMut<Option<Gc<Node>>>,
}

fn node() -> Gc<Node> {
    Gc::new(Node { id: 7 })
}

fn bag(content: Option<Gc<Node>>) -> Root<Bag> {
    Root::new(Gc::new(Bag { content: GcMut::new(content) }))
}

/// Runs a cycle beside `mutator`, and expects `x`, which is reachable at the end, to be alive.
fn beside_a_cycle(world: &'static TwoPs, x: Gc<Node>, mutator: impl FnOnce() + 'static) {
    let thread = thread::spawn(move || world.enter(mutator));
    world.collect();
    thread.join().expect("the mutator");
    assert!(world.alive(Gc::as_ptr(x).addr()), "X was freed");
}

fn inside() {
    let world = TwoPs::start();
    let root = bag(None);
    let (bag, x) = (root.get(), node());
    world.push(x);
    beside_a_cycle(world, x, move || {
        world.safepoint();
        bag.content.with(|content| {
            *content = Some(x);
            world.pop();
            world.safepoint();
            world.push(x);
            *content = None;
        });
        world.safepoint();
    });
    drop(root);
}

fn enter() {
    let world = TwoPs::start();
    let x = node();
    let root = bag(Some(x));
    let bag = root.get();
    beside_a_cycle(world, x, move || {
        world.safepoint();
        bag.content.with(|content| {
            let taken = content.take().expect("nobody else takes it");
            assert_eq!(taken.id, 7);
            world.push(taken);
        });
        world.safepoint();
    });
    drop(root);
}

fn leave() {
    let world = TwoPs::start();
    let root = bag(None);
    let (bag, x) = (root.get(), node());
    world.push(x);
    beside_a_cycle(world, x, move || {
        world.safepoint();
        bag.content.with(|content| *content = Some(x));
        world.pop();
        world.safepoint();
    });
    drop(root);
}
