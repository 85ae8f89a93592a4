//! The race of Go's commit 41dbcc19ef (2015), on the production marking code.
//!
//! A thread comes back from a system call. It holds no P, so the collector, which stops the world by collecting Ps,
//! does not know of it. It stores a pointer to X into a scheduler's object. X is also reachable from a root, and Y
//! only through X:
//!
//! ```text
//!   root ──► A ──► X ──► Y          G ──(the thread's store)──► X
//! ```
//!
//! In the code of 2015 the store ran a write barrier, which called `greyobject(X)`: mark, *then* enqueue. If the whole
//! cycle falls in between, the collector finds X marked and passes by, nobody scans X, and Y is freed. The fix: such
//! stores have no barrier (the field is a `NoBarrierPtr`, X is reachable another way), and a barrier without a P is
//! fatal.

use super::Model;
use super::world::Syscalls;
use barrier_lint::NoBarrierPtr;
use gc_core::{Gc, GcCell, Root, Trace, faults};
use loom::thread;

pub const MODEL: Model = Model {
    name: "greyobject",
    property: "when a cycle ends, no marked object has an unmarked child, whatever a thread without a P stores",
    source: "golang/go commit 41dbcc19ef, issues 9953 and 10223",
    threads: 2,
    bound: None,
    // The thread's store touches nothing that the collector does, so loom needs one order only; the twin explores.
    least: 1,
    run: || store_beside_a_cycle(faults::active(faults::Fault::ShadeWithoutP)),
    drives: &["Heap::greyobject", "Heap::finish_mark"],
    twins: &["shade-without-p"],
};

pub const FATAL: Model = Model {
    name: "barrier-without-p",
    property: "a barriered store by a thread without a P is fatal, and shades nothing",
    source: "invariant I1; golang/go commit 41dbcc19ef",
    threads: 2,
    bound: None,
    least: 1,
    run: barriered_store_is_fatal,
    drives: &["gc_write_barrier", "Heap::finish_mark"],
    twins: &["shade-without-p"],
};

#[derive(Trace)]
struct Node {
    next: GcCell<Option<Gc<Node>>>,
}

/// A scheduler's object: the same pointer, as a field of either kind.
struct G {
    /// As in 2015: a field like any other, stored with a barrier.
    barriered: GcCell<Option<Gc<Node>>>,
    /// As since then. Referents are kept alive by the root of `A`.
    no_barrier: NoBarrierPtr<Node>,
}

// SAFETY: names the one traced pointer.
unsafe impl Trace for G {
    const DESC: &'static gc_core::layout::TypeDesc = &gc_core::layout::TypeDesc::of_fields::<G>(
        "G",
        &[gc_core::layout::Field {
            offset: std::mem::offset_of!(G, barriered),
            desc: <GcCell<Option<Gc<Node>>> as Trace>::DESC,
            count: 1,
        }],
    );
}

fn node(next: Option<Gc<Node>>) -> Gc<Node> {
    Gc::new(Node { next: GcCell::new(next) })
}

fn store_beside_a_cycle(as_in_2015: bool) {
    let heap = Syscalls::start();
    let x = node(Some(node(None)));
    let a = Root::new(node(Some(x)));
    let g = Root::new(Gc::new(G { barriered: GcCell::new(None), no_barrier: NoBarrierPtr::null() }));
    let thread_g = g.get();
    let thread = thread::spawn(move || {
        if as_in_2015 {
            thread_g.barriered.set(Some(x));
        } else {
            // SAFETY: the root of `A` keeps X alive.
            unsafe { thread_g.no_barrier.set_no_write_barrier(Gc::as_ptr(x).cast()) };
        }
    });
    // The verifier walks the heap when marking ends, and finds Y unmarked if it was lost.
    heap.collect();
    thread.join().expect("the thread");
    drop((a, g));
}

fn barriered_store_is_fatal() {
    let heap = Syscalls::start();
    let x = Root::new(node(None));
    let g = Root::new(Gc::new(G { barriered: GcCell::new(None), no_barrier: NoBarrierPtr::null() }));
    let (thread_x, thread_g) = (x.get(), g.get());
    let thread = thread::spawn(move || {
        let store = || thread_g.barriered.set(Some(thread_x));
        let fatal = std::panic::catch_unwind(std::panic::AssertUnwindSafe(store)).is_err();
        assert!(fatal, "a barriered store without a P went through");
    });
    heap.collect();
    thread.join().expect("assertion: the thread");
    assert!(g.get().barriered.get().is_none(), "a store without a P reached the heap");
}
