//! The program: `cargo models`.

use super::explore::{Plan, explore};
use super::{MODELS, Model, faults, find, properties, run};
use clap::{Args, Parser, Subcommand};
use std::process::ExitCode;

/// Loom models on the production types of the collector and the scheduler. Each has twins, the same model with a planted
/// fault, which must fail: else the model proves nothing.
#[derive(Parser)]
#[command(name = "cargo models", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Each model: name, property, source
    List,
    /// Explores models and their twins; all, if none is named
    Run(Run),
    /// Which planted faults are caught by which models
    Twins(Bounds),
    /// One exploration in this process: what `run` starts
    #[command(hide = true)]
    Explore {
        name: String,
        #[arg(long)]
        fault: Option<String>,
        #[command(flatten)]
        bounds: Bounds,
    },
}

#[derive(Args)]
struct Run {
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Only the twin with this fault (without a value: with the model's first)
    #[arg(long, value_name = "FAULT", num_args = 0..=1, default_missing_value = "")]
    twin: Option<String>,
    /// Prints what happens, step by step, in the execution that fails
    #[arg(long)]
    trace: bool,
    #[command(flatten)]
    bounds: Bounds,
}

#[derive(Args, Clone, Copy)]
struct Bounds {
    /// Preemptions per execution that are explored, for all models
    #[arg(long, value_name = "N", conflicts_with = "nightly")]
    bound: Option<usize>,
    /// One preemption more than each model's own bound
    #[arg(long)]
    nightly: bool,
}

impl From<Bounds> for Plan {
    fn from(b: Bounds) -> Plan {
        Plan { bound: b.bound, nightly: b.nightly }
    }
}

/// Runs what the arguments say.
pub fn main() -> ExitCode {
    match Cli::parse().command {
        Command::List => {
            MODELS.iter().for_each(|m| println!("{:<18} {}\n{:<18} {}", m.name, m.property, "", m.source));
            ExitCode::SUCCESS
        }
        Command::Run(args) => start(&args).unwrap_or_else(refuse),
        Command::Twins(bounds) => run::twins(&bounds.into()),
        Command::Explore { name, fault, bounds } => {
            one(&name).map_or_else(refuse, |model| exec(model, fault.as_deref(), &bounds.into()))
        }
    }
}

fn refuse(why: String) -> ExitCode {
    eprintln!("models: {why}");
    ExitCode::from(2)
}

fn one(name: &str) -> Result<&'static Model, String> {
    find(name).ok_or_else(|| {
        let known: Vec<_> = MODELS.iter().map(|m| m.name).collect();
        format!("no model is called `{name}`: {}", known.join(", "))
    })
}

fn start(args: &Run) -> Result<ExitCode, String> {
    let plan = args.bounds.into();
    let models: Vec<&Model> = args.names.iter().map(|name| one(name)).collect::<Result<_, _>>()?;
    if args.trace && args.twin.is_none() {
        let [model] = models[..] else { return Err("`--trace` needs the name of one model".into()) };
        return Ok(traced(model, None, &plan));
    }
    let Some(fault) = &args.twin else {
        let all = models.is_empty();
        if all {
            properties::check(properties::PROPERTIES, MODELS)?;
            faults::check(gc_core::faults::ALL.iter().map(|(name, _)| *name), MODELS, faults::ELSEWHERE)?;
        }
        return Ok(run::run(if all { MODELS.iter().collect() } else { models }, &plan));
    };
    let [model] = models[..] else { return Err("`--twin` needs the name of one model".into()) };
    let fault = if fault.is_empty() { model.twins[0] } else { fault };
    if !model.twins.contains(&fault) {
        return Err(format!("`{}` has no twin `{fault}`: {}", model.name, model.twins.join(", ")));
    }
    Ok(if args.trace { traced(model, Some(fault), &plan) } else { run::twin(model, fault, &plan) })
}

/// Explores one model in this process.
fn exec(model: &'static Model, fault: Option<&str>, plan: &Plan) -> ExitCode {
    if let Err(e) = gc_core::faults::choose(fault) {
        return refuse(e);
    }
    println!("executions {}", explore(model, plan, false));
    ExitCode::SUCCESS
}

/// Explores a model, or its twin, in this process, until it fails.
fn traced(model: &'static Model, fault: Option<&str>, plan: &Plan) -> ExitCode {
    if let Err(e) = gc_core::faults::choose(fault) {
        return refuse(e);
    }
    let run = std::panic::AssertUnwindSafe(|| explore(model, plan, true));
    let (what, must_fail) = (fault.unwrap_or("the model"), fault.is_some());
    let failed = match std::panic::catch_unwind(run) {
        Ok(executions) => {
            println!("{}: {what} holds in {executions} executions", model.name);
            false
        }
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
            println!("{}: {what} fails: {}", model.name, text.unwrap_or("without a message"));
            true
        }
    };
    ExitCode::from(u8::from(failed != must_fail))
}
