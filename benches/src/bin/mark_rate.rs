//! `cargo run --release -p tricolor-benches --bin mark_rate`: how fast the collector marks, on three heap shapes.
//!
//! One plain thread, no runtime: it builds a heap with the collector switched off, then runs forced cycles. A figure
//! is MiB of marked slots for each second of processor time spent on marking, both as `Heap::stats` tells them.
//! `peers/go/mark_rate` does the same in Go.

#[path = "../../../gc-core/tests/threads/mod.rs"]
mod threads;

use gc_core::{Config, Gc, GcCell, Heap, Root, Trace};
use std::process::ExitCode;
use threads::ThreadWorld;
use tricolor_benches::{Figure, Random};

/// Objects of the random graph, of 64 bytes each.
const GRAPH: usize = 8 << 20;
/// Levels of the tree; its nodes are 32 bytes each.
const TREE: u32 = 25;
/// Pointers in the slice, each to a leaf of 48 bytes.
const LEAVES: usize = 10_000_000;

const USAGE: &str = "usage: mark_rate [--scale N] [--rounds N] [--huge-pages] [SHAPE…]
  --scale N     heaps of an Nth of the full size (default 1)
  --rounds N    cycles measured for each shape (default 9)
  --huge-pages  the heap on huge pages
  SHAPE         graph, tree, ordered, shuffled (default: all; a single one prints its row only)";

#[derive(Trace)]
struct Vertex {
    to: [GcCell<Option<Gc<Vertex>>>; 4],
    data: [u64; 4],
}

#[derive(Trace)]
struct Tree {
    left: Option<Gc<Tree>>,
    right: Option<Gc<Tree>>,
    data: [u64; 2],
}

#[derive(Trace)]
struct Leaf {
    data: [u64; 6],
}

/// What keeps a shape alive while it is marked.
enum Shape {
    Graph(#[allow(dead_code)] Root<Vertex>),
    Tree(#[allow(dead_code)] Root<Tree>),
    Leaves(#[allow(dead_code)] Root<[GcCell<Option<Gc<Leaf>>>]>),
}

/// `n` vertices, each with edges to four random ones; all but about one in fifty are reachable from the first.
fn graph(n: usize) -> Shape {
    // No cycle runs before the root exists, so a `Vec` may hold the objects.
    let vertex = |_| Gc::new(Vertex { to: std::array::from_fn(|_| GcCell::new(None)), data: [0; 4] });
    let all: Vec<Gc<Vertex>> = (0..n).map(vertex).collect();
    let mut random = Random::new();
    for v in &all {
        v.to.iter().for_each(|edge| edge.set(Some(all[random.below(n)])));
    }
    Shape::Graph(Root::new(all[0]))
}

fn tree(levels: u32) -> Shape {
    fn build(levels: u32) -> Gc<Tree> {
        let child = |l: u32| (l > 1).then(|| build(l - 1));
        Gc::new(Tree { left: child(levels), right: child(levels), data: [0; 2] })
    }
    Shape::Tree(Root::new(build(levels)))
}

/// A slice of pointers to leaves, which were allocated one after the other: in this order, or shuffled.
fn leaves(n: usize, shuffled: bool) -> Shape {
    let slice = Gc::<[GcCell<Option<Gc<Leaf>>>]>::cells(n, None);
    for cell in slice.iter() {
        cell.set(Some(Gc::new(Leaf { data: [0; 6] })));
    }
    if shuffled {
        let mut random = Random::new();
        for i in (1..n).rev() {
            let j = random.below(i + 1);
            let (a, b) = (slice[i].get(), slice[j].get());
            slice[i].set(b);
            slice[j].set(a);
        }
    }
    Shape::Leaves(Root::new(slice))
}

fn build(shape: &str, scale: usize) -> Shape {
    match shape {
        "graph" => graph((GRAPH / scale).max(1)),
        "tree" => tree(TREE.saturating_sub(scale.ilog2()).max(1)),
        "ordered" => leaves((LEAVES / scale).max(1), false),
        _ => leaves((LEAVES / scale).max(1), true),
    }
}

/// MiB marked in one forced cycle, for each second of marking.
fn cycle(heap: &Heap) -> f64 {
    let marking = || {
        let s = heap.stats();
        s.mark_assist + s.mark_dedicated + s.mark_idle
    };
    let before = marking();
    heap.collect();
    heap.stats().marked_bytes as f64 / f64::from(1 << 20) / (marking() - before).as_secs_f64()
}

fn measure(shape: &str, options: &Options) {
    let config = Config { percent: None, huge_pages: options.huge_pages, ..Config::default() };
    let (world, heap) = ThreadWorld::start(config);
    world.enter(|| {
        let keep = build(shape, options.scale);
        // The first cycle sees every slot through the publication index, and touches the tables for the first time.
        cycle(heap);
        let figure = Figure::of((0..options.rounds).map(|_| cycle(heap)).collect());
        let stats = heap.stats();
        let (mib, million) = (stats.marked_bytes as f64 / f64::from(1 << 20), stats.marked_objects as f64 / 1e6);
        println!("{shape:<10} {mib:>8.0} {million:>10.2} {figure}");
        drop(keep);
    });
}

struct Options {
    scale: usize,
    rounds: usize,
    huge_pages: bool,
    shapes: Vec<String>,
}

const SHAPES: [&str; 4] = ["graph", "tree", "ordered", "shuffled"];

fn options() -> Result<Options, String> {
    let mut options = Options { scale: 1, rounds: 9, huge_pages: false, shapes: Vec::new() };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut number = || match args.next().map(|n| n.parse()) {
            Some(Ok(n)) if n > 0 => Ok(n),
            _ => Err(format!("{arg} takes a number, 1 or more")),
        };
        match arg.as_str() {
            "--scale" => options.scale = number()?,
            "--rounds" => options.rounds = number()?,
            "--huge-pages" => options.huge_pages = true,
            shape if SHAPES.contains(&shape) => options.shapes.push(arg),
            _ => return Err(format!("no shape or option is called `{arg}`")),
        }
    }
    if options.shapes.is_empty() {
        options.shapes = SHAPES.map(String::from).to_vec();
    }
    Ok(options)
}

fn main() -> ExitCode {
    let options = match options() {
        Ok(options) => options,
        Err(e) => {
            eprintln!("mark_rate: {e}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    if let [shape] = &options.shapes[..] {
        measure(shape, &options);
        return ExitCode::SUCCESS;
    }
    println!("{:<10} {:>8} {:>10} {:>32}", "", "MiB", "million", "MiB per CPU second");
    println!("{:<10} {:>8} {:>10} {:>10} {:>10} {:>10}", "shape", "marked", "objects", "median", "min", "max");
    for shape in &options.shapes {
        // A heap lives as long as its process: one process for each shape.
        let mut row = std::process::Command::new(std::env::current_exe().expect("the path of this program"));
        row.args(["--scale", &options.scale.to_string(), "--rounds", &options.rounds.to_string(), shape]);
        if options.huge_pages {
            row.arg("--huge-pages");
        }
        if !row.status().is_ok_and(|s| s.success()) {
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
