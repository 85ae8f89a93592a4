//! `cargo verify`: every check of the workspace, as stages with a time and a result.
//!
//! The rules:
//!
//! - What this machine lacks is SKIPPED with the reason; it is never a pass.
//! - A command that succeeds without showing that it tested anything has failed, as has one that claims passes and
//!   exits with an error, is killed by a signal, or hangs.
//! - Stages run one after the other. Those that only build and search are a second row, at lower priority beside the first.
//! - A failed stage does not keep the others from running, unless `--fail-fast` says so.
//! - The last line is `N passed, N failed, N skipped`, summed over all tests of all stages. A check without tests of
//!   its own (formatting, lints, a documentation build) counts as one; an ignored test counts as skipped.
//! - The exit status is 0 if nothing failed, 1 if something did, 2 if the arguments make no sense.
//!
//! There are two tiers, which tests learn from `TRICOLOR_TIER` (`commit` or `long`). The commit tier has a budget,
//! [`COMMIT_BUDGET`]. Running over it is a warning that names the slowest stages and not a failure: the time depends
//! on the machine and on what was built before, and a result that depends on the neighbours' load teaches people to
//! run things again instead of reading them. The budget binds those who add tests.

mod count;
mod process;
mod report;
mod run;
mod stage;
mod stages;
mod verdict;
mod workspace;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use anstream::{eprintln, println};
use clap::Parser;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use report::{Board, Report};
use run::Runner;
use stage::{Stage, Tier};
use stages::STAGES;
use workspace::Workspace;

/// What the commit tier may take from nothing built, on two cores. The clock starts when this tool does: its own build,
/// up to a minute, is not in the number.
pub const COMMIT_BUDGET: Duration = Duration::from_secs(15 * 60);

/// Runs every check of the workspace. The last line is `N passed, N failed, N skipped`.
///
/// Exit status: 0 if nothing failed, 1 if something did, 2 if the arguments make no sense.
#[derive(Parser)]
#[command(name = "cargo verify", bin_name = "cargo verify")]
struct Arguments {
    /// Run everything, with long durations (default: the commit tier, within 15 minutes)
    #[arg(long)]
    long: bool,
    /// Run these stages alone
    #[arg(long, value_name = "STAGE", num_args = 1.., value_delimiter = ',')]
    only: Vec<String>,
    /// Leave these stages out
    #[arg(long, value_name = "STAGE", num_args = 1.., value_delimiter = ',')]
    skip: Vec<String>,
    /// Stop after the first stage that fails
    #[arg(long)]
    fail_fast: bool,
    /// Longest time for one stage (default: 900, with --long 10800)
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    timeout: Option<u64>,
    /// Write the results to this file, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// List the stages and exit
    #[arg(long)]
    list: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.list {
        for stage in STAGES {
            let tier = if stage.tier == Tier::Long { " (--long)" } else { "" };
            println!("{:<12} {}{tier}", stage.name, stage.about);
        }
        return ExitCode::SUCCESS;
    }
    let tier = if arguments.long { Tier::Long } else { Tier::Commit };
    let stages = match stages::select(tier, &arguments.only, &arguments.skip) {
        Ok(stages) => stages,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::from(2);
        }
    };
    match verify(&arguments, tier, &stages) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the stages and reports; says whether nothing failed.
fn verify(arguments: &Arguments, tier: Tier, stages: &[&'static Stage]) -> Result<bool, String> {
    // The stages' processes are in groups of their own, which Ctrl-C does not reach.
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [SIGHUP, SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&interrupted)).map_err(|e| format!("signals: {e}"))?;
    }
    let workspace = Workspace::load(tier)?;
    let limit = arguments.timeout.map_or(tier.stage_limit(), Duration::from_secs);
    let runner = Runner { workspace: &workspace, limit, interrupted: &interrupted };

    let start = Instant::now();
    let done = runner.run_all(stages, &Board::new(), arguments.fail_fast);
    let reached = |stage: &Stage| done.iter().any(|done| done.name == stage.name);

    let report = Report {
        tier,
        complete: arguments.only.is_empty() && arguments.skip.is_empty(),
        time: start.elapsed(),
        not_run: stages.iter().filter(|stage| !reached(stage)).map(|stage| stage.name).collect(),
        done: &done,
    };
    let json = arguments
        .json
        .as_ref()
        .map(|path| std::fs::write(path, report.json()).map_err(|error| format!("{}: {error}", path.display())));
    report.print();
    json.transpose()?;
    Ok(report.is_good())
}

#[cfg(test)]
mod tests {
    use super::Arguments;
    use clap::{CommandFactory, Parser};

    #[test]
    fn the_arguments_are_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn stages_are_given_as_words_or_with_commas() {
        let arguments = Arguments::parse_from(["verify", "--only", "fmt", "doc", "--skip", "a,b", "--long"]);
        assert_eq!((arguments.only, arguments.skip), (vec!["fmt".into(), "doc".into()], vec!["a".into(), "b".into()]));
        assert!(arguments.long);
    }

    #[test]
    fn a_stage_limit_of_nothing_is_refused() {
        assert!(Arguments::try_parse_from(["verify", "--timeout", "0"]).is_err());
    }
}
