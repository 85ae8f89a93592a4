//! Generates `async_preempt`, the assembly that saves and restores all registers of a goroutine which a signal makes
//! give its P away, from one table of registers (`table.rs`).
//!
//! ```text
//! cargo run -p mkpreempt                         writes runtime/src/arch/async_preempt/
//! cargo run -p mkpreempt -- --check              says whether those files are current
//! cargo run -p mkpreempt -- --harness            runs every variant of the assembly under real signals
//! cargo run -p mkpreempt -- --harness x86_64 --without r12
//! ```
//!
//! What the assembly does, what the injecting handler must do, and which operands the template has is in the head of
//! each generated `.s` file.

mod aarch64;
mod asm;
mod harness;
mod outputs;
mod rust;
mod table;
mod x86;

use clap::Parser;
use std::process::ExitCode;

/// Writes the assembly of asynchronous preemption from the table of registers.
///
/// Exit status: 0 if all is well, 1 if something is not, 2 if the arguments make no sense.
#[derive(Parser)]
#[command(name = "mkpreempt")]
struct Arguments {
    /// Compare the files with what would be written, and write nothing
    #[arg(long, conflicts_with = "harness")]
    check: bool,
    /// Run the assembly and its bad twins under real signals, for these architectures (default: all)
    #[arg(long, value_name = "ARCH", num_args = 0..)]
    harness: Option<Vec<String>>,
    /// Run only the twin that does not save this register; it should fail
    #[arg(long, value_name = "REG", requires = "harness")]
    without: Option<String>,
    /// Injected calls per architecture and mode
    #[arg(long, value_name = "N", requires = "harness", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let usage = |error: String| {
        eprintln!("error: {error}");
        ExitCode::from(2)
    };
    let good = if let Some(names) = &arguments.harness {
        let arches = match harness::named(names) {
            Ok(arches) => arches,
            Err(error) => return usage(error),
        };
        match (&arguments.without, arches[..].as_ref()) {
            (None, arches) => harness::run(arches, arguments.rounds),
            (Some(register), [arch]) => match harness::run_without(arch, register) {
                Ok(passed) => passed,
                Err(error) => return usage(error),
            },
            (Some(_), _) => {
                return usage("--without needs one architecture, as in `--harness x86_64 --without r12`".to_owned());
            }
        }
    } else {
        let done =
            if arguments.check { outputs::check(&outputs::folder()) } else { outputs::write(&outputs::folder()) };
        if let Err(error) = &done {
            eprintln!("error: {error}");
        }
        done.is_ok()
    };
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
