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
use super::mutators::Mutators;
use super::trace;
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

pub const EXIT: Model = Model {
    name: "syscall-exit",
    property: "who comes back from a system call installs heap pointers when it holds a P, and before only words without a \
               barrier: nothing is lost, wherever the cycle is",
    source: "golang/go commit 41dbcc19ef: exitsyscall, acquirep",
    threads: 2,
    bound: Some(3),
    least: 3400,
    run: exit,
    drives: &["Heap::acquire_p", "Heap::release_p", "gc_write_barrier", "Heap::finish_mark"],
    twins: &["shade-without-p"],
};

pub const FIELD: Model = Model {
    name: "no-barrier-field",
    property: "a field without barrier keeps nothing alive: what is moved from one to another without a P survives through its \
               root, and only as long as that is there",
    source: "golang/go commit 41dbcc19ef: setGNoWriteBarrier, \"reachable through allg\"; invariant I5",
    threads: 2,
    bound: None,
    // As in `greyobject`: neither side touches a word of the other's.
    least: 1,
    run: field,
    drives: &["RootTable::scan_piece", "Heap::finish_mark"],
    twins: &["roots-unscanned"],
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

fn addr(object: Gc<Node>) -> usize {
    Gc::as_ptr(object).addr()
}

fn g() -> Root<G> {
    Root::new(Gc::new(G { barriered: GcCell::new(None), no_barrier: NoBarrierPtr::null() }))
}

impl G {
    /// The store of the thread that comes back from a system call and has no P yet.
    fn install(&self, x: Gc<Node>, as_in_2015: bool) {
        if as_in_2015 {
            self.barriered.set(Some(x));
        } else {
            // SAFETY: the root of `A` keeps X alive.
            unsafe { self.no_barrier.set_no_write_barrier(Gc::as_ptr(x).cast()) };
        }
    }
}

fn store_beside_a_cycle(as_in_2015: bool) {
    let heap = Syscalls::start_unverified();
    trace::thread("GC");
    let y = node(None);
    let x = node(Some(y));
    let a = Root::new(node(Some(x)));
    let g = g();
    let (at_a, thread_g) = (a.get(), g.get());
    trace::watch(addr(x), &[(addr(at_a), "A"), (addr(y), "Y"), (Gc::as_ptr(thread_g).addr(), "the object of G #1")]);
    let thread = thread::spawn(move || {
        trace::thread("G #1 (no P)");
        thread_g.install(x, as_in_2015);
    });
    heap.collect();
    thread.join().expect("the thread");
    let alive = |object| heap.find_object(addr(object)).is_some();
    if !alive(y) {
        trace::note(7, "collects Y, which is reachable, but only through X");
        if !trace::in_order() {
            return;
        }
    }
    assert!(alive(x), "X is reachable and was freed");
    assert!(alive(y), "Y is reachable through X, which is marked, and was freed");
    drop((a, g));
}

/// As `greyobject`, but the thread has a P before and after its system call.
fn exit() {
    let as_in_2015 = faults::active(faults::Fault::ShadeWithoutP);
    let world = Mutators::start(&[0]);
    let y = node(None);
    let x = node(Some(y));
    let a = Root::new(node(Some(x)));
    let root = g();
    let gp = root.get();
    let mutator = world.go(0, move || {
        world.syscall(|| gp.install(x, as_in_2015));
        gp.barriered.set(Some(x));
        world.safepoint();
    });
    world.collect();
    mutator.join().expect("the mutator");
    assert!(world.alive(addr(x)), "X is reachable and was freed");
    assert!(world.alive(addr(y)), "Y is reachable through X and was freed");
    drop((a, root));
}

/// The scheduler's word moves from one G to another; `allgs` is the root table.
fn field() {
    let heap = Syscalls::start_unverified();
    let x = node(None);
    let root = Root::new(x);
    let gs = [g(), g()];
    let [first, second] = [gs[0].get(), gs[1].get()];
    first.install(x, false);
    let thread = thread::spawn(move || {
        second.install(x, false);
        // SAFETY: stores null.
        unsafe { first.no_barrier.set_no_write_barrier(std::ptr::null_mut()) };
    });
    heap.collect();
    thread.join().expect("the thread");
    assert!(heap.find_object(addr(x)).is_some(), "X is rooted and was freed");
    drop(root);
    heap.collect();
    assert!(heap.find_object(addr(x)).is_none(), "a field without barrier kept its referent alive");
}

fn barriered_store_is_fatal() {
    let heap = Syscalls::start();
    let x = Root::new(node(None));
    let g = g();
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
