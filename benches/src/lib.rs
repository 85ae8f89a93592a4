//! What Tricolor costs, next to what others cost, in one run.
//!
//! A figure is the median of several rounds, with the spread; the machines that this runs on are noisy.

use std::fmt;
use std::time::Instant;

/// Rounds of each measurement; the first is thrown away.
const ROUNDS: usize = 8;

/// Nanoseconds per operation, over the rounds.
pub struct Figure {
    rounds: Vec<f64>,
}

/// Runs `f`, which does `n` operations, once per round.
pub fn measure(n: u64, mut f: impl FnMut()) -> Figure {
    let mut rounds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let begin = Instant::now();
            f();
            begin.elapsed().as_nanos() as f64 / n as f64
        })
        .collect();
    rounds.remove(0);
    rounds.sort_by(f64::total_cmp);
    Figure { rounds }
}

impl Figure {
    /// The median.
    pub fn median(&self) -> f64 {
        self.rounds[self.rounds.len() / 2]
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, last) = (self.rounds[0], self.rounds[self.rounds.len() - 1]);
        write!(f, "{:>10.2} {:>10.2} {:>10.2}", self.median(), first, last)
    }
}
