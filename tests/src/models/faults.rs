//! The faults that are planted in production code, and who catches each: a model, whose twin it is, or a test.

use super::Model;

/// Those that no model plants: name, and the file with the test that catches it.
pub const ELSEWHERE: &[(&str, &str)] = &[
    ("verifier-disagrees", "tests/src/oracle/twins.rs"),
    ("skip-stacks", "tests/src/oracle/twins.rs"),
    ("lose-pieces", "gc-core/tests/pieces.rs"),
    ("forget-found", "gc-core/tests/pieces.rs"),
    ("no-cpu-limit", "gc-core/tests/memory.rs"),
    ("no-wait-beyond-goal", "gc-core/tests/pacing.rs"),
    ("wait-in-place", "tests/src/cycles/collector.rs"),
    ("no-scavenger", "gc-core/tests/memory.rs"),
    ("scavenge-in-use", "gc-core/tests/memory.rs"),
    ("no-proportional-sweep", "gc-core/tests/pacing.rs"),
    ("dead-shaded", "gc-core/tests/partial.rs"),
    ("doomed-found", "gc-core/tests/drops.rs"),
    ("custody-unswept", "gc-core/tests/drops.rs"),
    ("rootcell-unshaded", "gc-core/tests/access.rs"),
    ("unpublished-buffers", "gc-core/tests/races.rs"),
    ("frame-unscanned", "runtime/tests/suspend.rs"),
    ("xregs-unscanned", "runtime/tests/preempt.rs"),
    ("allms-unscanned", "runtime/tests/objects.rs"),
    ("allps-unscanned", "runtime/tests/objects.rs"),
    ("allocm-unborrowed", "runtime/tests/threads.rs"),
    ("newm-direct", "runtime/tests/threads.rs"),
    ("xregs-of-another", "tests/tests/injection.rs"),
    ("no-guard-marks", "runtime/tests/stack.rs"),
    ("gfget-unguarded", "tests/tests/stress.rs"),
    ("sample-not-freed", "tests/traces/tests/profile.rs"),
    ("leaks-blind", "runtime/tests/leaks.rs"),
    ("leaks-end-early", "runtime/tests/leaks.rs"),
];

/// # Errors
/// The first of `all` that nobody catches, or that is named and does not exist.
pub fn check<'a>(
    all: impl Iterator<Item = &'a str> + Clone,
    models: &[Model],
    elsewhere: &[(&str, &str)],
) -> Result<(), String> {
    let planted = || models.iter().flat_map(|m| m.twins.iter().map(move |fault| (*fault, m.name)));
    let caught = || planted().chain(elsewhere.iter().copied());
    if let Some(fault) = all.clone().find(|fault| caught().all(|(name, _)| name != *fault)) {
        return Err(format!(
            "nobody catches the fault `{fault}`: no model has it among its twins, and no test is named"
        ));
    }
    match caught().find(|(name, _)| all.clone().all(|fault| fault != *name)) {
        Some((name, by)) => Err(format!("there is no fault `{name}`, which {by} is to catch")),
        None => Ok(()),
    }
}
