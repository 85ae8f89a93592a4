//! The command line.

use super::kind::Kind;
use super::plan::{GOROUTINES, HEAP, Mode, PATIENCE, Wanted};
use super::report::Report;
use super::{child, faults, progress, watch};
use crate::oracle::cell::seed;
use clap::{Args, Parser, Subcommand};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Exit status where something broke.
const BROKE: u8 = 1;
/// Exit status where the command line was wrong.
const USAGE: u8 = 2;

/// Puts the runtime under stress and says what breaks.
///
/// The run is watched by a process of its own, so a crash or a hang is a verdict like any other. Exit status: 0 clean, 1
/// something broke, 2 usage.
#[derive(Parser)]
#[command(name = "tricolor-stress", max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Sub,
}

#[derive(Subcommand)]
enum Sub {
    /// Stops of the world, requested at a high rate while goroutines loop, allocate, talk, block and come and go
    Stw(Options),
    /// Random heaps against an oracle outside the heap
    Heap(Options),
    /// Registers and pointers under signals that suspend and deschedule goroutines wherever they are
    Preempt(Options),
    /// Blocking calls against stops and against losing the P
    Syscall(Options),
    /// All of it, in phases chosen at random
    Soak(Options),
    /// Each planted fault: whether it is caught, by which check, and how long that takes
    Faults(Faults),
    /// Runs a leg (what the others start)
    #[command(hide = true)]
    Child {
        #[arg(long)]
        page: i32,
        #[arg(long)]
        leg: String,
    },
}

#[derive(Args)]
struct Faults {
    /// The faults; none: all
    #[arg(value_name = "FAULT", value_parser = fault)]
    names: Vec<String>,
    /// How often each is run
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=1000))]
    runs: u64,
    /// How long a run lasts at most, in seconds
    #[arg(long, value_name = "N", default_value_t = 60.0, value_parser = seconds)]
    limit: f64,
    /// Of the first run of each
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Prints one JSON array instead of a table
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct Options {
    /// How long
    #[arg(long, value_name = "N", default_value = "10", value_parser = seconds)]
    seconds: f64,
    /// Number of Ps, 1 to 256; without it each leg of the run draws its own
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    procs: Option<u16>,
    /// Workers at a time, 1 to 2000; some have partners
    #[arg(long, value_name = "N", default_value_t = GOROUTINES as u16, value_parser = clap::value_parser!(u16).range(1..=2000))]
    goroutines: u16,
    /// Bytes that workers keep alive, about: a number, or one with KiB, MiB, GiB; 64KiB to 64GiB
    #[arg(long, value_name = "SIZE", default_value_t = HEAP, value_parser = size)]
    heap: u64,
    /// Repeats a run; without it a new one is drawn, and printed
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// A planted fault, to see it caught; a wrong name lists them all
    #[arg(long = "break", value_name = "FAULT", value_parser = fault)]
    fault: Option<String>,
    /// A worker more, which does wrong on purpose, to see the watcher at work: hang, crash, wrong, panic or exit
    #[arg(long, value_name = "HOW", value_parser = plant)]
    plant: Option<Kind>,
    /// As TRICOLOR_DEBUG
    #[arg(long, value_name = "KEY=VALUE,…")]
    debug: Option<String>,
    /// Writes the figures as CSV and JSON into this folder
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
    /// Prints one JSON object instead of tables
    #[arg(long)]
    json: bool,
    /// How long a worker may stand still before that is a hang, in seconds; longer where there are many
    #[arg(long, value_name = "N", default_value_t = PATIENCE, value_parser = seconds)]
    patience: f64,
}

fn seconds(text: &str) -> Result<f64, String> {
    let allowed = || format!("allowed is a number of seconds from 0.1 to 1000000, not {text:?}");
    text.parse().ok().filter(|n| (0.1..=1e6).contains(n)).ok_or_else(allowed)
}

fn size(text: &str) -> Result<u64, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let shift = match &text[digits..] {
        "" | "B" => Some(0),
        "KiB" => Some(10),
        "MiB" => Some(20),
        "GiB" => Some(30),
        _ => None,
    };
    let bytes = shift.and_then(|shift| text[..digits].parse::<u64>().ok()?.checked_mul(1 << shift));
    bytes.filter(|b| (64 << 10..=64 << 30).contains(b)).ok_or_else(|| {
        format!("allowed is a size from 64KiB to 64GiB (a number of bytes, or one with KiB, MiB, GiB), not {text:?}")
    })
}

fn fault(name: &str) -> Result<String, String> {
    gc_core::faults::choose(Some(name))?;
    let _ = gc_core::faults::choose(None);
    Ok(name.to_owned())
}

fn plant(name: &str) -> Result<Kind, String> {
    let known = Kind::PLANTED.iter().find(|kind| kind.name() == name).copied();
    let names = || Kind::PLANTED.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(", ");
    known.ok_or_else(|| format!("allowed is one of {}", names()))
}

/// Runs the program.
pub fn main() -> ExitCode {
    match Cli::parse().command {
        Sub::Stw(options) => run(Mode::Stw, options),
        Sub::Heap(options) => run(Mode::Heap, options),
        Sub::Preempt(options) => run(Mode::Preempt, options),
        Sub::Syscall(options) => run(Mode::Syscall, options),
        Sub::Soak(options) => run(Mode::Soak, options),
        Sub::Faults(options) => all_faults(&options),
        Sub::Child { page, leg } => child::run(page, &leg),
    }
}

fn usage(why: &str) -> ExitCode {
    eprintln!("tricolor-stress: {why}");
    ExitCode::from(USAGE)
}

fn run(mode: Mode, options: Options) -> ExitCode {
    let Options { seconds, procs, goroutines, heap, fault, plant, debug, report, json, patience, .. } = options;
    if let Some(folder) = &report
        && let Err(why) = writable(folder)
    {
        return usage(&format!("--report {}: nothing can be written there: {why}", folder.display()));
    }
    let wanted = Wanted {
        mode,
        seed: options.seed.unwrap_or_else(seed),
        seconds,
        procs: procs.map(usize::from),
        goroutines: goroutines.into(),
        heap,
        fault,
        plant,
        debug,
        patience,
    };
    if !json {
        println!("{} for {} s, seed {}", wanted.mode.name(), wanted.seconds, wanted.seed);
        if let Some((who, why)) = wanted.fault.as_deref().and_then(faults::elsewhere) {
            println!("no run shows this fault, as a rule ({why}); it is caught by: {who}");
        }
    }
    match follow(wanted) {
        Ok(found) => conclude(&found, report.as_deref(), json),
        Err(Refusal(why)) => usage(&why),
    }
}

/// Why nothing has run.
pub(super) struct Refusal(String);

/// Runs all legs, until one breaks.
pub(super) fn follow(wanted: Wanted) -> Result<Report, Refusal> {
    let mut found = Report::new(wanted.clone());
    let mut bar = progress::Progress::new(&wanted);
    for k in 0..wanted.legs() {
        let leg = wanted.leg(k);
        let begun = found.seconds;
        let ended = watch::run(&leg, &mut |page| bar.show(begun, page))
            .map_err(|why| Refusal(format!("the process that is to be watched cannot be started: {why}")))?;
        if let Some(said) = &ended.refused {
            return Err(Refusal(said.trim().to_owned()));
        }
        found.add(leg, ended);
        if found.failure.is_some() {
            break;
        }
    }
    bar.end();
    Ok(found)
}

/// Prints a row for each fault. Status 1 if one that could be caught was not, in any run.
fn all_faults(options: &Faults) -> ExitCode {
    let Faults { names, runs, limit, json, .. } = options;
    let mut show = |row: &faults::Row| {
        if !json {
            println!("{}", row.line());
        }
    };
    match faults::run(names, *runs, *limit, options.seed.unwrap_or_else(seed), &mut show) {
        Ok(rows) => {
            if *json {
                println!("{}", serde_json::to_string_pretty(&rows).expect("plain data"));
            }
            let missed = rows.iter().filter(|row| row.elsewhere.is_none() && row.caught() == 0).count();
            if missed > 0 { ExitCode::from(BROKE) } else { ExitCode::SUCCESS }
        }
        Err(Refusal(why)) => usage(&why),
    }
}

/// Prints, writes, and returns the status of the verdict.
fn conclude(found: &Report, folder: Option<&Path>, json: bool) -> ExitCode {
    if json {
        println!("{}", found.json());
    } else {
        println!("{}", found.table());
    }
    if let Some(failure) = &found.failure {
        eprintln!("{}\n\n{}", failure.output.trim_end(), failure.message());
    } else if !json {
        println!("clean: nothing broke in {:.1} s", found.seconds);
    }
    for wrong in folder.map_or(Vec::new(), |folder| found.write(folder)) {
        eprintln!("tricolor-stress: the report is not complete: {wrong}");
    }
    if found.failure.is_some() { ExitCode::from(BROKE) } else { ExitCode::SUCCESS }
}

/// Whether a file can be made in the folder, which is made if it is not there.
fn writable(folder: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    let probe = folder.join(".tricolor-stress");
    std::fs::write(&probe, "")?;
    std::fs::remove_file(probe)
}

#[cfg(test)]
mod tests {
    use super::{fault, seconds, size};

    #[test]
    fn sizes_and_times_are_read_or_refused() {
        assert_eq!(size("64KiB"), Ok(64 << 10));
        assert_eq!(size("1GiB"), Ok(1 << 30));
        assert_eq!(size("1000000"), Ok(1_000_000));
        for text in ["", "1", "KiB", "64kb", "-1MiB", "1.5GiB", "65GiB", "99999999999999999999", "16777216GiB"] {
            assert!(size(text).is_err_and(|why| why.contains("64KiB to 64GiB")), "{text}");
        }
        assert_eq!(seconds("0.5"), Ok(0.5));
        for text in ["0", "-1", "", "NaN", "inf", "ten", "1e7"] {
            assert!(seconds(text).is_err_and(|why| why.contains("0.1 to 1000000")), "{text}");
        }
    }

    #[test]
    fn a_wrong_fault_lists_them() {
        let why = fault("no-such").expect_err("there is none");
        for (name, _) in gc_core::faults::ALL {
            assert!(why.contains(name), "{name}");
        }
    }
}
