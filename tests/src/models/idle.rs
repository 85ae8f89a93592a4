//! Who sleeps while there is nothing to do, and is woken in time: the M that watches over timers (`tricolor`'s
//! `netpoll::watch`), and sysmon (`sysmon`).
//!
//! Left out: the other place to sleep, in the kernel (`netpoll::wake`); the end of the world; sysmon's naps.

use super::Model;
use loom::thread;
use tricolor::model::timer::Alarm;
use tricolor::model::{World, limits_that_pass, set_clock};

pub const WATCH: Model = Model {
    name: "watch",
    property: "an M that is about to sleep until some timer does not sleep beyond one that is armed meanwhile, or another M wakes",
    source: "golang/go proc.go: wakeNetPoller, sched.pollUntil; `netpoll::watch`",
    threads: 3,
    bound: Some(3),
    least: 2600,
    run: watch,
    drives: &["watch", "Watch::no_later_than", "rest", "wakep", "Timer::arm", "timers::run_due"],
    twins: &["watch-unchecked", "watch-cleared-late"],
};

pub const SYSMON: Model = Model {
    name: "sysmon-idle",
    property: "sysmon does not sleep on when a P comes into use",
    source: "golang/go proc.go: sysmon, sched.sysmonwait; `sysmon`: deep sleep",
    threads: 2,
    bound: None,
    least: 15,
    run: sysmon_idle,
    drives: &["sleep_while_idle", "Sysmon::wake", "acquirep"],
    twins: &["sysmon-asleep-late", "sysmon-cleared-late"],
};

pub const STOPPED: Model = Model {
    name: "sysmon-stopped",
    property: "sysmon does not sleep on when the world goes on",
    source: "golang/go proc.go: startTheWorldWithSema wakes sysmon; `sysmon`: deep sleep",
    threads: 2,
    bound: None,
    least: 44,
    run: sysmon_stopped,
    drives: &["sleep_while_idle", "Sysmon::wake", "stop_the_world", "start_the_world"],
    twins: &["sysmon-asleep-late", "sysmon-cleared-late"],
};

/// One M goes idle where a timer is far off; one that is busy arms an earlier one. This thread is what makes threads.
fn watch() {
    limits_that_pass(0);
    set_clock(10);
    let world = World::start(2);
    let (far, due) = (Alarm::new(), Alarm::new());
    world.on_m(1, || far.arm(1000));
    let idle = thread::spawn(move || {
        world.on_m_for_good(1, || {
            world.spins();
            if world.runs_timers_until(due) {
                world.wake_template();
            }
        });
    });
    let busy = thread::spawn(move || {
        world.on_m_for_good(0, || {
            due.arm(5);
            world.leaves_timers(0);
        });
    });
    while due.fired() == 0 {
        world.await_template();
        world.new_thread_runs_timers_until(due);
    }
    busy.join().expect("who is busy");
    world.end();
    idle.join().expect("who is idle");
    assert_eq!((far.fired(), due.fired()), (0, 1));
}

fn sysmon_idle() {
    let world = World::start(1);
    world.is_idle(0);
    let sysmon = thread::spawn(move || world.sysmon_sleeps());
    world.takes_idle_p(0);
    sysmon.join().expect("sysmon");
}

fn sysmon_stopped() {
    let world = World::start(1);
    let sysmon = thread::spawn(move || world.sysmon_sleeps());
    world.on_goroutine(0, |_| world.stopped(|| ()));
    sysmon.join().expect("sysmon");
}
