//! Roots that reach a barrier. The attributes accept all of these, or are not asked (`record!`).

mod asm;
mod receivers;

use crate::ok::{Inner, Marked, make, may_panic};
use barrier_lint::{canary, certify, nowritebarrier, nowritebarrierrec, record, yeswritebarrierrec};
use barrier_lint_suite::{Nested, SLOT, Stores, bulk, far, in_another_crate};
use std::fmt::{self, Display, Formatter};
use std::hint::black_box;
use std::ops::{Add, Deref, Index};

certify! { use barrier_lint_suite::in_another_crate as stores: "not true"; }

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
    drops_the_payload(Some(make(n)));
    drop_in_a_vector(n);
    drop_while_unwinding(n);
    let both = Both { inner: Inner { field: n } };
    operator(&both);
    operator_in_a_closure(&both);
    message(n, &both);
    index(&both);
    explicit_deref(&both);
    field_deref(&both);
    receiver_deref(&both);
    coercion(&both);
    receivers::run();
    Row.trait_method();
    Row.method();
    generic::<u64>();
    shadowed();
    upper_case();
    upper_case_constant();
    shadowed_macro();
    constant_pointer();
    callback();
    tail_call(n);
    recursive(n);
    twin_of_a_gate(n);
    gate(n);
    asm::run();
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
    stores(1);
}

#[inline(never)]
fn drop_of_a_local(n: usize) {
    record!("barrier_lint", root);
    let _local = make(n);
}

fn make_nested(n: usize) -> Nested {
    Nested { all: [Some(Box::new(Stores(n))), None] }
}

#[inline(never)]
fn drop_of_nested(n: usize) {
    record!("barrier_lint", root);
    let _local = make_nested(n);
}

#[inline(never)]
fn drop_of_a_temporary(n: usize) {
    record!("barrier_lint", root);
    make(n);
}

#[inline(never)]
fn drop_of_a_parameter(_parameter: Stores) {
    record!("barrier_lint", root);
}

#[inline(never)]
fn drop_by_assignment(slot: &mut Option<Stores>) {
    record!("barrier_lint", root);
    *slot = None;
}

#[inline(never)]
fn drop_of_a_generic<T>(_generic: T) {
    record!("barrier_lint", root);
}

#[nowritebarrierrec]
fn operator_in_a_closure(b: &Both) -> Option<usize> {
    Some(b).map(|b| b + b)
}

#[nowritebarrierrec]
fn drop_in_a_closure(n: usize) -> Option<usize> {
    Some(n).map(|n| {
        make(n);
        n
    })
}

fn make_vector(n: usize) -> Vec<Stores> {
    vec![Stores(n)]
}

#[inline(never)]
fn drop_in_a_vector(n: usize) {
    record!("barrier_lint", root);
    let _vector = make_vector(n);
}

#[inline(never)]
fn drop_while_unwinding(n: usize) {
    record!("barrier_lint", root);
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

#[inline(never)]
fn operator(b: &Both) -> usize {
    record!("barrier_lint", root);
    b + b
}

#[inline(never)]
fn index(b: &Both) -> usize {
    record!("barrier_lint", root);
    b[1]
}

#[inline(never)]
fn explicit_deref(b: &Both) -> usize {
    record!("barrier_lint", root);
    #[allow(clippy::explicit_auto_deref, reason = "that is the point")]
    let inner: &Inner = &**b;
    inner.field
}

#[inline(never)]
fn field_deref(b: &Both) -> usize {
    record!("barrier_lint", root);
    b.field
}

certify! { fn look_at: "looks"; }
fn look_at(inner: &Inner) -> usize {
    inner.field
}

#[nowritebarrierrec]
fn coercion(b: &Both) -> usize {
    look_at(b)
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
        stores(1);
    }
}

#[nowritebarrierrec]
impl Row {
    fn method(&self) {
        stores(2);
    }
}

#[nowritebarrierrec]
fn generic<T>() {
    stores(size_of::<T>());
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

const CONSTANT: fn() = helper;

#[nowritebarrierrec]
fn upper_case() {
    call_it(Upper);
}

#[nowritebarrierrec]
fn upper_case_constant() {
    call_it(CONSTANT);
}

macro_rules! unreachable {
    () => {
        helper()
    };
}

#[nowritebarrierrec]
fn shadowed_macro() {
    unreachable!()
}

#[nowritebarrierrec]
fn drops_the_payload(o: Option<Stores>) -> bool {
    o.is_some_and(|_| true)
}

impl Display for Both {
    fn fmt(&self, _: &mut Formatter) -> fmt::Result {
        helper();
        Ok(())
    }
}

#[nowritebarrierrec]
fn message(n: usize, b: &Both) {
    assert!(n < 99, "{b}");
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

#[nowritebarrier]
fn own_barrier() {
    bulk(&SLOT);
}
