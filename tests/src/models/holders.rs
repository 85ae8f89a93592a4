//! A goroutine that is suspended in place and held by more than one (`tricolor`'s `suspend`, `world`, `stw`), and one that
//! ends meanwhile, and its G used for another (`proc::spawn`).
//!
//! Left out: signal frames, which are scanned with the stack.

use super::Model;
use super::stop::Alone;
use gc_core::Trace;
use loom::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use loom::thread;
use std::sync::Arc;
use tricolor::model::{World, clock_goes, limits_that_pass, set_clock};

pub const AFTER_STOP: Model = Model {
    name: "suspend-stop-scan",
    property: "a goroutine that a stop has suspended, and whose stack somebody scans before it has gone on, goes on after both",
    source: "protocols: a suspension has a set of holders; golang/go preempt.go: suspendG, castogscanstatus",
    threads: 2,
    bound: Some(3),
    least: 2000,
    run: after_stop,
    drives: &["suspend::suspend", "stop_the_world", "scan_g", "casgstatus", "Heap::finish_mark"],
    twins: &["status-ignores-scan", "scan-shared"],
};

pub const BOTH: Model = Model {
    name: "suspend-two-holders",
    property: "one signal suspends a goroutine for a stop and for a scan, by itself and by another M at once: none of them is \
               lost, and it goes on when all have let go",
    source: "protocols: a suspension has a set of holders; golang/go preempt.go: suspendG",
    threads: 3,
    // Three take two minutes.
    bound: Some(2),
    least: 2300,
    run: both,
    drives: &["suspend::signal", "suspend::suspend", "stw::stop_here", "stop_the_world", "scan_g", "casgstatus"],
    twins: &["suspended-for-one"],
};

pub const END: Model = Model {
    name: "suspend-end",
    property: "a goroutine that ends while its suspension is asked for, or its stack scanned, leaves nothing of that to the one \
               that runs on its M next, whose stack is scanned for itself",
    source: "golang/go preempt.go: suspendG, proc.go: goexit0",
    threads: 2,
    bound: Some(3),
    least: 1200,
    run: end,
    drives: &["goexit0", "scan_g", "suspend::signal", "suspend::suspend", "Heap::finish_mark"],
    twins: &["status-ignores-scan", "scan-shared"],
};

pub const REUSE: Model = Model {
    name: "suspend-reuse",
    property: "who wants to scan the stack of a goroutine whose G has been another one's, on another M, asks who runs it now, and \
               does not wait for ever",
    source: "golang/go preempt.go: suspendG, proc.go: goexit0, gfput, gfget",
    threads: 3,
    bound: Some(2),
    least: 800,
    run: reuse,
    drives: &["goexit0", "gfget", "scan_g", "suspend::signal", "suspend::suspend", "stop_the_world"],
    twins: &["exit-unties-late"],
};

#[derive(Trace)]
struct Node {
    id: u64,
}

/// A world in which X is in the last word of goroutine 1's stack alone, behind another object: a scan goes from the first word
/// to the last, and has something to do in between.
fn with_x(ms: usize, goroutines: usize) -> (World, usize) {
    let world = World::start_with(ms, goroutines);
    let (x, other) = world.on_m(0, || (world.alloc(Node { id: 1 }), world.alloc(Node { id: 2 })));
    world.set_stack(1, 1, other);
    world.set_stack(1, 2, x);
    (world, x)
}

fn x_survives(world: World, x: usize) {
    world.on_m(0, || world.finish_cycle());
    assert!(world.alive(x), "X is on the goroutine's stack and was freed");
}

/// The stop is the one in which marking begins, so nothing is to be scanned yet when the goroutine is suspended for it.
fn after_stop() {
    set_clock(10_500_000);
    let (world, x) = with_x(2, 2);
    limits_that_pass(1);
    let scanned = Arc::new(AtomicUsize::new(0));
    let goroutine = {
        let scanned = scanned.clone();
        thread::spawn(move || {
            world.on_goroutine(1, |gp| {
                world.with_signals(|| {
                    world.wake_template();
                    world.runs_until_signal();
                });
                gp.move_on_stack(2, 0);
                world.until(|| {
                    world.poll();
                    scanned.fetch_add(0, SeqCst) > 0
                });
            });
        })
    };
    world.await_template();
    world.on_goroutine(0, |_| {
        world.start_cycle();
        world.scan(1, || true);
    });
    scanned.fetch_add(1, SeqCst);
    goroutine.join().expect("the goroutine");
    x_survives(world, x);
}

/// There is one signal, sent by the stopper or by who scans, and both want something by then.
fn both() {
    set_clock(10_500_000);
    let (world, x) = with_x(3, 3);
    world.on_m(0, || world.start_cycle());
    limits_that_pass(1);
    let (alone, over) = (Alone::new(), Arc::new(AtomicUsize::new(0)));
    let goroutine = {
        let alone = alone.clone();
        thread::spawn(move || {
            world.on_goroutine(1, |gp| {
                world.with_signals(|| {
                    world.wake_template();
                    world.runs_until_signal();
                    gp.move_on_stack(2, 0);
                    alone.runs();
                    world.runs_until_signal();
                });
            });
        })
    };
    world.await_template();
    let scanner = {
        let over = over.clone();
        thread::spawn(move || {
            world.on_m(2, || world.scan(1, || world.stop_announced() || over.fetch_add(0, SeqCst) > 0));
        })
    };
    world.on_goroutine(0, |_| {
        world.stopped(|| {
            assert!(world.all_stopped(), "a P is not stopped");
            alone.hold();
        });
    });
    over.fetch_add(1, SeqCst);
    scanner.join().expect("who scans");
    world.interrupt(1);
    goroutine.join().expect("the goroutine");
    x_survives(world, x);
}

/// X is on the stack of the second of two goroutines that run on an M one after the other.
fn end() {
    set_clock(10_500_000);
    clock_goes();
    let (world, x) = with_x(2, 3);
    world.on_m(0, || world.start_cycle());
    let over = Arc::new(AtomicUsize::new(0));
    let m = {
        let over = over.clone();
        thread::spawn(move || {
            world.on_m(1, || {
                world.lives(2, |_| world.with_signals(|| world.in_runtime()));
                world.lives(1, |gp| {
                    gp.move_on_stack(2, 0);
                    world.with_signals(|| {
                        while over.fetch_add(0, SeqCst) == 0 {
                            world.runs_until_signal();
                        }
                    });
                });
            });
        })
    };
    world.on_goroutine(0, |_| {
        world.scan(2, || true);
        world.scan(1, || true);
    });
    over.fetch_add(1, SeqCst);
    world.interrupt(1);
    m.join().expect("the M");
    x_survives(world, x);
}

/// One goroutine ends, and another one spawns one with its G, and a cycle begins.
fn reuse() {
    set_clock(10_000_000);
    clock_goes();
    let world = World::start_with(3, 4);
    // The list of this P is full with one more.
    world.is_dead(3, 1);
    let over = Arc::new(AtomicUsize::new(0));
    let ends = thread::spawn(move || world.on_m(1, || world.lives(1, |_| ())));
    let spawns = {
        let over = over.clone();
        thread::spawn(move || {
            world.on_m(2, || {
                world.lives(2, |_| {
                    world.until(|| {
                        world.poll();
                        world.any_dead()
                    });
                    world.spawn(move || {
                        world.with_signals(|| {
                            world.wake_template();
                            while over.fetch_add(0, SeqCst) == 0 {
                                world.runs_until_signal();
                            }
                        });
                    });
                });
                world.runs_spawned();
            });
        })
    };
    world.await_template();
    world.on_goroutine(0, |_| {
        world.start_cycle();
        world.scan(1, || true);
    });
    over.fetch_add(1, SeqCst);
    world.interrupt(2);
    ends.join().expect("who ends");
    spawns.join().expect("who spawns");
}
