//! The runtime's lock that is given back without an exchange: who gives it back against who falls asleep.
//!
//! All other models have the explorer's own lock in its place. The processor's store buffer, the kernel's fence and its
//! futex are spelled out (`FutexLock`'s `Model`); a plain store stays in the buffer for as long as it likes.

use super::Model;
use gc_core::sync::FutexLock;
use loom::cell::UnsafeCell;
use loom::thread;
use std::sync::Arc;

pub const TWO: Model = Model {
    name: "lock-kept",
    property: "of two threads one at a time has the lock, and none sleeps while it is free, though it is given back by a plain store",
    source: "membarrier(2); gc-core/src/sync/futex_lock.rs",
    threads: 2,
    bound: Some(3),
    least: 1500,
    run: || run(2, 3),
    drives: &["FutexLock::fence_all"],
    twins: &["sleeper-unfenced"],
};

pub const THREE: Model = Model {
    name: "lock-kept-three",
    property: "with two who sleep: each that is woken wakes the next",
    source: "as `lock-kept`",
    threads: 3,
    bound: Some(2),
    least: 1500,
    run: || run(3, 2),
    drives: &["FutexLock::fence_all"],
    twins: &["sleeper-unfenced"],
};

struct Shared {
    lock: FutexLock,
    turns: UnsafeCell<usize>,
}

fn run(threads: usize, rounds: usize) {
    let shared = Arc::new(Shared { lock: FutexLock::kept(), turns: UnsafeCell::new(0) });
    let turns = move |shared: &Shared| {
        for round in 0..rounds {
            shared.lock.take();
            // SAFETY: under the lock; loom fails where it is not.
            shared.turns.with_mut(|n| unsafe { *n += 1 });
            // Whoever parks gives it back by an exchange.
            if round == 1 { shared.lock.give_back() } else { shared.lock.give_back_kept() }
        }
    };
    let others: Vec<_> = (1..threads)
        .map(|_| {
            let shared = shared.clone();
            thread::spawn(move || turns(&shared))
        })
        .collect();
    turns(&shared);
    others.into_iter().for_each(|t| t.join().expect("another thread"));
    // SAFETY: all others have ended.
    assert_eq!(shared.turns.with(|n| unsafe { *n }), threads * rounds);
}
