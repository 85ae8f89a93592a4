//! `cargo run --release -p tricolor-benches --bin growth`: how costs grow with the work.
//!
//! Each row is measured at four sizes, 4 times as large each time, in a process of its own for each measurement; the median
//! of several. It is processor time, but stops go by the clock. Fitted to `time = a * size ^ exponent` (a straight line
//! through the logarithms, by least squares): 1 is linear, 0 does not grow.

use clap::Parser;
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tricolor::gc_core::events::Event;
use tricolor::gc_core::{Root, Trace};
use tricolor::sync::WaitGroup;
use tricolor::{Gc, GcCell};
use tricolor_benches::{Figure, beside_parked};

/// How costs grow with the work.
#[derive(Parser)]
struct Args {
    /// Measurements at each size.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Only rows whose name contains this.
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// An eighth of the sizes: whether everything runs, not how it grows.
    #[arg(long)]
    quick: bool,
    /// Measures one row at one size, and prints nanoseconds.
    #[arg(long, hide = true, num_args = 2, value_names = ["ROW", "SIZE"])]
    measure: Option<Vec<String>>,
}

struct Row {
    name: &'static str,
    what: &'static str,
    /// The smallest size; the others are 4, 16 and 64 times that.
    size: u64,
    /// What grows, in the table.
    unit: &'static str,
    /// The exponent that is expected.
    expected: f64,
    /// Nanoseconds.
    measure: fn(u64) -> f64,
}

const ROWS: [Row; 11] = [
    Row {
        name: "allocate",
        what: "allocating objects that all stay alive, no cycle",
        size: 1 << 16,
        unit: "objects of 64 B",
        expected: 1.0,
        measure: allocate,
    },
    Row { name: "mark", what: "marking a tree", size: 1 << 16, unit: "objects of 64 B", expected: 1.0, measure: mark },
    Row {
        name: "sweep",
        what: "sweeping spans of which half is alive",
        size: 1 << 16,
        unit: "objects of 64 B",
        expected: 1.0,
        measure: sweep,
    },
    Row {
        name: "mark-partial",
        what: "marking of a partial cycle, by live heap, of which nothing is young",
        size: 1 << 17,
        unit: "objects of 64 B",
        expected: 0.0,
        measure: mark_partial,
    },
    Row {
        name: "stop-partial",
        what: "longest stop of a partial cycle, likewise",
        size: 1 << 17,
        unit: "objects of 64 B",
        expected: 0.0,
        measure: stop_partial,
    },
    Row {
        name: "stop-heap",
        what: "longest stop of a cycle, by live heap",
        size: 1 << 17,
        unit: "objects of 64 B",
        expected: 0.0,
        measure: stop_heap,
    },
    Row {
        name: "stop-parked",
        what: "longest stop of a cycle, by parked goroutines",
        size: 2000,
        unit: "goroutines",
        expected: 0.0,
        measure: stop_parked,
    },
    Row {
        name: "user-stop-parked",
        what: "`with_stopped_world`, by parked goroutines",
        size: 2000,
        unit: "goroutines",
        expected: 0.0,
        measure: user_stop_parked,
    },
    Row {
        name: "spawn",
        what: "spawning goroutines that are all alive at once",
        size: 2000,
        unit: "goroutines",
        expected: 1.0,
        measure: spawn,
    },
    Row {
        name: "spawn-again",
        what: "the same, when as many have ended before",
        size: 2000,
        unit: "goroutines",
        expected: 1.0,
        measure: spawn_again,
    },
    Row {
        name: "timers",
        what: "arming and firing timers that are all armed at once",
        size: 2000,
        unit: "timers",
        expected: 1.0,
        measure: timers,
    },
];

#[derive(Trace)]
struct Tree {
    left: GcCell<Option<Gc<Tree>>>,
    right: GcCell<Option<Gc<Tree>>>,
    data: [u64; 6],
}

fn node() -> Gc<Tree> {
    Gc::new(Tree { left: GcCell::new(None), right: GcCell::new(None), data: [1; 6] })
}

/// Balanced, of `n` nodes, of which there is at least one.
fn tree(n: u64) -> Gc<Tree> {
    let node = node();
    for (child, size) in [(&node.left, n / 2), (&node.right, (n - 1) / 2)] {
        if size > 0 {
            child.set(Some(tree(size)));
        }
    }
    node
}

/// Processor time of this process so far: what others do on the machine is not in it.
fn cpu_nanos() -> f64 {
    tricolor_bench_program::cpu_seconds() * 1e9
}

/// Cycles on request only.
fn on_a_goroutine(procs: usize, f: impl FnOnce() -> f64 + Send + 'static) -> f64 {
    with_percent(None, procs, f)
}

fn with_percent(percent: Option<u32>, procs: usize, f: impl FnOnce() -> f64 + Send + 'static) -> f64 {
    let builder = tricolor::Runtime::builder().procs(procs).gc_percent(percent);
    // SAFETY: no `Gc` leaves goroutine stacks and heap objects; nothing thread-local or locked crosses a safepoint.
    unsafe { builder.run(f) }
}

fn allocate(n: u64) -> f64 {
    on_a_goroutine(1, move || {
        let before = cpu_nanos();
        let keep = tree(n);
        let took = cpu_nanos() - before;
        assert_eq!(keep.data, [1; 6]);
        took
    })
}

/// Processor time of marking, in the second cycle: the first one touches the tables.
fn mark(n: u64) -> f64 {
    on_a_goroutine(1, move || {
        let keep = tree(n);
        let marking = || {
            let s = tricolor::gc::stats();
            (s.mark_assist + s.mark_dedicated + s.mark_idle).as_nanos() as f64
        };
        tricolor::gc::collect();
        let before = marking();
        tricolor::gc::collect();
        let after = marking();
        assert_eq!(keep.data, [1; 6]);
        after - before
    })
}

/// Processor time until marking ended last.
static MARKED: AtomicU64 = AtomicU64::new(0);

/// From the end of marking until the last span is swept, of a heap half of which is garbage all over.
fn sweep(n: u64) -> f64 {
    on_a_goroutine(1, move || {
        let listener = |event: &Event, _| {
            if let Event::CycleEnd { .. } = event {
                MARKED.store(cpu_nanos() as u64, Relaxed);
            }
        };
        tricolor::gc::listen(listener, 0).expect("a listener");
        let keep = Gc::<[GcCell<Option<Gc<Tree>>>]>::cells(n as usize / 2, None);
        for cell in keep.iter() {
            cell.set(Some(node()));
            std::hint::black_box(node());
        }
        tricolor::gc::collect();
        let took = cpu_nanos() - MARKED.load(Relaxed) as f64;
        assert!(keep.iter().all(|cell| cell.get().is_some_and(|node| node.data == [1; 6])));
        took
    })
}

/// Nanoseconds of marking and of the longest stop, of the cycle under way and of the last partial ones.
static CYCLE: [AtomicU64; 2] = [const { AtomicU64::new(0) }; 2];
static PARTIAL: [[AtomicU64; 2]; 16] = [const { [const { AtomicU64::new(0) }; 2] }; 16];
static PARTIALS: AtomicUsize = AtomicUsize::new(0);

/// The medians of what partial cycles take while garbage is made beside a tree of `n` nodes: processor time of marking,
/// and the longer one of the stops.
fn partial_cycles(n: u64) -> [f64; 2] {
    let listener = |event: &Event, _| match event {
        Event::Mark { cpu_ns, .. } => _ = CYCLE[0].fetch_add(*cpu_ns, Relaxed),
        Event::Stop { to_stop_ns, stopped_ns, .. } => _ = CYCLE[1].fetch_max(to_stop_ns + stopped_ns, Relaxed),
        // What is told behind this is counted for the next one: a stop, at most, and the slice that ended it.
        Event::CycleEnd { partial, .. } => {
            let took = CYCLE.each_ref().map(|figure| figure.swap(0, Relaxed));
            if *partial {
                let slot = &PARTIAL[PARTIALS.fetch_add(1, Relaxed) % PARTIAL.len()];
                (0..2).for_each(|i| slot[i].store(took[i], Relaxed));
            }
        }
        _ => {}
    };
    let keep = tree(n);
    tricolor::gc::collect();
    tricolor::gc::listen(listener, 0).expect("a listener");
    let mut garbage = 0;
    while PARTIALS.load(Relaxed) < PARTIAL.len() {
        assert!(garbage < 100 * n, "{} partial cycles", PARTIALS.load(Relaxed));
        garbage += 1;
        std::hint::black_box(node());
    }
    assert_eq!(keep.data, [1; 6]);
    [0, 1].map(|i| Figure::of(PARTIAL.iter().map(|slot| slot[i].load(Relaxed) as f64).collect()).median())
}

fn mark_partial(n: u64) -> f64 {
    with_percent(Some(100), 1, move || partial_cycles(n)[0])
}

fn stop_partial(n: u64) -> f64 {
    with_percent(Some(100), 1, move || partial_cycles(n)[1])
}

/// Nanoseconds of the collector's stops so far.
static STOPS: [AtomicU64; 256] = [const { AtomicU64::new(0) }; 256];
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// The median over some cycles of the longer one of their two stops (request until the world goes on), beside a mutator.
fn stops() -> f64 {
    static END: AtomicBool = AtomicBool::new(false);
    let listener = |event: &Event, _| {
        if let Event::Stop { to_stop_ns, stopped_ns, .. } = event {
            STOPS[COUNT.fetch_add(1, Relaxed) % STOPS.len()].store(to_stop_ns + stopped_ns, Relaxed);
        }
    };
    tricolor::gc::listen(listener, 0).expect("a listener");
    let mutator = tricolor::spawn(|| {
        let kept = Root::new(node());
        while !END.load(Relaxed) {
            kept.get().left.set(Some(node()));
        }
    });
    let longest = (0..9).map(|_| {
        let before = COUNT.load(Relaxed);
        tricolor::gc::collect();
        (before..COUNT.load(Relaxed)).map(|i| STOPS[i % STOPS.len()].load(Relaxed)).max().expect("a stop") as f64
    });
    let longest = Figure::of(longest.collect());
    END.store(true, Relaxed);
    mutator.join().unwrap();
    longest.median()
}

fn stop_heap(n: u64) -> f64 {
    on_a_goroutine(2, move || {
        let keep = tree(n);
        let longest = stops();
        assert_eq!(keep.data, [1; 6]);
        longest
    })
}

fn stop_parked(n: u64) -> f64 {
    on_a_goroutine(2, move || beside_parked(n, stops))
}

fn user_stop_parked(n: u64) -> f64 {
    on_a_goroutine(2, move || {
        beside_parked(n, || {
            // The cycle that spawning has begun is over: a P that marks takes longer to come than an idle one.
            tricolor::gc::collect();
            let stop = || {
                let begin = Instant::now();
                tricolor::gc::with_stopped_world(|| ());
                begin.elapsed().as_nanos() as f64
            };
            Figure::of((0..200).map(|_| stop()).collect()).median()
        })
    })
}

fn spawn(n: u64) -> f64 {
    on_a_goroutine(1, move || {
        let before = cpu_nanos();
        beside_parked(n, || cpu_nanos() - before)
    })
}

fn spawn_again(n: u64) -> f64 {
    on_a_goroutine(1, move || {
        beside_parked(n, || ());
        let before = cpu_nanos();
        beside_parked(n, || cpu_nanos() - before)
    })
}

/// Goroutines that sleep until one moment each, in random order over 50 ms, which begin when all are armed: they are
/// spawned, arm, fire, and end.
fn timers(n: u64) -> f64 {
    on_a_goroutine(1, move || {
        let spread = Duration::from_millis(50);
        let all = WaitGroup::new();
        all.add(n as usize);
        let mut random = tricolor_benches::Random::new();
        // Enough for all to be armed: a goroutine takes some microseconds.
        let lead = Duration::from_micros(20 * n) + Duration::from_millis(100);
        let (begin, before) = (Instant::now(), cpu_nanos());
        for _ in 0..n {
            let when = begin + lead + spread * random.below(1 << 20) as u32 / (1 << 20);
            let all = all.clone();
            tricolor::spawn(move || {
                tricolor::time::sleep_until(when);
                all.done();
            });
        }
        all.wait();
        // Nobody turns while all sleep.
        cpu_nanos() - before
    })
}

/// The exponent and how far a point is off the line at most, as a factor.
fn fit(points: &[(f64, f64)]) -> (f64, f64) {
    let logs: Vec<(f64, f64)> = points.iter().map(|(x, y)| (x.ln(), y.max(1.0).ln())).collect();
    let n = logs.len() as f64;
    let (mx, my) = (logs.iter().map(|p| p.0).sum::<f64>() / n, logs.iter().map(|p| p.1).sum::<f64>() / n);
    let slope = logs.iter().map(|p| (p.0 - mx) * (p.1 - my)).sum::<f64>()
        / logs.iter().map(|p| (p.0 - mx).powi(2)).sum::<f64>();
    let off = logs.iter().map(|p| (p.1 - my - slope * (p.0 - mx)).abs()).fold(0.0, f64::max);
    (slope, off.exp())
}

/// In a process of its own.
fn measured(row: &Row, size: u64) -> Result<f64, String> {
    let this = std::env::current_exe().map_err(|e| format!("this program: {e}"))?;
    let output = Command::new(this).args(["--measure", row.name, &size.to_string()]).output();
    let output = output.map_err(|e| format!("{}: {e}", row.name))?;
    let text = String::from_utf8_lossy(&output.stdout);
    match text.trim().parse() {
        Ok(nanos) if output.status.success() => Ok(nanos),
        _ => Err(format!("{} at {size}: {}\n{}", row.name, output.status, String::from_utf8_lossy(&output.stderr))),
    }
}

fn table(args: &Args) -> Result<(), String> {
    println!(
        "{:<17} {:>34}  {:>9}  {:>8}  exponent (expected), farthest from the line",
        "", "ms at x1, x4, x16, x64", "x1 is", ""
    );
    for row in ROWS.iter().filter(|row| args.only.as_ref().is_none_or(|only| row.name.contains(only.as_str()))) {
        let least = if args.quick { row.size / 8 } else { row.size };
        let mut points = Vec::new();
        for size in [1, 4, 16, 64].map(|times| least * times) {
            let rounds: Result<Vec<f64>, String> = (0..args.rounds).map(|_| measured(row, size)).collect();
            points.push((size as f64, Figure::of(rounds?).median()));
        }
        let (exponent, off) = fit(&points);
        let times: Vec<String> = points.iter().map(|(_, ns)| format!("{:>8.3}", ns / 1e6)).collect();
        let Row { name, what, unit, expected, .. } = row;
        println!(
            "{name:<17} {}  {least:>9} {unit:<16} {exponent:>5.2} ({expected}), {off:.2}: {what}",
            times.join(" ")
        );
    }
    Ok(())
}

fn main() -> ExitCode {
    let args = Args::parse();
    if let Some([name, size]) = args.measure.as_deref() {
        let (Some(row), Ok(size)) = (ROWS.iter().find(|row| row.name == name), size.parse()) else {
            eprintln!("growth: no row is called `{name}`, or `{size}` is no number");
            return ExitCode::from(2);
        };
        println!("{}", (row.measure)(size));
        return ExitCode::SUCCESS;
    }
    match table(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("growth: {why}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::fit;

    #[test]
    fn powers_are_found() {
        for exponent in [0.0, 0.5, 1.0, 2.0] {
            let points = [1.0, 4.0, 16.0, 64.0].map(|x: f64| (x, 1000.0 * x.powf(exponent)));
            let (found, off) = fit(&points);
            assert!((found - exponent).abs() < 1e-9 && off < 1.0 + 1e-9, "{exponent}: {found}, {off}");
        }
        let (_, off) = fit(&[(1.0, 1e3), (4.0, 8e3), (16.0, 16e3), (64.0, 64e3)]);
        assert!(off > 1.3, "a point that is off the line by a factor of two: {off}");
    }
}
