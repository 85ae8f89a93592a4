//! A process in which all goroutines wait: no thread of the runtime wakes, however long that lasts; and sysmon is there when
//! it is over.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

#[path = "common/checked.rs"]
mod checked;
mod common;

use common::{child, is_child, needs, run, with_procs};
use std::collections::HashMap;
use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tricolor::net::UnixStream;
use tricolor::{blocking, chan, gc, set_procs, spawn, time};

/// How long something may take that would otherwise never be.
const LIFE: Duration = Duration::from_secs(60);

const HOUR: Duration = Duration::from_secs(3600);

/// How often each other thread of this process has gone to sleep so far.
fn sleeps() -> HashMap<i32, u64> {
    // SAFETY: asks for this thread's number.
    let own = unsafe { libc::gettid() };
    let tasks = std::fs::read_dir("/proc/self/task").expect("the kernel says it");
    tasks
        .filter_map(|task| {
            let task = task.ok()?;
            let tid = task.file_name().to_str()?.parse().ok()?;
            let status = std::fs::read_to_string(task.path().join("status")).ok()?;
            let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?;
            (tid != own).then(|| (tid, line.trim().parse().expect("a number")))
        })
        .collect()
}

/// Waits until 2 seconds have passed in which the other threads woke five times at most, all together; panics if that does
/// not come.
fn wait_until_idle() {
    let mut woken = 0;
    for _ in 0..10 {
        let before = sleeps();
        std::thread::sleep(Duration::from_secs(2));
        woken = sleeps().iter().map(|(tid, n)| n - before.get(tid).unwrap_or(&0)).sum();
        if woken <= 5 {
            return;
        }
    }
    println!("{:?}", sleeps());
    panic!("in 2 seconds without anything to do threads woke {woken} times");
}

/// Goroutines that wait for all that there is, and for a long time.
#[test]
fn nobody_wakes_for_nothing() {
    if is_child("nobody_wakes_for_nothing") {
        run(with_procs(2), || {
            gc::collect();
            set_procs(3);
            spawn(|| time::sleep(HOUR));
            let (mut near, far) = UnixStream::pair().expect("a pair");
            let reader = spawn(move || near.read(&mut [0]).expect("it is closed"));
            let (tx, rx) = chan::bounded::<()>(0);
            let receiver = spawn(move || rx.recv_timeout(HOUR));
            let (_tx, never) = chan::bounded::<()>(0);
            spawn(move || never.recv());
            set_procs(2);
            // A loop that is descheduled, and then comes to its end.
            let begin = Instant::now();
            while begin.elapsed() < Duration::from_millis(50) {
                std::hint::spin_loop();
            }
            // Its P is taken away soon.
            blocking((), |()| wait_until_idle());
            drop((far, tx));
            assert_eq!(reader.join().expect("no panic"), 0);
            assert!(receiver.join().expect("no panic").is_err());
        });
        return;
    }
    let (code, err) = child("nobody_wakes_for_nothing", &[]);
    assert_eq!(code, Some(0), "{err}");
}

/// Somebody else has its turn while this goroutine computes, and while it is in a blocking call, on the only P. Nobody but
/// sysmon sees to that.
fn others_have_their_turns() {
    let ran = Arc::new(AtomicBool::new(false));
    let other = || {
        let ran = ran.clone();
        spawn(move || ran.store(true, Ordering::SeqCst))
    };
    let begin = Instant::now();
    let one = other();
    while !ran.swap(false, Ordering::SeqCst) {
        assert!(begin.elapsed() < LIFE, "no time slice ends");
    }
    let two = other();
    blocking((ran.clone(), begin), |(ran, begin)| {
        while !ran.load(Ordering::SeqCst) {
            assert!(begin.elapsed() < LIFE, "nobody takes the P from a blocking call");
            std::thread::sleep(Duration::from_millis(1));
        }
    });
    one.join().expect("no panic");
    two.join().expect("no panic");
}

#[test]
fn sysmon_is_back_when_somebody_runs() {
    needs!(Signals);
    run(with_procs(1), || {
        for millis in [100, 1, 9, 10, 11, 20] {
            time::sleep(Duration::from_millis(millis));
            others_have_their_turns();
            // The same after a blocking call, in which the P was taken away and became idle.
            blocking((millis,), |(millis,)| std::thread::sleep(Duration::from_millis(millis)));
            others_have_their_turns();
        }
    });
}

#[test]
fn sysmon_is_back_after_a_stop() {
    needs!(Signals);
    // The world stands for up to so long, so that sysmon comes to sleep meanwhile.
    let stress = gc::Stress::default().delay(gc::Window::PhaseFlips, 100_000);
    run(with_procs(1).stress(stress), || {
        for _ in 0..5 {
            gc::collect();
            others_have_their_turns();
        }
    });
}
