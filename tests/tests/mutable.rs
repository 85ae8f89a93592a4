//! What a goroutine is inside of is scanned with its stack: shown by a planted fault, under which a node is lost.

use gc_core::{Gc, GcCell, GcMut, GcP, Heap, Root, Stress, Trace};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tricolor::Runtime;

/// Names the fault to a child.
const FAULT: &str = "TRICOLOR_TEST_FAULT";
const TEST: &str = "what_a_goroutine_is_inside_of_is_scanned_with_its_stack";

/// Objects that keep the marker busy for a while.
const BALLAST: usize = 100_000;

#[derive(Trace)]
struct Node {
    id: u64,
}

#[derive(Trace)]
struct Bag {
    content: GcMut<Option<Gc<Node>>>,
}

fn heap() -> &'static Heap {
    GcP::current().heap()
}

#[inline(never)]
fn swap(a: &mut Option<Gc<Node>>, b: &mut Option<Gc<Node>>) {
    std::mem::swap(a, b);
}

/// The bag is black and the node on the grey stack alone when it is moved in. Then the stack is scanned.
#[inline(never)]
fn in_and_out(bag: Gc<Bag>, id: u64) {
    bag.content.with(|content| {
        let mut node = Some(Gc::new(Node { id }));
        let cycle = heap().cycle();
        while heap().cycle() == cycle {
            tricolor::poll();
        }
        let until = Instant::now() + Duration::from_micros(200);
        while Instant::now() < until {
            std::thread::yield_now();
        }
        swap(content, &mut node);
        while heap().marking() {
            tricolor::yield_now();
        }
        swap(content, &mut node);
        // Sweeps, and poisons, what was freed.
        tricolor::gc::collect();
        assert_eq!(node.map(|n| n.id), Some(id), "a node is lost");
    });
}

fn run(time: Duration) {
    let mut stress = Stress::default();
    stress.poison = true;
    let builder = Runtime::builder().procs(2).stress(stress);
    // SAFETY: pointers are on stacks and in objects of the heap only.
    unsafe {
        builder.run(move || {
            let end = Instant::now() + time;
            // Cycles begin on another goroutine: this one's stack is not scanned before it goes on, as a rule.
            let over = Arc::new(AtomicBool::new(false));
            let until = over.clone();
            let collector = tricolor::spawn(move || {
                while !until.load(Ordering::Relaxed) {
                    tricolor::gc::collect();
                }
            });
            // Marked after the bag and before the stacks.
            let ballast = Root::new(Gc::<[GcCell<Option<Gc<Node>>>]>::cells(BALLAST, None));
            ballast.get().iter().for_each(|cell| cell.set(Some(Gc::new(Node { id: 0 }))));
            let bag = Root::new(Gc::new(Bag { content: GcMut::new(None) }));
            let mut id = 0;
            while Instant::now() < end || id < 3 {
                id += 1;
                in_and_out(bag.get(), id);
            }
            over.store(true, Ordering::Relaxed);
            collector.join().expect("no panic");
        });
    }
}

#[test]
fn what_a_goroutine_is_inside_of_is_scanned_with_its_stack() {
    if let Ok(fault) = std::env::var(FAULT) {
        gc_core::faults::choose(Some(&fault)).expect("a fault of that name");
        return run(Duration::from_secs(20));
    }
    run(Duration::from_millis(500));
    let began = Instant::now();
    let output = Command::new(std::env::current_exe().expect("this program has a path"))
        .args(["--exact", TEST, "--nocapture", "--test-threads=1"])
        .env(FAULT, "mutable-unscanned")
        // The fault shows where a goroutine is suspended while another one collects.
        .env_remove("TRICOLOR_PROCS")
        .env_remove("TRICOLOR_DEBUG")
        .output()
        .expect("a test program can be started");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "the fault was not noticed: {said}");
    assert!(said.contains("a node is lost"), "{said}");
    println!("noticed after {:.2?}", began.elapsed());
}
