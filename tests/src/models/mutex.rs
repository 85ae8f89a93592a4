//! The mutex for goroutines (`tricolor`'s `sync::mutex`): who gives it back against who begins to wait, and who is woken
//! against who comes by.
//!
//! Left out: the collector's part in the copies of the value (`bulk-move` has that), a panic of the holder.

use super::Model;
use loom::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use loom::thread;
use std::sync::Arc;
use tricolor::model::World;

pub const MODEL: Model = Model {
    name: "mutex",
    property: "of two goroutines one at a time has the value, also where who has given it back comes again, and each has its turns",
    source: "golang/go sync/mutex.go: mutexWoken, mutexStarving; `sync::mutex`",
    threads: 2,
    bound: Some(2),
    least: 100,
    run,
    drives: &["Mutex::acquire", "Mutex::release", "park_m", "ready"],
    twins: &["mutex-released-plain", "mutex-still-woken"],
};

fn run() {
    let world = World::start(2);
    let mutex = world.mutex();
    let holders = Arc::new(AtomicUsize::new(0));
    let turn = move |holders: &AtomicUsize| {
        mutex.with(|n| {
            assert_eq!(holders.fetch_add(1, SeqCst), 0, "two have the value");
            *n += 1;
            // The other one may find it held at no cost: it is no preemption.
            thread::yield_now();
            holders.fetch_sub(1, SeqCst);
            *n
        })
    };
    // Who gives it back comes for it again, before the other one is awake or after.
    let twice = move |g: usize, holders: Arc<AtomicUsize>| world.on_goroutine(g, |_| [turn(&holders), turn(&holders)]);
    let others = holders.clone();
    let other = thread::spawn(move || twice(1, others));
    let mut turns = [twice(0, holders), other.join().expect("the other goroutine")].concat();
    turns.sort_unstable();
    assert_eq!(turns, [1, 2, 3, 4], "each finds the value as the one before has left it");
    world.nobody_waits();
}
