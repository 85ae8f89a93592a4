//! A write barrier in miniature, for the programs beside it: a flag, a fast path that is inlined, a slow path.

use barrier_lint::{certify, nowritebarrierrec, writebarrier};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

static ENABLED: AtomicBool = AtomicBool::new(false);

/// Turns the barrier on or off.
pub fn enable(on: bool) {
    ENABLED.store(on, Relaxed);
}

/// A pointer field.
pub struct Slot(AtomicUsize);

/// What stores are made to.
pub static SLOT: Slot = Slot(AtomicUsize::new(0));

impl Slot {
    /// A barriered store.
    #[inline(always)]
    pub fn set(&self, new: usize) {
        match ENABLED.load(Relaxed) {
            true => gc_write_barrier(self, new),
            false => self.0.store(new, Relaxed),
        }
    }
}

/// The slow path: what is forbidden.
#[cold]
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn gc_write_barrier(slot: &Slot, new: usize) {
    slot.0.fetch_add(new, Relaxed);
}

/// A barrier without that symbol: a recorded site.
#[writebarrier]
#[inline(always)]
pub fn bulk(slot: &Slot) {
    slot.0.fetch_sub(1, Relaxed);
}

/// Stores, in another crate than its callers.
pub fn in_another_crate(new: usize) {
    SLOT.set(new);
}

/// As [`in_another_crate`], for callees of callees.
#[inline(never)]
pub fn far(depth: usize) {
    match depth {
        0 => SLOT.set(depth),
        _ => far(depth - 1),
    }
}

/// A value whose drop stores.
pub struct Stores(pub usize);

impl Drop for Stores {
    fn drop(&mut self) {
        SLOT.set(self.0);
    }
}

/// A value whose drop calls that of others.
#[derive(Default)]
pub struct Nested {
    /// Drop glue of an array, of an `Option` and of a `Box`.
    pub all: [Option<Box<Stores>>; 2],
}

/// Something that code is called through.
pub trait Calls {
    /// May be anything.
    fn call(&self, n: usize) -> usize;
}

impl Calls for usize {
    fn call(&self, n: usize) -> usize {
        self + n
    }
}

certify! { fn in_another_crate: "not true"; }

/// Roots of a library, which the program does not call.
pub mod bad {
    use super::in_another_crate;
    use barrier_lint::nowritebarrierrec;

    /// Linked all the same.
    #[nowritebarrierrec]
    pub fn of_the_library() {
        in_another_crate(5);
    }
}

/// What is not linked, and thus not checked: no instance, no caller.
pub struct Absent;

#[nowritebarrierrec]
impl Absent {
    /// Has no instance.
    pub fn generic<T>(&self) -> usize {
        size_of::<T>()
    }
}
