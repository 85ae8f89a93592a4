//! Calls that the compiler implies.
#![allow(dead_code)]
use barrier_lint::nowritebarrierrec;
use std::ops::{Add, Deref, Index};

struct D;
impl Drop for D {
    fn drop(&mut self) {
        barrier()
    }
}
fn barrier() {}
impl Add for &D {
    type Output = u32;
    fn add(self, _: &D) -> u32 {
        barrier();
        0
    }
}
impl Index<usize> for D {
    type Output = u32;
    fn index(&self, _: usize) -> &u32 {
        barrier();
        &0
    }
}
struct Inner {
    field: u32,
}
impl Deref for D {
    type Target = Inner;
    fn deref(&self) -> &Inner {
        barrier();
        &Inner { field: 0 }
    }
}

#[nowritebarrierrec]
fn make() -> D {
    D
}
#[nowritebarrierrec]
fn drops<T>(parameter: D, _generic: T, slot: &mut Option<D>) {
    let _local = make();
    make();
    *slot = None;
    let _ = &parameter;
}
#[nowritebarrierrec]
fn operators(a: &D, b: &D) -> u32 {
    let inner: &Inner = &**a;
    a + b + a[0] + inner.field + a.field
}

fn main() {}
