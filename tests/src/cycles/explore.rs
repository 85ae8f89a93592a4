//! One model in this process: shuttle goes through a number of executions, with a seed.

use super::Model;
use shuttle::scheduler::{PctScheduler, RandomScheduler, ReplayScheduler, Schedule, Scheduler, Task, TaskId};
use shuttle::{Config, FailurePersistence, MaxSteps, Runner};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

/// Steps of an execution; who takes more hangs.
const MOST_STEPS: usize = 200_000;

/// Who chooses the thread that takes the next step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Chooser {
    /// A die, at each step.
    Random,
    /// Priorities, which change so many times less one in an execution (probabilistic concurrency testing).
    Pct(usize),
}

impl Chooser {
    pub fn name(self) -> String {
        match self {
            Chooser::Random => "random".into(),
            Chooser::Pct(depth) => format!("pct {depth}"),
        }
    }

    /// The argument that chooses it.
    pub fn flag(self) -> String {
        match self {
            Chooser::Random => "--random".into(),
            Chooser::Pct(depth) => format!("--pct={depth}"),
        }
    }
}

/// Begins the line that says, on standard output, how many executions and steps there were.
pub const HELD: &str = "held ";
/// Begins the line on standard error that says which execution failed, and its seed; after shuttle's own lines, which have the
/// schedule, and before the message.
pub const FAILED_IN: &str = "failed in execution ";

static EXECUTIONS: AtomicUsize = AtomicUsize::new(0);
static STEPS: AtomicU64 = AtomicU64::new(0);
static SEED: AtomicU64 = AtomicU64::new(0);

/// Goes through `iterations` executions of `model`; how many they were, and how many steps. Panics, or ends the process, where
/// it does not hold.
pub fn explore(model: &'static Model, chooser: Chooser, seed: u64, iterations: usize) -> (usize, u64) {
    match chooser {
        Chooser::Random => run(model, RandomScheduler::new_from_seed(seed, iterations)),
        Chooser::Pct(depth) => run(model, PctScheduler::new_from_seed(seed, depth, iterations)),
    }
    if let Some(missing) = model.drives.iter().find(|name| !gc_core::model::entered(name)) {
        panic!("the model drives `{missing}`, and has never entered it");
    }
    (EXECUTIONS.load(Relaxed), STEPS.load(Relaxed))
}

/// The one execution that failed with this schedule.
pub fn replay(model: &'static Model, schedule: &str) {
    run(model, ReplayScheduler::new_from_encoded(schedule));
}

fn run(model: &'static Model, scheduler: impl Scheduler + 'static) {
    let said = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        eprintln!("{FAILED_IN}{} {}", EXECUTIONS.load(Relaxed), SEED.load(Relaxed));
        said(panic);
    }));
    let mut config = Config::new();
    config.stack_size = 256 << 10;
    config.failure_persistence = FailurePersistence::Print;
    config.max_steps = MaxSteps::FailAfter(MOST_STEPS);
    // Orders weaker than SeqCst are loom's business.
    config.silence_warnings = true;
    config.ungraceful_shutdown_config.immediately_return_on_panic = true;
    Runner::new(Counted(scheduler), config).run(model.run);
}

/// Counts what a scheduler does.
struct Counted<S>(S);

impl<S: Scheduler> Scheduler for Counted<S> {
    fn new_execution(&mut self) -> Option<Schedule> {
        let schedule = self.0.new_execution()?;
        EXECUTIONS.fetch_add(1, Relaxed);
        SEED.store(schedule.seed, Relaxed);
        Some(schedule)
    }

    fn next_task(&mut self, runnable: &[&Task], current: Option<TaskId>, is_yielding: bool) -> Option<TaskId> {
        STEPS.fetch_add(1, Relaxed);
        self.0.next_task(runnable, current, is_yielding)
    }

    fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }
}
