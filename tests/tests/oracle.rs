//! Random heaps on goroutines, against an oracle outside the heap: see `tricolor_tests::oracle`.
//!
//! The commit tier takes 10 seconds, the long tier ten minutes, each on two Ps. `TRICOLOR_SEED` repeats a run.

#[path = "../../runtime/tests/common/checked.rs"]
mod checked;

use tricolor::Runtime;
use tricolor_tests::goroutines::Goroutines;
use tricolor_tests::oracle;
use tricolor_tests::oracle::cell::{self, Cell};

fn run(cell: &Cell) {
    gc_core::faults::choose((!cell.fault.is_empty()).then_some(&*cell.fault)).expect("a fault of that name");
    let runtime = Runtime::builder()
        .procs(cell.procs)
        .gc_percent(Some(cell.percent))
        .min_heap(2 << 20)
        .verify(cell.verify)
        .gc_every(cell.gc_every)
        .stress(cell.switches())
        // Large objects are made on the stack.
        .stack(1 << 20);
    let cell = cell.clone();
    // SAFETY: pointers are only on stacks, in heap objects and roots, or in a list beside the heap while a path that
    // nobody changes leads to them; no thread-local and no lock is held over a safepoint.
    unsafe { runtime.run(move || oracle::run(Goroutines::start(), &cell)) }
}

#[test]
fn random_heaps() {
    cell::test(run, || cell::run_matrix("random_heaps", if cell::long_tier() { 600.0 } else { 10.0 }));
}

#[test]
fn random_heaps_under_stress() {
    cell::test(run, || oracle::stress::run_matrix("random_heaps_under_stress", 3));
}

#[test]
fn planted_faults_are_found() {
    cell::test(run, || oracle::twins::all("planted_faults_are_found", 0));
}
