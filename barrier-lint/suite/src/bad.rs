//! Roots that reach a barrier. The attributes accept all of these, or are not asked (`record!`).

use crate::ok::{Inner, Marked, make, may_panic};
use barrier_lint::{canary, certify, nowritebarrier, nowritebarrierrec, record, yeswritebarrierrec};
use barrier_lint_suite::{Nested, SLOT, Stores, bulk, far, in_another_crate};
use std::hint::black_box;
use std::ops::{Add, Deref, Index};

pub fn run(n: usize) -> usize {
    direct();
    through_a_helper();
    through_another_crate();
    far_below(n);
    recorded_site();
    drop_of_a_local(n);
    drop_of_nested(n);
    drop_of_a_temporary(n);
    drop_of_a_parameter(make(n));
    drop_by_assignment(&mut Some(make(n)));
    drop_of_a_generic(make(n));
    drop_in_a_closure(n);
    drop_in_a_vector(n);
    drop_while_unwinding(n);
    let both = Both { inner: Inner { field: n } };
    operator(&both);
    index(&both);
    explicit_deref(&both);
    field_deref(&both);
    receiver_deref(&both);
    Row.trait_method();
    Row.method();
    generic::<u64>();
    shadowed();
    upper_case();
    constant_pointer();
    callback();
    tail_call(n);
    recursive(n);
    twin_of_a_gate(n);
    gate(n);
    in_asm();
    asm_function();
    own_barrier();
    n
}

#[canary]
#[inline(never)]
fn canary_of_the_suite() {
    SLOT.set(1);
}

#[inline(never)]
fn direct() {
    record!("barrier_lint", root);
    SLOT.set(1);
}

#[inline(never)]
fn helper() {
    SLOT.set(2);
}

#[inline(never)]
fn through_a_helper() {
    record!("barrier_lint", root);
    helper();
}

#[inline(never)]
fn through_another_crate() {
    record!("barrier_lint", root);
    in_another_crate(3);
}

#[inline(never)]
fn far_below(n: usize) {
    record!("barrier_lint", root);
    far(n);
}

#[inline(never)]
fn recorded_site() {
    record!("barrier_lint", root);
    bulk(&SLOT);
}

#[nowritebarrierrec]
#[allow(dead_code, reason = "that is the point")]
fn never_called() {
    let _dropped = make(1);
}

#[nowritebarrierrec]
fn drop_of_a_local(n: usize) {
    let _local = make(n);
}

certify! { fn make_nested: "makes a value"; }
fn make_nested(n: usize) -> Nested {
    Nested { all: [Some(Box::new(Stores(n))), None] }
}

#[nowritebarrierrec]
fn drop_of_nested(n: usize) {
    let _local = make_nested(n);
}

#[nowritebarrierrec]
fn drop_of_a_temporary(n: usize) {
    make(n);
}

#[nowritebarrierrec]
fn drop_of_a_parameter(_parameter: Stores) {}

#[nowritebarrierrec]
fn drop_by_assignment(slot: &mut Option<Stores>) {
    *slot = None;
}

#[nowritebarrierrec]
fn drop_of_a_generic<T>(_generic: T) {}

#[nowritebarrierrec]
fn drop_in_a_closure(n: usize) -> Option<usize> {
    Some(n).map(|n| {
        make(n);
        n
    })
}

certify! { fn make_vector: "makes a value"; }
fn make_vector(n: usize) -> Vec<Stores> {
    vec![Stores(n)]
}

#[nowritebarrierrec]
fn drop_in_a_vector(n: usize) {
    let _vector = make_vector(n);
}

#[nowritebarrierrec]
fn drop_while_unwinding(n: usize) {
    let guard = make(n);
    may_panic(n);
    core::mem::forget(guard);
}

struct Both {
    inner: Inner,
}

impl Add for &Both {
    type Output = usize;
    fn add(self, _: &Both) -> usize {
        helper();
        1
    }
}

impl Index<usize> for Both {
    type Output = usize;
    fn index(&self, _: usize) -> &usize {
        helper();
        &self.inner.field
    }
}

impl Deref for Both {
    type Target = Inner;
    fn deref(&self) -> &Inner {
        helper();
        &self.inner
    }
}

#[nowritebarrierrec]
fn operator(b: &Both) -> usize {
    b + b
}

#[nowritebarrierrec]
fn index(b: &Both) -> usize {
    b[1]
}

#[nowritebarrierrec]
fn explicit_deref(b: &Both) -> usize {
    #[allow(clippy::explicit_auto_deref, reason = "that is the point")]
    let inner: &Inner = &**b;
    inner.field
}

#[nowritebarrierrec]
fn field_deref(b: &Both) -> usize {
    b.field
}

#[nowritebarrierrec]
fn receiver_deref(b: &Both) -> usize {
    b.m()
}

struct Row;

trait Plain {
    fn trait_method(&self);
}

#[nowritebarrierrec(foreign_trait)]
impl Plain for Row {
    fn trait_method(&self) {
        let _local = make(1);
    }
}

#[nowritebarrierrec]
impl Row {
    fn method(&self) {
        let _local = make(2);
    }
}

#[nowritebarrierrec]
fn generic<T>() {
    let _local = make(size_of::<T>());
}

use crate::ok::certified::*;

fn go() {
    helper();
}

#[nowritebarrierrec]
fn shadowed() {
    go()
}

certify! { fn call_it: "calls its argument, which is checked where it stands"; }
#[inline(never)]
fn call_it(f: fn()) {
    f()
}

fn Upper() {
    helper();
}

#[nowritebarrierrec]
fn upper_case() {
    call_it(Upper);
}

#[inline(never)]
fn constant_pointer() {
    record!("barrier_lint", root);
    let f: fn() = helper;
    f();
}

extern "C" fn at_exit() {
    helper();
}

unsafe extern "C" {
    fn atexit(f: extern "C" fn()) -> i32;
}

#[inline(never)]
fn callback() {
    record!("barrier_lint", root);
    // SAFETY: a function without arguments.
    unsafe { atexit(at_exit) };
}

#[inline(never)]
fn tail_call(n: usize) {
    record!("barrier_lint", root);
    far(n)
}

#[inline(never)]
fn even(n: usize) -> bool {
    n == 0 || odd(n - 1)
}

#[inline(never)]
fn odd(n: usize) -> bool {
    match n {
        0 => {
            helper();
            false
        }
        _ => even(n - 1),
    }
}

certify! { fn even: "not true"; }

#[nowritebarrierrec]
fn recursive(n: usize) -> bool {
    even(n)
}

#[yeswritebarrierrec]
pub fn gate(n: usize) {
    SLOT.set(black_box(n));
}

/// The same code as the gate.
#[inline(never)]
fn twin(n: usize) {
    SLOT.set(black_box(n));
}

#[inline(never)]
fn twin_of_a_gate(n: usize) {
    record!("barrier_lint", root);
    twin(n);
}

#[nowritebarrierrec(asm = "not true")]
fn in_asm() {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: never runs: the flag is not set.
    unsafe {
        std::arch::asm!("test rsp, rsp", "jnz 2f", "call {}", "2:", sym helper, clobber_abi("C"));
    }
}

#[cfg(target_arch = "x86_64")]
std::arch::global_asm!(
    ".text",
    ".globl suite_asm_function",
    ".type suite_asm_function,@function",
    "suite_asm_function:",
    "ret",
    "call {}",
    ".size suite_asm_function, . - suite_asm_function",
    sym helper
);

unsafe extern "C" {
    fn suite_asm_function();
}

#[inline(never)]
fn asm_function() {
    record!("barrier_lint", root);
    // SAFETY: it returns at once.
    unsafe { suite_asm_function() }
}

#[nowritebarrier]
fn own_barrier() {
    bulk(&SLOT);
}
