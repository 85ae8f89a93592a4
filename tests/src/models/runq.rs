//! Run queues, and the wake-ups for what is in them (`tricolor`'s `proc::runq`, `proc::newm`, `proc::schedule`).
//!
//! Left out: more than one thief at a time; timers and files, which an M that goes idle looks at as well; Ps that are stuck.

use super::Model;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;
use std::sync::Arc;
use tricolor::model::World;

pub const STEAL: Model = Model {
    name: "runq-steal",
    property: "a goroutine in a ring is taken once, by its owner or a thief, also where the ring has come round",
    source: "golang/go proc.go: runqput, runqget, runqgrab",
    threads: 2,
    bound: Some(4),
    least: 1400,
    run: steal,
    drives: &["runqput", "runqget", "runqsteal"],
    twins: &["steal-head-first"],
};

pub const PUBLISH: Model = Model {
    name: "runq-publish",
    property: "a thief finds no goroutine in a ring before it is written there",
    source: "golang/go proc.go: runqput's store-release of runqtail",
    threads: 2,
    bound: None,
    least: 5,
    run: publish,
    drives: &["runqput", "runqget", "runqsteal"],
    twins: &["runq-tail-early"],
};

pub const NEXT: Model = Model {
    name: "runq-next",
    property: "what a P would run next is taken once, by its owner or a thief",
    source: "golang/go proc.go: runnext; CL 20858",
    threads: 2,
    bound: None,
    least: 50,
    run: next,
    drives: &["runqput", "runqget", "runqsteal"],
    twins: &["runnext-blind"],
};

pub const FULL: Model = Model {
    name: "runq-full",
    property: "of a ring that overflows while a thief is at it no goroutine is lost, and none comes twice",
    source: "golang/go proc.go: runqputslow",
    threads: 2,
    bound: None,
    least: 33,
    run: full,
    drives: &["runqput", "runqputslow", "runqget", "runqsteal"],
    twins: &["steal-head-first"],
};

pub const HANDED_OVER: Model = Model {
    name: "steal-handed-over",
    property: "who looks for work finds what is in the queue of a P that nobody holds, since it is being handed over",
    source: "golang/go proc.go: stealWork, idlepMask, handoffp",
    threads: 2,
    bound: None,
    least: 6,
    run: handed_over,
    drives: &["handoffp", "startm", "allocm", "steal", "runqsteal"],
    twins: &["idle-passed-over"],
};

pub const WAKE: Model = Model {
    name: "wake-local",
    property: "an M that goes to sleep when a goroutine is put into another one's queue finds it, or somebody is woken",
    source: "golang/go proc.go: worker thread parking/unparking; wakep, findRunnable",
    threads: 3,
    bound: Some(3),
    least: 1200,
    run: wake_local,
    drives: &["runqput", "wakep", "startm", "allocm", "rest", "stopm", "runqsteal"],
    twins: &["rest-unchecked", "wake-unfenced"],
};

pub const WAKE_GLOBAL: Model = Model {
    name: "wake-global",
    property: "likewise for a goroutine that a thread without a P readies, into the global queue",
    source: "golang/go proc.go: ready, injectglist; `allocm` borrows the P that it makes a thread for",
    threads: 3,
    bound: Some(3),
    least: 2400,
    run: wake_global,
    drives: &["ready", "wakep", "startm", "allocm", "rest", "stopm"],
    twins: &["rest-unchecked"],
};

/// What was taken, by whomever, and what is left.
fn each_once(world: World, taken: Vec<Option<usize>>, all: &[usize]) {
    let left = (0..2).flat_map(|p| std::iter::from_fn(move || world.take(p)));
    let global = std::iter::from_fn(|| world.take_global());
    let mut found: Vec<usize> = taken.into_iter().flatten().chain(left).chain(global).collect();
    found.sort_unstable();
    assert_eq!(found, all, "each goroutine is taken once");
}

fn steal() {
    let world = World::start_with(2, 4);
    // What a thief would read too early.
    (0..4).for_each(|g| world.put(0, g, false));
    (0..4).for_each(|g| assert_eq!(world.take(0), Some(g)));
    [3, 2, 1].into_iter().for_each(|g| world.put(0, g, false));
    let thief = thread::spawn(move || world.steal(1, 0, false));
    let first = world.take(0);
    // The second one takes the place of the first.
    world.put(0, 0, false);
    if let Some(g) = first {
        world.put(0, g, false);
    }
    let second = world.take(0);
    let stolen = thief.join().expect("the thief");
    each_once(world, vec![second, stolen], &[0, 1, 2, 3]);
}

fn publish() {
    let world = World::start_with(2, 4);
    // What a thief would read too early.
    [1, 2, 3, 1].into_iter().for_each(|g| world.put(0, g, false));
    (0..4).for_each(|_| assert!(world.take(0).is_some()));
    let thief = thread::spawn(move || world.steal(1, 0, false));
    world.put(0, 0, false);
    let stolen = thief.join().expect("the thief");
    each_once(world, vec![stolen], &[0]);
}

fn next() {
    let world = World::start_with(2, 3);
    world.put(0, 0, true);
    let thief = thread::spawn(move || world.steal(1, 0, true));
    // Kicks the one before it into the ring.
    world.put(0, 1, true);
    let first = world.take(0);
    let stolen = thief.join().expect("the thief");
    each_once(world, vec![first, stolen], &[0, 1]);
}

fn full() {
    let world = World::start_with(2, 5);
    (0..4).for_each(|g| world.put(0, g, false));
    let thief = thread::spawn(move || world.steal(1, 0, false));
    world.put(0, 4, false);
    let first = world.take(0);
    let stolen = thief.join().expect("the thief");
    each_once(world, vec![first, stolen], &[0, 1, 2, 3, 4]);
}

fn handed_over() {
    let world = World::start(2);
    world.on_m(1, || world.put(1, 0, false));
    let other = thread::spawn(move || world.hand_off(1));
    let found = world.on_m(0, || world.steal_from_all(0));
    other.join().expect("who hands it over");
    assert_eq!(found, Some(0), "a goroutine is passed over");
}

/// One M looks for work and is about to sleep; `submit` readies a goroutine. This thread is what makes threads.
fn wake(world: World, submit: impl FnOnce() + 'static) {
    let found = Arc::new(AtomicUsize::new(0));
    let count = found.clone();
    let idle = thread::spawn(move || {
        world.on_m_for_good(1, || {
            world.spins();
            if world.look().is_some() {
                count.fetch_add(1, Ordering::SeqCst);
                world.wake_template();
            }
        });
    });
    let busy = thread::spawn(submit);
    while found.fetch_add(0, Ordering::SeqCst) == 0 {
        world.await_template();
        if world.new_thread().is_some() {
            found.fetch_add(1, Ordering::SeqCst);
        }
    }
    busy.join().expect("who submits");
    world.end();
    idle.join().expect("who looks for work");
    assert_eq!(found.load(Ordering::SeqCst), 1, "a goroutine is found once");
}

fn wake_local() {
    let world = World::start(2);
    wake(world, move || {
        world.on_m_for_good(0, || {
            world.put(0, 0, false);
            world.wake();
        });
    });
}

fn wake_global() {
    let world = World::start(2);
    world.is_parked(0);
    wake(world, move || world.ready(0));
}
