//! Nothing turns the barrier on, so an optimised program has none left to find, and every root looks clean.

use barrier_lint::{canary, record};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

static ENABLED: AtomicBool = AtomicBool::new(false);
static SLOT: AtomicUsize = AtomicUsize::new(0);

#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn folded_barrier(new: usize) {
    SLOT.fetch_add(new, Relaxed);
}

#[used]
static KEPT: extern "C" fn(usize) = folded_barrier;

fn set(new: usize) {
    match ENABLED.load(Relaxed) {
        true => folded_barrier(new),
        false => SLOT.store(new, Relaxed),
    }
}

#[canary]
fn canary_of_folded() {
    set(1);
}

#[inline(never)]
fn root(n: usize) {
    record!("barrier_lint", root);
    set(n);
}

fn main() {
    root(2);
}
