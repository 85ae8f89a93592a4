//! Roots that reach no barrier, though a careless walk might think so.

use super::bad::gate;
use barrier_lint::{nowritebarrier, nowritebarrierrec, record};
use barrier_lint_suite::{SLOT, Stores, in_another_crate};
use std::hint::black_box;
use std::ops::Deref;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

pub fn run(n: usize) -> usize {
    behind_a_gate(n);
    atomics(&AtomicUsize::new(n));
    if clean_recursion(n) {
        only_its_own();
    }
    panics(&[n], n);
    Row(n).method();
    switch(n) + hoisted(n) + clean_pointer(n) + generic(n) + unlisted()
}

#[nowritebarrierrec]
fn behind_a_gate(n: usize) {
    gate(n);
}

#[nowritebarrierrec]
fn atomics(a: &AtomicUsize) -> usize {
    a.swap(1, SeqCst) + a.fetch_add(1, SeqCst)
}

#[nowritebarrierrec]
fn clean_recursion(n: usize) -> bool {
    n == 0 || !clean_recursion(n - 1)
}

#[nowritebarrier]
fn only_its_own() {
    in_another_crate_not_inlined();
}

#[inline(never)]
fn in_another_crate_not_inlined() {
    in_another_crate(4);
}

#[nowritebarrierrec]
fn panics(all: &[usize], n: usize) -> usize {
    assert!(n < 100, "{n} is too much");
    all[n / 100]
}

#[nowritebarrierrec]
fn generic<T: Copy>(value: T) -> usize {
    let _copy = value;
    size_of::<T>()
}

struct Row(usize);

#[nowritebarrierrec]
impl Row {
    fn method(&self) -> usize {
        self.0
    }
}

/// A jump table.
#[nowritebarrierrec]
fn switch(n: usize) -> usize {
    match n {
        0 => black_box(7),
        1 => step(3) * 11,
        2 => black_box(1) - n,
        3 => step(9),
        4 => black_box(n) << 3,
        5 => step(n) ^ 0x55,
        6 => black_box(2) * step(2),
        7 => black_box(5) + n,
        _ => n,
    }
}

#[nowritebarrierrec]
fn step(n: usize) -> usize {
    black_box(n) + 1
}

/// The address of the callee is kept in a register.
#[nowritebarrierrec]
fn hoisted(n: usize) -> usize {
    let (mut sum, mut i) = (0, 0);
    while i < n {
        sum ^= step(i) ^ step(sum);
        i = step(i);
    }
    sum
}

#[inline(never)]
fn clean_pointer(n: usize) -> usize {
    record!("barrier_lint", root);
    let f: fn(usize) -> usize = step;
    f(n)
}

/// A barrier that is not below: its address stays elsewhere.
#[inline(never)]
fn unlisted() -> usize {
    record!("barrier_lint", root);
    size_of_val(&SLOT)
}

#[nowritebarrierrec]
pub fn make(n: usize) -> Stores {
    Stores(n)
}

#[nowritebarrierrec]
pub fn may_panic(n: usize) {
    assert!(n < 9);
}

pub struct Inner {
    pub field: usize,
}

#[nowritebarrierrec]
pub trait Marked {
    fn m(&self) -> usize;
}

#[nowritebarrierrec]
impl Marked for Inner {
    fn m(&self) -> usize {
        self.field
    }
}

#[derive(Clone, Copy)]
pub struct Tiny;

#[nowritebarrierrec]
impl Tiny {
    #[allow(dead_code, reason = "another method of that name goes before it")]
    pub fn look(&self) {}
    #[allow(dead_code, reason = "likewise")]
    pub fn by_value(&self) {}
    pub fn change(&mut self) {}
}

pub struct Half(pub Tiny);

/// False: there is a method of that name, and a `DerefMut`.
#[nowritebarrierrec(receiver = "not true")]
impl Deref for Half {
    type Target = Tiny;
    fn deref(&self) -> &Tiny {
        &self.0
    }
}

pub mod certified {
    #[barrier_lint::nowritebarrierrec]
    #[allow(dead_code, reason = "only its mark is imported")]
    pub fn go() {}
}
