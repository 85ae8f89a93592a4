//! What the programs about memory do, as far as it does not depend on how memory is managed. The peers in other
//! languages have the same numbers.

/// Binary trees: many short-lived ones of growing depth beside a long-lived one. (The Computer Language Benchmarks Game.)
pub mod trees {
    use crate::Ask;

    const LEAST: u32 = 4;

    /// Of the long-lived tree.
    pub fn depth(ask: &Ask) -> u32 {
        (19 - ask.scale.ilog2().min(19)).max(LEAST)
    }

    /// Of the short-lived trees.
    pub fn depths(depth: u32) -> impl Iterator<Item = u32> {
        (LEAST..=depth).step_by(4)
    }

    /// How many there are of depth `d`.
    pub fn number(depth: u32, d: u32) -> u64 {
        1 << (depth - d + LEAST)
    }

    /// A full tree of this depth must have so many nodes.
    pub fn check(depth: u32, nodes: u64) {
        assert_eq!(nodes, (1 << (depth + 1)) - 1, "nodes of a tree of depth {depth}");
    }
}

/// GCBench: trees built from the top, with stores into older objects, and from the bottom; beside a tree and an array of
/// numbers that live long. (Ellis, Kovac, Boehm; their depths and 2 more.)
pub mod gcbench {
    use crate::Ask;

    const LEAST: u32 = 4;

    /// Of the long-lived tree; the first tree is 2 deeper.
    pub fn depth(ask: &Ask) -> u32 {
        (18 - ask.scale.ilog2().min(18)).max(LEAST)
    }

    /// Of the short-lived trees.
    pub fn depths(depth: u32) -> impl Iterator<Item = u32> {
        (LEAST..=depth).step_by(2)
    }

    /// How many there are of depth `d`, of each kind.
    pub fn number(depth: u32, d: u32) -> u64 {
        2 << (depth + 2 - d)
    }

    /// Length of the array.
    pub fn numbers(depth: u32) -> usize {
        8 << depth
    }
}

/// Short-lived objects of one size over a live heap of 50 MB.
pub mod alloc {
    use crate::Ask;

    /// The live heap is a tree of this depth, of nodes with two pointers and four words, each of which is 1.
    pub const LIVE_DEPTH: u32 = 19;
    /// So many objects are kept at any time, by each worker.
    pub const KEPT: u64 = 8;

    /// Objects of each worker.
    pub fn number(ask: &Ask, bytes: u64) -> u64 {
        ask.size(20_000_000.min((2 << 30) / bytes))
    }

    /// Object `i` has `i` in it; each is read when it is dropped from the kept ones, except the last.
    pub fn check(n: u64, sum: u64) {
        assert_eq!(sum, (0..n.saturating_sub(KEPT)).sum::<u64>(), "numbers read back");
    }

    /// What is in the live heap.
    pub fn check_live(sum: u64) {
        assert_eq!(sum, 4 * ((1 << (LIVE_DEPTH + 1)) - 1), "words of the live heap");
    }
}

/// A ring of messages: a new one takes the place of the oldest.
pub mod ring {
    use crate::{Ask, tell_latencies};
    use std::time::Instant;

    /// Bytes of a message.
    pub const MESSAGE: usize = 1024;

    /// Messages alive, and messages pushed.
    pub fn sizes(ask: &Ask) -> (usize, u64) {
        (ask.size(200_000) as usize, ask.size(2_000_000))
    }

    /// Calls `push` with a place and the byte that fills the message; it returns the last byte of what was there. Tells
    /// the pushes' latencies.
    pub fn measure(window: usize, n: u64, mut push: impl FnMut(usize, u8) -> Option<u8>) {
        let mut nanos = Vec::with_capacity(n as usize);
        for i in 0..n {
            let begin = Instant::now();
            let before = push(i as usize % window, i as u8);
            nanos.push(begin.elapsed().as_nanos() as u64);
            assert_eq!(before, i.checked_sub(window as u64).map(|i| i as u8), "the oldest message");
        }
        tell_latencies(nanos);
    }
}

/// Stops of the world with 2 GiB alive.
pub mod stops {
    /// Cycles of the collector, so that there are a hundred stops.
    pub const CYCLES: u64 = 51;
}

/// Pointer stores while the collector marks again and again.
pub mod store_on {
    use crate::{quantile, tell};
    use std::time::Duration;

    /// Stores that are timed together.
    pub const BATCH: u64 = 20_000;

    /// Tells the time of a store: that in the median of the batches which took more than twice the time of the fastest. The
    /// others ran between two cycles, when no barrier is on.
    ///
    /// # Panics
    /// If there are less than 10 of them.
    pub fn tell_median(mut batches: Vec<Duration>) {
        batches.sort_unstable();
        let fastest = batches.first().copied().unwrap_or_default();
        batches.retain(|batch| *batch > 2 * fastest);
        assert!(batches.len() >= 10, "{} batches: the collector was too fast", batches.len());
        tell("time", quantile(&batches, 0.5).as_nanos() as f64 / BATCH as f64);
    }
}

/// A mutator beside a collector that marks 2 GiB again and again, step by step.
pub mod hiccups {
    use crate::{Ask, quantile, tell, tell_latencies};
    use std::time::{Duration, Instant};

    /// Pointer stores of a step.
    pub const STORES: u64 = 2000;
    /// Objects of 32 bytes that a step makes.
    pub const OBJECTS: u64 = 20;
    /// Cycles of the collector.
    pub const CYCLES: u64 = 4;

    /// Depth of the tree that is marked; its nodes are 64 bytes.
    pub fn depth(ask: &Ask) -> u32 {
        24 - ask.scale.ilog2().min(24)
    }

    /// How long the control run takes, in which nothing is collected.
    pub const CONTROL: Duration = Duration::from_secs(1);

    /// Does steps, at least one, until it is `over`, which is told the time since the first; nanoseconds of each.
    pub fn run(over: impl Fn(Duration) -> bool, mut step: impl FnMut()) -> Vec<u64> {
        // Written to, so that the memory is there before it is needed.
        let mut nanos = vec![1; 4 << 20];
        let (first, mut n) = (Instant::now(), 0);
        loop {
            let begin = Instant::now();
            step();
            let end = Instant::now();
            nanos[n] = (end - begin).as_nanos() as u64;
            n += 1;
            if n == nanos.len() || over(end - first) {
                break;
            }
        }
        nanos.truncate(n);
        nanos
    }

    /// Tells the latencies of the steps beside the collector, and what p99.99 is in the control run, and the difference.
    pub fn tell_both(mut control: Vec<u64>, beside: Vec<u64>) {
        control.sort_unstable();
        let of_control = quantile(&control, 0.9999) as f64 / 1e3;
        tell("control", of_control);
        let mut sorted = beside.clone();
        sorted.sort_unstable();
        tell("over-control", (quantile(&sorted, 0.9999) as f64 / 1e3 - of_control).max(0.0));
        tell_latencies(beside);
    }
}
