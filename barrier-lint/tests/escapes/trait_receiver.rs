//! A method that is found before the marked one.
#![allow(dead_code)]
use barrier_lint::nowritebarrierrec;
use std::ops::Deref;

struct Half(Both);
#[nowritebarrierrec(receiver = "not true")]
impl Deref for Half {
    type Target = Both;
    fn deref(&self) -> &Both {
        &self.0
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
}
#[nowritebarrierrec]
fn by_value_first(b: Both) {
    b.m()
}

fn main() {}
