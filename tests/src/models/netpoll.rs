//! Waiting for files: the word of a file between a goroutine that parks and whoever finds the file ready, closed or late
//! (`tricolor`'s `netpoll::desc`).
//!
//! Left out: the kernel's part (each change is reported once, after it has happened), descriptors that are used again, a
//! goroutine that goes on upon another thread.

use super::Model;
use loom::sync::atomic::{AtomicU32, Ordering};
use loom::thread::{self, JoinHandle};
use std::sync::Arc;
use tricolor::model::netpoll::{End, File};
use tricolor::model::{World, set_clock};

pub const READY: Model = Model {
    name: "netpoll-ready",
    property: "who waits for a file that has become ready goes on, once, wherever in its parking the report finds it",
    source: "golang/go netpoll.go: netpollblock, netpollunblock; `netpoll::desc`",
    threads: 2,
    bound: None,
    least: 60,
    run: ready,
    drives: &["PollDesc::wait", "park_in_m", "netpollready", "desc::unblock", "injectglist"],
    twins: &["park-overwrites", "ready-overwrites"],
};

pub const AGAIN: Model = Model {
    name: "netpoll-again",
    property: "a reader that tries before it waits gets all that came, in however many reports",
    source: "golang/go netpoll.go: pdReady stays until somebody waits; `netpoll::desc`: READY means \"try again\"",
    threads: 2,
    bound: Some(3),
    least: 110,
    run: again,
    drives: &["PollDesc::wait", "park_in_m", "netpollready", "desc::unblock", "injectglist"],
    twins: &["park-overwrites", "ready-overwrites"],
};

pub const CLOSE: Model = Model {
    name: "netpoll-close",
    property: "who waits for a file that is closed goes on in vain, also if it has looked before and parks only now",
    source: "golang/go netpoll.go: netpollblock looks again after it has set pdWait (poll_runtime_pollUnblock)",
    threads: 2,
    bound: None,
    least: 40,
    run: close,
    drives: &["PollDesc::wait", "PollDesc::close", "park_in_m", "desc::unblock", "ready"],
    twins: &["wait-unchecked", "park-overwrites", "ready-overwrites"],
};

pub const DEADLINE: Model = Model {
    name: "netpoll-deadline",
    property: "who waits with a time limit goes on in vain when that has passed, also if it has looked before and parks only now",
    source: "golang/go netpoll.go: netpolldeadlineimpl",
    threads: 2,
    bound: None,
    least: 1450,
    run: deadline,
    drives: &["PollDesc::wait", "park_in_m", "desc::unblock", "desc::expire", "Timer::arm", "timers::run_due"],
    twins: &["wait-unchecked", "park-overwrites"],
};

pub const EITHER: Model = Model {
    name: "netpoll-either",
    property: "a file that becomes ready when the time limit passes wakes who waits once, and the timer is out by then",
    source: "golang/go netpoll.go: netpolldeadlineimpl against netpollready",
    threads: 3,
    bound: Some(3),
    least: 700,
    run: either,
    drives: &[
        "PollDesc::wait",
        "park_in_m",
        "netpollready",
        "desc::unblock",
        "desc::expire",
        "injectglist",
        "Timer::arm",
        "Timer::stop",
        "timers::run_due",
    ],
    twins: &["park-overwrites", "ready-overwrites"],
};

/// Goroutine 0 waits.
fn waits(world: World, file: File, limit: Option<u64>) -> JoinHandle<End> {
    thread::spawn(move || world.on_goroutine(0, |gp| file.wait(gp, limit)))
}

fn ready() {
    let world = World::start(1);
    let file = world.file();
    let waiting = waits(world, file, None);
    file.ready();
    assert_eq!(waiting.join().expect("the goroutine"), End::Ready);
    world.nobody_waits();
}

fn again() {
    let world = World::start(1);
    let file = world.file();
    let bytes = Arc::new(AtomicU32::new(0));
    let socket = bytes.clone();
    let reader = thread::spawn(move || {
        world.on_goroutine(0, |gp| {
            let mut read = 0;
            while read < 2 {
                match socket.swap(0, Ordering::SeqCst) {
                    0 => assert_eq!(file.wait(gp, None), End::Ready),
                    n => read += n,
                }
            }
        });
    });
    for _ in 0..2 {
        bytes.fetch_add(1, Ordering::SeqCst);
        file.ready();
    }
    reader.join().expect("the reader");
    world.nobody_waits();
}

fn close() {
    let world = World::start(1);
    let file = world.file();
    let waiting = waits(world, file, None);
    file.close();
    assert_eq!(waiting.join().expect("the goroutine"), End::Closed);
    world.nobody_waits();
}

fn deadline() {
    set_clock(10);
    let world = World::start(2);
    let file = world.file();
    let waiting = waits(world, file, Some(5));
    world.until(|| world.on_m(1, || world.run_due(0)));
    assert_eq!(waiting.join().expect("the goroutine"), End::TimedOut);
    world.nobody_waits();
}

fn either() {
    set_clock(10);
    let world = World::start(2);
    let file = world.file();
    let waiting = waits(world, file, Some(5));
    let report = thread::spawn(move || file.ready());
    world.on_m(1, || world.run_due(0));
    report.join().expect("the report");
    let end = waiting.join().expect("the goroutine");
    assert_ne!(end, End::Closed);
    world.nobody_waits();
    assert!(!world.run_due(0), "the goroutine has left a timer behind");
}
