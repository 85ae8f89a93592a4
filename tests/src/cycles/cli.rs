//! The program: `cargo cycles`.

use super::explore::{Chooser, HELD, explore, replay};
use super::run::{self, Executions, Plan};
use super::{MODELS, Model, find};
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

/// The seed, unless told: a run without arguments is the same each time.
const SEED: u64 = 1;
/// Depth of probabilistic concurrency testing, unless told: a fault that takes so many orderings is likely to be found.
const DEPTH: usize = 4;

/// Whole cycles of the collector and the scheduler, run by shuttle with a seed. No proof: so many executions, each drawn at
/// random. `cargo models` proves small ones.
#[derive(Parser)]
#[command(name = "cargo cycles", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Each model: name and property
    List,
    /// Runs models, and their twins, which must fail; all, if none is named
    Run(Run),
    /// Which planted faults are caught, and after how many executions
    Twins(Choice),
    /// The execution with this schedule, in this process
    Replay {
        name: String,
        /// The file that was named when it failed
        schedule: PathBuf,
        /// Planted in production code
        #[arg(long)]
        fault: Option<String>,
    },
    /// One exploration in this process: what `run` starts
    #[command(hide = true)]
    Explore {
        name: String,
        #[arg(long)]
        fault: Option<String>,
        #[command(flatten)]
        choice: Choice,
    },
}

#[derive(Args)]
struct Run {
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Only the twin with this fault, which must fail
    #[arg(long, value_name = "FAULT")]
    twin: Option<String>,
    /// No twins
    #[arg(long, conflicts_with = "twin")]
    no_twins: bool,
    #[command(flatten)]
    choice: Choice,
}

#[derive(Args)]
struct Choice {
    /// Where chance begins [default: 1]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Another seed each time
    #[arg(long, conflicts_with = "seed")]
    fresh: bool,
    /// Executions with each scheduler, for all models; each leaks 20 KB (`collector`) to 120 KB (`scheduler`)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    iterations: Option<u64>,
    /// N times as many executions as each model has by itself
    #[arg(long, value_name = "N", conflicts_with = "iterations", value_parser = clap::value_parser!(u32).range(1..))]
    times: Option<u32>,
    /// Only with priorities that change DEPTH - 1 times in an execution (probabilistic concurrency testing)
    #[arg(long, value_name = "DEPTH", value_parser = clap::value_parser!(u64).range(1..))]
    pct: Option<u64>,
    /// Only with a random choice at each step
    #[arg(long, conflicts_with = "pct")]
    random: bool,
}

impl From<Choice> for Plan {
    fn from(c: Choice) -> Plan {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |now| now.as_nanos());
        let seed = if c.fresh { now as u64 } else { c.seed.unwrap_or(SEED) };
        let choosers = match (c.pct, c.random) {
            (Some(depth), _) => vec![Chooser::Pct(depth as usize)],
            (None, true) => vec![Chooser::Random],
            (None, false) => vec![Chooser::Pct(DEPTH), Chooser::Random],
        };
        let executions = match (c.iterations, c.times) {
            (Some(n), _) => Executions::Exactly(n as usize),
            (None, times) => Executions::Times(times.unwrap_or(1) as usize),
        };
        Plan { seed, executions, choosers }
    }
}

/// Runs what the arguments say.
pub fn main() -> ExitCode {
    match Cli::parse().command {
        Command::List => {
            MODELS.iter().for_each(|m| println!("{:<12} {}", m.name, m.property));
            Ok(ExitCode::SUCCESS)
        }
        Command::Run(args) => start(args),
        Command::Twins(choice) => Ok(run::twins(&choice.into())),
        Command::Replay { name, schedule, fault } => one(&name).and_then(|model| {
            gc_core::faults::choose(fault.as_deref())?;
            let text = std::fs::read_to_string(&schedule);
            replay(model, &text.map_err(|why| format!("{}: {why}", schedule.display()))?);
            println!("{name} holds in this execution");
            Ok(ExitCode::SUCCESS)
        }),
        Command::Explore { name, fault, choice } => one(&name).and_then(|model| {
            gc_core::faults::choose(fault.as_deref())?;
            let plan = Plan::from(choice);
            let chooser = *plan.choosers.first().expect("at least one");
            let (n, steps) = explore(model, chooser, plan.seed, plan.executions.of(model.iterations));
            println!("{HELD}{n} {steps}");
            Ok(ExitCode::SUCCESS)
        }),
    }
    .unwrap_or_else(|why: String| {
        eprintln!("cycles: {why}");
        ExitCode::from(2)
    })
}

fn one(name: &str) -> Result<&'static Model, String> {
    find(name).ok_or_else(|| {
        let known: Vec<_> = MODELS.iter().map(|m| m.name).collect();
        format!("no model is called `{name}`: {}", known.join(", "))
    })
}

fn start(args: Run) -> Result<ExitCode, String> {
    let plan = args.choice.into();
    let mut models: Vec<&Model> = args.names.iter().map(|name| one(name)).collect::<Result<_, _>>()?;
    let Some(fault) = args.twin else {
        if models.is_empty() {
            models = MODELS.iter().collect();
        }
        return Ok(run::run(&models, !args.no_twins, &plan));
    };
    let [model] = models[..] else { return Err("`--twin` needs the name of one model".into()) };
    let twin = model.twins.iter().find(|twin| **twin == fault);
    let twin = twin.ok_or_else(|| format!("`{}` has no twin `{fault}`: {}", model.name, model.twins.join(", ")))?;
    Ok(run::twin(model, twin, &plan))
}
