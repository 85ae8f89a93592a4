//! Roots of which nobody can say.

use barrier_lint::record;
use barrier_lint_suite::Calls;
use std::hint::black_box;
use std::sync::atomic::{AtomicPtr, Ordering::SeqCst};

pub fn run(n: usize) -> usize {
    drop_of_a_trait_object(black_box(Box::new(n)));
    asm_label();
    pointer_to_map(n, black_box(|n| n));
    trait_object(black_box(&n), n) + pointer_in_a_static() + pointer_in_a_table(n) + pointer_parameter(black_box(clean))
}

#[inline(never)]
fn trait_object(object: &dyn Calls, n: usize) -> usize {
    record!("barrier_lint", root);
    object.call(n)
}

#[inline(never)]
fn drop_of_a_trait_object(object: Box<dyn Calls>) {
    record!("barrier_lint", root);
    drop(object);
}

#[inline(never)]
fn pointer_to_map(n: usize, f: fn(usize) -> usize) -> Option<usize> {
    record!("barrier_lint", root);
    n.checked_add(1).map(f)
}

fn clean() -> usize {
    1
}

static POINTER: AtomicPtr<()> = AtomicPtr::new(clean as fn() -> usize as *mut ());

#[inline(never)]
fn pointer_in_a_static() -> usize {
    record!("barrier_lint", root);
    let f = POINTER.swap(POINTER.load(SeqCst), SeqCst);
    // SAFETY: only ever this function.
    unsafe { core::mem::transmute::<*mut (), fn() -> usize>(f)() }
}

#[inline(never)]
fn other() -> usize {
    2
}

static TABLE: [fn() -> usize; 3] = [clean, other, clean];

#[inline(never)]
fn pointer_in_a_table(n: usize) -> usize {
    record!("barrier_lint", root);
    TABLE[n % 3]()
}

#[inline(never)]
fn pointer_parameter(f: fn() -> usize) -> usize {
    record!("barrier_lint", root);
    f()
}

#[cfg(target_arch = "x86_64")]
std::arch::global_asm!(".text", ".globl suite_asm_label", "suite_asm_label:", "ret");

unsafe extern "C" {
    fn suite_asm_label();
}

#[inline(never)]
fn asm_label() {
    record!("barrier_lint", root);
    // SAFETY: it returns at once.
    unsafe { suite_asm_label() }
}
