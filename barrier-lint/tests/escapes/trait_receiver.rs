//! Auto-deref by user code, before a method of a marked trait.
#![allow(dead_code)]
use barrier_lint::nowritebarrierrec;
use std::ops::Deref;

#[nowritebarrierrec]
trait Marked {
    fn m(&self);
}
struct Inner;
#[nowritebarrierrec]
impl Marked for Inner {
    fn m(&self) {}
}
struct Wrap(Inner);
impl Deref for Wrap {
    type Target = Inner;
    fn deref(&self) -> &Inner {
        println!("not certified");
        &self.0
    }
}

#[nowritebarrierrec]
fn f(w: &Wrap) {
    w.m()
}

fn main() {}
