//! Injection stress: kernels that are suspended and descheduled wherever they are, against their undisturbed answers.
//!
//! `cargo run -p tricolor-tests --bin injection [PREEMPTIONS [FAULT]]`: until so many preemptions, and as many
//! suspensions in place, have hit them: 30,000, or a million with `TRICOLOR_TIER=long`. `TRICOLOR_SEED` and
//! `TRICOLOR_PROCS` as everywhere. A wrong answer ends it with status 7; if there have not been enough after ten minutes
//! (an hour; with a planted fault one minute), that does with status 9, and if it does not even say so, with status 8.

#[cfg(all(not(modelled), target_os = "linux", target_arch = "x86_64"))]
#[path = "../../../runtime/tests/common/checked.rs"]
mod checked;

#[cfg(any(modelled, not(all(target_os = "linux", target_arch = "x86_64"))))]
fn main() {}

#[cfg(all(not(modelled), target_os = "linux", target_arch = "x86_64"))]
fn main() {
    use std::time::Duration;
    use tricolor_tests::injection::{Plan, print, run};
    use tricolor_tests::oracle::cell;

    let mut arguments = std::env::args().skip(1);
    let number = arguments.next().map(|text| match text.parse() {
        Ok(n) => n,
        Err(_) => usage(&format!("{text:?} is no number of preemptions")),
    });
    let fault = arguments.next();
    if let Some(fault) = &fault
        && let Err(why) = gc_core::faults::choose(Some(fault))
    {
        usage(&why);
    }
    let (usual, minutes) = if cell::long_tier() { (1_000_000, 60) } else { (30_000, 10) };
    let plan = Plan {
        seed: cell::seed(),
        each: number.unwrap_or(usual),
        procs: 4,
        interval: Duration::from_micros(20),
        limit: Duration::from_secs(60 * if fault.is_some() { 1 } else { minutes }),
    };
    println!("TRICOLOR_SEED={}", plan.seed);
    let report = run(plan);
    print(&report);
    println!("{} passed, 0 failed, {} skipped", report.kernels.len(), report.skipped.len());
}

#[cfg(all(not(modelled), target_os = "linux", target_arch = "x86_64"))]
fn usage(why: &str) -> ! {
    eprintln!("injection: {why}\nusage: injection [PREEMPTIONS [FAULT]]");
    std::process::exit(2)
}
