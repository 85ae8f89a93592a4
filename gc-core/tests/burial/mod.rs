//! What tests of dead objects share: things made on a thread that has ended, and books that say what came of them.
//!
//! Stacks are scanned conservatively, so what a test wants dead is made on a thread that has ended, and nothing is
//! expected of a single object that only a stale word may keep.
#![allow(dead_code)] // each test uses a part

use crate::threads::ThreadWorld;
use gc_core::Heap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// Runs `f` as a mutator on a thread of its own, whose stack is gone afterwards.
pub fn elsewhere<R: Send>(world: &'static ThreadWorld, f: impl FnOnce() -> R + Send) -> R {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| world.enter(f));
        world.away(|| thread.join()).expect("the other thread")
    })
}

/// A whole cycle, and all that is due after it.
pub fn collect_and_bury(heap: &Heap) {
    heap.collect();
    while heap.run_afterlife(100) > 0 {}
}

/// How often each of many objects was dropped.
pub type Book = Arc<Vec<AtomicU8>>;

pub fn book(n: usize) -> Book {
    Arc::new((0..n).map(|_| AtomicU8::new(0)).collect())
}

pub fn dropped(book: &Book) -> usize {
    book.iter().filter(|n| n.load(Ordering::SeqCst) > 0).count()
}

/// What a few stale words may keep, of `n`.
pub fn nearly(n: usize) -> usize {
    n - n / 100 - 4
}
