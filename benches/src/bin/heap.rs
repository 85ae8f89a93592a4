//! `cargo run --release -p tricolor-benches --bin heap`: what the heap's own operations cost: allocation by size, pointer
//! stores with the barrier off and on, sweeping, and the parts of a pause.
//!
//! All but the pauses on one plain thread, which does the collector's work too: the cost of an allocation is with that
//! of the cycles that it brings about, in a heap with next to nothing alive. Objects are filled with zeros.

#[path = "../../../gc-core/tests/threads/mod.rs"]
mod threads;

use gc_core::events::Event;
use gc_core::sync::{Lock, Rank, nanos};
use gc_core::{Config, Gc, GcCell, GcP, Phase, Root, StopReason, Trace};
use std::hint::black_box;
use std::time::{Duration, Instant};
use threads::ThreadWorld;
use tricolor_benches::{Figure, measure};

fn row(name: &str, figure: &Figure) {
    println!("{name:<46} {figure}");
}

fn of_size<const WORDS: usize>() {
    let n = ((32 << 20) / (WORDS * 8 + 16)) as u64;
    let figure = measure(n, || (0..n).for_each(|_| _ = black_box(Gc::new([0u64; WORDS]))));
    row(&format!("Gc::new, {} bytes", WORDS * 8), &figure);
}

fn allocation() {
    of_size::<1>();
    of_size::<2>();
    of_size::<4>();
    of_size::<8>();
    of_size::<16>();
    of_size::<32>();
    of_size::<64>();
    of_size::<128>();
    of_size::<256>();
    of_size::<512>();
    of_size::<1024>();
    of_size::<2048>();
    of_size::<4096>();
    for kib in [64, 1024] {
        let (bytes, n) = (vec![0u8; kib << 10], (256 << 10) / kib as u64);
        let figure = measure(n, || (0..n).for_each(|_| _ = black_box(Gc::<[u8]>::from_slice(&bytes))));
        row(&format!("Gc<[u8]>::from_slice, {kib} KiB"), &figure);
    }
}

#[derive(Trace)]
struct Node {
    next: GcCell<Option<Gc<Node>>>,
    data: [u64; 3],
}

fn node(next: Option<Gc<Node>>) -> Gc<Node> {
    Gc::new(Node { next: GcCell::new(next), data: [0; 3] })
}

/// Marking is done by this thread alone, and not while it only stores: the phase stays what it is.
fn stores() {
    const N: u64 = 1_000_000;
    let heap = GcP::current().heap();
    let (a, b, c) = (Root::new(node(None)), Root::new(node(None)), Root::new(node(None)));
    for phase in [Phase::Off, Phase::Mark] {
        let name = if phase == Phase::Off { "off" } else { "on" };
        heap.collect();
        while heap.phase() != phase {
            black_box(node(None));
        }
        let (a, b, c) = (a.get(), b.get(), c.get());
        let both = measure(N, || {
            for i in 0..N {
                black_box(a).next.set(Some(if i % 2 == 0 { b } else { c }));
            }
        });
        row(&format!("GcCell::set, barrier {name}"), &both);
        row(
            &format!("GcCell::swap, barrier {name}"),
            &measure(N, || (0..N).for_each(|_| _ = black_box(black_box(a).next.swap(Some(b))))),
        );
        assert!(heap.phase() == phase, "a cycle began or ended meanwhile");
    }
}

/// When marking ended last.
static MARKED: Lock<u64> = Lock::new(Rank::Unranked, 0);

/// Half of the objects of each span are alive; or none is.
fn sweep() {
    const N: usize = 2_000_000;
    let heap = GcP::current().heap();
    let listener = |event: &Event, _| {
        if let Event::CycleEnd { .. } = event {
            *MARKED.lock() = nanos();
        }
    };
    heap.listen(listener, 0).expect("a listener");
    for (name, alive) in [("half alive", true), ("none alive", false)] {
        let rounds = (0..8).map(|_| {
            heap.collect();
            let before = heap.stats().swept_spans;
            let head = Root::new(node(None));
            for _ in 0..N / 2 {
                black_box(node(None));
                if alive {
                    head.get().next.set(Some(node(head.get().next.get())));
                } else {
                    black_box(node(None));
                }
            }
            heap.collect();
            // 32-byte slots, 8 KiB spans.
            (nanos() - *MARKED.lock()) as f64 / (heap.stats().swept_spans - before) as f64
        });
        row(&format!("sweep of a 256-slot span, {name}"), &Figure::of(rounds.skip(1).collect()));
    }
}

/// Reason, time to stop, time stopped.
static STOPS: Lock<Vec<(StopReason, u64, u64)>> = Lock::new(Rank::Unranked, Vec::new());

/// Goroutines that allocate and store on two Ps, with some MiB alive.
fn pauses() {
    let listener = |event: &Event, _| {
        if let Event::Stop { reason, to_stop_ns, stopped_ns } = event {
            STOPS.lock().push((*reason, *to_stop_ns, *stopped_ns));
        }
    };
    STOPS.lock().reserve(100_000);
    GcP::current().heap().listen(listener, 0).expect("a listener");
    let begin = Instant::now();
    let busy = move || {
        let keep = tricolor::Gc::<[GcCell<Option<Gc<Node>>>]>::cells(50_000, None);
        let mut i = 0;
        while i % 64 != 0 || begin.elapsed() < Duration::from_secs(5) {
            keep[i % 50_000].set(Some(node(keep[i * 7 % 50_000].get().filter(|_| i % 16 != 0))));
            i += 1;
        }
    };
    let all: Vec<_> = (0..4).map(|_| tricolor::spawn(busy)).collect();
    all.into_iter().for_each(|g| g.join().expect("a goroutine"));
    let stops = STOPS.lock();
    for (name, reason) in
        [("stop that starts marking", StopReason::GcStart), ("stop that ends it", StopReason::MarkTermination)]
    {
        let these = || stops.iter().filter(|s| s.0 == reason);
        println!("{name}: {} of them", these().count());
        row("  until the world stands", &Figure::of(these().map(|s| s.1 as f64).collect()));
        row("  world stopped", &Figure::of(these().map(|s| s.2 as f64).collect()));
    }
}

fn main() {
    println!("{:<46} {:>10} {:>10} {:>10}", "nanoseconds", "median", "min", "max");
    let alone = |percent, part: fn()| {
        let (world, _) = ThreadWorld::start(Config { percent, ..Config::default() });
        world.enter(part);
    };
    alone(Some(100), allocation);
    alone(Some(100), stores);
    alone(None, sweep);
    // SAFETY: no `Gc` leaves goroutine stacks and heap objects; nothing thread-local or locked crosses a safepoint.
    unsafe { tricolor::Runtime::builder().procs(2).run(pauses) };
}
