//! Dereferences that are calls.
use barrier_lint::nowritebarrierrec;
use std::ops::{Deref, DerefMut};

struct Inner {
    field: u32,
    nested: Box<Wrap>,
}
struct Wrap(*mut Inner);
impl Deref for Wrap {
    type Target = Inner;
    fn deref(&self) -> &Inner {
        // SAFETY: the test never runs.
        unsafe { &*self.0 }
    }
}
impl DerefMut for Wrap {
    fn deref_mut(&mut self) -> &mut Inner {
        // SAFETY: the test never runs.
        unsafe { &mut *self.0 }
    }
}
/// Half of it is marked.
struct Half(Inner);
#[nowritebarrierrec]
impl Deref for Half {
    type Target = Inner;
    fn deref(&self) -> &Inner {
        &self.0
    }
}
impl DerefMut for Half {
    fn deref_mut(&mut self) -> &mut Inner {
        &mut self.0
    }
}
#[nowritebarrierrec]
trait Marked {
    fn m(&self);
}
#[nowritebarrierrec]
impl Marked for Inner {
    fn m(&self) {}
}

#[nowritebarrierrec]
fn explicit(w: &Wrap) -> u32 {
    let inner = &**w;
    inner.field
}
#[nowritebarrierrec]
fn read(w: Wrap) -> u32 {
    w.field
}
#[nowritebarrierrec]
fn write(w: &mut Wrap) {
    w.field = 1;
}
#[nowritebarrierrec]
fn half(h: &mut Half) {
    h.field += 1;
}
#[nowritebarrierrec]
fn deep(i: &Inner) -> u32 {
    i.nested.nested.field
}
#[nowritebarrierrec]
fn in_a_closure(o: Option<&Wrap>) -> Option<u32> {
    o.map(|w| w.field)
}
#[nowritebarrierrec]
fn receiver_of_a_trait_method(w: &Wrap) {
    w.m()
}
#[nowritebarrierrec]
fn in_a_pattern(w: &Wrap) -> u32 {
    match w.field {
        0 => 1,
        n => n,
    }
}

fn main() {}
