//! One model in this process: loom goes through its executions.

use super::{Model, trace};
use loom::model::Builder;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Models in which more preemptions would take more threads than they have.
const AT_THEIR_LIMIT: &[&str] = &["retake"];

/// How a model is explored.
#[derive(Clone, Copy, Default)]
pub struct Plan {
    /// Preemptions per execution, instead of the model's own bound.
    pub bound: Option<usize>,
    /// One more than the model's own bound, where it has the threads for that.
    pub nightly: bool,
}

impl Plan {
    /// Preemptions per execution; `None`: all.
    pub fn bound(&self, model: &Model) -> Option<usize> {
        let more = usize::from(self.nightly && !AT_THEIR_LIMIT.contains(&model.name));
        let own = model.bound.map(|b| b + more);
        self.bound.or(own)
    }
}

/// Explores `model` and returns the number of executions. Panics, or ends the process, where it does not hold.
pub fn explore(model: &'static Model, plan: &Plan, traced: bool) -> usize {
    let executions = Arc::new(AtomicUsize::new(0));
    let mut builder = Builder::new();
    builder.preemption_bound = plan.bound(model);
    builder.max_branches = 100_000;
    if traced {
        trace::listen();
        // What fails is said at the end, once.
        std::panic::set_hook(Box::new(|_| {}));
    }
    let count = executions.clone();
    let explored = catch_unwind(AssertUnwindSafe(|| {
        builder.check(move || {
            count.fetch_add(1, Ordering::Relaxed);
            trace::begin();
            (model.run)();
        });
    }));
    if let Err(panic) = explored {
        trace::print(executions.load(Ordering::Relaxed));
        resume_unwind(panic);
    }
    if let Some(missing) = model.drives.iter().find(|name| !gc_core::model::entered(name)) {
        panic!("the model drives `{missing}`, and has never entered it");
    }
    executions.load(Ordering::Relaxed)
}
