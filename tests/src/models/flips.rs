//! The flips: what a store tests, when the barrier goes on and off, and when marking is over.

use super::Model;
use super::mutators::Mutators;
use gc_core::model::MarkWord;
use gc_core::{Gc, GcCell, Root, Trace};
use loom::thread;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

pub const WORD: Model = Model {
    name: "store-word",
    property: "the word that a store tests says what the phase is, also behind a flip, and that there is no P as soon as it \
               has been given up",
    source: "protocols: the word that `set` tests; invariant I1",
    threads: 2,
    bound: Some(3),
    least: 3100,
    run: word,
    drives: &["Heap::write_states", "Heap::release_p", "Heap::acquire_p", "gc_write_barrier"],
    twins: &["word-kept", "stale-phase", "stop-before-store"],
};

pub const BARRIER_ON: Model = Model {
    name: "barrier-on",
    property: "no object is scanned before the barrier is on for every P",
    source: "golang/go mgc.go: gcStart, setGCPhase; proposal 17503",
    threads: 3,
    bound: Some(2),
    least: 7800,
    run: barrier_on,
    drives: &["Heap::write_states", "gc_write_barrier", "Heap::finish_mark"],
    twins: &["barrier-late", "stale-phase"],
};

pub const BUFFER: Model = Model {
    name: "barrier-buffer",
    property: "what a barrier records is shaded: when the buffer is full, when its P is given up or flushed, when marking ends",
    source: "golang/go mwbbuf.go",
    threads: 2,
    bound: Some(3),
    least: 15100,
    run: buffer,
    drives: &["WbBuf::flush", "Heap::release_p", "Heap::acquire_p", "GcP::flush"],
    twins: &["buffer-lost", "skip-flush", "stop-before-store"],
};

pub const TERMINATION: Model = Model {
    name: "termination",
    property: "when marking ends no P has work or recorded pointers, whatever is stored until then",
    source: "golang/go issue 26903 (ragged barrier), issue 27993 (the look under the stop), mgc.go: gcMarkDone",
    threads: 2,
    bound: Some(3),
    least: 2400,
    run: termination,
    drives: &["Heap::terminate", "Heap::finish_mark", "GcP::flush", "WbBuf::flush"],
    twins: &["marked-by-count"],
};

pub const MARKS: Model = Model {
    name: "mark-word",
    property: "two that mark in one word of the map lose no mark, and each object is greyed by one of them",
    source: "design: side mark bits; golang/go mbitmap.go: markBits.setMarked",
    threads: 2,
    bound: None,
    least: 140,
    run: marks,
    drives: &["MarkMap::mark"],
    twins: &["mark-by-store"],
};

#[derive(Trace)]
struct Node {
    next: GcCell<Option<Gc<Node>>>,
}

fn node(next: Option<Gc<Node>>) -> Gc<Node> {
    Gc::new(Node { next: GcCell::new(next) })
}

fn addr(object: Gc<Node>) -> usize {
    Gc::as_ptr(object).addr()
}

/// X is on a grey stack alone, goes into an object that may be black, and is taken off the stack.
fn word() {
    let world = Mutators::start(&[0]);
    let root = Root::new(node(None));
    let holder = root.get();
    let x = node(None);
    world.push_on(0, x);
    let mutator = world.go(0, move || {
        world.stop_point();
        holder.next.set(Some(x));
        world.pop();
        world.syscall(|| {
            let store = || holder.next.set(None);
            assert!(catch_unwind(AssertUnwindSafe(store)).is_err(), "a barriered store without a P went through");
        });
    });
    world.collect();
    mutator.join().expect("assertion: the mutator");
    assert!(world.alive(addr(x)), "X is reachable and was freed");
    drop(root);
}

fn barrier_on() {
    let world = Mutators::start(&[0, 1]);
    let root = Root::new(node(None));
    let other = Root::new(node(Some(node(None))));
    let (holder, full) = (root.get(), other.get());
    let x = node(None);
    world.push_on(0, x);
    let inserts = world.go(0, move || {
        world.stop_point();
        holder.next.set(Some(x));
        world.pop();
    });
    let deletes = world.go(1, move || {
        world.safepoint();
        let y = full.next.get().expect("nobody else cuts it");
        world.push(y);
        full.next.set(None);
        addr(y)
    });
    world.collect();
    inserts.join().expect("the first mutator");
    let y = deletes.join().expect("the second mutator");
    assert!(world.alive(addr(x)), "X, which was stored, is reachable and was freed");
    assert!(world.alive(y), "Y, which was overwritten, is on a stack and was freed");
    drop((root, other));
}

/// Two stores, for which the buffer has no room, and the P is given up and taken again.
fn buffer() {
    let world = Mutators::start(&[0]);
    let root = Root::new(node(None));
    let holder = root.get();
    let (x, y) = (node(None), node(None));
    world.push_on(0, y);
    world.push_on(0, x);
    let mutator = world.go(0, move || {
        world.stop_point();
        holder.next.set(Some(x));
        world.pop();
        world.syscall(|| ());
        x.next.set(Some(y));
        world.pop();
        world.safepoint();
    });
    world.collect();
    mutator.join().expect("the mutator");
    assert!(world.alive(addr(x)), "X is reachable and was freed");
    assert!(world.alive(addr(y)), "Y is reachable and was freed");
    drop(root);
}

/// X, on which Y hangs, goes from a grey stack into a black object when marking is about to end.
fn termination() {
    let world = Mutators::start(&[0]);
    let root = Root::new(node(None));
    let holder = root.get();
    let y = node(None);
    let x = node(Some(y));
    world.push_on(0, x);
    let stores = world.go(0, move || {
        world.stop_point();
        holder.next.set(Some(x));
        world.pop();
        world.safepoint();
    });
    world.collect();
    stores.join().expect("the mutator");
    assert!(world.alive(addr(x)), "X is reachable and was freed");
    assert!(world.alive(addr(y)), "Y is reachable and was freed");
    drop(root);
}

fn marks() {
    let word = Arc::new(MarkWord::new());
    let other = word.clone();
    let thread = thread::spawn(move || usize::from(other.try_mark(0)) + other.mark(0b110).count_ones() as usize);
    let mine = word.mark(0b011).count_ones() as usize + usize::from(word.try_mark(3));
    let theirs = thread.join().expect("the other marker");
    assert_eq!(word.count(), 4, "a mark is lost");
    assert_eq!(mine + theirs, 4, "an object is greyed twice, or by nobody");
}
