//! Who computes.

use super::Worker;
use super::heap::outlast;
use crate::oracle::rng::{Rng, mix};
use crate::stress::page::Count;
use std::hint::black_box;
use tricolor::{Gc, JoinHandle, Trace, spawn, stack, yield_now};

/// Computes without a call, and ticks without one.
pub fn numbers(w: Worker) {
    let mut rng = w.rng();
    while w.go() {
        let (start, n) = (rng.draw(), rng.length(20_000) as u64);
        // Two ways to the same sum.
        let (mut sum, mut weighed) = (start, start);
        for i in 1..=n {
            sum = black_box(sum.wrapping_add(i.wrapping_mul(3)));
            if i.is_multiple_of(64) {
                w.tick();
            }
        }
        weighed = weighed.wrapping_add(n * (n + 1) / 2 * 3);
        if sum != weighed {
            w.broke(format_args!("a sum of {n} numbers is {sum:#x}, not {weighed:#x}"));
        }
        w.count(Count::Answers, 1);
    }
}

/// Kernels of `injection`, one after the other.
pub fn kernel(w: Worker) {
    let mut round = w.number;
    while w.go() {
        let k = (w.number + round / 8) % w.exam.len();
        if let Err(wrong) = w.exam.ask(k, round) {
            w.broke(format_args!("kernel {}, round {round}: {wrong}", wrong.kernel));
        }
        w.count(Count::Answers, 1);
        round += 1;
    }
}

/// A link of a chain that leads back up a deep stack.
#[derive(Trace)]
struct Frame {
    depth: u64,
    word: u64,
    up: Option<Gc<Frame>>,
}

/// Goes `depth` frames down; on the way up each frame looks whether its object and the one above are what they were.
fn deep(frame: Gc<Frame>) -> u64 {
    let below = match frame.depth {
        0 => 1,
        depth => {
            let next = Gc::new(Frame { depth: depth - 1, word: mix(depth), up: Some(frame) });
            stack::ensure_with(2048, next, deep)
        }
    };
    let right = frame.word == mix(frame.depth + 1) && frame.up.is_none_or(|up| up.depth == frame.depth + 1);
    below.wrapping_add(u64::from(right))
}

/// What a short goroutine does.
#[derive(Clone, Copy)]
enum Task {
    Yields(usize),
    Deep(u64),
    Panics,
}

/// Goroutines are born in numbers, and joined.
pub fn churn(w: Worker) {
    let mut rng = w.rng();
    while w.go() {
        // A crowd fills a run queue.
        let n = if rng.one_in(3) { 300 + rng.below(400) } else { rng.length(60) };
        let tasks: Vec<(u64, Task)> = (0..n)
            .map(|_| {
                let task = match rng.below(8) {
                    0 => Task::Panics,
                    1 => Task::Deep(rng.length(300) as u64),
                    _ => Task::Yields(rng.below(3)),
                };
                (rng.draw(), task)
            })
            .collect();
        let born: Vec<(u64, Task, JoinHandle<u64>)> = tasks
            .into_iter()
            .map(|(word, task)| {
                // It goes to the new goroutine through its closure.
                let carried = Gc::new(Frame { depth: 0, word, up: None });
                let handle = spawn(move || match task {
                    Task::Yields(n) => {
                        if n == 2 {
                            outlast(&mut Rng::new(word));
                        }
                        (0..n).for_each(|_| yield_now());
                        mix(carried.word)
                    }
                    Task::Deep(depth) => {
                        let top = Gc::new(Frame { depth, word: mix(depth + 1), up: None });
                        stack::ensure_with(2048, top, deep).wrapping_add(carried.word)
                    }
                    // Without the hook, which would print.
                    Task::Panics => tricolor::resume_unwind(Box::new(carried)),
                });
                (word, task, handle)
            })
            .collect();
        for (word, task, handle) in born {
            let id = handle.id();
            let (found, expected) = match (task, handle.join()) {
                (Task::Yields(_), Ok(found)) => (found, mix(word)),
                // One more at the bottom.
                (Task::Deep(depth), Ok(found)) => (found.wrapping_sub(word), depth + 2),
                (Task::Panics, Err(payload)) => (payload.downcast_ref::<Gc<Frame>>().map_or(0, |f| f.word), word),
                (_, result) => w.broke(format_args!("goroutine {id} should not have ended so: {:?}", result.is_ok())),
            };
            if found != expected {
                w.broke(format_args!("goroutine {id} brought {found:#x}, not {expected:#x}"));
            }
            w.tick();
        }
        w.count(Count::Spawned, n as u64);
    }
}
