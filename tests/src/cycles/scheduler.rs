//! The same with the runtime's own scheduler: goroutines on Ms that come and go, run queues, stops, blocking calls, sysmon.

use super::Model;
use super::graph::{Graph, Node};
use super::mutate::{Chan, Runs, step};
use gc_core::{Config, Gc, Root};
use shuttle::rand::{Rng, thread_rng};
use shuttle::thread;
use std::cell::OnceCell;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use tricolor::model::{Goroutine, STACK_WORDS, World};

pub const MODEL: Model = Model {
    name: "scheduler",
    property: "with the runtime's scheduler on two Ps, four goroutines that change a graph, collect, stop the world and make \
               blocking calls, and sysmon that takes Ps from these, nothing that can be reached is freed, what cannot is, \
               nobody runs while the world is stopped, and nobody waits for ever",
    threads: 8,
    iterations: 1000,
    run: cycles,
    drives: &[
        "stop_the_world",
        "start_the_world",
        "stw::claim",
        "stw::stop_here",
        "stop_left_behind",
        "for_each_p",
        "run_safepoint_fn",
        "entersyscall",
        "exitsyscall",
        "exitsyscall_slow",
        "exitsyscall_m",
        "retake_one",
        "handoffp",
        "startm",
        "allocm",
        "stopm",
        "wakep",
        "rest",
        "acquirep",
        "wait_for_p",
        "clear_preempt",
        "scan_g",
        "Heap::terminate",
        "Heap::finish_mark",
        "Heap::sweep_owned",
    ],
    twins: &["syscall-exit-plain", "acquire-plain", "allms-unscanned", "allocm-unborrowed"],
};

const PROCS: usize = 2;
const GOROUTINES: usize = 4;
const PAGES: usize = 256;
/// What a goroutine does, this often.
const STEPS: usize = 8;

/// What goroutines share.
struct Shared {
    world: World,
    graph: Graph,
    objects: OnceCell<Objects>,
    /// Goroutines that have not ended; the main one waits for the others.
    left: AtomicUsize,
    /// Somebody has stopped the world.
    stopped: AtomicUsize,
}

/// Made by the main goroutine.
struct Objects {
    shared: Root<Node>,
    chan: Chan,
}

// SAFETY: a model's threads share an OS thread.
unsafe impl Sync for Shared {}

/// A goroutine; the words of its stack that are scanned are those of the graph.
struct On<'a> {
    this: &'a Shared,
    gp: Goroutine,
}

impl On<'_> {
    /// What goroutines do with nobody else stopping the world.
    fn runs(&self, g: usize) {
        assert_eq!(self.this.stopped.load(SeqCst), 0, "a goroutine runs while the world is stopped");
        self.this.world.set_whole_stack(g, &self.this.graph.stack(g));
    }
}

impl Runs for On<'_> {
    const STACK: usize = STACK_WORDS;
    fn graph(&self) -> &Graph {
        &self.this.graph
    }
    fn safepoint(&self, g: usize) {
        match thread_rng().gen_range(0..8) {
            0 => self.this.world.stopped(|| {
                assert_eq!(self.this.stopped.swap(1, SeqCst), 0, "two have stopped the world");
                thread::yield_now();
                self.this.stopped.store(0, SeqCst);
            }),
            1 => self.this.world.collect(),
            2 | 3 => tricolor::yield_now(),
            _ => self.this.world.poll(),
        }
        self.runs(g);
    }
    fn blocking(&self, g: usize) {
        self.gp.blocking(thread::yield_now);
        self.runs(g);
    }
}

/// Goroutine `g`, but for the main one.
fn goroutine(this: &Shared, g: usize, gp: Goroutine) {
    let Objects { shared, chan } = loop {
        match this.objects.get() {
            Some(objects) => break objects,
            None => tricolor::yield_now(),
        }
    };
    let (on, shared): (_, Gc<Node>) = (On { this, gp }, shared.get());
    for _ in 0..STEPS {
        step(&on, g, shared, chan);
        on.runs(g);
    }
    (0..this.graph.stack(g).len()).for_each(|_| this.graph.take_off(g, 0));
    on.runs(g);
    this.left.fetch_sub(1, SeqCst);
}

fn main_goroutine(this: &Shared, gp: Goroutine) {
    let graph = &this.graph;
    let shared = Root::new(graph.node(None, None));
    graph.root(shared.get());
    let x = graph.node(None, None);
    shared.get().left.set(Some(x));
    let (chan, slot) = Chan::new(graph);
    assert!(this.objects.set(Objects { shared, chan }).is_ok(), "the main goroutine runs once");
    let on = On { this, gp };
    this.world.collect();
    while this.left.load(SeqCst) > 0 {
        on.blocking(0);
        tricolor::yield_now();
    }
    for _ in 0..2 {
        graph.nothing_is_lost(this.world.heap());
        this.world.collect();
    }
    graph.nothing_is_lost(this.world.heap());
    graph.nothing_is_left(this.world.heap());
    drop(slot);
}

fn cycles() {
    let config = Config { percent: None, verify: thread_rng().gen_range(0..2) == 0, ..Config::default() };
    let world = World::start_whole(PROCS, GOROUTINES, PAGES, config);
    let this: &'static Shared = Box::leak(Box::new(Shared {
        world,
        graph: Graph::new(GOROUTINES),
        objects: OnceCell::new(),
        left: AtomicUsize::new(GOROUTINES - 1),
        stopped: AtomicUsize::new(0),
    }));
    let mut threads = vec![thread::spawn(move || world.goroutine(0, |gp| main_goroutine(this, gp)))];
    threads.extend((1..GOROUTINES).map(|g| thread::spawn(move || world.goroutine(g, |gp| goroutine(this, g, gp)))));
    threads.push(thread::spawn(move || {
        // As sysmon, which looks now and then.
        while !world.has_ended() {
            (0..PROCS).filter(|p| world.left_behind(*p)).for_each(|p| _ = world.retake(p));
            thread::yield_now();
        }
    }));
    world.ms();
    threads.into_iter().for_each(|thread| thread.join().expect("a thread"));
}
