//! Suspending in place: a signal against entering and leaving the runtime (`tricolor`'s `suspend`, `gc_core`'s
//! `sync::current`).
//!
//! The in-runtime count and the look for a refused signal are a twin of the assembly; a signal comes between any two of its
//! steps. Left out: restartable ranges, other stacks and other handlers (all refused without coming again), time slices.

use super::Model;
use loom::sync::atomic::{AtomicBool, Ordering};
use loom::thread;
use tricolor::model::{World, limits_that_pass, set_clock};

pub const REFUSED: Model = Model {
    name: "suspend-refused",
    property: "of the one signal that asks a thread to stop nothing is lost, wherever it finds it inside the runtime or out",
    source: "protocols: a refusal is noted, and who leaves the runtime stores the count first and looks second",
    threads: 2,
    bound: Some(3),
    least: 2000,
    run: refused,
    drives: &["suspend::signal", "suspend::interrupted", "suspend::suspend", "stw::stop_here", "stop_the_world"],
    twins: &["refusal-forgotten", "refusal-sought-early"],
};

fn refused() {
    // The stopper looks again once, and sends the one signal, since the flag, which the goroutine does not look at, is set.
    limits_that_pass(1);
    set_clock(10_500_000);
    let world = World::start(2);
    let stopped: &AtomicBool = Box::leak(Box::new(AtomicBool::new(false)));
    let goroutine = thread::spawn(move || {
        world.on_goroutine(1, |_| {
            world.with_signals(|| {
                world.wake_template();
                world.in_runtime();
                if !stopped.load(Ordering::SeqCst) {
                    world.runs_until_signal();
                }
            });
        });
    });
    // It runs.
    world.await_template();
    world.on_goroutine(0, |_| world.stopped(|| assert!(world.all_stopped(), "a P is not stopped")));
    // The signal for the stop may have come earlier; this one may, too, but not before `stopped`.
    stopped.store(true, Ordering::SeqCst);
    world.interrupt(1);
    goroutine.join().expect("the goroutine");
}
