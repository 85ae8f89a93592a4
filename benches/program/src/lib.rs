//! What the programs that `cargo versus` compares share: how they are asked, and how they answer.
//!
//! `PROGRAM WORKLOAD [--scale N] [--procs N]` does one workload, once, checks what came of it, and prints a line
//! `metric value` for each metric of that workload (`benches/src/bin/versus/workloads.rs` has the units). A check that
//! fails ends the program with another status than 0. A program that has no such thing prints `none` and why. What only
//! the others can check, since it must be the same for all, it prints as `result TEXT`.
//!
//! A server is different: it prints `address HOST:PORT`, and serves until its standard input ends.

mod sizes;

pub use sizes::{alloc, gcbench, hiccups, ring, stops, store_on, trees};

use std::io::{Read, Write};
use std::process::exit;
use std::time::Instant;

/// What the program was asked for.
pub struct Ask {
    /// The workload's name.
    pub workload: String,
    /// Sizes are to be an Nth.
    pub scale: u64,
    /// How much may run at once.
    pub procs: usize,
}

impl Ask {
    /// From the program's arguments; one that is not understood ends it with status 2.
    pub fn from_args() -> Ask {
        let mut ask = Ask { workload: String::new(), scale: 1, procs: 1 };
        let mut args = std::env::args().skip(1);
        while let Some(arg) = args.next() {
            let mut number = || match args.next().and_then(|n| n.parse::<u32>().ok()) {
                Some(n) if n > 0 => n,
                _ => refuse(&format!("{arg} takes a number, 1 or more")),
            };
            match arg.as_str() {
                "--scale" => ask.scale = u64::from(number()),
                "--procs" => ask.procs = number() as usize,
                _ if arg.starts_with('-') || !ask.workload.is_empty() => refuse(&format!("`{arg}` is not understood")),
                _ => ask.workload = arg,
            }
        }
        if ask.workload.is_empty() {
            refuse("a workload is missing");
        }
        ask
    }

    /// A size that is `full` at scale 1.
    pub fn size(&self, full: u64) -> u64 {
        (full / self.scale).max(1)
    }

    /// Ends the program: there is no workload of that name.
    pub fn unknown(&self) -> ! {
        refuse(&format!("no workload is called `{}`", self.workload))
    }
}

fn refuse(why: &str) -> ! {
    eprintln!("{why}\nusage: PROGRAM WORKLOAD [--scale N] [--procs N] (the names: `cargo versus --list`)");
    exit(2)
}

/// Says what a metric came to.
pub fn tell(metric: &str, value: f64) {
    println!("{metric} {value}");
}

/// Says that there is no such thing here, and ends the program.
pub fn none(why: &str) -> ! {
    println!("none {why}");
    exit(0)
}

/// Runs `f`, which does `n` operations, first with an eighth of them, untimed; tells `time`, in nanoseconds each.
pub fn tell_time(n: u64, mut f: impl FnMut(u64)) {
    f((n / 8).max(1));
    let begin = Instant::now();
    f(n);
    tell("time", begin.elapsed().as_nanos() as f64 / n as f64);
}

/// Says where a server listens.
pub fn tell_address(address: &std::net::SocketAddr) {
    println!("address {address}");
    std::io::stdout().flush().expect("standard output");
}

/// Waits until standard input ends. It blocks the thread.
pub fn wait_for_end_of_input() {
    let mut rest = [0_u8; 64];
    while matches!(std::io::stdin().read(&mut rest), Ok(n) if n > 0) {}
}

/// Bytes of this process.
#[derive(Clone, Copy)]
pub struct Memory {
    /// Pages in memory.
    pub resident: u64,
    /// Page tables.
    pub tables: u64,
}

impl Memory {
    /// What the kernel says now.
    pub fn now() -> Memory {
        let status = std::fs::read_to_string("/proc/self/status").expect("/proc/self/status");
        let kib = |key: &str| -> u64 {
            let line = status.lines().find(|l| l.starts_with(key)).expect("a line of /proc/self/status");
            line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).expect("a number of KiB")
        };
        Memory { resident: kib("VmRSS:") << 10, tables: kib("VmPTE:") << 10 }
    }
}

/// The value below which the share `q` of the sorted values lies.
///
/// # Panics
/// If there are none.
pub fn quantile<T: Copy>(sorted: &[T], q: f64) -> T {
    let i = (sorted.len() as f64 * q) as usize;
    sorted[i.min(sorted.len() - 1)]
}

/// Processor time of this process so far, of all its threads.
pub fn cpu_seconds() -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to memory of our own.
    let failed = unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) };
    assert_eq!(failed, 0, "the clock of processor time");
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// What is told of latencies: names, and the share of them that is not longer.
pub const LATENCIES: [(&str, f64); 6] =
    [("median", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("p99.99", 0.9999), ("worst", 1.0)];

/// Tells all [`LATENCIES`] of times in nanoseconds, in microseconds.
///
/// # Panics
/// If there are none.
pub fn tell_latencies(mut nanos: Vec<u64>) {
    nanos.sort_unstable();
    for (metric, q) in LATENCIES {
        tell(metric, quantile(&nanos, q) as f64 / 1e3);
    }
}

/// As [`tell_latencies`], without those that mean nothing where there are only some hundred.
///
/// # Panics
/// If there are none.
pub fn tell_stops(mut nanos: Vec<u64>) {
    nanos.sort_unstable();
    for (metric, q) in LATENCIES.into_iter().filter(|(metric, _)| !metric.starts_with("p99.")) {
        tell(metric, quantile(&nanos, q) as f64 / 1e3);
    }
}

/// As [`tell_time`], and what of it is more than the time of `raw`, which does the same without the contestant: `over-raw`.
pub fn tell_time_over(n: u64, mut raw: impl FnMut(u64), mut f: impl FnMut(u64)) {
    let time = |f: &mut dyn FnMut(u64), n| {
        let begin = Instant::now();
        f(n);
        begin.elapsed().as_nanos() as f64 / n as f64
    };
    let n = (n / 8).max(1);
    // In turns, as the machine is not always equally fast; the first one does not count.
    let mut rounds: Vec<_> = (0..9).map(|_| (time(&mut raw, n), time(&mut f, n))).skip(1).collect();
    let mut median = |of: fn(&(f64, f64)) -> f64| {
        rounds.sort_by(|a, b| of(a).total_cmp(&of(b)));
        of(&rounds[rounds.len() / 2])
    };
    tell("time", median(|round| round.1));
    tell("over-raw", median(|round| round.1 - round.0).max(0.0));
}
