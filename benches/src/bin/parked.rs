//! `cargo run --release -p tricolor-benches --bin parked [-- N]`: what a parked goroutine costs in memory, and in time.
//!
//! All N goroutines block on one channel; then they are woken. Memory is what the kernel says of the process: resident
//! pages and page tables, before and after; the heap's part of it is said apart, by type. With `--touch KIB` each has once
//! used so much stack, which it gets rid of when a second collection finds it where the first one did.

use clap::Parser;
use std::fs;
use std::hint::black_box;
use std::process::ExitCode;
use std::time::Instant;
use tricolor::chan;

/// What a parked goroutine costs.
#[derive(Parser)]
struct Args {
    /// How many.
    #[arg(default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    n: u64,
    /// Stack that each has used before it parks, in KiB.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=200))]
    touch: u64,
    /// Most bytes that each may cost, page tables included; more ends with exit status 1.
    #[arg(long, value_name = "BYTES")]
    at_most: Option<u64>,
}

/// Bytes of this process.
#[derive(Clone, Copy)]
struct Memory {
    resident: u64,
    tables: u64,
}

impl Memory {
    fn now() -> Memory {
        let status = fs::read_to_string("/proc/self/status").expect("/proc/self/status");
        let kib = |key: &str| -> u64 {
            let line = status.lines().find(|l| l.starts_with(key)).expect("a line of /proc/self/status");
            line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).expect("a number of KiB")
        };
        Memory { resident: kib("VmRSS:") << 10, tables: kib("VmPTE:") << 10 }
    }
}

fn main() -> ExitCode {
    let Args { n, touch, at_most } = Args::parse();
    // SAFETY: no `Gc` leaves goroutine stacks and heap objects; nothing thread-local or locked crosses a safepoint.
    let most = unsafe { tricolor::Runtime::builder().run(move || parked(n, touch)) };
    match at_most {
        Some(limit) if most > limit as f64 => {
            eprintln!("parked: {most:.0} bytes each, which is more than {limit}");
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    }
}

/// Uses `kib` KiB of stack.
#[inline(never)]
fn deep(kib: u64) {
    if kib > 0 {
        let frame = black_box([0_u8; 1 << 10]);
        deep(kib - 1);
        black_box(frame);
    }
}

/// The most bytes that each has cost.
fn parked(n: u64, touch: u64) -> f64 {
    let bare = Memory::now();
    let mut most = 0.0_f64;
    let mut row = |what: &str, nanos: u128| {
        let now = Memory::now();
        let each = |now: u64, then: u64| now.saturating_sub(then) as f64 / n as f64;
        let (pages, tables) = (each(now.resident, bare.resident), each(now.tables, bare.tables));
        let heap = tricolor::gc::stats();
        most = most.max(pages + tables);
        println!(
            "{what:<28} {pages:>9.0} {tables:>9.0} {:>9.0} {:>9.0} {:>10.0}",
            pages + tables,
            heap.heap_live as f64 / n as f64,
            nanos as f64 / n as f64,
        );
    };
    println!("{:<28} {:>9} {:>9} {:>9} {:>9} {:>10}", "bytes each", "pages", "tables", "sum", "heap", "ns each");
    let (wake, sleeps) = chan::bounded::<()>(0);
    let (up, ready) = chan::bounded::<()>(64);
    let begin = Instant::now();
    let all: Vec<_> = (0..n)
        .map(|_| {
            let (sleeps, up) = (sleeps.clone(), up.clone());
            tricolor::spawn(move || {
                deep(touch);
                _ = up.send(());
                _ = sleeps.recv();
            })
        })
        .collect();
    for _ in 0..n {
        ready.recv().expect("goroutines that begin");
    }
    row("parked", begin.elapsed().as_nanos());
    for cycle in 1..=3 {
        let begin = Instant::now();
        tricolor::gc::collect();
        row(&format!("after {cycle} collections"), begin.elapsed().as_nanos());
    }
    for of in tricolor::gc::census().iter().filter(|of| of.bytes as u64 > n) {
        println!("    {:<44} {:>9.0} of the heap", of.name, of.bytes as f64 / n as f64);
    }
    let begin = Instant::now();
    drop(wake);
    for goroutine in all {
        goroutine.join().expect("no panic");
    }
    row("woken and ended", begin.elapsed().as_nanos());
    most
}
