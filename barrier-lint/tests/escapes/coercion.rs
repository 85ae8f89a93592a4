//! What a coercion of an argument calls.
#![allow(dead_code)]
use barrier_lint::nowritebarrierrec;
use std::ops::Deref;

struct Inner;
struct Wrap(Inner);
impl Deref for Wrap {
    type Target = Inner;
    fn deref(&self) -> &Inner {
        println!("not certified");
        &self.0
    }
}

#[nowritebarrierrec]
fn inner(_: &Inner) {}
#[nowritebarrierrec]
fn f(w: &Wrap) {
    inner(w)
}

fn main() {}
