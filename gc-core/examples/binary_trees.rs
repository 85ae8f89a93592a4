//! The benchmarks game's binary trees on plain threads: `cargo run --release -p gc-core --example binary_trees -- 19`.

#[path = "../tests/threads/mod.rs"]
mod threads;

use gc_core::{Config, Gc, Trace};
use threads::ThreadWorld;

#[derive(Trace)]
struct Tree {
    left: Option<Gc<Tree>>,
    right: Option<Gc<Tree>>,
}

fn build(depth: u32) -> Gc<Tree> {
    let (left, right) = if depth == 0 { (None, None) } else { (Some(build(depth - 1)), Some(build(depth - 1))) };
    Gc::new(Tree { left, right })
}

fn count(tree: Gc<Tree>) -> u64 {
    1 + tree.left.map_or(0, count) + tree.right.map_or(0, count)
}

fn main() {
    let max = std::env::args().nth(1).map_or(16, |a| a.parse().expect("a depth"));
    let gctrace = std::env::var("GCTRACE").is_ok();
    let (world, heap) = ThreadWorld::start(Config { gctrace, ..Config::default() });
    let begin = std::time::Instant::now();
    world.enter(|| {
        println!("stretch tree of depth {}\t check: {}", max + 1, count(build(max + 1)));
        let long_lived = build(max);
        for depth in (4..=max).step_by(4) {
            let n = 1u64 << (max - depth + 4);
            let sum: u64 = (0..n).map(|_| count(build(depth))).sum();
            println!("{n}\t trees of depth {depth}\t check: {sum}");
        }
        println!("long lived tree of depth {max}\t check: {}", count(long_lived));
    });
    eprintln!("{:?} {:#?}", begin.elapsed(), heap.stats());
}
