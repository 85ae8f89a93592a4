//! `cargo run --release -p tricolor-benches --bin costs`: what the runtime's operations cost, in nanoseconds.

use std::fs::File;
use std::hint::black_box;
use std::io::Read;
use std::sync::Arc;
use tricolor::chan;
use tricolor::{Gc, GcCell, Trace};
use tricolor_benches::{Figure, measure};

#[derive(Trace)]
struct Node {
    next: GcCell<Option<Gc<Node>>>,
    other: GcCell<Option<Gc<Node>>>,
    numbers: [u64; 2],
}

fn node() -> Gc<Node> {
    Gc::new(Node { next: GcCell::new(None), other: GcCell::new(None), numbers: [0; 2] })
}

#[derive(Trace)]
struct Tree {
    left: Option<Gc<Tree>>,
    right: Option<Gc<Tree>>,
}

fn tree(depth: u32) -> Gc<Tree> {
    let child = |d: u32| (d > 0).then(|| tree(d - 1));
    Gc::new(Tree { left: child(depth), right: child(depth) })
}

fn count(tree: Gc<Tree>) -> u64 {
    1 + tree.left.map_or(0, count) + tree.right.map_or(0, count)
}

fn row(name: &str, figure: &Figure) {
    println!("{name:<46} {figure}");
}

fn main() {
    println!("{:<46} {:>10} {:>10} {:>10}", "nanoseconds per operation", "median", "min", "max");
    // SAFETY: no `Gc` leaves goroutine stacks and heap objects; nothing thread-local or locked crosses a safepoint.
    unsafe { tricolor::Runtime::builder().run(heap) };
    // SAFETY: as above.
    unsafe { tricolor::Runtime::builder().run(goroutines) };
}

fn heap() {
    const N: u64 = 2_000_000;
    row(
        "Gc::new, 32 bytes, short-lived",
        &measure(N, || {
            for _ in 0..N {
                black_box(node());
            }
        }),
    );
    row(
        "binary tree of depth 18, made and counted",
        &measure(1 << 19, || {
            assert_eq!(count(tree(18)), (1 << 19) - 1);
        }),
    );
    let (a, b) = (node(), node());
    row(
        "GcCell::set, barrier off",
        &measure(N, || {
            for _ in 0..N {
                black_box(a).next.set(Some(b));
            }
        }),
    );
}

/// A goroutine that stands at the edge of its stack, so that each call in the loop needs a segment.
fn stacks() {
    const N: u64 = 100_000;
    #[inline(never)]
    fn leaf(i: u64) -> u64 {
        black_box(i)
    }
    fn calls(bytes: usize) -> u64 {
        (0..N).map(|i| tricolor::stack::ensure(bytes, || leaf(i))).sum()
    }
    fn down(n: u64) -> u64 {
        // What is looked at after the call keeps the compiler from making a loop of it.
        let frame = black_box([n; 4]);
        let deeper = tricolor::stack::ensure(1024, || if n == 0 { 0 } else { 1 + down(n - 1) });
        black_box(frame);
        deeper
    }
    row("stack::ensure, room is left", &measure(N, || _ = black_box(calls(1024))));
    row("stack::ensure, on a segment every time", &measure(N, || _ = black_box(calls(1 << 20))));
    row("recursion a million deep, a call", &measure(1_000_000, || assert_eq!(down(1_000_000), 1_000_000)));
}

fn goroutines() {
    const N: u64 = 100_000;
    tricolor::spawn(stacks).join().unwrap();
    row(
        "spawn + join",
        &measure(N, || {
            for i in 0..N {
                assert_eq!(tricolor::spawn(move || i).join().unwrap(), i);
            }
        }),
    );
    row(
        "yield_now, alone",
        &measure(N, || {
            for _ in 0..N {
                tricolor::yield_now();
            }
        }),
    );
    for cap in [0, 64] {
        let name = if cap == 0 { "channel, unbuffered" } else { "channel, 64 buffered" };
        row(
            name,
            &measure(N, || {
                let (tx, rx) = chan::bounded::<u64>(cap);
                let sender = tricolor::spawn(move || (0..N).for_each(|i| tx.send(i).unwrap()));
                let mut sum = 0;
                while let Ok(i) = rx.recv() {
                    sum += i;
                }
                sender.join().unwrap();
                assert_eq!(sum, N * (N - 1) / 2);
            }),
        );
    }
    let mutex = Arc::new(tricolor::sync::Mutex::new(0u64));
    row(
        "Mutex::with, uncontended",
        &measure(N, || {
            for _ in 0..N {
                mutex.with(|n| *n += 1);
            }
        }),
    );
    let zero = Arc::new(File::open("/dev/zero").expect("/dev/zero"));
    let mut byte = [0u8];
    row(
        "read of a byte, raw",
        &measure(N, || {
            for _ in 0..N {
                (&*zero).read_exact(&mut byte).unwrap();
            }
        }),
    );
    row(
        "read of a byte, blocking",
        &measure(N, || {
            for _ in 0..N {
                tricolor::blocking((zero.clone(),), |(file,)| {
                    let mut byte = [0u8];
                    (&*file).read_exact(&mut byte).unwrap();
                });
            }
        }),
    );
}
