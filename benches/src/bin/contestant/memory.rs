//! Allocation, and the collector beside it.

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Instant;
use tricolor::gc_core::events::Event;
use tricolor::{Gc, GcCell, Trace};
use tricolor_bench_program::{
    Ask, alloc, cpu_seconds, gcbench, hiccups, ring, stops, store_on, tell, tell_stops, tell_time, trees,
};

#[derive(Trace)]
struct Tree {
    left: Option<Gc<Tree>>,
    right: Option<Gc<Tree>>,
}

fn tree(depth: u32) -> Gc<Tree> {
    let child = |d: u32| (d > 0).then(|| tree(d - 1));
    Gc::new(Tree { left: child(depth), right: child(depth) })
}

fn count(tree: Gc<Tree>) -> u64 {
    1 + tree.left.map_or(0, count) + tree.right.map_or(0, count)
}

/// Apart, so that its frame is gone afterwards: stacks are scanned conservatively.
#[inline(never)]
fn stretch(depth: u32) {
    trees::check(depth, count(tree(depth)));
}

pub fn trees(ask: &Ask, workers: u64) {
    let depth = trees::depth(ask);
    let begin = Instant::now();
    stretch(depth + 1);
    let long_lived = tree(depth);
    let work = move |worker: u64| {
        for d in trees::depths(depth) {
            (worker..trees::number(depth, d)).step_by(workers as usize).for_each(|_| trees::check(d, count(tree(d))));
        }
    };
    let all: Vec<_> = (0..workers).map(|w| tricolor::spawn(move || work(w))).collect();
    all.into_iter().for_each(|g| g.join().unwrap());
    trees::check(depth, count(long_lived));
    tell("wall", begin.elapsed().as_secs_f64() * 1e3);
}

#[derive(Trace)]
struct Node {
    left: GcCell<Option<Gc<Node>>>,
    right: GcCell<Option<Gc<Node>>>,
    numbers: [u32; 2],
}

impl Node {
    fn with(left: Option<Gc<Node>>, right: Option<Gc<Node>>) -> Gc<Node> {
        Gc::new(Node { left: GcCell::new(left), right: GcCell::new(right), numbers: [0; 2] })
    }

    fn bottom_up(depth: u32) -> Gc<Node> {
        match depth {
            0 => Node::with(None, None),
            _ => Node::with(Some(Node::bottom_up(depth - 1)), Some(Node::bottom_up(depth - 1))),
        }
    }

    /// Hangs `depth` levels below `node`.
    fn populate(node: Gc<Node>, depth: u32) {
        if depth > 0 {
            node.left.set(Some(Node::with(None, None)));
            node.right.set(Some(Node::with(None, None)));
            [node.left.get(), node.right.get()].into_iter().flatten().for_each(|n| Node::populate(n, depth - 1));
        }
    }

    fn top_down(depth: u32) -> Gc<Node> {
        let node = Node::with(None, None);
        Node::populate(node, depth);
        node
    }

    fn count(node: Gc<Node>) -> u64 {
        1 + [node.left.get(), node.right.get()].into_iter().flatten().map(Node::count).sum::<u64>()
    }
}

/// Apart, as [`stretch`].
#[inline(never)]
fn stretch_nodes(depth: u32) {
    trees::check(depth, Node::count(Node::bottom_up(depth)));
}

pub fn gcbench(ask: &Ask) {
    let depth = gcbench::depth(ask);
    let begin = Instant::now();
    stretch_nodes(depth + 2);
    let long_lived = Node::top_down(depth);
    let numbers = Gc::<[f64]>::from_slice(&vec![0.5; gcbench::numbers(depth)]);
    for d in gcbench::depths(depth) {
        for _ in 0..gcbench::number(depth, d) {
            black_box(Node::top_down(d));
        }
        for _ in 0..gcbench::number(depth, d) {
            black_box(Node::bottom_up(d));
        }
        trees::check(d, Node::count(Node::top_down(d)));
    }
    trees::check(depth, Node::count(long_lived));
    assert_eq!(numbers.iter().sum::<f64>(), numbers.len() as f64 / 2.0);
    assert_eq!(long_lived.numbers, [0; 2]);
    tell("wall", begin.elapsed().as_secs_f64() * 1e3);
}

#[derive(Trace)]
struct Live {
    left: Option<Gc<Live>>,
    right: Option<Gc<Live>>,
    data: [u64; 4],
}

fn live(depth: u32) -> Gc<Live> {
    let child = |d: u32| (d > 0).then(|| live(d - 1));
    Gc::new(Live { left: child(depth), right: child(depth), data: [1; 4] })
}

fn live_sum(tree: Gc<Live>) -> u64 {
    tree.data.iter().sum::<u64>() + tree.left.map_or(0, live_sum) + tree.right.map_or(0, live_sum)
}

/// Objects of so many words; eight of them are kept at any time.
fn churn<const WORDS: usize>(n: u64) {
    let kept = Gc::<[GcCell<Option<Gc<[u64; WORDS]>>>]>::cells(alloc::KEPT as usize, None);
    let mut sum = 0;
    for i in 0..n {
        let mut object = [0; WORDS];
        object[0] = i;
        let cell = &kept[(i % alloc::KEPT) as usize];
        sum += cell.get().map_or(0, |old| old[0]);
        cell.set(Some(Gc::new(object)));
    }
    alloc::check(n, sum);
}

pub fn alloc(ask: &Ask, bytes: u64, workers: u64) {
    let n = alloc::number(ask, bytes);
    let churn = match bytes {
        16 => churn::<2>,
        32 => churn::<4>,
        64 => churn::<8>,
        128 => churn::<16>,
        1024 => churn::<128>,
        4096 => churn::<512>,
        _ => ask.unknown(),
    };
    let live = live(alloc::LIVE_DEPTH);
    let (begin, cpu) = (Instant::now(), cpu_seconds());
    let all: Vec<_> = (0..workers).map(|_| tricolor::spawn(move || churn(n))).collect();
    all.into_iter().for_each(|g| g.join().unwrap());
    tell("time", begin.elapsed().as_nanos() as f64 / n as f64);
    tell("cpu", (cpu_seconds() - cpu) * 1e9 / (n * workers) as f64);
    alloc::check_live(live_sum(live));
}

pub fn ring(ask: &Ask) {
    let (window, n) = ring::sizes(ask);
    let messages = Gc::<[GcCell<Option<Gc<[u8; ring::MESSAGE]>>>]>::cells(window, None);
    ring::measure(window, n, |i, byte| {
        let before = messages[i].get().map(|old| old[ring::MESSAGE - 1]);
        messages[i].set(Some(Gc::new([byte; ring::MESSAGE])));
        before
    });
}

#[derive(Trace)]
struct Big {
    left: Option<Gc<Big>>,
    right: Option<Gc<Big>>,
    data: [u64; 6],
}

fn big(depth: u32) -> Gc<Big> {
    let child = |d: u32| (d > 0).then(|| big(d - 1));
    Gc::new(Big { left: child(depth), right: child(depth), data: [1; 6] })
}

/// Nanoseconds of the stops so far; more than there are cycles to bring about.
static STOPS: [AtomicU64; 4096] = [const { AtomicU64::new(0) }; 4096];
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// A mutator allocates and stores while another goroutine has the heap collected again and again.
pub fn stops(ask: &Ask) {
    let (depth, cycles) = (24 - ask.scale.ilog2(), stops::CYCLES);
    let big = big(depth);
    let listener = |event: &Event, _| {
        if let Event::Stop { to_stop_ns, stopped_ns, .. } = event {
            STOPS[COUNT.fetch_add(1, Relaxed) % STOPS.len()].store(to_stop_ns + stopped_ns, Relaxed);
        }
    };
    tricolor::gc::listen(listener, 0).expect("a listener");
    let (done, told) = tricolor::chan::bounded::<()>(1);
    let mutator = tricolor::spawn(move || {
        while told.try_recv().is_err() {
            churn::<4>(1000)
        }
    });
    (0..cycles).for_each(|_| tricolor::gc::collect());
    done.send(()).unwrap();
    mutator.join().unwrap();
    let n = COUNT.load(Relaxed).min(STOPS.len());
    tell_stops(STOPS[..n].iter().map(|ns| ns.load(Relaxed)).collect());
    trees::check(depth, big_count(big));
}

fn big_count(tree: Gc<Big>) -> u64 {
    assert_eq!(tree.data, [1; 6]);
    1 + tree.left.map_or(0, big_count) + tree.right.map_or(0, big_count)
}

#[derive(Trace)]
struct Linked {
    next: GcCell<Option<Gc<Linked>>>,
    data: [u64; 3],
}

fn linked() -> Gc<Linked> {
    Gc::new(Linked { next: GcCell::new(None), data: [0; 3] })
}

fn store(n: u64, at: Gc<Linked>, two: [Gc<Linked>; 2]) {
    for i in 0..n {
        black_box(at).next.set(Some(two[(i % 2) as usize]));
    }
    assert!(at.next.get().is_some_and(|next| next.data == [0; 3]));
}

/// Nothing is allocated meanwhile, so nothing is collected.
pub fn store_off(ask: &Ask) {
    let (at, two) = (linked(), [linked(), linked()]);
    tell_time(ask.size(200_000_000), |n| store(n, at, two));
}

/// Beside a collector that marks nearly all the time.
pub fn store_on(ask: &Ask) {
    let (at, two) = (linked(), [linked(), linked()]);
    let depth = 22 - ask.scale.ilog2();
    let big = big(depth);
    let collector = tricolor::spawn(|| (0..4).for_each(|_| tricolor::gc::collect()));
    let batches = std::iter::from_fn(|| {
        let begin = Instant::now();
        store(store_on::BATCH, at, two);
        (!collector.is_finished()).then(|| begin.elapsed())
    });
    store_on::tell_median(batches.collect());
    collector.join().unwrap();
    trees::check(depth, big_count(big));
}

/// Steps of a mutator, alone and then beside a collector that another goroutine starts again and again.
pub fn hiccups(ask: &Ask) {
    static END: AtomicBool = AtomicBool::new(false);
    let depth = hiccups::depth(ask);
    let big = big(depth);
    tricolor::gc::collect();
    let (at, two) = (linked(), [linked(), linked()]);
    let step = move || {
        store(hiccups::STORES, at, two);
        churn::<4>(hiccups::OBJECTS);
    };
    let control = tricolor::spawn(move || hiccups::run(|time| time > hiccups::CONTROL, step)).join().unwrap();
    let mutator = tricolor::spawn(move || hiccups::run(|_| END.load(Relaxed), step));
    (0..hiccups::CYCLES).for_each(|_| tricolor::gc::collect());
    END.store(true, Relaxed);
    hiccups::tell_both(control, mutator.join().unwrap());
    trees::check(depth, big_count(big));
}

/// How long it takes until a loop without safepoints stands.
pub fn stop_loop(ask: &Ask) {
    static END: AtomicU64 = AtomicU64::new(0);
    let turning = tricolor::spawn(|| while END.load(Relaxed) == 0 {});
    let times = (0..ask.size(1000)).map(|_| {
        tricolor::time::sleep(std::time::Duration::from_micros(300));
        let begin = Instant::now();
        tricolor::gc::with_stopped_world(|| begin.elapsed().as_nanos() as u64)
    });
    let times = times.collect();
    END.store(1, Relaxed);
    turning.join().unwrap();
    tell_stops(times);
}
