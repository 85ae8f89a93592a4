//! What gdb shows of goroutines that signals have stopped. Skipped where there is no gdb.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod common;

use common::{is_child, run, with_procs};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use tricolor::{gc, spawn, yield_now};

static BEGUN: AtomicBool = AtomicBool::new(false);
static END: AtomicBool = AtomicBool::new(false);

#[inline(never)]
fn the_loop() {
    BEGUN.store(true, Ordering::Relaxed);
    while !END.load(Ordering::Relaxed) {
        std::hint::spin_loop();
    }
}

#[inline(never)]
fn calls_the_loop() {
    the_loop();
    std::hint::black_box(());
}

/// Runs the test `name` under gdb up to `function`; gives the names of the frames there, innermost first.
fn frames_at(function: &str, name: &str) -> Option<Vec<String>> {
    if Command::new("gdb").arg("--version").output().is_err() {
        println!("SKIPPED: gdb is not installed");
        return None;
    }
    let mut gdb = Command::new("gdb");
    gdb.args(["-nx", "-batch", "-ex", "handle SIGURG nostop noprint pass", "-ex", &format!("break {function}")]);
    gdb.args(["-ex", "run", "-ex", "bt", "--args"]).arg(std::env::current_exe().expect("own path"));
    gdb.args(["--exact", name, "--nocapture", "--test-threads=1"]).env("TRICOLOR_CHILD", name);
    let output = gdb.output().expect("it runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let frames: Vec<String> = text.lines().filter(|l| l.starts_with('#')).map(str::to_owned).collect();
    let says = String::from_utf8_lossy(&output.stderr);
    assert!(!frames.is_empty(), "no backtrace: {text}{says}");
    assert!(!says.contains("Backtrace stopped"), "{text}{says}");
    Some(frames)
}

#[track_caller]
fn are_in_order(frames: &[String], wanted: &[&str]) {
    let mut left = frames.iter();
    for name in wanted {
        assert!(left.any(|f| f.contains(name)), "no `{name}` where it should be: {frames:#?}");
    }
    assert!(frames.last().is_some_and(|f| f.contains("::gostart")), "it does not end at the start: {frames:#?}");
}

#[test]
fn a_descheduled_goroutine() {
    let name = "a_descheduled_goroutine";
    if is_child(name) {
        return run(with_procs(1), || {
            let looping = spawn(calls_the_loop);
            yield_now();
            yield_now();
            END.store(true, Ordering::Relaxed);
            looping.join().expect("no panic");
        });
    }
    // The assembly says of itself that what it was called from is an interrupted instruction, as a signal's frame does.
    let wanted = ["::async_preempt2", "<signal handler called>", "::the_loop", "::calls_the_loop", "::goroutine_main"];
    if let Some(frames) = frames_at("tricolor::preempt::async_preempt2", name) {
        are_in_order(&frames, &wanted);
    }
}

#[test]
fn a_goroutine_suspended_in_place() {
    let name = "a_goroutine_suspended_in_place";
    if is_child(name) {
        return run(with_procs(2), || {
            let looping = spawn(calls_the_loop);
            while !BEGUN.load(Ordering::Relaxed) {
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
            gc::collect();
            END.store(true, Ordering::Relaxed);
            looping.join().expect("no panic");
        });
    }
    let wanted = [
        "::suspend",
        "signal::handler",
        "<signal handler called>",
        "::the_loop",
        "::calls_the_loop",
        "::goroutine_main",
    ];
    if let Some(frames) = frames_at("tricolor::suspend::suspend", name) {
        are_in_order(&frames, &wanted);
    }
}

/// On a segment: the frames below it are those of the older one.
#[test]
fn a_goroutine_whose_stack_has_grown() {
    let name = "a_goroutine_whose_stack_has_grown";
    if is_child(name) {
        #[inline(never)]
        fn down(n: u64) -> u64 {
            tricolor::stack::ensure(16 << 10, || if n == 0 { at_the_bottom() } else { 1 + down(n - 1) })
        }
        return run(with_procs(1).stack(64 << 10), || {
            assert_eq!(spawn(|| down(100)).join().expect("no panic"), 100);
        });
    }
    // The assembly says of itself that it may have any address, as a signal's frame.
    let wanted = ["::at_the_bottom", "::down", "<signal handler called>", "::morestack", "::down", "::goroutine_main"];
    if let Some(frames) = frames_at("gdb::at_the_bottom", name) {
        are_in_order(&frames, &wanted);
    }
}

#[inline(never)]
fn at_the_bottom() -> u64 {
    std::hint::black_box(0)
}
