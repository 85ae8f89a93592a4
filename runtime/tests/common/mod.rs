//! One runtime at a time per process: the tests of a binary take turns.
#![allow(dead_code)]

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tricolor::{Builder, Runtime};

/// Longer than anything here lasts.
pub const HOUR: Duration = Duration::from_secs(3600);
/// How long a test may take that would otherwise hang.
pub const LIFE: Duration = Duration::from_secs(90);

/// Whether `cargo verify --long` runs this.
pub fn long_tier() -> bool {
    std::env::var("TRICOLOR_TIER").is_ok_and(|tier| tier == "long")
}

/// Milliseconds.
pub fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Threads of this process.
pub fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").expect("the kernel's list of threads").count()
}

static TURN: Mutex<()> = Mutex::new(());

/// The turn of one test.
pub fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs `f` in a runtime of its own.
pub fn run<R: Send>(builder: Builder, f: impl FnOnce() -> R + Send) -> R {
    let _turn = turn();
    // SAFETY: the tests keep the contract of `run`: their `Gc`s lie on stacks, in heap objects and in the runtime.
    unsafe { builder.run(f) }
}

/// A runtime with `procs` Ps.
pub fn with_procs(procs: usize) -> Builder {
    Runtime::builder().procs(procs)
}

/// A runtime with two Ps and a collection at every allocation.
pub fn gc_always() -> Builder {
    with_procs(2).gc_every(1)
}

/// Runs this test binary again with only the test `name`, which sees `TRICOLOR_CHILD=name`; returns exit code and
/// standard error.
pub fn child(name: &str, env: &[(&str, &str)]) -> (Option<i32>, String) {
    let out = std::process::Command::new(std::env::current_exe().expect("own path"))
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env("TRICOLOR_CHILD", name)
        .envs(env.iter().copied())
        .output()
        .expect("the test binary runs");
    (out.status.code(), String::from_utf8_lossy(&out.stderr).into_owned())
}

/// Whether this process is the child of the test `name`.
pub fn is_child(name: &str) -> bool {
    std::env::var("TRICOLOR_CHILD").is_ok_and(|v| v == name)
}
