//! The suite: each model and each twin in a process of its own, since some twins end in an abort; as many at once as there
//! are processors.

use super::explore::Plan;
use super::{MODELS, Model};
use std::collections::VecDeque;
use std::process::{Command, ExitCode};
use std::sync::Mutex;
use std::thread::{available_parallelism, scope};
use std::time::Instant;

/// A model, or its twin with this fault.
pub type Job = (&'static Model, Option<&'static str>);

/// What a process came to.
pub struct Outcome {
    /// Executions, if the model held in all of them.
    pub held: Option<usize>,
    /// The line that says what failed.
    pub why: String,
    pub seconds: f64,
}

impl Outcome {
    /// Whether it is what it should be, and a word for it.
    fn verdict(&self, (model, fault): Job, own_bound: bool) -> (bool, String) {
        match (fault, self.held) {
            (None, None) => (false, format!("FAILED: {}", self.why)),
            (None, Some(n)) if own_bound && n < model.least => {
                (false, format!("FAILED: only {n} executions, at least {} expected", model.least))
            }
            (None, Some(_)) => (true, "holds".into()),
            (Some(fault), Some(_)) => (false, format!("FAILED: {fault} passes, so the model proves nothing")),
            (Some(fault), None) if self.why.is_empty() => (false, format!("FAILED: {fault} ends without a message")),
            (Some(fault), None) => (true, format!("{fault} fails: {}", self.why)),
        }
    }
}

fn outcome((model, fault): Job, plan: &Plan) -> Outcome {
    let begin = Instant::now();
    let exe = std::env::current_exe().expect("the path of this program");
    let mut command = Command::new(exe);
    command.arg("explore").arg(model.name).env("RUST_BACKTRACE", "0");
    command.args(fault.map(|f| format!("--fault={f}")));
    command.args(plan.bound.map(|n| format!("--bound={n}")));
    command.args(plan.nightly.then_some("--nightly"));
    let output = command.output().expect("starting a model");
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    let executions = || text.lines().find_map(|l| l.strip_prefix("executions ")).and_then(|n| n.parse().ok());
    let held = output.status.success().then(|| executions().unwrap_or(0));
    // The message stands in the line behind the place of the panic. Fatal errors may be what the model expects.
    let lines: Vec<&str> = errors.lines().collect();
    let panics = lines.windows(2).filter(|l| l[0].contains("panicked at")).map(|l| l[1]);
    // What comes of a panic below a function of the C ABI, such as those that run on g0.
    let mut panics = panics.filter(|why| !why.contains("cannot unwind"));
    let assertion = panics.clone().rfind(|why| !why.contains("fatal error"));
    let why = match assertion.or(panics.next_back()).unwrap_or("") {
        why if why.starts_with("deadlock; threads") => "all threads sleep: a wake-up was lost".into(),
        why => why.into(),
    };
    Outcome { held, why, seconds: begin.elapsed().as_secs_f64() }
}

/// Runs all jobs and says on the way how far it is.
fn run_all(jobs: &[Job], plan: &Plan) -> Vec<Outcome> {
    let queue: Mutex<VecDeque<usize>> = Mutex::new((0..jobs.len()).collect());
    let done: Mutex<Vec<Option<Outcome>>> = Mutex::new(jobs.iter().map(|_| None).collect());
    let work = || {
        loop {
            let Some(i) = queue.lock().expect("no panic").pop_front() else { return };
            let out = outcome(jobs[i], plan);
            let mut done = done.lock().expect("no panic");
            let (_, verdict) = out.verdict(jobs[i], false);
            let seconds = out.seconds;
            done[i] = Some(out);
            let n = done.iter().flatten().count();
            eprintln!("[{n}/{}] {}: {verdict} ({seconds:.1} s)", jobs.len(), jobs[i].0.name);
        }
    };
    scope(|s| (0..available_parallelism().map_or(1, usize::from)).for_each(|_| _ = s.spawn(work)));
    done.into_inner().expect("no panic").into_iter().flatten().collect()
}

fn jobs_of(models: &[&'static Model]) -> Vec<Job> {
    models.iter().flat_map(|m| [None].into_iter().chain(m.twins.iter().map(|f| Some(*f))).map(|f| (*m, f))).collect()
}

/// Runs models and their twins, and prints the table.
pub fn run(models: Vec<&'static Model>, plan: &Plan) -> ExitCode {
    let begin = Instant::now();
    let jobs = jobs_of(&models);
    let failed = report(&jobs, &run_all(&jobs, plan), plan, begin);
    ExitCode::from(u8::from(failed > 0))
}

/// Prints the table; how many are not what they should be.
pub fn report(jobs: &[Job], outcomes: &[Outcome], plan: &Plan, begin: Instant) -> usize {
    let (mut models, mut failed, mut executions) = (0, 0, 0);
    println!(
        "{:<20} {:>7} {:>5} {:>10} {:>7}  {:<6}  twins, which must fail",
        "model", "threads", "bound", "executions", "seconds", "result"
    );
    for (job, out) in jobs.iter().zip(outcomes) {
        let (ok, verdict) = out.verdict(*job, plan.bound.is_none());
        failed += usize::from(!ok);
        let (model, twin) = job;
        if twin.is_none() {
            models += 1;
            let bound = plan.bound(model).map_or("none".into(), |b| b.to_string());
            let n = out.held.unwrap_or(0);
            executions += n;
            let (name, threads, seconds) = (model.name, model.threads, out.seconds);
            println!("{name:<20} {threads:>7} {bound:>5} {n:>10} {seconds:>7.1}  {verdict}");
        } else {
            println!("{:<62}  {verdict}", "");
        }
    }
    println!("{models} models, {executions} executions, {:.0} s", begin.elapsed().as_secs_f64());
    println!("{} passed, {failed} failed, 0 skipped", jobs.len() - failed);
    failed
}

/// Runs one twin.
pub fn twin(model: &'static Model, fault: &str, plan: &Plan) -> ExitCode {
    let fault = model.twins.iter().find(|f| **f == fault).copied();
    let (ok, verdict) = outcome((model, fault), plan).verdict((model, fault), false);
    println!("{}: {verdict}", model.name);
    ExitCode::from(u8::from(!ok))
}

/// Runs all twins, and prints for each fault which models catch it, and how.
pub fn twins(plan: &Plan) -> ExitCode {
    let jobs: Vec<Job> = jobs_of(&MODELS.iter().collect::<Vec<_>>()).into_iter().filter(|j| j.1.is_some()).collect();
    let outcomes = run_all(&jobs, plan);
    let mut faults: Vec<&str> = jobs.iter().filter_map(|j| j.1).collect();
    faults.sort_unstable();
    faults.dedup();
    let mut missed = 0;
    println!("{:<24} {:<20} what fails", "fault in production code", "caught by");
    for fault in &faults {
        let mut name = *fault;
        for (job, out) in jobs.iter().zip(&outcomes).filter(|(j, _)| j.1 == Some(fault)) {
            let caught = out.verdict(*job, false).0;
            missed += usize::from(!caught);
            let why = if caught { &out.why } else { "NOT CAUGHT" };
            println!("{name:<24} {:<20} {why}", job.0.name);
            name = "";
        }
    }
    println!("{} faults, {} pairs, {missed} not caught", faults.len(), jobs.len());
    ExitCode::from(u8::from(missed > 0))
}
