//! `cargo stress faults`: which planted fault is caught, by which check, and how long that takes.

use super::cli::{Refusal, follow};
use super::plan::{Mode, PATIENCE, Wanted};
use super::watch::Failure;
use gc_core::faults::ALL;
use serde::Serialize;
use std::fmt::Write as _;

/// Faults that no run of this tool can show, with who catches them instead, and why.
pub const ELSEWHERE: &[(&str, &str, &str)] = &[
    ("no-cpu-limit", "gc-core's tests", "slower, not wrong"),
    ("no-wait-beyond-goal", "gc-core's tests", "takes memory, is not wrong"),
    ("wait-in-place", "`cargo cycles`", "the goal is hardly ever missed by a tenth"),
    ("no-scavenger", "gc-core's tests", "keeps memory, is not wrong"),
    ("no-proportional-sweep", "gc-core's tests", "longer pauses, not wrong"),
    ("no-guard-marks", "runtime/tests/stack.rs", "nothing here overflows a stack"),
    ("shade-without-p", "model greyobject", "no code of today stores a pointer without a P"),
    ("unpublished-buffers", "ThreadSanitizer", "an x86 store is a release"),
    ("stop-before-store", "model store-word", "a store's instructions have no gap: the fault is in their twin"),
    ("stop-in-allocation", "model claim", "a region has no gap: the fault is a stop that only the model has"),
    ("sample-not-freed", "tests/traces/tests/profile.rs", "no worker reads a heap profile"),
    ("wake-unfenced", "model wake-local", "the window is a processor's store buffer"),
    ("hand-out-forgotten", "model ragged-barrier", "a stop in vain: the look under the stop sees that work is left"),
    ("word-kept", "model store-word", "it blinds a check: nobody here stores without a P"),
    ("ctxt-unbarriered", "runtime/tests/stack.rs", "compilers leave the context on the stack as well"),
    ("refusal-forgotten", "model suspend-refused", "the fault is in the twin of an assembly sequence"),
    ("refusal-sought-early", "model suspend-refused", "the fault is in the twin of an assembly sequence"),
    ("clear-preempt-last", "model stop-request", "later, not wrong: who asks asks again"),
    ("suspended-for-one", "model suspend-two-holders", "later, not wrong: who asks asks again"),
    ("signal-answered-late", "model signal-answer", "later, not wrong: who asks asks again"),
    ("signal-twice", "model signal-one", "a signal in vain, not wrong"),
    ("exit-unties-late", "model suspend-reuse", "later, not wrong: the end of a time slice does it as well"),
    ("idle-passed-over", "model steal-handed-over", "later, not wrong: who is to have the P runs what it has"),
    ("rest-unchecked", "models wake-local, wake-global", "later, not wrong: who submits work has a P that comes to it"),
    ("publish-early", "model publish", "only a stray word leads to an object that nobody has yet"),
    ("slice-inherited", "model slice-over", "a shorter time slice, not wrong"),
];

/// Who catches a fault that no run here can show, and why that is so.
pub fn elsewhere(fault: &str) -> Option<(&'static str, &'static str)> {
    ELSEWHERE.iter().find(|(name, ..)| *name == fault).map(|(_, who, why)| (*who, *why))
}

/// A run in which a fault was caught.
#[derive(Clone, Debug, Serialize)]
pub struct Caught {
    pub seconds: f64,
    /// As in `Failure`.
    pub check: String,
    pub what: String,
}

/// How a fault was caught.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    pub fault: String,
    /// `None`: not caught.
    pub runs: Vec<Option<Caught>>,
    /// Who catches it, and why this tool does not.
    pub elsewhere: Option<(String, String)>,
}

impl Row {
    /// Runs that caught it.
    pub fn caught(&self) -> usize {
        self.runs.iter().flatten().count()
    }

    /// Seconds until it was caught, if most runs did.
    fn median(&self) -> Option<f64> {
        let mut times: Vec<f64> =
            self.runs.iter().map(|run| run.as_ref().map_or(f64::INFINITY, |c| c.seconds)).collect();
        times.sort_by(f64::total_cmp);
        times.get(times.len() / 2).copied().filter(|s| s.is_finite())
    }

    /// The checks that caught it, most frequent first.
    fn checks(&self) -> String {
        let mut checks: Vec<(usize, &str)> = Vec::new();
        for Caught { check, .. } in self.runs.iter().flatten() {
            match checks.iter_mut().find(|(_, c)| c == check) {
                Some((n, _)) => *n += 1,
                None => checks.push((1, check)),
            }
        }
        checks.sort_by_key(|(n, _)| std::cmp::Reverse(*n));
        checks.into_iter().map(|(_, c)| c).collect::<Vec<_>>().join(", ")
    }

    /// A line of the table.
    pub fn line(&self) -> String {
        let mut line = format!("{:<26}", self.fault);
        let _ = match (&self.elsewhere, self.median()) {
            (Some((who, why)), _) => write!(line, "        {who}: {why}"),
            (None, Some(s)) => write!(line, "{s:6.1} s {} ({} of {})", self.checks(), self.caught(), self.runs.len()),
            (None, None) => write!(line, "     —   {} ({} of {})", self.checks(), self.caught(), self.runs.len()),
        };
        if let Some(Caught { what, .. }) = self.runs.iter().flatten().next() {
            let _ = write!(line, ": {}", what.trim_start_matches("fatal error: ").chars().take(90).collect::<String>());
        }
        line
    }
}

/// Runs the faults of these names (none: all) `runs` times each, for `limit` seconds at most, and shows each row. Returns
/// all of them.
///
/// # Errors
/// If nothing can be run.
pub(super) fn run(
    names: &[String],
    runs: u64,
    limit: f64,
    seed: u64,
    show: &mut dyn FnMut(&Row),
) -> Result<Vec<Row>, Refusal> {
    let mut rows = Vec::new();
    let wanted = |name: &&(&str, gc_core::faults::Fault)| names.is_empty() || names.iter().any(|n| n == name.0);
    for (fault, _) in ALL.iter().filter(wanted) {
        let elsewhere = elsewhere(fault).filter(|_| names.is_empty());
        let mut row = Row {
            fault: (*fault).into(),
            runs: Vec::new(),
            elsewhere: elsewhere.map(|(who, why)| (who.into(), why.into())),
        };
        for i in 0..if row.elsewhere.is_some() { 0 } else { runs } {
            let found = follow(Wanted {
                mode: Mode::Soak,
                // Each begins with another row of those who work alone.
                seed: seed.wrapping_add(1001 * i),
                seconds: limit,
                procs: None,
                goroutines: super::plan::GOROUTINES,
                heap: super::plan::HEAP,
                fault: Some((*fault).into()),
                plant: None,
                debug: None,
                patience: PATIENCE,
            })?;
            let seconds = found.seconds;
            row.runs.push(found.failure.map(|Failure { check, what, .. }| Caught { seconds, check, what }));
        }
        show(&row);
        rows.push(row);
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::{ALL, ELSEWHERE};

    #[test]
    fn what_is_caught_elsewhere_is_a_fault() {
        for (name, ..) in ELSEWHERE {
            assert!(ALL.iter().any(|(fault, _)| fault == name), "{name}");
        }
    }
}
