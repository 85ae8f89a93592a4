//! Bad twins: the same run with a planted fault must fail, and without it must pass.

use super::cell::{self, Cell};
use std::time::Duration;

/// A run with a fault that nobody notices ends after this many seconds.
const LIMIT: f64 = 20.0;
/// So many such runs in a row, with different seeds, and the test fails. A run whose heap is damaged may also go round
/// in circles, which tells nothing.
const TRIES: u64 = 8;

/// Faults that lose objects, with how many seeds each is run in the long tier (one in the commit tier), and under which
/// stress switches.
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
    ("custody-unswept", 2, SLOW_DROPS),
];

/// Only between the start of marking and the scan of a stack is the insertion barrier needed: a time that some machines
/// hardly ever show.
const GREY_STACKS: &str = "delay=before-stack-scan:200";

/// The runner takes its time, so that others want slots.
const SLOW_DROPS: &str = "delay=before-drop:300";

/// Runs all twins, in the test function of this name, and prints how long it took to find each fault. The commit tier
/// runs every second one of those that lose objects, from number `first` on: the two hosts, plain threads and goroutines, share
/// them.
///
/// # Panics
/// If a fault is not found, or something is found without a fault.
pub fn all(test: &str, first: usize) {
    let seed = cell::seed();
    let cell = Cell { seed, ballast: 50_000, percent: 20, ..Cell::default() };
    println!("TRICOLOR_SEED={seed}");
    let (first, step) = if cell::long_tier() { (0, 1) } else { (first, 2) };
    for (fault, seeds, stress) in LOSING.into_iter().skip(first).step_by(step) {
        let seeds = if cell::long_tier() { seeds } else { 1 };
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
        for again in 0..TRIES {
            let seed = cell.seed + i + again * 1000;
            let twin = Cell { seed, seconds: LIMIT, fault: fault.to_owned(), ..cell.clone() };
            let outcome = twin.run(test);
            if let Some(caught) = outcome.caught() {
                times.push(outcome.time);
                how.push(caught);
                break;
            }
            println!("  {fault}: not found by the cell `{twin}`: {}", outcome.output.status);
            assert!(again + 1 < TRIES, "fault {fault} was not found: {}", outcome.everything());
        }
    }
    times.sort();
    let seconds: Vec<f64> = times.iter().map(Duration::as_secs_f64).collect();
    println!("  {fault}: median {:.2} s of {seconds:.2?}; e.g. {}", seconds[seconds.len() / 2], how[0]);
    how
}
