//! A goroutine that waits for several channels, and who comes for it by more than one of them (`tricolor`'s `chan::select`).
//!
//! Left out: the collector's part (`channel` has that), a goroutine that goes on upon another thread, channels that are closed.

use super::Model;
use loom::thread;
use std::time::Duration;
use tricolor::chan::{Receiver, select};
use tricolor::model::{World, set_clock};

pub const WAKERS: Model = Model {
    name: "select-wakers",
    property: "of two senders that find a goroutine selecting from both their channels one has sent, and the other one has not",
    source: "golang/go select.go: selectDone, and isSelect in waitq.dequeue; `chan::select`",
    threads: 3,
    bound: Some(2),
    least: 7600,
    run: wakers,
    drives: &["choose_slowly", "Chosen::claim", "park_in_m", "ready"],
    twins: &["select-done-unclaimed", "park-overwrites"],
};

pub const LATE: Model = Model {
    name: "select-late",
    property: "a sender and the time limit that find a selecting goroutine at once: it goes on, once, and has what was sent",
    source: "golang/go select.go: a case with time.After; `chan::select`",
    threads: 3,
    bound: Some(1),
    least: 260,
    run: late,
    drives: &["choose_slowly", "Chosen::claim", "select::expire", "park_in_m", "Timer::stop", "timers::run_due"],
    twins: &["select-done-unclaimed", "park-overwrites"],
};

pub const BOTH: Model = Model {
    name: "select-both",
    property: "two goroutines that select from the two sides of the same channels find each other, once",
    source: "golang/go select.go: sellock; `chan::select`: all locks are held before it queues",
    threads: 2,
    bound: Some(1),
    least: 240,
    run: both,
    drives: &["choose_slowly", "Chosen::claim", "park_in_m"],
    twins: &["park-overwrites"],
};

fn either(a: &Receiver<u64>, b: &Receiver<u64>) -> u64 {
    select! {
        recv(a) -> got => got.expect("a sender is left"),
        recv(b) -> got => got.expect("a sender is left"),
    }
}

fn wakers() {
    let world = World::start(3);
    let ((to_a, a), (to_b, b)) = (world.channel(0), world.channel(0));
    let selects = thread::spawn(move || world.on_goroutine(0, |_| either(a, b)));
    let first = thread::spawn(move || world.on_goroutine(1, |_| to_a.try_send(1).is_ok()));
    world.on_goroutine(2, |_| {
        let second = to_b.try_send(2).is_ok();
        let first = first.join().expect("the first sender");
        // If it was not there yet for either.
        let third = !first && !second && to_a.send(3).is_ok();
        let got = selects.join().expect("the goroutine");
        let sent: Vec<u64> = [(first, 1), (second, 2), (third, 3)].iter().filter(|s| s.0).map(|s| s.1).collect();
        assert_eq!(sent, [got], "of what was sent {got} was received");
    });
    world.nobody_waits();
}

fn late() {
    set_clock(10);
    let world = World::start(3);
    let (to_a, a) = world.channel(0);
    let selects = thread::spawn(move || {
        world.on_goroutine(0, |_| {
            select! {
                recv(a) -> got => got,
                after(Duration::ZERO) => a.recv(),
            }
        })
    });
    let sends = thread::spawn(move || world.on_goroutine(1, |_| to_a.send(7)));
    world.on_m(2, || world.run_due(0));
    assert_eq!(sends.join().expect("the sender"), Ok(()));
    assert_eq!(selects.join().expect("the goroutine"), Ok(7));
    world.nobody_waits();
    assert!(!world.on_m(2, || world.run_due(0)), "the goroutine has left a timer behind");
}

fn both() {
    let world = World::start(2);
    let ((to_a, a), (to_b, b)) = (world.channel(0), world.channel(0));
    let sends = thread::spawn(move || {
        world.on_goroutine(0, |_| {
            select! {
                send(to_a, 1) -> sent => { sent.expect("a receiver is left"); 1 }
                send(to_b, 2) -> sent => { sent.expect("a receiver is left"); 2 }
            }
        })
    });
    let got = world.on_goroutine(1, |_| either(b, a));
    assert_eq!(sends.join().expect("the sender"), got);
    world.nobody_waits();
}
