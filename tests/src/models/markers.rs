//! Two that mark, and nobody who stores: what the ragged barrier sees by itself, without the look under the stop.

use super::Model;
use gc_core::model::start_cycle;
use gc_core::{Config, Entered, Gc, GcCell, GcP, Heap, Scanner, StopReason, Trace, WorkKind, World};
use loom::sync::{Condvar, Mutex, MutexGuard};
use loom::thread;
use std::cell::Cell;

pub const RAGGED: Model = Model {
    name: "ragged-barrier",
    property: "as long as nobody stores, the world is stopped to end marking when nothing is left to mark and not before: what \
               a P hands out in its turn of the ragged barrier, or has handed out, counts also when another one takes it",
    source: "golang/go issue 26903, mgc.go: gcMarkDone, gcWork.flushedWork",
    threads: 2,
    bound: Some(2),
    least: 8000,
    run: ragged,
    drives: &["Heap::terminate", "Heap::finish_mark", "GcP::flush", "Stack::push", "Stack::pop"],
    twins: &["hand-out-forgotten"],
};

/// A `World` of two threads that hold a P each, and do nothing but mark.
struct Markers {
    heap: Cell<Option<&'static Heap>>,
    state: Mutex<State>,
    changed: Condvar,
}

/// What a ragged barrier runs; no longer than it lasts.
type OnEachP = &'static (dyn Fn(&GcP) + Sync);

struct State {
    /// Somebody stops the world, or has.
    stopping: bool,
    /// Those who hold their P.
    held: Vec<&'static GcP>,
    /// A ragged barrier: what to run, and on which P that is still to be done.
    ragged: Option<(OnEachP, &'static GcP)>,
    /// How often the world was stopped to end marking.
    stops: usize,
    /// What is on the one stack.
    stack: Vec<usize>,
}

// SAFETY: the heap is set before the model's threads start; the rest is under the lock.
unsafe impl Sync for Markers {}

impl Markers {
    /// A heap, and this thread as the holder of its first P.
    fn start() -> &'static Markers {
        let state = State { stopping: false, held: Vec::new(), ragged: None, stops: 0, stack: Vec::new() };
        let world: &'static Markers =
            Box::leak(Box::new(Markers { heap: Cell::new(None), state: Mutex::new(state), changed: Condvar::new() }));
        let heap = Heap::new(Config { procs: 2, ..Config::default() }, world).expect("a heap");
        world.heap.set(Some(heap));
        world.take(heap.new_p());
        world
    }

    fn heap(&self) -> &'static Heap {
        self.heap.get().expect("set by start")
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn take(&self, p: &'static GcP) {
        let mut state = self.state();
        while state.stopping {
            state = self.changed.wait(state).unwrap();
        }
        self.heap().acquire_p(p);
        state.held.push(p);
    }

    fn give(&self) {
        let own = GcP::current();
        self.heap().release_p(own);
        self.state().held.retain(|p| !std::ptr::eq(*p, own));
        self.changed.notify_all();
    }

    /// Takes part in what others want of all Ps.
    fn safepoint(&self) {
        let own = GcP::current();
        let mut state = self.state();
        own.preempt.store(false, loom::sync::atomic::Ordering::SeqCst);
        if let Some((f, p)) = state.ragged
            && std::ptr::eq(p, own)
        {
            f(p);
            state.ragged = None;
            self.changed.notify_all();
        }
        let stop = state.stopping;
        drop(state);
        if stop {
            self.give();
            self.take(own);
        }
    }

    /// The other one that holds its P, who is asked to come to a safepoint.
    fn call_other(state: &State) -> Option<&'static GcP> {
        let other = state.held.iter().find(|p| !std::ptr::eq(**p, GcP::current()))?;
        other.preempt.store(true, loom::sync::atomic::Ordering::SeqCst);
        Some(other)
    }

    fn mark(&self) {
        while self.heap().marking() {
            if !self.heap().mark_slice(GcP::current(), WorkKind::Idle) {
                thread::yield_now();
            }
            self.safepoint();
        }
    }
}

// SAFETY: a stop and a ragged barrier wait until the other thread, if it holds its P, has come to a safepoint.
unsafe impl World for Markers {
    fn stop_the_world(&self, why: StopReason) {
        let mut state = self.state();
        assert!(!state.stopping, "two end marking");
        state.stopping = true;
        state.stops += usize::from(why == StopReason::MarkTermination);
        while Markers::call_other(&state).is_some() {
            state = self.changed.wait(state).unwrap();
        }
    }
    fn start_the_world(&self) {
        self.state().stopping = false;
        self.changed.notify_all();
    }
    fn for_each_p(&self, f: &(dyn Fn(&GcP) + Sync)) {
        f(GcP::current());
        // SAFETY: nobody has it any more when this returns.
        let on_each = unsafe { std::mem::transmute::<&(dyn Fn(&GcP) + Sync), OnEachP>(f) };
        let mut state = self.state();
        state.ragged = Markers::call_other(&state).map(|p| (on_each, p));
        while state.ragged.is_some() {
            state = self.changed.wait(state).unwrap();
        }
    }
    fn at_safepoint(&self, work: &mut dyn FnMut()) {
        work();
    }
    fn begin_mark(&self, _: u32) -> usize {
        1
    }
    fn scan_stack(&self, _: usize, scanner: &mut Scanner<'_>) -> bool {
        let stack = self.state().stack.clone();
        stack.iter().for_each(|word| scanner.object(std::ptr::with_exposed_provenance::<()>(*word)));
        true
    }
    fn scan_roots(&self, _: &mut Scanner<'_>) {}
    fn entered(&self) -> &'static Entered {
        Box::leak(Box::new(Entered::new()))
    }
    fn wake_workers(&self) {}
    fn pause(&self) {
        thread::yield_now();
    }
}

/// So large that a marker looks up after each.
#[derive(Trace)]
struct Node {
    next: GcCell<Option<Gc<Node>>>,
    pad: [u64; 7],
}

/// One more object than a buffer holds, on a stack: whoever scans it has one for himself, and the others to share.
fn ragged() {
    let world = Markers::start();
    let objects: Vec<usize> = (0..3)
        .map(|_| Gc::as_ptr(Gc::new(Node { next: GcCell::new(None), pad: [0; 7] })).expose_provenance())
        .collect();
    world.state().stack.clone_from(&objects);
    start_cycle(world.heap());
    let other = thread::spawn(move || {
        world.take(world.heap().new_p());
        world.mark();
        world.give();
    });
    world.mark();
    world.give();
    other.join().expect("the other marker");
    assert_eq!(world.state().stops, 1, "the world was stopped in vain");
    assert!(objects.iter().all(|x| world.heap().find_object(*x) == Some(*x)), "an object on the stack was freed");
}
