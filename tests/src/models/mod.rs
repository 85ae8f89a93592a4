//! The list of models, and the program that runs them.

mod afterlife;
mod greyobject;
mod hybrid;
mod mutable;
mod netpoll;
mod preempt;
mod runq;
mod spans;
mod stop;
mod suspend;
mod timers;
mod world;

use loom::model::Builder;
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Instant;

/// One model: a property, and the fault that must break it.
struct Model {
    name: &'static str,
    /// What is proved, in a sentence.
    property: &'static str,
    /// Where it comes from: commit, proposal, issue.
    source: &'static str,
    threads: usize,
    /// Preemptions per execution that loom explores; `None`: all.
    bound: Option<usize>,
    /// Fewer executions than this, and the model has become vacuous.
    least: usize,
    run: fn(),
    /// The production functions that it drives, by the names under which they say so (`gc_core::sync::modelled`): each must
    /// be entered.
    drives: &'static [&'static str],
    /// The planted faults (see `gc_core::faults`), each of which must make the model fail.
    twins: &'static [&'static str],
}

const MODELS: &[Model] = &[
    greyobject::MODEL,
    greyobject::FATAL,
    hybrid::DELETION,
    hybrid::INSERTION,
    hybrid::BIRTH,
    mutable::INSIDE,
    mutable::ENTER,
    mutable::LEAVE,
    spans::BUFFERS,
    spans::SWEEP,
    spans::PUBLISH,
    spans::CACHED,
    afterlife::WEAK,
    afterlife::CLEANUP,
    afterlife::DROP,
    netpoll::READY,
    netpoll::AGAIN,
    netpoll::CLOSE,
    netpoll::DEADLINE,
    netpoll::EITHER,
    timers::STOP,
    timers::SLEEP,
    runq::STEAL,
    runq::PUBLISH,
    runq::NEXT,
    runq::FULL,
    runq::WAKE,
    runq::WAKE_GLOBAL,
    stop::DOOR,
    stop::REQUEST,
    stop::HANDOFF,
    stop::SYSCALL,
    stop::COUNT,
    stop::RETAKE,
    stop::TWO,
    stop::HANDSHAKE,
    suspend::REFUSED,
    preempt::XREGS,
    preempt::SCAN,
];

/// Executions of the model in this process.
static EXECUTIONS: AtomicUsize = AtomicUsize::new(0);

const USAGE: &str = "usage: cargo models list | run [NAME…]";

pub fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words[..] {
        ["list"] => {
            MODELS.iter().for_each(|m| println!("{:<18} {}\n{:<18} {}", m.name, m.property, "", m.source));
            ExitCode::SUCCESS
        }
        ["run", ref names @ ..] => match names.iter().find(|n| find(n).is_none()) {
            Some(unknown) => {
                let known: Vec<_> = MODELS.iter().map(|m| m.name).collect();
                eprintln!("models: no model is called `{unknown}`: {}", known.join(", "));
                ExitCode::from(2)
            }
            None => run(names),
        },
        // What `run` starts for each model and twin.
        ["exec", name, ref fault @ ..] if fault.len() < 2 => exec(name, fault.first().copied()),
        _ => {
            eprintln!("{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn find(name: &str) -> Option<&'static Model> {
    MODELS.iter().find(|m| m.name == name)
}

/// Explores one model in this process.
fn exec(name: &str, fault: Option<&str>) -> ExitCode {
    let Some(model) = find(name) else {
        eprintln!("models: no model is called `{name}`");
        return ExitCode::from(2);
    };
    if let Err(e) = gc_core::faults::choose(fault) {
        eprintln!("models: {e}");
        return ExitCode::from(2);
    }
    let mut builder = Builder::new();
    builder.preemption_bound = model.bound;
    builder.max_branches = 100_000;
    builder.check(move || {
        EXECUTIONS.fetch_add(1, Ordering::Relaxed);
        (model.run)();
    });
    if let Some(missing) = model.drives.iter().find(|name| !gc_core::model::entered(name)) {
        panic!("the model drives `{missing}`, and has never entered it");
    }
    println!("executions {}", EXECUTIONS.load(Ordering::Relaxed));
    ExitCode::SUCCESS
}

/// What a process of `exec` came to.
struct Outcome {
    /// Executions, if the model held in all of them.
    held: Option<usize>,
    /// The line that says what failed.
    why: String,
    seconds: f64,
}

fn outcome(model: &Model, fault: Option<&str>) -> Outcome {
    let begin = Instant::now();
    let exe = std::env::current_exe().expect("the path of this program");
    let mut command = Command::new(exe);
    command.arg("exec").arg(model.name).args(fault).env("RUST_BACKTRACE", "0");
    let output = command.output().expect("starting a model");
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    let held = output
        .status
        .success()
        .then(|| text.lines().find_map(|l| l.strip_prefix("executions ")).and_then(|n| n.parse().ok()).unwrap_or(0));
    // The message stands in the line behind the place of the panic.
    let why = errors.lines().skip_while(|l| !l.contains("panicked at")).nth(1).unwrap_or("no message").to_string();
    Outcome { held, why, seconds: begin.elapsed().as_secs_f64() }
}

/// A model, or its twin with this fault.
type Job = (&'static Model, Option<&'static str>);

/// The outcomes of all `jobs`, in their order; each processor explores one at a time.
fn outcomes(jobs: &[Job], mut show: impl FnMut(Job, Outcome)) {
    let next = AtomicUsize::new(0);
    let (done, all) = mpsc::channel();
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, |n| n.get()) {
            let (done, next) = (done.clone(), &next);
            scope.spawn(move || {
                loop {
                    let i = next.fetch_add(1, Ordering::Relaxed);
                    let Some(&(model, fault)) = jobs.get(i) else { return };
                    done.send((i, outcome(model, fault))).expect("somebody listens");
                }
            });
        }
        drop(done);
        let mut early: Vec<Option<Outcome>> = jobs.iter().map(|_| None).collect();
        let mut shown = 0;
        for (i, outcome) in all {
            early[i] = Some(outcome);
            while let Some(outcome) = early.get_mut(shown).and_then(Option::take) {
                show(jobs[shown], outcome);
                shown += 1;
            }
        }
    });
}

fn run(names: &[&str]) -> ExitCode {
    let (mut passed, mut failed) = (0, 0);
    let mut verdict = |ok: bool| {
        if ok {
            passed += 1
        } else {
            failed += 1
        }
        if ok { "ok" } else { "FAILED" }
    };
    println!("{:<34} {:>7} {:>9} {:>10} {:>8}  result", "model / twin", "threads", "bound", "executions", "seconds");
    let chosen = MODELS.iter().filter(|m| names.is_empty() || names.contains(&m.name));
    let twins = |m: &'static Model| m.twins.iter().map(move |fault| (m, Some(*fault)));
    let jobs: Vec<Job> = chosen.flat_map(|m| std::iter::once((m, None)).chain(twins(m))).collect();
    outcomes(&jobs, |(model, fault), outcome| match fault {
        None => {
            let bound = model.bound.map_or("none".into(), |b| b.to_string());
            let executions = outcome.held.unwrap_or(0);
            let ok = verdict(executions >= model.least);
            let note = match outcome.held {
                None => format!(": {}", outcome.why),
                Some(n) if n < model.least => format!(": only {n} executions, at least {} expected", model.least),
                Some(_) => String::new(),
            };
            println!(
                "{:<34} {:>7} {bound:>9} {executions:>10} {:>8.1}  {ok}{note}",
                model.name, model.threads, outcome.seconds
            );
        }
        Some(fault) => {
            let ok = verdict(outcome.held.is_none() && outcome.why != "no message");
            let passes = "the twin passes: the model proves nothing";
            let what = if outcome.held.is_some() { passes } else { &outcome.why };
            println!(
                "  twin {fault:<27} {:>7} {:>9} {:>10} {:>8.1}  {ok}: fails with: {what}",
                "", "", "", outcome.seconds
            );
        }
    });
    println!("{passed} passed, {failed} failed, 0 skipped");
    ExitCode::from(u8::from(failed > 0))
}
