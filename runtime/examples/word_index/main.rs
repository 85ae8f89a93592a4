//! `word_index`: which word occurs where, in all files of some folders.
//!
//! ```text
//! cargo run --release --example word_index -- [PATH...]
//! ```
//!
//! This is the program to read first. It does what a garbage collector has to be good at: many goroutines build one
//! large structure together, while the collector goes over it.
//!
//! | file | what |
//! |---|---|
//! | `main.rs` | arguments, rounds, exit status |
//! | `files.rs` | walks the folders, reads each file on a goroutine of its own |
//! | `words.rs` | what a word is |
//! | `index.rs` | the shared search tree, without locks |
//! | `postings.rs` | the places of a word, packed |
//! | `report.rs` | what is printed |
//! | `dump.rs` | the whole index as text, for tests |
//!
//! To see the collector at work, set `TRICOLOR_DEBUG=gctrace=1`; `TRICOLOR_GC=5` makes it run twenty times as often,
//! and `TRICOLOR_PROCS` says how many goroutines may run at the same time.

mod dump;
mod files;
mod index;
mod postings;
mod report;
mod words;
// Not for your program: while the runtime is being worked on, malloc inside it is fatal.
#[cfg(debug_assertions)]
#[path = "../../tests/common/checked.rs"]
mod checked;

use clap::Parser;
use index::Index;
use report::{Contents, Report, Round};
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

/// Builds an index of all words in some files, with many goroutines over one collected heap, and prints the most
/// frequent words.
///
/// A word is a run of ASCII letters, in lower case. Files that are not UTF-8 are skipped, and links that are met in a
/// folder are not followed. What could not be read is named on stderr; the exit status is 1 if that is so for
/// everything.
#[derive(Parser)]
struct Args {
    /// Files and folders, taken whole [default: `.` without `target` and dot entries]
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Build the index N times; all but the last are garbage
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    repeat: u32,
    /// Write the whole index to this file
    #[arg(long, value_name = "FILE", hide = true)]
    dump: Option<PathBuf>,
}

fn main() -> ExitCode {
    let args = Arc::new(Args::parse());
    let json = args.json;
    // SAFETY: a `Gc` of this program is only ever on a goroutine's stack, in the closure of one, or in a heap object;
    // no thread-local address and no lock of std is held where goroutines switch.
    let result = unsafe { tricolor::Runtime::builder().run(move || all_rounds(&args)) };
    let report = match result {
        Ok(report) => report,
        Err(error) => {
            eprintln!("word_index: the index cannot be written: {error}");
            return ExitCode::FAILURE;
        }
    };
    let text = if json { format!("{}\n", report.json()) } else { report.to_string() };
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            eprintln!("word_index: {error}");
            ExitCode::FAILURE
        }
        _ if report.contents.tally.nothing_could_be_read() => ExitCode::FAILURE,
        _ => ExitCode::SUCCESS,
    }
}

fn all_rounds(args: &Arc<Args>) -> io::Result<Report> {
    let mut rounds = Vec::new();
    loop {
        let start = Instant::now();
        let last = rounds.len() + 1 == args.repeat as usize;
        // On a goroutine of its own: when that is gone, nothing points to the index any more.
        let round = tricolor::spawn({
            let args = Arc::clone(args);
            move || one_round(&args, last)
        });
        let contents = round.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        rounds.push(Round::since(start));
        if last {
            return Ok(Report { contents, rounds, stats: tricolor::gc::stats() });
        }
    }
}

/// Builds an index and measures it. Only the last one's skipped files are named.
fn one_round(args: &Args, last: bool) -> io::Result<Contents> {
    let index = Index::new();
    let tally = files::index_all(index, &args.paths, last);
    if last {
        // So that the report says how much of the heap is alive.
        tricolor::gc::collect();
        if let Some(file) = &args.dump {
            dump::dump(index, file.clone())?;
        }
    }
    Ok(Contents::of(index, tally))
}
