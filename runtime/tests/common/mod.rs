//! One runtime at a time per process: the tests of a binary take turns.
#![allow(dead_code, unused_macros, unused_imports)]

use std::io::Write;
use std::ops::RangeInclusive;
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

/// Overwrites what calls before have left below this frame.
#[inline(never)]
pub fn wipe() {
    std::hint::black_box(&mut [0_usize; 1024]);
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

/// Says why this test did not show what it is for, where libtest does not hide it: `cargo verify` counts that.
pub fn skipped(why: &str) {
    let thread = std::thread::current();
    let line = format!("SKIPPED: {}: {why}\n", thread.name().unwrap_or("a test"));
    std::io::stderr().write_all(line.as_bytes()).expect("stderr can be written");
}

/// No message for panics whose payload is a `T`: they come on purpose. All others are heard, those of the tests beside this one
/// among them.
pub fn quiet<T: 'static>() {
    let heard = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if !info.payload().is::<T>() {
            heard(info);
        }
    }));
}

/// What a test cannot do without. The environment may take it away, since it wins over the builder.
pub enum Needs {
    /// So many Ps, where `TRICOLOR_PROCS` is set.
    Procs(RangeInclusive<usize>),
    /// Signals that suspend and deschedule goroutines.
    Signals,
}

impl Needs {
    /// Why the environment does not give it; `None`: it does.
    fn lacks(&self) -> Option<String> {
        let says = |name| std::env::var(name).ok();
        match self {
            Needs::Procs(wanted) => says("TRICOLOR_PROCS")
                .filter(|n| n.parse().is_ok_and(|n| !wanted.contains(&n)))
                .map(|n| format!("TRICOLOR_PROCS is {n}, not {} to {}", wanted.start(), wanted.end())),
            Needs::Signals => says("TRICOLOR_DEBUG")
                .filter(|keys| keys.split(',').any(|key| key == "asyncpreemptoff=1"))
                .map(|_| "asynchronous preemption is off".to_owned()),
        }
    }

    /// Whether the environment gives it. Else says so.
    pub fn are_met(&self) -> bool {
        let Some(why) = self.lacks() else { return true };
        skipped(&why);
        false
    }
}

/// `needs!(Signals)`, `needs!(Procs(1..=1))`: ends the test that says so, as skipped, where the environment has taken that
/// away.
macro_rules! needs {
    ($need:expr) => {{
        use $crate::common::Needs::*;
        if !$need.are_met() {
            return;
        }
    }};
}
pub(crate) use needs;
