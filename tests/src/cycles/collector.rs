//! The collector's whole cycle: off, mark, termination, sweep, off; two or three times in an execution.

use super::Model;
use super::graph::Node;
use super::host::Host;
use super::mutate::{Chan, step};
use barrier_lint::NoBarrierPtr;
use gc_core::faults::{self, Fault};
use gc_core::{Config, Gc, GcP, PAGE_SIZE, Root, Stress, WorkKind};
use shuttle::rand::{Rng, thread_rng};

pub const MODEL: Model = Model {
    name: "collector",
    property: "with two goroutines that change a graph, one that comes and goes, and a collector, on two Ps, nothing that can \
               be reached is freed, and what cannot is, two cycles later",
    threads: 4,
    iterations: 4000,
    run: cycles,
    drives: &[
        "Heap::write_states",
        "gc_write_barrier",
        "Heap::greyobject",
        "GcP::flush",
        "WbBuf::flush",
        "Heap::release_p",
        "Heap::acquire_p",
        "Heap::terminate",
        "Heap::finish_mark",
        "Heap::sweep_owned",
        "Heap::shade_words",
        "Heap::remember_all",
        "publish_black",
        "RootTable::scan_piece",
        "Heap::help",
    ],
    twins: &[
        "no-deletion-barrier",
        "no-insertion-barrier",
        "alloc-white",
        "skip-flush",
        "skip-bulk-barrier",
        "stop-before-store",
        "stale-phase",
        "buffer-lost",
        "marked-by-count",
        "mark-by-store",
        "forget-found",
        "sweep-without-ownership",
        "alloc-unswept",
        "stale-cache",
        "shade-after-termination",
        "stop-in-allocation",
        "young-unremembered",
        "wait-in-place",
    ],
};

/// What a goroutine does, this often.
const STEPS: usize = 10;

/// Goroutine `g` is in a blocking call most of the time, and stores a pointer on its way back, without a P: into a field
/// without a barrier, or, as in 2015, into an object.
fn comes_and_goes(host: &Host, g: usize, shared: Gc<Node>, object: Gc<Node>) {
    let no_barrier = NoBarrierPtr::<Node>::null();
    for _ in 0..2 {
        if let Some(x) = shared.left.get() {
            host.graph.put(g, x);
            host.blocking(|| {
                shuttle::thread::yield_now();
                if faults::active(Fault::ShadeWithoutP) {
                    object.left.set(Some(x));
                } else {
                    // SAFETY: X is on this goroutine's stack.
                    unsafe { no_barrier.set_no_write_barrier(Gc::as_ptr(x).cast()) };
                }
            });
            // What has come back uses it.
            object.right.set(Some(x));
            host.graph.take_off(g, 0);
        }
        host.safepoint();
    }
}

fn cycles() {
    let mut stress = Stress::default();
    stress.partial = thread_rng().gen_range(0..2) == 0;
    let config = Config {
        verify: thread_rng().gen_range(0..2) == 0,
        // With a small goal mutators come to where they wait for the cycle's end.
        min_heap: thread_rng().gen_range(1..=6) * PAGE_SIZE,
        reserve: 24 * PAGE_SIZE,
        stress,
        ..Config::default()
    };
    let host = Host::start(3, config);
    let graph = &host.graph;
    let y = graph.node(None, None);
    let x = graph.node(Some(y), None);
    let root = Root::new(graph.node(Some(x), None));
    let shared = root.get();
    graph.root(shared);
    let (chan, slot) = Chan::new(graph);
    let object = Root::new(graph.node(None, None));
    let stored = object.get();
    graph.root(stored);
    let mut threads: Vec<_> = (0..2)
        .map(|g| {
            let chan = chan.clone();
            host.go(g, move || (0..STEPS).for_each(|_| step(host, g, shared, &chan)))
        })
        .collect();
    threads.push(host.go(2, move || comes_and_goes(host, 2, shared, stored)));
    // The collector: background work, and cycles on request.
    for _ in 0..2 {
        host.heap().collect();
        host.give_p();
        shuttle::thread::yield_now();
        host.take_p();
        host.heap().mark_slice(GcP::current(), WorkKind::Dedicated);
        host.heap().sweep_slice(GcP::current());
    }
    host.give_p();
    threads.into_iter().for_each(|thread| thread.join().expect("a goroutine"));
    host.take_p();
    graph.nothing_is_lost(host.heap());
    host.heap().collect();
    graph.nothing_is_lost(host.heap());
    host.heap().collect();
    graph.nothing_is_lost(host.heap());
    graph.nothing_is_left(host.heap());
    host.give_p();
    drop((root, slot, object));
}
