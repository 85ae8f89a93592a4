//! What Tricolor costs, next to what others cost, in one run.
//!
//! A figure is the median of several rounds, with the spread; the machines that this runs on are noisy.

pub mod mark;
mod parked;
#[path = "../../gc-core/tests/threads/mod.rs"]
mod threads;

pub use parked::beside_parked;

use std::fmt;
use std::time::Instant;

/// Rounds of each measurement; the first is thrown away.
const ROUNDS: usize = 8;

/// One figure, measured in several rounds: nanoseconds per operation, or what the row says.
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
    Figure::of(rounds)
}

impl Figure {
    /// The figure that was measured in these rounds, of which there is at least one.
    pub fn of(mut rounds: Vec<f64>) -> Figure {
        rounds.sort_by(f64::total_cmp);
        Figure { rounds }
    }

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

/// A small generator of random numbers (xorshift64*), the same ones in every run.
pub struct Random(u64);

impl Random {
    /// At the start of the sequence.
    pub fn new() -> Random {
        Random(0x9e37_79b9_7f4a_7c15)
    }

    /// A number below `n`.
    pub fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let x = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d);
        ((u128::from(x) * n as u128) >> 64) as usize
    }
}

impl Default for Random {
    fn default() -> Random {
        Random::new()
    }
}
