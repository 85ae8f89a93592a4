//! Values in transit: from one stack to another through the heap, out of roots, into new objects.

use super::Model;
use super::mutators::Mutators;
use gc_core::sync::current::Region;
use gc_core::sync::{Ordering, word};
use gc_core::{Conservative, Gc, GcCell, Root, Trace};

pub const CHANNEL: Model = Model {
    name: "channel",
    property: "what goes from one stack to another through a channel's slot survives, whichever of the two is black",
    source: "golang/go proposal 17503: stack-to-stack copies; chan.go: sendDirect, typedmemmove",
    threads: 2,
    bound: Some(3),
    least: 3400,
    run: channel,
    drives: &["Heap::shade_words", "Heap::finish_mark"],
    twins: &["skip-bulk-barrier"],
};

pub const SPAWN: Model = Model {
    name: "spawn",
    property: "what a goroutine takes from its closure survives, whenever it is born and though its stack is born black",
    source: "protocols: a goroutine born during marking; golang/go proposal 17503",
    threads: 2,
    bound: Some(3),
    least: 460,
    run: spawn,
    drives: &["Heap::shade_words", "gc_write_barrier", "Heap::finish_mark"],
    twins: &["skip-bulk-barrier"],
};

pub const BULK: Model = Model {
    name: "bulk-move",
    property: "what is copied from array to array, and then cleared where it was, survives",
    source: "golang/go mbitmap.go: bulkBarrierPreWrite",
    threads: 2,
    bound: Some(3),
    least: 8200,
    run: bulk,
    drives: &["store_words", "Heap::finish_mark"],
    twins: &["skip-move-barrier"],
};

pub const WRITERS: Model = Model {
    name: "two-writers",
    property: "what one writer of a slot puts there, and another takes out onto a black stack, survives; so does what was there \
               before",
    source: "golang/go proposal 17503: racing writers of one slot",
    threads: 3,
    bound: Some(2),
    least: 6000,
    run: writers,
    drives: &["gc_write_barrier", "GcCell::swap", "Heap::finish_mark"],
    twins: &["no-insertion-barrier", "no-deletion-barrier"],
};

pub const CLAIM: Model = Model {
    name: "claim",
    property: "an object is made in one phase: it survives a cycle that starts anywhere around its making, and so does what \
               it was made with, also if another stack has a word that names its slot",
    source: "protocols: allocation; golang/go malloc.go: mallocgc, publicationBarrier",
    threads: 2,
    bound: Some(3),
    least: 11400,
    run: claim,
    drives: &["publish_black", "Heap::finish_mark"],
    twins: &["stop-in-allocation", "alloc-white", "init-unshaded"],
};

pub const ROOT: Model = Model {
    name: "root-dropped",
    property: "what is copied from a `Root` to a black stack survives when the root is dropped, by a thread without a P",
    source: "protocols: roots and values in transit",
    threads: 2,
    bound: Some(3),
    least: 1000,
    run: root,
    drives: &["RootTable::defer", "RootTable::scan_piece", "Heap::finish_mark"],
    twins: &["root-cleared"],
};

pub const ROOT_WITH_P: Model = Model {
    name: "root-dropped-with-p",
    property: "what is copied from a `Root` to a black stack survives when the root is dropped, by a thread with a P",
    source: "protocols: roots and values in transit",
    threads: 2,
    bound: Some(3),
    least: 500,
    run: root_with_p,
    drives: &["RootTable::clear_at_hand", "RootTable::defer", "RootTable::scan_piece", "Heap::finish_mark"],
    twins: &["root-cleared"],
};

#[derive(Trace)]
struct Node {
    next: GcCell<Option<Gc<Node>>>,
}

fn node(next: Option<Gc<Node>>) -> Gc<Node> {
    Gc::new(Node { next: GcCell::new(next) })
}

fn addr<T>(object: Gc<T>) -> usize {
    Gc::as_ptr(object).addr()
}

/// A channel's slot, or a goroutine's closure: one word of conservative kind.
type Slot = Gc<Conservative<[usize; 1]>>;

fn slot(content: usize) -> Slot {
    Gc::new(Conservative([content]))
}

/// What the runtime's `chan::hchan::put` does.
fn put(world: &Mutators, slot: Slot, x: Gc<Node>) {
    let value = addr(x);
    let _region = Region::enter();
    // SAFETY: a word of this frame, and the slot's own.
    unsafe {
        world.heap().shade_words(&raw const value, 1);
        word::at(addr(slot)).store(value, Ordering::Release);
    }
}

/// What the runtime's `chan::hchan::get` does, and the start of a goroutine.
fn take(world: &Mutators, slot: Slot) -> Gc<Node> {
    let _region = Region::enter();
    // SAFETY: the slot's own word, which holds what `put` was given, or the closure was made with.
    unsafe {
        // A swap, since nobody else takes it: loom would not show the marker's read between a load and a store.
        let value = word::at(addr(slot)).swap(0, Ordering::AcqRel);
        world.heap().shade_words(&raw const value, 1);
        Gc::from_ptr(std::ptr::with_exposed_provenance_mut(value))
    }
}

fn channel() {
    // Sender and receiver take turns on one P.
    let world = Mutators::start(&[0, 0]);
    let chan = Root::new(slot(0));
    let at = chan.get();
    let x = node(None);
    world.push_on(0, x);
    let mutator = world.go(0, move || {
        world.stop_point();
        put(world, at, x);
        world.pop();
        world.switch_to(1);
        world.stop_point();
        world.push(take(world, at));
        world.safepoint();
    });
    world.collect();
    mutator.join().expect("the mutator");
    assert!(world.alive(addr(x)), "X went through a channel and was freed");
    drop(chan);
}

#[derive(Trace)]
struct G {
    start: GcCell<Option<Slot>>,
}

fn spawn() {
    let world = Mutators::start(&[0, 0]);
    let g = Root::new(Gc::new(G { start: GcCell::new(None) }));
    let gp = g.get();
    let x = node(None);
    let task = slot(addr(x));
    world.push_on(0, task);
    let mutator = world.go(0, move || {
        world.stop_point();
        gp.start.set(Some(task));
        world.born(1);
        world.pop();
        world.switch_to(1);
        world.push(take(world, gp.start.get().expect("set by who spawned")));
        world.safepoint();
    });
    world.collect();
    mutator.join().expect("the mutator");
    assert!(world.alive(addr(x)), "X was in a closure and was freed");
    drop(g);
}

fn bulk() {
    let world = Mutators::start(&[0]);
    let x = node(None);
    let from = Root::new(Gc::<[GcCell<Option<Gc<Node>>>]>::cells(2, Some(x)));
    let to = Root::new(Gc::<[GcCell<Option<Gc<Node>>>]>::cells(2, None));
    let (source, target) = (from.get(), to.get());
    let mutator = world.go(0, move || {
        world.safepoint();
        target.copy_from(0, &source);
        source.clear(..);
        world.safepoint();
    });
    world.collect();
    mutator.join().expect("the mutator");
    assert!(world.alive(addr(x)), "X is in the second array and was freed");
    drop((from, to));
}

/// O is in the slot. One writer puts A there, from a grey stack; the other takes out what it finds.
fn writers() {
    let world = Mutators::start(&[0, 1]);
    let root = Root::new(node(Some(node(None))));
    let holder = root.get();
    let a = node(None);
    world.push_on(0, a);
    let puts = world.go(0, move || {
        world.stop_point();
        holder.next.set(Some(a));
        world.pop();
    });
    let takes = world.go(1, move || {
        world.safepoint();
        let taken = holder.next.swap(None).expect("O or A");
        world.push(taken);
        addr(taken)
    });
    world.collect();
    puts.join().expect("who puts");
    let taken = takes.join().expect("who takes");
    assert!(world.alive(taken), "what was taken is on a stack and was freed");
    // If O was taken, A is in the slot.
    assert!(world.alive(addr(a)), "A is reachable and was freed");
    drop(root);
}

/// S is dead, and a stack still has a word that names it. The new object takes its place, and holds X.
fn claim() {
    let world = Mutators::start(&[0]);
    let x = node(None);
    let kept = Root::new(x);
    let s = node(None);
    world.collect();
    assert!(!world.alive(addr(s)), "S is dead");
    world.set_stale_word(addr(s));
    drop(kept);
    world.push_on(0, x);
    let mutator = world.go(0, move || {
        world.stop_point();
        let born = node(Some(x));
        world.pop();
        world.push(born);
        world.safepoint();
        addr(born)
    });
    world.collect();
    let born = mutator.join().expect("the mutator");
    assert!(world.alive(born), "the new object was freed");
    assert!(world.alive(addr(x)), "what the new object was made with was freed");
}

fn root() {
    drop_root(false);
}

fn root_with_p() {
    drop_root(true);
}

fn drop_root(with_p: bool) {
    let world = Mutators::start(&[0]);
    let root = Root::new(node(None));
    let mutator = world.go(0, move || {
        world.safepoint();
        let x = root.get();
        world.push(x);
        if with_p {
            drop(root);
        } else {
            world.syscall(|| drop(root));
        }
        world.safepoint();
        addr(x)
    });
    world.collect();
    let x = mutator.join().expect("the mutator");
    assert!(world.alive(x), "X is on a stack and was freed");
}
