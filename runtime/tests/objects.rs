//! Gs, Ms and Ps are objects of the collected heap, which only `allgs`, `allms` and `allps` keep.

mod common;
#[path = "common/list.rs"]
mod list;

use common::{child, is_child, run};
use list::{Node, node, watched};
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;
use tricolor::gc_core::GcP;
use tricolor::{Gc, GcCell, Root, blocking, gc, spawn, yield_now};

/// So many calls that block until all of them do, each on a thread of its own: those that are lacking are made, also by
/// sysmon, which has neither a P nor an M. Returns the threads.
fn many_threads(goroutines: u32) -> HashSet<i32> {
    let inside = Arc::new(AtomicU32::new(0));
    let call = |(inside, all): (Arc<AtomicU32>, u32)| {
        inside.fetch_add(1, Ordering::SeqCst);
        while inside.load(Ordering::SeqCst) < all {
            std::thread::sleep(Duration::from_micros(200));
        }
        // SAFETY: asks for this thread's number.
        unsafe { libc::gettid() }
    };
    let handles: Vec<_> = (0..goroutines)
        .map(|_| {
            let inside = inside.clone();
            spawn(move || blocking((inside, goroutines), call))
        })
        .collect();
    handles.into_iter().map(|h| h.join().expect("no panic")).collect()
}

/// Threads are made, sleep and wake up while one collection follows the other.
fn threads_and_collections() {
    let over = Arc::new(AtomicBool::new(false));
    let stop = over.clone();
    let collector = spawn(move || {
        let kept = Root::new(node(0));
        let mut cycles = 0;
        while !stop.load(Ordering::Relaxed) {
            let n = node(cycles);
            n.next.set(kept.get().next.get().filter(|_| cycles % 100 != 0));
            kept.get().next.set(Some(n));
            gc::collect();
            cycles += 1;
            yield_now();
        }
        cycles
    });
    for n in 1..=24 {
        assert_eq!(many_threads(n).len(), n as usize, "two calls at once on one thread");
    }
    over.store(true, Ordering::Relaxed);
    assert!(collector.join().expect("no panic") > 3, "no collections in between");
}

fn unscanned(test: &str, fault: &str, lost: &str) {
    if is_child(test) {
        #[cfg(feature = "faults")]
        tricolor::gc_core::faults::choose(Some(fault)).expect("a fault of that name");
        run(watched(4), threads_and_collections);
        return;
    }
    if cfg!(feature = "faults") {
        let (code, err) = child(test, &[]);
        assert_eq!(code, Some(2), "{fault}: nobody noticed: {err}");
        assert!(err.contains("verifier:") && err.contains(lost) && err.contains("a root"), "{fault}: {err}");
    }
}

#[test]
fn ms_and_ps_survive_collections() {
    run(watched(4), threads_and_collections);
    run(watched(1), threads_and_collections);
}

#[test]
fn ms_that_are_no_roots_are_lost() {
    unscanned("ms_that_are_no_roots_are_lost", "allms-unscanned", "tricolor::M");
}

#[test]
fn ps_that_are_no_roots_are_lost() {
    unscanned("ps_that_are_no_roots_are_lost", "allps-unscanned", "tricolor::P");
}

/// What an M is made with: no cycle starts, in any state of the collector, and the object is found through its root.
#[test]
fn allocation_without_a_safepoint() {
    // A cycle at every allocation that may start one.
    run(watched(2).gc_every(1), || {
        let heap = GcP::current().heap();
        let over = Arc::new(AtomicBool::new(false));
        let stop = over.clone();
        let collector = spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                gc::collect();
            }
        });
        let roots = Root::new(Gc::<[GcCell<Option<Gc<Node>>>]>::cells(64, None));
        let (mut marking, mut id) = (0, 0);
        while marking < 20 || id < 2_000 {
            marking += u32::from(heap.marking());
            let slot = roots.get();
            let value = Node { id, next: GcCell::new(None) };
            Gc::try_new_no_safepoint(value, |n| slot[id as usize % 64].set(Some(n))).expect("memory");
            id += 1;
            if id % 64 == 0 {
                yield_now();
            }
        }
        over.store(true, Ordering::Relaxed);
        collector.join().expect("no panic");
        let seen: HashSet<u64> = roots.get().iter().filter_map(|c| c.get()).map(|n| n.id).collect();
        assert_eq!(seen, (id - 64..id).collect());
        // With nobody else about, the number of cycles stays.
        let before = heap.cycle();
        for id in 0..1_000 {
            let slot = roots.get();
            Gc::try_new_no_safepoint(Node { id, next: GcCell::new(None) }, |n| slot[0].set(Some(n))).expect("memory");
        }
        assert_eq!(heap.cycle(), before, "an allocation without a safepoint started a cycle");
        node(0);
        assert_ne!(heap.cycle(), before, "`gc_every` is off");
    });
}
