//! Methods that are not the marked ones of their name.

use super::helper;
use crate::ok::{Half, Tiny};
use barrier_lint::nowritebarrierrec;
use std::ops::DerefMut;

pub fn run() {
    let mut half = Half(Tiny);
    let _inner: &Tiny = &half;
    own_method(&half);
    mutable_deref(&mut half);
    by_value_first(Tiny);
}

impl DerefMut for Half {
    fn deref_mut(&mut self) -> &mut Tiny {
        helper();
        &mut self.0
    }
}

impl Half {
    fn look(&self) {
        helper();
    }
}

#[nowritebarrierrec]
fn own_method(h: &Half) {
    h.look();
}

#[nowritebarrierrec]
fn mutable_deref(h: &mut Half) {
    h.change();
}

trait ByValue: Sized {
    fn by_value(self) {
        helper();
    }
}

impl ByValue for Tiny {}

#[nowritebarrierrec]
fn by_value_first(t: Tiny) {
    t.by_value();
}
