//! Requests to a goroutine, by flag and by signal, against its answers and against each other (`tricolor`'s `suspend`,
//! `sysmon`, `proc::schedule`). That a request is not lost in the answer to another one at a safepoint is `stop-request`.
//!
//! Left out: descheduling where a signal finds the goroutine (assembly, and a look at its frames).

use super::Model;
use loom::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use loom::thread;
use std::sync::Arc;
use tricolor::model::{World, limits_that_pass, set_clock};

pub const ONE: Model = Model {
    name: "signal-one",
    property: "of two that signal a thread at once one does: no second signal is under way to it (unless the thread has \
               answered another one meanwhile, its own or the program's: `suspend-end`)",
    source: "golang/go signal_unix.go: preemptM, signalPending",
    threads: 3,
    bound: Some(3),
    least: 950,
    run: one,
    drives: &["suspend::signal", "suspend::interrupted"],
    twins: &["signal-twice"],
};

pub const ANSWER: Model = Model {
    name: "signal-answer",
    property: "who finds a signal under way sends none: that one is yet to look what is wanted",
    source: "golang/go signal_unix.go: doSigPreempt; golang/go issue 52226",
    threads: 2,
    bound: Some(2),
    least: 500,
    run: answer,
    drives: &["suspend::signal", "suspend::interrupted", "suspend::suspend", "for_each_p", "stop_the_world"],
    twins: &["signal-answered-late"],
};

pub const SLICE: Model = Model {
    name: "slice-over",
    property: "the end of a goroutine's time slice, asked for by flag and by signal, does not hit the next one on its P",
    source: "golang/go proc.go: execute, retake, preemptone",
    threads: 2,
    bound: Some(2),
    least: 5600,
    run: slice,
    drives: &["retake", "suspend::signal", "suspend::interrupted", "goexit0", "prepare", "clear_preempt"],
    twins: &["slice-inherited"],
};

fn one() {
    let world = World::start(2);
    let goroutine = thread::spawn(move || {
        world.on_goroutine(1, |_| {
            world.with_signals(|| {
                world.wake_template();
                world.runs_until_signal();
                world.in_runtime();
            });
        });
    });
    // It runs.
    world.await_template();
    let other = thread::spawn(move || world.signal(1));
    world.signal(1);
    other.join().expect("the other one");
    goroutine.join().expect("the goroutine");
    assert_eq!(world.dropped(1), 0, "a second signal is under way to a thread");
}

/// The second request comes when the first one's signal is being answered, at the earliest.
fn answer() {
    set_clock(10_500_000);
    let world = World::start(2);
    let goroutine = thread::spawn(move || {
        world.on_goroutine(1, |_| {
            world.with_signals(|| {
                world.wake_template();
                world.runs_until_signal();
                world.runs_until_signal();
            });
        });
    });
    world.await_template();
    world.on_goroutine(0, |_| {
        // Each looks again once, and may send a signal then.
        let asks_once = || {
            limits_that_pass(1);
            world.was_asked(1, 10_000_000);
        };
        asks_once();
        world.for_each_p(&|_| {});
        asks_once();
        world.stopped(|| assert!(world.all_stopped(), "a P is not stopped"));
    });
    // If one signal was enough.
    world.interrupt(1);
    goroutine.join().expect("the goroutine");
}

/// This thread is sysmon.
fn slice() {
    let world = World::start_with(2, 3);
    let looked = Arc::new(AtomicUsize::new(0));
    let m = {
        let looked = looked.clone();
        thread::spawn(move || {
            world.on_m(1, || {
                world.lives(1, |_| world.poll());
                let all_before = looked.fetch_add(0, SeqCst) > 0;
                world.lives(2, |_| {
                    let begun = world.switches(1);
                    world.with_signals(|| world.in_runtime());
                    world.poll();
                    assert!(!all_before || world.switches(1) == begun, "it lost its slice for another one");
                });
            });
        })
    };
    // A look sees what runs, the next one finds it still there, and the next one sends the signal. At the first of the four
    // nothing may run yet.
    (0..4).for_each(|i| world.end_slices(i * 1_000_000_000));
    looked.fetch_add(1, SeqCst);
    m.join().expect("the M");
}
