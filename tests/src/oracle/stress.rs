//! The oracle in every stress switch, and in all pairs of them.

use super::cell::{self, Cell, Figures};

/// All switches, each as a word of a cell's `stress`; the first two are settings of the cell itself.
const SWITCHES: [&str; 13] = [
    "verify",
    "gcevery",
    "poison=1",
    "eagerbarrier=1",
    "smallbuf=1",
    "partial=1",
    "delay=after-mark-before-enqueue:300",
    "delay=between-flag-check-and-store:300",
    "delay=phase-flips:1000",
    "delay=before-stack-scan:1000",
    "delay=ragged-barrier-to-stop:1000",
    "delay=sweep-to-publish:300",
    "delay=before-drop:300",
];

fn with(mut cell: Cell, switch: &str) -> Cell {
    match switch {
        "verify" => cell.verify = true,
        "gcevery" => {
            cell.gc_every = 50;
            cell.objects = 1000;
            cell.ballast = 0;
        }
        switch if cell.stress.is_empty() => cell.stress = switch.to_owned(),
        switch => cell.stress = format!("{},{switch}", cell.stress),
    }
    cell
}

/// In the long tier all switches and all pairs; else as many pairs as there are switches, in which each switch comes
/// twice: those that are `step` apart.
///
/// # Panics
/// If a run fails.
pub fn run_matrix(test: &str, step: usize) {
    let n = SWITCHES.len();
    let pairs: Vec<(usize, usize)> = if cell::long_tier() {
        (0..n).flat_map(|i| (i..n).map(move |j| (i, j))).collect()
    } else {
        (0..n).map(|i| (i, (i + step) % n)).collect()
    };
    let seed = cell::seed();
    println!("TRICOLOR_SEED={seed}");
    let mut sum = Figures::default();
    for (k, (i, j)) in pairs.into_iter().enumerate() {
        let seconds = if cell::long_tier() { 2.0 } else { 0.5 };
        let base =
            Cell { seed: seed + k as u64, seconds, percent: 30, ballast: 3000, large: k % 2 == 0, ..Cell::default() };
        let mut cell = with(base, SWITCHES[i]);
        if i != j {
            cell = with(cell, SWITCHES[j]);
        }
        sum += cell.run_well(test);
    }
    println!("{sum:?}");
    assert!(sum.cycles > 50 && sum.checked > 5000, "little was done: {sum:?}");
}
