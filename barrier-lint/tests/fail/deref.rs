//! A certified method reached through user code.
use barrier_lint::nowritebarrierrec;
use std::ops::Deref;

struct Inner;
impl Inner {
    #[nowritebarrierrec]
    fn m(&self) {}
    #[nowritebarrierrec]
    fn n(&self) {}
}
struct Wrap(Inner);
impl Wrap {
    #[allow(dead_code)]
    fn m(&self) {}
}
impl Deref for Wrap {
    type Target = Inner;
    fn deref(&self) -> &Inner {
        &self.0
    }
}
struct Marked(Inner);
#[nowritebarrierrec]
impl Deref for Marked {
    type Target = Inner;
    fn deref(&self) -> &Inner {
        &self.0
    }
}
struct Words(Vec<u64>);

#[nowritebarrierrec]
fn own_method_of_that_name(w: &Wrap) {
    w.m()
}
#[nowritebarrierrec]
fn no_method_of_that_name(w: Wrap) {
    w.n()
}
#[nowritebarrierrec]
fn std_deref(w: &Words) -> usize {
    w.0.as_ptr() as usize + w.0.len()
}

#[nowritebarrierrec]
fn without_a_reason(m: &Marked) {
    m.n()
}

fn main() {}
