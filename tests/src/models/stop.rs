//! Stopping the world, and running a function on every P, against goroutines that come to safepoints, enter and leave
//! blocking calls, and begin and end (`tricolor`'s `stw`, `syscall`, `proc::newm`, `sysmon`).
//!
//! Left out: signals (a goroutine stops at safepoints only), Ps beyond the number of goroutines, the world's end.

use super::Model;
use loom::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use loom::thread::{self, JoinHandle};
use std::sync::Arc;
use tricolor::model::{Goroutine, World, limits_that_pass};

pub const DOOR: Model = Model {
    name: "stop-door",
    property: "while the world is stopped every P is, and no goroutine runs between two safepoints",
    source: "golang/go proc.go: stopTheWorldWithSema, gcstopm; `stw`",
    threads: 2,
    bound: Some(2),
    least: 100,
    run: || {
        beside_a_stop(|world, gone_by, _| {
            for _ in 0..2 {
                gone_by.runs();
                world.poll();
            }
        })
    },
    drives: &["stop_the_world", "start_the_world", "stw::stop_here", "stw::claim", "clear_preempt"],
    twins: &["acquire-plain"],
};

pub const REQUEST: Model = Model {
    name: "stop-request",
    property: "a request to stop is not lost in the answer to an earlier one, nor where a goroutine begins to run",
    source: "golang/go preempt.go, proc.go: execute clears gp.preempt; `stw`: requests cannot be lost",
    threads: 2,
    bound: Some(2),
    least: 110,
    run: request,
    drives: &["stop_the_world", "start_the_world", "stw::stop_here", "clear_preempt"],
    twins: &["clear-preempt-last"],
};

pub const HANDOFF: Model = Model {
    name: "stop-handoff",
    property: "an idle P that is on its way to an M when the world stops is taken by one of the two, and comes back to the M",
    source: "golang/go proc.go: acquirep, stopm against stopTheWorldWithSema; `stw`: each P counts once",
    threads: 2,
    bound: Some(3),
    least: 300,
    run: handoff,
    drives: &["stop_the_world", "start_the_world", "stw::claim", "acquirep", "wait_for_p"],
    twins: &["acquire-plain"],
};

pub const SYSCALL: Model = Model {
    name: "stop-syscall",
    property: "who comes back from a blocking call runs only with a P that nobody has taken, and counts as stopped once",
    source: "golang/go proc.go: entersyscall, exitsyscall against stopTheWorldWithSema; commit 41dbcc19ef",
    threads: 2,
    bound: Some(3),
    least: 1000,
    run: || {
        beside_a_stop(|_, gone_by, gp| {
            gone_by.runs();
            gp.blocking(|| {});
            gone_by.runs();
        })
    },
    drives: &[
        "stop_the_world",
        "start_the_world",
        "stw::claim",
        "stop_left_behind",
        "entersyscall",
        "exitsyscall",
        "exitsyscall_slow",
    ],
    twins: &["syscall-exit-plain"],
};

pub const COUNT: Model = Model {
    name: "stop-count",
    property: "each P counts once for a stop: at the door, as one left behind, or claimed by the stopper",
    source: "golang/go proc.go: sched.stopwait; `stw`: whoever moves the status word subtracts one",
    threads: 3,
    // Three take two minutes.
    bound: Some(2),
    least: 2400,
    run: count,
    drives: &["stop_the_world", "stw::claim", "stw::stop_here", "stop_left_behind", "entersyscall"],
    twins: &["left-behind-unclaimed"],
};

pub const RETAKE: Model = Model {
    name: "retake",
    property: "a P left behind in a blocking call has one taker, its M or sysmon, and the goroutine goes on with it or after it",
    source: "golang/go proc.go: retake, handoffp against exitsyscall, startlockedm",
    threads: 3,
    // With three a second thread is asked for, which this model has not.
    bound: Some(2),
    least: 160,
    run: retake,
    drives: &[
        "retake_one",
        "handoffp",
        "startm",
        "allocm",
        "entersyscall",
        "exitsyscall",
        "exitsyscall_slow",
        "exitsyscall_m",
    ],
    twins: &["syscall-exit-plain"],
};

pub const TWO: Model = Model {
    name: "two-stoppers",
    property: "of a stop and a handshake that are wanted at once each has its turn, and neither waits for the other's P",
    source: "golang/go proc.go: worldsema, forEachP; `stw`: who waits for it comes by the door",
    threads: 2,
    bound: Some(2),
    least: 500,
    run: two,
    drives: &["stop_the_world", "start_the_world", "for_each_p", "run_safepoint_fn", "stw::stop_here"],
    twins: &["stopper-keeps-p"],
};

pub const HANDSHAKE: Model = Model {
    name: "handshake",
    property: "a handshake runs its function once for each P, and for none that a goroutine is running with meanwhile",
    source: "golang/go proc.go: forEachP",
    threads: 2,
    bound: Some(2),
    least: 110,
    run: handshake,
    drives: &["for_each_p", "run_safepoint_fn", "stw::claim", "entersyscall", "exitsyscall"],
    twins: &["handshake-unclaimed"],
};

/// Whether somebody has all to himself what goroutines use when they run.
#[derive(Clone)]
pub struct Alone(Arc<AtomicUsize>);

impl Alone {
    pub fn new() -> Alone {
        Alone(Arc::new(AtomicUsize::new(0)))
    }

    /// A goroutine uses it.
    pub fn runs(&self) {
        assert_eq!(self.0.fetch_add(0, SeqCst), 0, "a goroutine runs while it must not");
    }

    /// Somebody has it to himself, for a while.
    pub fn hold(&self) {
        assert_eq!(self.0.swap(1, SeqCst), 0, "two have it to themselves");
        thread::yield_now();
        assert_eq!(self.0.swap(0, SeqCst), 1);
    }

    /// A thread on which the goroutine of this number runs `f`.
    pub fn goroutine<R: 'static>(
        &self,
        world: World,
        id: usize,
        f: impl FnOnce(&Alone, Goroutine) -> R + 'static,
    ) -> JoinHandle<R> {
        let alone = self.clone();
        thread::spawn(move || world.on_goroutine(id, |gp| f(&alone, gp)))
    }
}

/// One goroutine stops the world, another one does something else.
fn beside_a_stop(other: fn(World, &Alone, Goroutine)) {
    let world = World::start(2);
    let alone = Alone::new();
    let goroutine = alone.goroutine(world, 1, move |alone, gp| other(world, alone, gp));
    stop(world, &alone);
    goroutine.join().expect("the goroutine");
}

fn stop(world: World, alone: &Alone) {
    world.on_goroutine(0, |_| {
        world.stopped(|| {
            assert!(world.all_stopped(), "a P is not stopped");
            alone.hold();
        });
    });
}

fn request() {
    limits_that_pass(0);
    let world = World::start(2);
    world.asked_in_vain(1);
    let alone = Alone::new();
    let stops = Arc::new(AtomicUsize::new(0));
    let seen = stops.clone();
    let goroutine = alone.goroutine(world, 1, move |alone, _| {
        // A loop that comes to safepoints only if it is asked to.
        world.until(|| {
            alone.runs();
            world.poll();
            seen.fetch_add(0, SeqCst) > 0
        });
    });
    stop(world, &alone);
    stops.fetch_add(1, SeqCst);
    goroutine.join().expect("the goroutine");
}

fn handoff() {
    let world = World::start(2);
    let alone = Alone::new();
    let runs = alone.clone();
    let other = thread::spawn(move || (0..2).for_each(|_| world.on_m(1, || runs.runs())));
    stop(world, &alone);
    other.join().expect("the other M");
}

fn count() {
    let world = World::start(3);
    let alone = Alone::new();
    let calls = thread::spawn(move || world.on_goroutine(1, |gp| gp.blocking(|| {})));
    let runs = alone.goroutine(world, 2, move |alone, _| {
        alone.runs();
        world.poll();
    });
    stop(world, &alone);
    calls.join().expect("who makes a call");
    runs.join().expect("who runs");
}

/// This thread is what makes threads.
fn retake() {
    let world = World::start(2);
    let alone = Alone::new();
    let goroutine = alone.goroutine(world, 1, move |alone, gp| {
        gp.lock_os_thread();
        gp.blocking(|| {});
        alone.runs();
        world.end();
        world.wake_template();
    });
    let sysmon = thread::spawn(move || world.retake(1));
    world.await_template();
    // Has the P that was taken, if it was.
    world.new_thread_finds_for_others(|| alone.hold());
    sysmon.join().expect("sysmon");
    goroutine.join().expect("the goroutine");
}

fn two() {
    let world = World::start(2);
    let alone = Alone::new();
    let goroutine = alone.goroutine(world, 1, move |alone, _| {
        alone.runs();
        world.for_each_p(&|_| {});
        alone.runs();
    });
    stop(world, &alone);
    goroutine.join().expect("the goroutine");
}

fn handshake() {
    let world = World::start(2);
    let times = Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
    let alone = Alone::new();
    let goroutine = alone.goroutine(world, 1, |alone, gp| {
        gp.blocking(|| {});
        alone.runs();
    });
    world.on_goroutine(0, |_| {
        world.for_each_p(&|p| {
            if p == 1 {
                alone.hold();
            }
            times[p].fetch_add(1, SeqCst);
        });
    });
    goroutine.join().expect("the goroutine");
    assert_eq!([times[0].load(SeqCst), times[1].load(SeqCst)], [1, 1], "once for each P");
}
