//! `cargo run --release -p tricolor-benches --bin counts`: how many instructions the fast paths take.
//!
//! Valgrind (callgrind) counts them, so the machine's mood is not in it. Each operation is counted in a process of its own,
//! which does it a number of times, and in another one which does it more often; the difference is free of what comes
//! before and after. Preemption is off, as valgrind 3.19 does not know the instructions that save vector registers; there is
//! one P and no cycle but the one that is wanted. Address space is no matter: where a large reservation is refused, the heap
//! takes a smaller one.
//!
//! `counts.json` is what was counted last. `--check` compares, and `--record` writes it anew. It belongs to the pinned
//! toolchain: another compiler has other counts.

#[path = "../../../gc-core/tests/threads/mod.rs"]
mod threads;

use clap::Parser;
use gc_core::{Config, Gc, GcCell, GcP, Phase, Root, Trace};
use std::collections::BTreeMap;
use std::hint::black_box;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use threads::ThreadWorld;
use tricolor::chan;

/// Instructions of the fast paths, by valgrind.
#[derive(Parser)]
struct Args {
    /// Compares with `benches/counts.json`; the last line is `N passed, N failed, N skipped`.
    #[arg(long, conflicts_with = "record")]
    check: bool,
    /// Writes `benches/counts.json`.
    #[arg(long)]
    record: bool,
    /// Does one operation N times, to be counted.
    #[arg(long, hide = true, num_args = 2, value_names = ["OPERATION", "N"])]
    perform: Option<Vec<String>>,
}

/// Counts may differ by so much of what is recorded.
const TOLERANCE: f64 = 0.05;

/// Name, function that does it so many times, and how many more the second process does: so many that a time slice in
/// which a thread looks for work in vain, some 700,000 instructions now and then, is nothing beside them.
type Operation = (&'static str, fn(u64), u64);

const OPERATIONS: [Operation; 7] = [
    ("Gc::new, 32 B", allocate, 50_000),
    ("GcCell::set, barrier off", |n| store(Phase::Off, n), 50_000),
    ("GcCell::set, barrier on, into the buffer", |n| store(Phase::Mark, n), 50_000),
    ("yield_now, between two", yields, 50_000),
    ("unbuffered channel, a hand-off", |n| values(0, n), 50_000),
    ("buffered channel, a value", |n| values(64, n), 50_000),
    ("entersyscall + exitsyscall", blocking, 50_000),
];

/// What the first process does.
const FIRST: u64 = 2000;

#[derive(Trace)]
struct Node {
    next: GcCell<Option<Gc<Node>>>,
    data: [u64; 3],
}

fn node() -> Gc<Node> {
    Gc::new(Node { next: GcCell::new(None), data: [0; 3] })
}

fn on_a_plain_thread(percent: Option<u32>, f: impl FnOnce()) {
    let (world, _) = ThreadWorld::start(Config { percent, ..Config::default() });
    world.enter(f);
}

fn allocate(n: u64) {
    on_a_plain_thread(None, || (0..n).for_each(|_| _ = black_box(node())));
}

/// Both objects are marked already: what is counted is their way into the buffer and out of it.
fn store(phase: Phase, n: u64) {
    on_a_plain_thread(Some(100), || {
        let heap = GcP::current().heap();
        let (a, b, c) = (Root::new(node()), Root::new(node()), Root::new(node()));
        heap.collect();
        while heap.phase() != phase {
            black_box(node());
        }
        let (a, b, c) = (a.get(), b.get(), c.get());
        (0..n).for_each(|i| black_box(a).next.set(Some(if i % 2 == 0 { b } else { c })));
        assert!(heap.phase() == phase, "a cycle began or ended meanwhile");
    });
}

fn on_a_goroutine(f: impl FnOnce() + Send + 'static) {
    let builder = tricolor::Runtime::builder().procs(1).async_preempt(false).gc_percent(None);
    // SAFETY: no `Gc` leaves goroutine stacks and heap objects; nothing thread-local or locked crosses a safepoint.
    unsafe { builder.run(f) };
}

fn yields(n: u64) {
    on_a_goroutine(move || {
        let two = [0, 1].map(|_| tricolor::spawn(move || (0..n / 2).for_each(|_| tricolor::yield_now())));
        two.into_iter().for_each(|g| g.join().unwrap());
    });
}

fn values(cap: usize, n: u64) {
    on_a_goroutine(move || {
        let (tx, rx) = chan::bounded::<u64>(cap);
        let sender = tricolor::spawn(move || (0..n).for_each(|i| tx.send(i).unwrap()));
        assert_eq!(rx.iter().sum::<u64>(), n * (n - 1) / 2);
        sender.join().unwrap();
    });
}

fn blocking(n: u64) {
    on_a_goroutine(move || (0..n).for_each(|i| assert_eq!(tricolor::blocking((i,), |(i,)| i + 1), i + 1)));
}

/// Instructions of a process that does the operation `n` times. `sysmon`, which goes by the clock, has its share in it.
fn instructions(name: &str, n: u64) -> Result<u64, String> {
    let out = std::env::temp_dir().join(format!("tricolor-counts-{}", std::process::id()));
    let this = std::env::current_exe().map_err(|e| format!("this program: {e}"))?;
    let output = Command::new("valgrind")
        .args(["-q", "--tool=callgrind"])
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(this)
        .args(["--perform", name, &n.to_string()])
        .output()
        .map_err(|e| format!("valgrind: {e}"))?;
    if !output.status.success() {
        return Err(format!("valgrind: {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim()));
    }
    let text = std::fs::read_to_string(&out).map_err(|e| format!("{}: {e}", out.display()));
    _ = std::fs::remove_file(&out);
    let total = text?.lines().find_map(|line| line.strip_prefix("summary: ")?.trim().parse().ok());
    total.ok_or_else(|| "callgrind says no sum".to_owned())
}

/// Instructions of one operation.
fn count((name, _, more): Operation) -> Result<f64, String> {
    // The least of three: what else runs only adds.
    let least = |n| (0..3).map(|_| instructions(name, n)).try_fold(u64::MAX, |least, i| Ok::<_, String>(least.min(i?)));
    let (first, second) = (least(FIRST)?, least(FIRST + more)?);
    Ok((second.saturating_sub(first) as f64 / more as f64 * 10.0).round() / 10.0)
}

type Counts = BTreeMap<String, f64>;

/// What is wrong with an operation's count, if anything.
fn wrong(recorded: Option<f64>, counted: f64) -> Option<String> {
    let Some(recorded) = recorded else { return Some("not recorded yet".to_owned()) };
    let off = counted / recorded - 1.0;
    // Negated, so that no number at all is wrong as well.
    let ok = off.abs() <= TOLERANCE;
    (!ok).then(|| format!("{recorded} recorded, {:+.1} %: look why, and then record it (--record)", off * 100.0))
}

/// Operations that are recorded and no longer counted.
fn forgotten<'a>(recorded: &'a Counts, counted: &'a Counts) -> impl Iterator<Item = &'a String> {
    recorded.keys().filter(|name| !counted.contains_key(*name))
}

fn file() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("counts.json")
}

fn recorded() -> Result<Counts, String> {
    let text = std::fs::read_to_string(file()).map_err(|e| format!("{}: {e}", file().display()))?;
    serde_json::from_str(&text).map_err(|e| format!("{}: {e}", file().display()))
}

fn run(args: &Args) -> Result<bool, String> {
    let before = if args.record { Counts::new() } else { recorded()? };
    let mut counted = Counts::new();
    let mut failed = 0;
    for operation in OPERATIONS {
        let (name, ..) = operation;
        let n = count(operation)?;
        counted.insert(name.to_owned(), n);
        let problem = wrong(before.get(name).copied(), n).filter(|_| !args.record);
        failed += usize::from(problem.is_some());
        println!("{name:<42} {n:>8.1}  {}", problem.unwrap_or_default());
    }
    if args.record {
        let text = serde_json::to_string_pretty(&counted).map_err(|e| e.to_string())?;
        std::fs::write(file(), text + "\n").map_err(|e| format!("{}: {e}", file().display()))?;
    }
    for name in forgotten(&before, &counted) {
        failed += 1;
        println!("{name}: recorded, and counted no longer");
    }
    if args.check {
        println!("{} passed, {failed} failed, 0 skipped", (OPERATIONS.len()).saturating_sub(failed));
    }
    Ok(failed == 0 || !args.check)
}

fn main() -> ExitCode {
    let args = Args::parse();
    if let Some([name, n]) = args.perform.as_deref() {
        let operation = OPERATIONS.iter().find(|(known, ..)| known == name);
        let (Some((_, perform, _)), Ok(n)) = (operation, n.parse()) else {
            eprintln!("counts: no operation is called `{name}`, or `{n}` is no number");
            return ExitCode::from(2);
        };
        perform(n);
        return ExitCode::SUCCESS;
    }
    let there = Command::new("valgrind").arg("--version").stdout(Stdio::null()).status();
    if let Err(e) = there {
        eprintln!("counts: valgrind: {e} (Debian: valgrind)");
        return ExitCode::FAILURE;
    }
    match run(&args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("counts: {why}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_may_be_five_percent_off_in_either_direction() {
        for near in [100.0, 95.1, 104.9] {
            assert_eq!(wrong(Some(100.0), near), None, "{near}");
        }
        for far in [94.9, 105.1, 0.0, f64::NAN] {
            assert!(wrong(Some(100.0), far).is_some_and(|why| why.starts_with("100 recorded")), "{far}");
        }
        assert_eq!(wrong(None, 100.0).as_deref(), Some("not recorded yet"));
    }

    #[test]
    fn what_is_recorded_is_what_is_counted() {
        let counted: Counts = OPERATIONS.iter().map(|(name, ..)| ((*name).to_owned(), 1.0)).collect();
        let recorded = recorded().unwrap();
        assert_eq!(recorded.keys().collect::<Vec<_>>(), counted.keys().collect::<Vec<_>>());
        let more = Counts::from([("gone".to_owned(), 5.0)]);
        assert_eq!(forgotten(&more, &counted).collect::<Vec<_>>(), ["gone"]);
    }
}
