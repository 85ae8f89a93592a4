//! Operators that are calls.
use barrier_lint::nowritebarrierrec;
use std::ops::{Add, AddAssign, Index, Neg, Not};

#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
struct N(u32);
impl Add for N {
    type Output = N;
    fn add(self, other: N) -> N {
        N(self.0 + other.0)
    }
}
impl Add<N> for u32 {
    type Output = u32;
    fn add(self, other: N) -> u32 {
        self + other.0
    }
}
impl AddAssign for N {
    fn add_assign(&mut self, other: N) {
        self.0 += other.0
    }
}
impl Neg for N {
    type Output = N;
    fn neg(self) -> N {
        self
    }
}
impl Not for N {
    type Output = bool;
    fn not(self) -> bool {
        true
    }
}
impl Index<usize> for N {
    type Output = u32;
    fn index(&self, _: usize) -> &u32 {
        &self.0
    }
}
struct Table {
    rows: Vec<u32>,
    n: N,
}

#[nowritebarrierrec]
fn add(a: N, b: N) -> N {
    a + b
}
#[nowritebarrierrec]
fn add_on_the_right(a: u32, b: N) -> u32 {
    a + 1 + b
}
#[nowritebarrierrec]
fn assign(t: &mut Table, b: N) {
    t.n += b
}
#[nowritebarrierrec]
fn unary(a: N) -> bool {
    let _ = -a;
    !a
}
#[nowritebarrierrec]
fn derived(a: N, b: Option<N>) -> bool {
    Some(a) == b || a < N(1)
}
#[nowritebarrierrec]
fn index(t: &Table) -> u32 {
    t.rows[0] + t.n[1]
}
#[nowritebarrierrec]
fn in_a_condition(a: N) -> u32 {
    if a == N(1) { 1 } else { 2 }
}
#[nowritebarrierrec]
fn in_a_closure(o: Option<N>) -> Option<bool> {
    o.map(|n| n == N(2))
}
#[nowritebarrierrec]
fn in_assert(a: N) {
    assert_eq!(a, N(1));
}

fn main() {}
