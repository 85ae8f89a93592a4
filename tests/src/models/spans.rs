//! Spans between allocation, sweep and the flips, and the lists of work buffers.

use super::Model;
use super::world::TwoPs;
use gc_core::model::BufferList;
use gc_core::{Gc, GcCell, Root, Trace};
use loom::sync::{Arc, Notify};
use loom::thread;

pub const BUFFERS: Model = Model {
    name: "buffers",
    property: "a work buffer has one owner, and none is lost, whatever is pushed between a pop's look and its exchange",
    source: "golang/go lfstack; Treiber's stack and ABA",
    threads: 2,
    bound: None,
    least: 18,
    run: buffers,
    drives: &["Stack::pop", "Stack::push"],
    twins: &["untagged-buffers"],
};

pub const SWEEP: Model = Model {
    name: "sweep",
    property: "a span is swept once, by its owner, and what is allocated in it afterwards stays",
    source: "golang/go mgcsweep.go: sweepgen",
    threads: 2,
    bound: Some(2),
    least: 1300,
    run: sweep,
    drives: &["Heap::sweep_owned", "Cache::refill", "Heap::finish_mark"],
    twins: &["sweep-without-ownership", "alloc-unswept"],
};

pub const PUBLISH: Model = Model {
    name: "publish",
    property: "a stale word that names a slot in which an object is just being made shows the marker nothing of it",
    source: "design: from claim to publication is one region; golang/go publicationBarrier",
    threads: 2,
    bound: Some(3),
    least: 5400,
    run: publish,
    drives: &["publish_black", "Heap::finish_mark"],
    twins: &["publish-early"],
};

pub const CACHED: Model = Model {
    name: "cached-spans",
    property: "a span that was cached over the end of marking is swept before it is allocated from or marked again",
    source: "protocols: after the flip a P gives back or sweeps its cached spans; golang/go mcache.prepareForSweep",
    threads: 2,
    bound: Some(2),
    least: 980,
    run: cached,
    drives: &["Cache::flush_if_stale", "Heap::sweep_owned"],
    twins: &["stale-cache"],
};

fn buffers() {
    // 1 lies on top of 2.
    let list = Arc::new(BufferList::new(2));
    let other = list.clone();
    let thread = thread::spawn(move || {
        let first = other.pop();
        let second = other.pop();
        if let Some(id) = first {
            other.push(id);
        }
        second
    });
    let mine = list.pop();
    let theirs = thread.join().expect("the other thread");
    let left: Vec<Option<u32>> = (0..3).map(|_| list.pop()).collect();
    let mut owned: Vec<u32> = [mine, theirs].into_iter().chain(left).flatten().collect();
    owned.sort_unstable();
    assert_eq!(owned, [1, 2], "each buffer has one owner");
}

/// Half a page.
#[derive(Trace)]
struct Half {
    next: GcCell<Option<Gc<Half>>>,
    pad: [u64; 7],
}

fn half(next: Option<Gc<Half>>) -> Gc<Half> {
    Gc::new(Half { next: GcCell::new(next), pad: [0; 7] })
}

/// A mutator that makes an object and holds it on its stack, and lets the collector go on before and after.
fn born_between_safepoints<T>(world: &'static TwoPs, new: fn(Option<Gc<T>>) -> Gc<T>) -> Gc<T> {
    world.enter(|| {
        world.safepoint();
        let born = new(None);
        world.push(born);
        world.safepoint();
        born
    })
}

/// Of the first span one object dies; the second one stays full. A mutator needs a slot while the collector sweeps
/// both for the second time.
fn sweep() {
    let world = TwoPs::start();
    let kept = Root::new(half(None));
    half(None);
    let full = [Root::new(half(None)), Root::new(half(None))];
    world.collect();
    let mutator = thread::spawn(move || born_between_safepoints(world, half));
    world.collect();
    let born = mutator.join().expect("the mutator");
    assert!(world.alive(Gc::as_ptr(born).addr()), "a new object was swept away");
    // Another cycle finds everything that this one left.
    let next = half(None);
    kept.get().next.set(Some(next));
    world.collect();
    for object in [born, next, kept.get(), full[0].get(), full[1].get()] {
        assert!(world.alive(Gc::as_ptr(object).addr()), "an object was lost");
    }
}

#[derive(Trace)]
struct Node {
    next: GcCell<Option<Gc<Node>>>,
}

fn node(next: Option<Gc<Node>>) -> Gc<Node> {
    Gc::new(Node { next: GcCell::new(next) })
}

/// S pointed to Y, and both are dead, but a stack still has a word that names S. A new object takes the place of S.
fn publish() {
    let world = TwoPs::start();
    node(None);
    let (s, y) = (node(None), node(None));
    s.next.set(Some(y));
    let kept = Root::new(node(None));
    world.collect();
    let (s, y) = (Gc::as_ptr(s).addr(), Gc::as_ptr(y).addr());
    assert!(!world.alive(s) && !world.alive(y), "both are dead");
    world.set_stale_word(s);
    let begun = Arc::new(Notify::new());
    let begin = begun.clone();
    let mutator = thread::spawn(move || {
        world.enter(|| {
            // In front of that slot: the free run is the P's before marking begins, so its marks are not set.
            node(None);
            begin.notify();
            world.safepoint();
            let born = node(None);
            world.push(born);
            world.safepoint();
            born
        })
    });
    begun.wait();
    world.collect();
    let born = mutator.join().expect("the mutator");
    assert!(world.alive(Gc::as_ptr(born).addr()), "the new object was freed");
    assert!(!world.alive(y), "what the slot held before was taken for a pointer");
    drop(kept);
}

/// O lies in a span that stays cached over two cycles. X is reachable through O alone.
fn cached() {
    let world = TwoPs::start_verified();
    let o = Root::new(node(None));
    for _ in 0..2 {
        world.collect();
        // From the cached span.
        node(None);
    }
    let x = node(None);
    o.get().next.set(Some(x));
    let mutator = thread::spawn(move || {
        world.enter(|| {
            let born = node(None);
            world.push(born);
            world.safepoint();
            born
        })
    });
    world.collect();
    let born = mutator.join().expect("the mutator");
    // A span that was not swept says that all in it is alive: the verifier knows better.
    assert!(world.alive(Gc::as_ptr(born).addr()), "a new object was swept away");
}
