//! Memory outside the collected heap, by kind: what grows shows up where it belongs.

mod common;

use common::{run, with_procs};
use std::io::{Read, Write};
use tricolor::gc::{OffHeap, off_heap};
use tricolor::{Gc, GcCell, Root, chan, spawn};

type Large = Gc<[u64; 128]>;

/// What `f` adds to each kind.
fn growth<R>(f: impl FnOnce() -> R) -> (OffHeap, OffHeap, R) {
    let before = off_heap();
    let out = f();
    (before, off_heap(), out)
}

#[test]
fn growth_shows_up_by_kind() {
    const N: usize = 200;
    run(with_procs(2), || {
        let (a, b, ()) = growth(|| ());
        assert_eq!(a.total(), b.total(), "nothing has happened: {a:?} {b:?}");

        // Goroutines that wait: stacks of 256 KiB, entries of `allgs`.
        let (tx, rx) = chan::bounded::<u8>(0);
        let (a, b, waiting) = growth(|| {
            let waits = || {
                let rx = rx.clone();
                spawn(move || rx.recv().is_err())
            };
            (0..N).map(|_| waits()).collect::<Vec<_>>()
        });
        assert_eq!(b.stacks - a.stacks, N * (256 << 10), "{a:?} {b:?}");
        assert!(b.scheduler - a.scheduler >= N * size_of::<usize>(), "{a:?} {b:?}");
        drop(tx);
        waiting.into_iter().for_each(|h| assert!(h.join().expect("no panic")));

        // Goroutines in blocking calls: a thread each, with a stack and a signal stack.
        let (a, b, ()) = growth(|| {
            let pipes: Vec<_> = (0..20).map(|_| std::io::pipe().expect("a pipe")).collect();
            let (readers, writers): (Vec<_>, Vec<_>) = pipes.into_iter().unzip();
            let blocked: Vec<_> = readers
                .into_iter()
                .map(|rx| spawn(move || tricolor::blocking(rx, |mut rx| rx.read_exact(&mut [0]).expect("a byte"))))
                .collect();
            while off_heap().thread_stacks < 20 << 20 {
                tricolor::yield_now();
            }
            writers.into_iter().for_each(|mut tx| tx.write_all(&[1]).expect("a reader"));
            blocked.into_iter().for_each(|h| h.join().expect("no panic"));
        });
        assert!(b.signal_stacks - a.signal_stacks >= 10 * (64 << 10), "{a:?} {b:?}");

        // Roots.
        let (a, b, roots) = growth(|| (0..10_000_u64).map(|n| Root::new(Gc::new(n))).collect::<Vec<_>>());
        assert!(b.collector.roots - a.collector.roots >= 9_000 * size_of::<usize>(), "{a:?} {b:?}");
        drop(roots);

        // A larger heap: tables of pages; and work buffers to mark it.
        let (a, b, list) = growth(|| {
            let list: Gc<[GcCell<Option<Large>>]> = Gc::cells(20_000, None);
            (0..20_000).for_each(|i| list[i].set(Some(Gc::new([i as u64; 128]))));
            tricolor::gc::collect();
            list
        });
        assert!(b.collector.page_tables > a.collector.page_tables + 50_000, "{a:?} {b:?}");
        assert!(b.collector.work_buffers > 0 && b.collector.persistent > 0 && b.histograms > 0, "{b:?}");
        tricolor::gc::keep_alive(list);
        assert!(b.total() > b.stacks + b.thread_stacks);
    });
}
