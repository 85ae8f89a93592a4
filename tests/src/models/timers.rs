//! Timers between the goroutine that stops them and an M that finds them due (`tricolor`'s `time::timers`).
//!
//! Left out: who wakes up in time to look (`idle` has that), timers of a P that goes away.

use super::Model;
use loom::thread;
use tricolor::model::timer::Alarm;
use tricolor::model::{World, set_clock};

pub const STOP: Model = Model {
    name: "timer-stop",
    property: "after it was stopped a timer neither fires nor is firing, and none but that one is taken out",
    source: "golang/go time.go: timer.stop; `time::timers`: the record lies on the stack of who stops it",
    threads: 2,
    bound: None,
    least: 40,
    run: stop,
    drives: &["Timer::arm", "Timer::stop", "timers::run_due"],
    twins: &["timer-out-early", "timer-stop-unchecked"],
};

pub const SLEEP: Model = Model {
    name: "timer-sleep",
    property: "a goroutine that sleeps goes on, once, wherever in its parking its timer is found due",
    source: "golang/go time.go: timeSleep, resetForSleep; `time::timers`: a sleeper parks with the heap's lock",
    threads: 2,
    bound: None,
    least: 60,
    run: sleep,
    drives: &["sleep_until", "park_m", "timers::run_due", "injectglist"],
    twins: &["park-unlocks-early"],
};

fn stop() {
    set_clock(10);
    let world = World::start(2);
    let (first, second) = (Alarm::new(), Alarm::new());
    let goroutine = thread::spawn(move || {
        world.on_goroutine(0, |_| {
            // Not due; comes to the head of the heap when the other one is out.
            second.arm(20);
            first.arm(5);
            first.stop()
        })
    });
    world.on_m(1, || world.run_due(0));
    let fired = goroutine.join().expect("the goroutine");
    assert_eq!(fired, first.fired(), "a timer fires that was stopped");
    assert_eq!(second.fired(), 0, "a timer fires that is not due");
    set_clock(30);
    world.on_m(1, || world.run_due(0));
    assert_eq!(second.fired(), 1, "a timer was lost that nobody has stopped");
    assert!(first.fired() <= 1, "a timer fires twice");
}

fn sleep() {
    set_clock(10);
    let world = World::start(2);
    let sleeper = thread::spawn(move || world.on_goroutine(0, |gp| gp.sleep_until(5)));
    world.until(|| world.on_m(1, || world.run_due(0)));
    sleeper.join().expect("the goroutine");
    world.nobody_waits();
}
