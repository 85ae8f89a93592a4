//! Turns: goroutines that would wait for the same end of a file, or stop the world (`tricolor`'s `netpoll::turn`, `stw::turn`).
//!
//! Left out: the kernel's part, files that are closed while somebody waits his turn (`netpoll-close` has the rest), panics.

use super::Model;
use super::stop::Alone;
use loom::sync::atomic::{AtomicU32, Ordering::SeqCst};
use loom::thread;
use std::sync::Arc;
use tricolor::model::{World, netpoll::End, set_clock};

pub const FILE: Model = Model {
    name: "netpoll-turn",
    property: "one goroutine at a time has the turn to read a file, and each that wants it gets it",
    source: "golang/go fd_mutex.go: rwlock, rwunlock; `netpoll::turn`",
    threads: 2,
    bound: Some(3),
    least: 740,
    run: file,
    drives: &["Turn::take", "Turn::give", "park_m", "ready"],
    twins: &["turn-unchecked", "turn-freed"],
};

pub const LATE: Model = Model {
    name: "netpoll-turn-late",
    property: "who waits his turn with a time limit is woken once, by the turn or the limit, and a turn is not given to who is gone",
    source: "`netpoll::turn`: who is taken out of the queue, under the lock, is woken by whoever has done it",
    threads: 2,
    bound: None,
    least: 550,
    run: late,
    drives: &["Turn::take", "Turn::give", "turn::expire", "timers::run_due", "Timer::stop"],
    twins: &["turn-expiry-unchecked", "turn-unchecked"],
};

pub const READERS: Model = Model {
    name: "netpoll-readers",
    property: "of two that read what the kernel has reported once, both get their part",
    source: "golang/go fd_unix.go: FD.Read under the read lock; `netpoll::turn`: who gets its turn tries again",
    threads: 2,
    bound: Some(4),
    least: 700,
    run: readers,
    drives: &["turn::retry", "Turn::take", "Turn::give", "PollDesc::wait", "netpollready", "injectglist"],
    twins: &["turn-untried"],
};

pub const STOP: Model = Model {
    name: "stop-turn",
    property: "goroutines that want to stop the world do so one at a time, and each that waits parked for its turn gets it",
    source: "golang/go proc.go: stopTheWorldGC, semacquire(&worldsema); `stw::turn`",
    threads: 2,
    bound: Some(3),
    least: 970,
    run: stop,
    drives: &["stw::Turn::take", "stw::Turn::pass", "park_m", "ready"],
    twins: &["turn-seen-early", "turn-freed"],
};

fn file() {
    let world = World::start(2);
    let file = world.file();
    let alone = Alone::new();
    let once = alone.goroutine(world, 1, move |alone, gp| file.in_turn(gp, None, || alone.hold()));
    world.on_goroutine(0, |gp| {
        for _ in 0..2 {
            assert!(file.in_turn(gp, None, || alone.hold()), "without a limit the turn comes");
        }
    });
    assert!(once.join().expect("the goroutine"), "without a limit the turn comes");
    world.nobody_waits();
}

fn late() {
    set_clock(10);
    let world = World::start(3);
    let file = world.file();
    let alone = Alone::new();
    let waits = alone.goroutine(world, 1, move |alone, gp| file.in_turn(gp, Some(5), || alone.hold()));
    world.on_goroutine(0, |gp| {
        file.in_turn(gp, None, || {
            alone.hold();
            world.run_due(1);
        });
        world.run_due(1);
    });
    waits.join().expect("the goroutine");
    world.nobody_waits();
    assert!(!world.run_due(1), "the goroutine has left a timer behind");
    // It is free.
    world.on_goroutine(2, |gp| file.in_turn(gp, None, || alone.hold()));
}

/// The bytes come, both at once, when the second one has just looked for the first time.
fn readers() {
    let world = World::start(2);
    let file = world.file();
    let socket = Arc::new(AtomicU32::new(0));
    let byte = |socket: &AtomicU32| socket.fetch_update(SeqCst, SeqCst, |n| n.checked_sub(1)).ok().map(|_| ());
    let bytes = socket.clone();
    let first = thread::spawn(move || world.on_goroutine(0, |gp| file.read(gp, || byte(&bytes))));
    let mut looked = false;
    let look = || {
        let found = byte(&socket);
        if !std::mem::replace(&mut looked, true) {
            socket.fetch_add(2, SeqCst);
            file.ready();
        }
        found
    };
    assert_eq!(world.on_goroutine(1, |gp| file.read(gp, look)), End::Ready);
    assert_eq!(first.join().expect("a reader"), End::Ready);
    world.nobody_waits();
}

fn stop() {
    let world = World::start(2);
    let alone = Alone::new();
    let once = alone.goroutine(world, 1, move |alone, gp| world.in_turn_to_stop(gp, || alone.hold()));
    world.on_goroutine(0, |gp| (0..2).for_each(|_| world.in_turn_to_stop(gp, || alone.hold())));
    once.join().expect("the goroutine");
    world.nobody_waits();
}
