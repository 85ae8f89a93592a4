//! Partial cycles under the scheduler: goroutines come and go while marks stay, and stores alone bring the barrier off again.

mod common;

use common::{run, with_procs};
use std::hint::black_box;
use std::time::{Duration, Instant};
use tricolor::gc::{self, Stress};
use tricolor::{Gc, GcCell, Trace};

#[derive(Trace)]
struct Node {
    next: GcCell<Option<Gc<Node>>>,
    data: [u64; 6],
}

fn node(next: Option<Gc<Node>>) -> Gc<Node> {
    Gc::new(Node { next: GcCell::new(next), data: [0; 6] })
}

#[inline(never)]
fn list(n: usize) -> Option<Gc<Node>> {
    (0..n).fold(None, |head, _| Some(node(head)))
}

fn len(mut at: Option<Gc<Node>>) -> usize {
    let mut n = 0;
    while let Some(node) = at {
        n += 1;
        at = node.next.get();
    }
    n
}

/// Until a partial cycle has ended.
fn make_rubbish() {
    let before = gc::stats().partial_cycles;
    let begun = Instant::now();
    while gc::stats().partial_cycles == before {
        black_box(list(1000));
        assert!(begun.elapsed() < Duration::from_secs(60), "no cycle is partial: {:?}", gc::stats());
    }
}

/// A program that stores and does not allocate starts no cycle, so nobody would see that remembering does not pay.
#[test]
fn many_stores_bring_a_cycle() {
    run(with_procs(2), || {
        let old = list(200_000).expect("some");
        gc::collect();
        make_rubbish();
        let (before, begun) = (gc::stats().cycles, Instant::now());
        let young = node(None);
        while gc::stats().cycles == before {
            (0..60_000).for_each(|_| young.next.set(Some(young)));
            tricolor::yield_now();
            assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", gc::stats());
        }
        assert_eq!(len(Some(old)), 200_000);
    });
}

/// Closures, results and values in channels are made and handed on between cycles whose marks stay.
#[test]
fn what_goroutines_hand_on_between_cycles_lives() {
    let mut stress = Stress::default();
    stress.partial = true;
    stress.poison = true;
    run(with_procs(4).verify(true).stress(stress), || {
        for round in 0..30 {
            let (tx, rx) = tricolor::chan::bounded::<Gc<Node>>(8);
            let handles: Vec<_> = (0..8)
                .map(|i| {
                    let (tx, carried) = (tx.clone(), tricolor::Root::new(node(list(i))));
                    tricolor::spawn(move || {
                        tx.send(carried.get()).expect("there is a receiver");
                        black_box(list(2000));
                        tricolor::Root::new(node(list(i)))
                    })
                })
                .collect();
            drop(tx);
            let mut sum = 0;
            while let Ok(node) = rx.recv() {
                sum += len(node.next.get());
            }
            assert_eq!(sum, 28, "round {round}");
            let results = handles.into_iter().map(|h| h.join().expect("no panic"));
            assert_eq!(results.map(|node| len(node.get().next.get())).sum::<usize>(), 28, "round {round}");
        }
        assert!(gc::stats().partial_cycles > 0, "{:?}", gc::stats());
    });
}
