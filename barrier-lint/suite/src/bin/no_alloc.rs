//! Another effect, with records of its own: no allocation in a signal handler, of which one keeps to it.

use barrier_lint::record;
use std::hint::black_box;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

static SIGNALS: AtomicU32 = AtomicU32::new(0);

#[inline(never)]
extern "C" fn counts(signal: i32) {
    record!("no_alloc", root);
    SIGNALS.fetch_add(signal as u32, Relaxed);
}

#[inline(never)]
extern "C" fn collects(signal: i32) {
    record!("no_alloc", root);
    let mut all = black_box(Vec::new());
    all.push(signal);
    black_box(all);
}

#[inline(never)]
fn canary_of_no_alloc() -> Box<u32> {
    record!("no_alloc", canary);
    black_box(Box::new(1))
}

fn main() {
    counts(1);
    collects(2);
    canary_of_no_alloc();
}
