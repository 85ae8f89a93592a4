//! The suite: each model, with each scheduler, and each twin, in a process of its own, since some twins end in an abort; as
//! many at once as there are processors.

use super::explore::{Chooser, FAILED_IN, HELD};
use super::{MODELS, Model};
use std::collections::VecDeque;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::sync::Mutex;
use std::thread::{available_parallelism, scope};
use std::time::Instant;

/// How many times as many executions a twin has time to fail in. Most fail in the first tenth of the model's own; but with the
/// next change of the code chance will choose otherwise.
const PATIENCE: usize = 4;

/// What the arguments say.
pub struct Plan {
    pub seed: u64,
    pub executions: Executions,
    /// Both, or one of them.
    pub choosers: Vec<Chooser>,
}

/// How many executions with each scheduler.
pub enum Executions {
    /// So many for all models.
    Exactly(usize),
    /// So many times a model's own number.
    Times(usize),
}

impl Executions {
    /// How many they are for who has `own` of its own.
    pub fn of(&self, own: usize) -> usize {
        match self {
            Executions::Exactly(n) => *n,
            Executions::Times(times) => times * own,
        }
    }
}

/// A model, or its twin with a fault, with a scheduler.
#[derive(Clone, Copy)]
struct Job {
    model: &'static Model,
    fault: Option<&'static str>,
    chooser: Chooser,
}

/// What a process came to.
struct Outcome {
    /// Executions and steps, if the model held in all of them.
    held: Option<(usize, u64)>,
    /// The execution that failed, its seed and its schedule.
    failed_in: Option<(usize, u64)>,
    schedule: String,
    /// The line that says what failed.
    why: String,
    seconds: f64,
}

impl Outcome {
    /// Runs this program with these arguments.
    fn of(arguments: &[String]) -> Outcome {
        let begin = Instant::now();
        let exe = std::env::current_exe().expect("the path of this program");
        let output = Command::new(exe).args(arguments).env("RUST_BACKTRACE", "0").output().expect("starting a model");
        let text = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        let numbers = |line: &str| {
            let (a, b) = line.split_once(' ')?;
            Some((a.parse().ok()?, b.parse().ok()?))
        };
        let held = text.lines().find_map(|l| l.strip_prefix(HELD)).and_then(numbers);
        let lines: Vec<&str> = errors.lines().collect();
        // The message stands in the line behind the place of the panic.
        let why = lines.windows(2).find(|l| l[0].contains("panicked at")).map_or("", |l| l[1]);
        let schedule = errors.split_once("failing schedule:\n\"\n").and_then(|(_, rest)| rest.split_once("\n\"\n"));
        Outcome {
            held: held.filter(|_| output.status.success()),
            failed_in: lines.iter().find_map(|l| l.strip_prefix(FAILED_IN)).and_then(numbers),
            // shuttle breaks it into lines.
            schedule: schedule.map_or(String::new(), |(schedule, _)| schedule.split_whitespace().collect()),
            why: why.into(),
            seconds: begin.elapsed().as_secs_f64(),
        }
    }

    fn seconds(&self) -> String {
        format!("{:.1} s", self.seconds)
    }
}

impl Job {
    fn name(&self) -> String {
        let fault = self.fault.map(|f| format!(" {f}")).unwrap_or_default();
        format!("{}{fault}, {}", self.model.name, self.chooser.name())
    }

    fn outcome(&self, plan: &Plan) -> Outcome {
        let own = self.model.iterations * if self.fault.is_some() { PATIENCE } else { 1 };
        self.explore(plan.seed, plan.executions.of(own))
    }

    fn explore(&self, seed: u64, iterations: usize) -> Outcome {
        let mut arguments = vec!["explore".into(), self.model.name.into()];
        arguments.extend([format!("--seed={seed}"), format!("--iterations={iterations}")]);
        arguments.extend(self.fault.map(|f| format!("--fault={f}")));
        arguments.push(self.chooser.flag());
        Outcome::of(&arguments)
    }

    /// The file in which this schedule is from now on: a long one is no argument. It stands beside this program.
    fn keep(&self, schedule: &str) -> PathBuf {
        let exe = std::env::current_exe().expect("the path of this program");
        let file = exe.with_file_name(format!("{}.schedule", self.name().replace(", ", "-").replace(' ', "-")));
        std::fs::write(&file, schedule).unwrap_or_else(|why| panic!("{}: {why}", file.display()));
        file
    }

    fn replay(&self, schedule: &str) -> Outcome {
        let file = self.keep(schedule);
        let mut arguments = vec!["replay".into(), self.model.name.into(), file.display().to_string()];
        arguments.extend(self.fault.map(|f| format!("--fault={f}")));
        Outcome::of(&arguments)
    }

    /// The seed and the number of executions that end with the one that failed.
    fn shortest(&self, (n, seed): (usize, u64), plan: &Plan) -> (u64, usize) {
        match self.chooser {
            Chooser::Random => (seed, 1),
            // The change points of an execution depend on how long those before it were.
            Chooser::Pct(_) => (plan.seed, n),
        }
    }

    /// Whether a failure comes again by its seed, and by its schedule.
    fn comes_again(&self, out: &Outcome, plan: &Plan) -> bool {
        let Some(failed_in) = out.failed_in else { return false };
        let (seed, iterations) = self.shortest(failed_in, plan);
        let again = [self.explore(seed, iterations), self.replay(&out.schedule)];
        !out.schedule.is_empty()
            && again.iter().all(|again| again.failed_in.is_some() && again.schedule == out.schedule)
    }

    /// Whether it came to what it should, and a word for it.
    fn verdict(&self, out: &Outcome) -> (bool, String) {
        match (self.fault, out.held, out.failed_in) {
            (None, Some(_), _) => (true, "holds".into()),
            (None, None, _) => (false, format!("FAILED: {}", out.why)),
            (Some(_), Some((n, _)), _) => (false, format!("passes {n} executions")),
            (Some(_), None, Some((n, _))) if !out.why.is_empty() => {
                (true, format!("fails in execution {n}: {}", out.why))
            }
            (Some(_), None, _) => (false, "ends without a message".into()),
        }
    }

    /// How to see a failure again.
    fn again(&self, out: &Outcome, plan: &Plan) {
        let Some(failed_in) = out.failed_in else { return };
        let (seed, iterations) = self.shortest(failed_in, plan);
        let name = self.model.name;
        let with = |option| self.fault.map(|f| format!(" --{option} {f}")).unwrap_or_default();
        let (twin, fault, flag) = (with("twin"), with("fault"), self.chooser.flag().replace('=', " "));
        println!("{}, seed {}: execution {} fails: {}", self.name(), plan.seed, failed_in.0, out.why);
        println!("the same again, by its seed or by its schedule:");
        println!("  cargo cycles run {name}{twin} {flag} --seed {seed} --iterations {iterations}");
        println!("  cargo cycles replay {name}{fault} {}", self.keep(&out.schedule).display());
    }
}

/// Runs all jobs and says on the way how far it is.
fn run_all(jobs: &[Job], plan: &Plan) -> Vec<Outcome> {
    let queue: Mutex<VecDeque<usize>> = Mutex::new((0..jobs.len()).collect());
    let done: Mutex<Vec<Option<Outcome>>> = Mutex::new(jobs.iter().map(|_| None).collect());
    let work = || {
        loop {
            let Some(i) = queue.lock().expect("no panic").pop_front() else { return };
            let out = jobs[i].outcome(plan);
            let mut done = done.lock().expect("no panic");
            let (job, verdict, seconds) = (&jobs[i], jobs[i].verdict(&out).1, out.seconds());
            done[i] = Some(out);
            eprintln!("[{}/{}] {}: {verdict} ({seconds})", done.iter().flatten().count(), jobs.len(), job.name());
        }
    };
    scope(|s| (0..available_parallelism().map_or(1, usize::from)).for_each(|_| _ = s.spawn(work)));
    done.into_inner().expect("no panic").into_iter().flatten().collect()
}

/// Runs models with their schedulers, and prints the table. With `twins` also those, each of which must fail with one of them.
pub fn run(models: &[&'static Model], twins: bool, plan: &Plan) -> ExitCode {
    let begin = Instant::now();
    println!("seed {}", plan.seed);
    let with_each = |model, fault| plan.choosers.iter().map(move |chooser| Job { model, fault, chooser: *chooser });
    let jobs: Vec<Job> = models.iter().flat_map(|model| with_each(*model, None)).collect();
    let outcomes = run_all(&jobs, plan);
    let (mut passed, mut failed) = (0, 0);
    println!(
        "{:<12} {:>7} {:<9} {:>10} {:>9} {:>7}  result",
        "model", "threads", "scheduler", "executions", "steps", "seconds"
    );
    for (job, out) in jobs.iter().zip(&outcomes) {
        let (ok, verdict) = job.verdict(out);
        if ok {
            passed += 1
        } else {
            failed += 1
        }
        let (model, (n, steps)) = (job.model, out.held.unwrap_or_default());
        let (name, threads, chooser, seconds) = (model.name, model.threads, job.chooser.name(), out.seconds);
        println!("{name:<12} {threads:>7} {chooser:<9} {n:>10} {steps:>9} {seconds:>7.1}  {verdict}");
    }
    if twins {
        let (caught, missed) = run_twins(models, plan);
        passed += caught;
        failed += missed;
    }
    for (job, out) in jobs.iter().zip(&outcomes).filter(|(job, out)| !job.verdict(out).0) {
        println!();
        job.again(out, plan);
    }
    println!("{:.0} s, seed {}", begin.elapsed().as_secs_f64(), plan.seed);
    println!("{passed} passed, {failed} failed, 0 skipped");
    ExitCode::from(u8::from(failed > 0))
}

/// For each fault of these models, which of them catches it, with which scheduler (the first, or else the next), and after how
/// many executions. How many twins failed, as they must, and how many did not. That a failure comes again counts as one.
fn run_twins(models: &[&'static Model], plan: &Plan) -> (usize, usize) {
    let mut left: Vec<(&Model, &str)> =
        models.iter().flat_map(|model| model.twins.iter().map(|fault| (*model, *fault))).collect();
    let (mut caught, mut missed, mut failures) = (0, 0, Vec::new());
    println!("\n{:<24} {:<10} {:<19} what fails", "fault in production code", "model", "in execution");
    for chooser in &plan.choosers {
        let jobs: Vec<Job> =
            left.drain(..).map(|(model, fault)| Job { model, fault: Some(fault), chooser: *chooser }).collect();
        let mut first = None;
        for (job, out) in jobs.iter().zip(run_all(&jobs, plan)) {
            let (fault, name) = (job.fault.unwrap_or_default(), job.model.name);
            let Some((n, _)) = out.failed_in.filter(|_| job.verdict(&out).0) else {
                left.push((job.model, fault));
                continue;
            };
            caught += 1;
            println!("{fault:<24} {name:<10} {:<19} {}", format!("{n} ({})", chooser.name()), out.why);
            first.get_or_insert((*job, out));
        }
        failures.extend(first);
    }
    for (model, fault) in left {
        missed += 1;
        println!("{fault:<24} {:<10} NOT CAUGHT", model.name);
    }
    for (job, out) in failures {
        let again = job.comes_again(&out, plan);
        println!(
            "{}: {}",
            job.name(),
            if again { "comes again" } else { "DOES NOT COME AGAIN by its seed and its schedule" }
        );
        if again { caught += 1 } else { missed += 1 }
    }
    println!();
    (caught, missed)
}

/// Which planted faults are caught, and after how many executions.
pub fn twins(plan: &Plan) -> ExitCode {
    println!("seed {}", plan.seed);
    let (caught, missed) = run_twins(&MODELS.iter().collect::<Vec<_>>(), plan);
    println!("seed {}", plan.seed);
    println!("{caught} passed, {missed} failed, 0 skipped");
    ExitCode::from(u8::from(missed > 0))
}

/// Runs one twin, which must fail, and says how to see it again.
pub fn twin(model: &'static Model, fault: &'static str, plan: &Plan) -> ExitCode {
    let mut failed = false;
    for chooser in &plan.choosers {
        let job = Job { model, fault: Some(fault), chooser: *chooser };
        let out = job.outcome(plan);
        let (ok, verdict) = job.verdict(&out);
        if ok {
            job.again(&out, plan);
        } else {
            println!("{}, seed {}: {verdict}", job.name(), plan.seed);
        }
        failed |= ok;
    }
    ExitCode::from(u8::from(!failed))
}
