//! A whole collection with the scheduler as its world (`world`): stops, handshakes, stacks.

use super::{Goroutine, World};
use core::sync::atomic::Ordering;
use gc_core::{Gc, Trace};

impl World {
    /// Makes an object; on a goroutine.
    pub fn alloc<T: Trace>(self, value: T) -> usize {
        Gc::as_ptr(Gc::new(value)).expose_provenance()
    }

    /// A whole collection; on a goroutine.
    pub fn collect(self) {
        crate::gc::collect();
    }

    /// Whether a collection marks.
    pub fn marking(self) -> bool {
        // Behind what the last start of the world has published.
        drop(self.sched.lock());
        self.sched.heap().marking()
    }

    /// Whether there is an object at this address.
    pub fn alive(self, object: usize) -> bool {
        self.sched.heap().find_object(object) == Some(object)
    }

    /// Writes a word of the stack of goroutine number `g`, on that goroutine, or before it runs.
    pub fn set_stack(self, g: usize, i: usize, word: usize) {
        assert!(i < super::STACK_WORDS);
        let at = self.g(g).stack.lo + i * size_of::<usize>();
        // SAFETY: its own stack, made by `start`; a model's threads share an OS thread.
        unsafe { core::ptr::with_exposed_provenance_mut::<usize>(at).write(word) };
    }

    /// Which cycle has scanned that stack.
    pub fn stamp(self, g: usize) -> u32 {
        self.g(g).stamp.load(Ordering::SeqCst)
    }
}

impl Goroutine {
    pub(super) fn stack_word(self, i: usize) -> *mut usize {
        assert!(i < super::STACK_WORDS);
        core::ptr::with_exposed_provenance_mut(self.0.stack.lo + i * size_of::<usize>())
    }

    /// Moves a word of its stack.
    pub fn move_on_stack(self, from: usize, to: usize) {
        // SAFETY: as in `set_stack`.
        unsafe { self.stack_word(to).write(core::mem::take(&mut *self.stack_word(from))) }
    }
}
