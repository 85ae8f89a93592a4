//! Bad twins: the same run with a planted fault must fail, and without it must pass.

use super::cell::{self, Cell};
use std::time::Duration;

/// A run with a fault that nobody notices ends after this many seconds, and the test fails.
const LIMIT: f64 = 30.0;

/// Faults that lose objects, with how many seeds each is run, and under which stress switches.
const LOSING: [(&str, u64, &str); 14] = [
    ("no-deletion-barrier", 5, ""),
    ("no-insertion-barrier", 5, GREY_STACKS),
    ("alloc-white", 3, ""),
    ("init-unshaded", 3, ""),
    ("skip-flush", 3, ""),
    ("skip-stacks", 3, ""),
    ("forget-found", 3, ""),
    ("shade-after-termination", 2, ""),
    ("alloc-unswept", 2, ""),
    ("stale-cache", 2, ""),
    ("weak-upgrade-unshaded", 3, ""),
    ("stale-weak", 2, ""),
    ("pending-drop-reused", 2, SLOW_DROPS),
    ("custody-unswept", 2, ""),
];

/// Only between the start of marking and the scan of a stack is the insertion barrier needed: a time that some machines
/// hardly ever show.
const GREY_STACKS: &str = "delay=before-stack-scan:200";

/// The runner takes its time, so that others want slots.
const SLOW_DROPS: &str = "delay=before-drop:300";

/// Runs all twins, in the test function of this name, and prints how long it took to find each fault.
///
/// # Panics
/// If a fault is not found, or something is found without a fault.
pub fn all(test: &str) {
    let seed = cell::seed();
    let cell = Cell { seed, ballast: 50_000, percent: 20, ..Cell::default() };
    println!("TRICOLOR_SEED={seed}");
    for (fault, seeds, stress) in LOSING {
        find(test, &Cell { stress: stress.to_owned(), ..cell.clone() }, fault, seeds);
    }
    // The heap is sound here: it is the verifier that must speak.
    let verified = Cell { verify: true, ..cell.clone() };
    for how in find(test, &verified, "verifier-disagrees", 1) {
        assert!(how.contains("fatal error: verifier:"), "verifier-disagrees: {how}");
    }
    // What was found came from the faults.
    let stressed = |stress: &str| Cell { stress: stress.to_owned(), ..cell.clone() };
    for twin in [stressed(GREY_STACKS), stressed(SLOW_DROPS), verified, cell] {
        Cell { seconds: 2.0, ..twin }.run_well(test);
    }
}

/// Runs one fault with several seeds. Returns how it was noticed each time.
fn find(test: &str, cell: &Cell, fault: &str, seeds: u64) -> Vec<String> {
    let mut times = Vec::new();
    let mut how = Vec::new();
    for i in 0..seeds {
        let twin = Cell { seed: cell.seed + i, seconds: LIMIT, fault: fault.to_owned(), ..cell.clone() };
        let outcome = twin.run(test);
        let Some(caught) = outcome.caught() else {
            panic!("fault {fault} was not found: cell `{twin}`: {}", outcome.everything());
        };
        times.push(outcome.time);
        how.push(caught);
    }
    times.sort();
    let seconds: Vec<f64> = times.iter().map(Duration::as_secs_f64).collect();
    println!("  {fault}: median {:.2} s of {seconds:.2?}; e.g. {}", seconds[seconds.len() / 2], how[0]);
    how
}
