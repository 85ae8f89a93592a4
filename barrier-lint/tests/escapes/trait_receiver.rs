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

struct Half(Both);
#[nowritebarrierrec(receiver = "not true")]
impl Deref for Half {
    type Target = Both;
    fn deref(&self) -> &Both {
        &self.0
    }
}
impl std::ops::DerefMut for Half {
    fn deref_mut(&mut self) -> &mut Both {
        println!("not certified");
        &mut self.0
    }
}
impl Half {
    fn m(&self) {
        println!("not certified");
    }
}
#[nowritebarrierrec]
fn own_method(h: &Half) {
    h.m()
}
#[nowritebarrierrec]
fn mutable(h: &mut Half) {
    h.change()
}

trait ByValue: Sized {
    fn m(self) {
        println!("not certified");
    }
}
#[derive(Clone, Copy)]
struct Both;
impl ByValue for Both {}
impl Both {
    #[nowritebarrierrec]
    fn m(&self) {}
    #[nowritebarrierrec]
    fn change(&mut self) {}
}
#[nowritebarrierrec]
fn by_value_first(b: Both) {
    b.m()
}

fn main() {}
