//! What manual memory costs: `Box` and threads, with mimalloc. Freeing is part of the work; nothing is collected.

use std::hint::black_box;
use std::thread;
use std::time::Instant;
use tricolor_bench_program::{Ask, alloc, cpu_seconds, gcbench, ring, tell, trees};

#[global_allocator]
static MIMALLOC: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let ask = Ask::from_args();
    match ask.workload.as_str() {
        "trees-1w" => binary_trees(&ask, 1),
        "trees-2w" => binary_trees(&ask, 2),
        "gcbench" => gc_bench(&ask),
        "alloc-16" => allocate::<2>(&ask, 1),
        "alloc-32" => allocate::<4>(&ask, 1),
        "alloc-64" => allocate::<8>(&ask, 1),
        "alloc-128" => allocate::<16>(&ask, 1),
        "alloc-1024" => allocate::<128>(&ask, 1),
        "alloc-4096" => allocate::<512>(&ask, 1),
        "alloc-32-2w" => allocate::<4>(&ask, 2),
        "ring" => push(&ask),
        _ => ask.unknown(),
    }
}

struct Tree {
    left: Option<Box<Tree>>,
    right: Option<Box<Tree>>,
}

fn tree(depth: u32) -> Box<Tree> {
    let child = |d: u32| (d > 0).then(|| tree(d - 1));
    Box::new(Tree { left: child(depth), right: child(depth) })
}

fn count(tree: &Tree) -> u64 {
    1 + tree.left.as_deref().map_or(0, count) + tree.right.as_deref().map_or(0, count)
}

fn binary_trees(ask: &Ask, workers: u64) {
    let depth = trees::depth(ask);
    let begin = Instant::now();
    trees::check(depth + 1, count(&tree(depth + 1)));
    let long_lived = tree(depth);
    thread::scope(|all| {
        for worker in 0..workers {
            all.spawn(move || {
                for d in trees::depths(depth) {
                    (worker..trees::number(depth, d))
                        .step_by(workers as usize)
                        .for_each(|_| trees::check(d, count(&tree(d))));
                }
            });
        }
    });
    trees::check(depth, count(&long_lived));
    tell("wall", begin.elapsed().as_secs_f64() * 1e3);
}

#[derive(Default)]
struct Node {
    left: Option<Box<Node>>,
    right: Option<Box<Node>>,
    numbers: [u32; 2],
}

impl Node {
    fn bottom_up(depth: u32) -> Box<Node> {
        let child = |d: u32| (d > 0).then(|| Node::bottom_up(d - 1));
        Box::new(Node { left: child(depth), right: child(depth), numbers: [0; 2] })
    }

    /// Hangs `depth` levels below.
    fn populate(&mut self, depth: u32) {
        if depth > 0 {
            (self.left, self.right) = (Some(Box::default()), Some(Box::default()));
            [&mut self.left, &mut self.right].into_iter().flatten().for_each(|n| n.populate(depth - 1));
        }
    }

    fn top_down(depth: u32) -> Box<Node> {
        let mut node = Box::<Node>::default();
        node.populate(depth);
        node
    }

    fn count(&self) -> u64 {
        1 + [&self.left, &self.right].into_iter().flatten().map(|n| n.count()).sum::<u64>()
    }
}

fn gc_bench(ask: &Ask) {
    let depth = gcbench::depth(ask);
    let begin = Instant::now();
    trees::check(depth + 2, Node::bottom_up(depth + 2).count());
    let long_lived = Node::top_down(depth);
    let numbers = black_box(vec![0.5; gcbench::numbers(depth)]);
    for d in gcbench::depths(depth) {
        for _ in 0..gcbench::number(depth, d) {
            black_box(Node::top_down(d));
        }
        for _ in 0..gcbench::number(depth, d) {
            black_box(Node::bottom_up(d));
        }
        trees::check(d, Node::top_down(d).count());
    }
    trees::check(depth, long_lived.count());
    assert_eq!(numbers.iter().sum::<f64>(), numbers.len() as f64 / 2.0);
    assert_eq!(long_lived.numbers, [0; 2]);
    tell("wall", begin.elapsed().as_secs_f64() * 1e3);
}

struct Live {
    left: Option<Box<Live>>,
    right: Option<Box<Live>>,
    data: [u64; 4],
}

fn live(depth: u32) -> Box<Live> {
    let child = |d: u32| (d > 0).then(|| live(d - 1));
    Box::new(Live { left: child(depth), right: child(depth), data: [1; 4] })
}

fn live_sum(tree: &Live) -> u64 {
    let child = |tree: &Option<Box<Live>>| tree.as_deref().map_or(0, live_sum);
    tree.data.iter().sum::<u64>() + child(&tree.left) + child(&tree.right)
}

/// Eight objects are kept at any time.
fn churn<const WORDS: usize>(n: u64) {
    let mut kept: Box<[Option<Box<[u64; WORDS]>>; alloc::KEPT as usize]> = Box::new([const { None }; 8]);
    let mut sum = 0;
    for i in 0..n {
        let mut object = black_box(Box::new([0; WORDS]));
        object[0] = i;
        let place = &mut kept[(i % alloc::KEPT) as usize];
        sum += place.as_ref().map_or(0, |old| old[0]);
        *place = Some(object);
    }
    alloc::check(n, sum);
}

fn allocate<const WORDS: usize>(ask: &Ask, workers: u64) {
    let n = alloc::number(ask, WORDS as u64 * 8);
    let live = live(alloc::LIVE_DEPTH);
    let (begin, cpu) = (Instant::now(), cpu_seconds());
    thread::scope(|all| (0..workers).for_each(|_| _ = all.spawn(|| churn::<WORDS>(n))));
    tell("time", begin.elapsed().as_nanos() as f64 / n as f64);
    tell("cpu", (cpu_seconds() - cpu) * 1e9 / (n * workers) as f64);
    alloc::check_live(live_sum(&live));
}

fn push(ask: &Ask) {
    let (window, n) = ring::sizes(ask);
    let mut messages: Vec<Option<Box<[u8; ring::MESSAGE]>>> = (0..window).map(|_| None).collect();
    ring::measure(window, n, |i, byte| {
        let before = messages[i].as_ref().map(|old| old[ring::MESSAGE - 1]);
        messages[i] = Some(black_box(Box::new([byte; ring::MESSAGE])));
        before
    });
}
