//! The run-time half, in processes of their own: what it says, and that it says nothing else.
#![cfg(debug_assertions)]

use barrier_lint::{Inside, SystemStack, barrier, nosplit, nowritebarrierrec, on_system_stack, systemstack};
use barrier_lint::{writebarrier, yeswritebarrierrec};
use std::process::Command;

#[writebarrier]
fn store() {}

#[nowritebarrierrec(indirect = "not true")]
fn no_barrier(f: fn()) {
    f()
}

#[nowritebarrierrec(indirect = "not true")]
fn outer(f: fn()) {
    no_barrier(|| ());
    f()
}

#[yeswritebarrierrec]
fn gate() {
    store()
}

struct Cell;
impl Cell {
    #[writebarrier]
    fn set(&self) {}
}

/// Another thread continues what this one has left inside a no-barrier function.
#[nowritebarrierrec(indirect = "not true")]
fn switches(f: fn()) {
    f();
    store_after_all();
}
barrier_lint::certify! { fn store_after_all: "not true"; }
fn store_after_all() {
    barrier("by hand");
}

#[systemstack]
#[nowritebarrierrec]
#[nosplit(budget = 100)]
fn on_g0(_on: &SystemStack) {}

fn call_on_g0() {
    // SAFETY: not true; that is what is tested.
    on_g0(&unsafe { SystemStack::conjure() })
}

/// A name, what runs, and the barrier and the function that are named; none if nothing is to be said.
type Case = (&'static str, fn(), Option<(&'static str, &'static str)>);
const CASES: &[Case] = &[
    ("path", || no_barrier(store), Some(("run_time::store (", "run_time::no_barrier ("))),
    ("method", || no_barrier(|| Cell.set()), Some(("run_time::set (", "run_time::no_barrier ("))),
    ("outer", || outer(store), Some(("run_time::store (", "run_time::outer ("))),
    ("by-hand", || switches(|| ()), Some(("by hand", "run_time::switches ("))),
    ("gate", || outer(gate), None),
    (
        "after",
        || {
            no_barrier(|| ());
            store()
        },
        None,
    ),
    (
        "after-a-panic",
        || {
            drop(std::panic::catch_unwind(|| no_barrier(|| panic!("left"))));
            store()
        },
        None,
    ),
    (
        "switched",
        || {
            no_barrier(|| {
                let _elsewhere = Inside::enter(None);
                store()
            })
        },
        None,
    ),
    ("other-thread", || no_barrier(|| std::thread::spawn(store).join().expect("no panic")), None),
    (
        "system-stack",
        || {
            on_system_stack(|| true);
            call_on_g0()
        },
        None,
    ),
    ("not-asked", call_on_g0, None),
    (
        "goroutine-stack",
        || {
            on_system_stack(|| false);
            call_on_g0()
        },
        Some(("run_time::on_g0", "goroutine's stack")),
    ),
];

const CASE: &str = "BARRIER_LINT_CASE";

#[test]
fn a_barrier_in_a_no_barrier_function_is_fatal_with_both_names() {
    if let Ok(name) = std::env::var(CASE) {
        let (_, run, _) = CASES.iter().find(|(n, ..)| *n == name).expect("a case");
        return run();
    }
    for (name, _, says) in CASES {
        let output = Command::new(std::env::current_exe().expect("a path"))
            .args(["--exact", "a_barrier_in_a_no_barrier_function_is_fatal_with_both_names", "--nocapture"])
            .env(CASE, name)
            .output()
            .expect("a test program can be started");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let fatal = said.lines().find(|l| l.starts_with("fatal error: ")).unwrap_or_default();
        match says {
            Some((barrier, function)) => {
                assert!(fatal.contains(barrier) && fatal.contains(function), "{name}: {said}");
                assert!(output.status.code().is_none(), "{name} aborts: {:?}", output.status);
            }
            None => assert!(output.status.success() && fatal.is_empty(), "{name}: {said}"),
        }
    }
}
