//! The benchmarks game's binary trees on plain threads: `cargo run --release -p gc-core --example binary_trees -- 19`.
//!
//! One thread builds the trees, another one stands for an idle P: it marks, sweeps and scavenges. `GCTRACE=1` prints a
//! line per cycle, `ALONE=1` leaves the second thread out, so that the first one assists with everything.

#[path = "../tests/threads/mod.rs"]
mod threads;

use gc_core::{Config, Gc, GcP, Trace, WorkKind, World};
use std::sync::atomic::{AtomicBool, Ordering};
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
    let alone = std::env::var("ALONE").is_ok();
    let procs = if alone { 1 } else { 2 };
    let (world, heap) = ThreadWorld::start(Config { gctrace, procs, ..Config::default() });
    static DONE: AtomicBool = AtomicBool::new(false);
    let idle = std::thread::spawn(move || {
        world.enter(|| {
            while !alone && !DONE.load(Ordering::Relaxed) {
                let mut did = false;
                world.at_safepoint(&mut || {
                    let p = GcP::current();
                    did = heap.mark_slice(p, WorkKind::Idle)
                        || !heap.marking() && (heap.sweep_slice(p) || heap.scavenge_slice(p) || heap.pretouch_slice());
                });
                if !did {
                    world.away(|| std::thread::sleep(std::time::Duration::from_micros(50)));
                }
            }
        });
    });
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
    DONE.store(true, Ordering::Relaxed);
    idle.join().expect("the idle thread ends");
}
