//! Several markers at once, with buffers so small that they hand work to each other all the time. Under ThreadSanitizer
//! (`cargo verify --only tsan`, which sets `--cfg tsan`) a planted data race must be reported.

mod threads;

use gc_core::{Config, Gc, GcCell, GcP, Stress, Trace, WorkKind};
use std::sync::atomic::{AtomicBool, Ordering};
use threads::ThreadWorld;

#[derive(Trace)]
struct Node {
    left: GcCell<Option<Gc<Node>>>,
    right: GcCell<Option<Gc<Node>>>,
    sum: u64,
}

/// A tree whose nodes know how much lies below them.
#[inline(never)]
fn tree(levels: u32) -> Option<Gc<Node>> {
    if levels == 0 {
        return None;
    }
    let (left, right) = (tree(levels - 1), tree(levels - 1));
    let sum = 1 + left.map_or(0, |n| n.sum) + right.map_or(0, |n| n.sum);
    Some(Gc::new(Node { left: GcCell::new(left), right: GcCell::new(right), sum }))
}

#[inline(never)]
fn check(node: Option<Gc<Node>>) -> u64 {
    let Some(node) = node else { return 0 };
    let sum = 1 + check(node.left.get()) + check(node.right.get());
    assert_eq!(node.sum, sum, "a node is lost");
    sum
}

#[test]
fn markers_hand_work_to_each_other() {
    #[cfg(feature = "faults")]
    gc_core::faults::choose(std::env::var(FAULT).ok().as_deref()).expect("a fault of that name");
    const LEVELS: u32 = 13;
    let mut stress = Stress::default();
    stress.small_buffers = true;
    let config = Config { percent: Some(30), min_heap: 256 << 10, procs: 4, verify: true, stress, ..Config::default() };
    let (world, heap) = ThreadWorld::start(config);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let mark = || {
            world.enter(|| {
                while !done.load(Ordering::Relaxed) {
                    let mut did = false;
                    world.work(&mut || did = heap.mark_slice(GcP::current(), WorkKind::Dedicated));
                    if !did {
                        world.away(std::thread::yield_now);
                    }
                }
            });
        };
        let markers = [scope.spawn(mark), scope.spawn(mark)];
        let mutator = scope.spawn(|| {
            world.enter(|| {
                let keep = tree(LEVELS).expect("a tree");
                for round in 0.. {
                    // A new half, while the old one may be marked.
                    let half = if round % 2 == 0 { &keep.left } else { &keep.right };
                    half.set(tree(LEVELS - 1));
                    assert_eq!(check(Some(keep)), (1 << LEVELS) - 1);
                    world.poll();
                    if round >= 10 && heap.cycle() > 8 {
                        break;
                    }
                }
            });
        });
        mutator.join().expect("the mutator");
        done.store(true, Ordering::Relaxed);
        markers.into_iter().for_each(|m| m.join().expect("a marker"));
    });
}

/// Names the planted fault to a child.
#[cfg(feature = "faults")]
const FAULT: &str = "GC_CORE_RACE";

#[cfg(all(tsan, feature = "faults"))]
#[test]
fn a_planted_race_is_reported() {
    let twin = std::process::Command::new(std::env::current_exe().expect("this program has a path"))
        .args(["--exact", "markers_hand_work_to_each_other", "--nocapture"])
        .env(FAULT, "unpublished-buffers")
        .output()
        .expect("a test program can be started");
    let said = String::from_utf8_lossy(&twin.stderr);
    assert!(!twin.status.success(), "it went through");
    assert!(said.contains("WARNING: ThreadSanitizer: data race") && said.contains("mark::work::GcWork"), "{said}");
}
