//! Whole cycles, too large for loom: four threads, two Ps, everything from the trigger to the sweep, again and again. shuttle
//! runs them with a seed: one order of the threads' steps after the other, each drawn at random, and none proved.
//!
//! `cli`, `run` and `explore` are the program. Models draw what goroutines do (`mutate`) and look at what becomes of it
//! (`graph`); in the first one they run on a small `World` (`host`), in the second on the runtime's own scheduler.

mod cli;
mod collector;
mod explore;
mod graph;
mod host;
mod mutate;
mod run;
mod scheduler;

pub use cli::main;

/// One model: a program, and the faults that must break it.
struct Model {
    name: &'static str,
    /// What is looked for, in a sentence.
    property: &'static str,
    threads: usize,
    /// Executions with each scheduler, unless told.
    iterations: usize,
    /// One execution.
    run: fn(),
    /// The production functions that it drives (`gc_core::sync::modelled`): each must be entered.
    drives: &'static [&'static str],
    /// The planted faults (see `gc_core::faults`), each of which must make the model fail.
    twins: &'static [&'static str],
}

const MODELS: &[Model] = &[collector::MODEL, scheduler::MODEL];

fn find(name: &str) -> Option<&'static Model> {
    MODELS.iter().find(|m| m.name == name)
}
