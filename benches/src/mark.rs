//! How fast the collector marks, on four heap shapes.
//!
//! One plain thread, no runtime: it builds a heap with the collector switched off, then runs forced cycles. A figure
//! is MiB of marked slots for each second of processor time spent on marking, both as `Heap::stats` tells them.
//! `peers/go/contestant` does the same in Go.

use crate::threads::ThreadWorld;
use crate::{Figure, Random};
use gc_core::{Config, Gc, GcCell, Heap, Root, Trace};

/// Objects of the random graph, of 64 bytes each: 1 GiB, as all shapes.
const GRAPH: usize = 16 << 20;
/// Levels of the tree; its nodes are 32 bytes each.
const TREE: u32 = 25;
/// Pointers in the slice, each to a leaf of 48 bytes.
const LEAVES: usize = 20_000_000;

/// A heap to be marked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Objects of 64 bytes, with four random pointers each.
    Graph,
    /// A binary tree of nodes of 32 bytes.
    Tree,
    /// A slice of pointers to leaves of 48 bytes, in the order in which these were allocated.
    Ordered,
    /// The same in random order.
    Shuffled,
}

impl Shape {
    /// All of them.
    pub const ALL: [Shape; 4] = [Shape::Graph, Shape::Tree, Shape::Ordered, Shape::Shuffled];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Shape::Graph => "graph",
            Shape::Tree => "tree",
            Shape::Ordered => "ordered",
            Shape::Shuffled => "shuffled",
        }
    }

    /// The shape of that name.
    pub fn named(name: &str) -> Option<Shape> {
        Shape::ALL.into_iter().find(|shape| shape.name() == name)
    }
}

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
enum Built {
    Graph(#[allow(dead_code)] Root<Vertex>),
    Tree(#[allow(dead_code)] Root<Tree>),
    Leaves(#[allow(dead_code)] Root<[GcCell<Option<Gc<Leaf>>>]>),
}

/// `n` vertices, each with edges to four random ones; all but about one in fifty are reachable from the first.
fn graph(n: usize) -> Built {
    // No cycle runs before the root exists, so a `Vec` may hold the objects.
    let vertex = |_| Gc::new(Vertex { to: std::array::from_fn(|_| GcCell::new(None)), data: [0; 4] });
    let all: Vec<Gc<Vertex>> = (0..n).map(vertex).collect();
    let mut random = Random::new();
    for v in &all {
        v.to.iter().for_each(|edge| edge.set(Some(all[random.below(n)])));
    }
    Built::Graph(Root::new(all[0]))
}

fn tree(levels: u32) -> Built {
    fn build(levels: u32) -> Gc<Tree> {
        let child = |l: u32| (l > 1).then(|| build(l - 1));
        Gc::new(Tree { left: child(levels), right: child(levels), data: [0; 2] })
    }
    Built::Tree(Root::new(build(levels)))
}

/// A slice of pointers to leaves, which were allocated one after the other: in this order, or shuffled.
fn leaves(n: usize, shuffled: bool) -> Built {
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
    Built::Leaves(Root::new(slice))
}

fn build(shape: Shape, scale: usize) -> Built {
    match shape {
        Shape::Graph => graph((GRAPH / scale).max(1)),
        Shape::Tree => tree(TREE.saturating_sub(scale.ilog2()).max(1)),
        Shape::Ordered => leaves((LEAVES / scale).max(1), false),
        Shape::Shuffled => leaves((LEAVES / scale).max(1), true),
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

/// What was marked, and how fast.
pub struct Marked {
    /// Of slots, in each cycle.
    pub mib: f64,
    /// Objects, in each cycle.
    pub objects: usize,
    /// MiB for each second of marking.
    pub figure: Figure,
}

/// Marks a heap of `1 / scale` of the full size `rounds` times. Once per process, whose heap it is.
pub fn rate(shape: Shape, scale: usize, rounds: usize, huge_pages: bool) -> Marked {
    let (world, heap) = ThreadWorld::start(Config { percent: None, huge_pages, ..Config::default() });
    world.enter(|| {
        let keep = build(shape, scale);
        // The first cycle sees every slot through the publication index, and touches the tables for the first time.
        cycle(heap);
        let figure = Figure::of((0..rounds).map(|_| cycle(heap)).collect());
        let stats = heap.stats();
        drop(keep);
        Marked { mib: stats.marked_bytes as f64 / f64::from(1 << 20), objects: stats.marked_objects, figure }
    })
}
