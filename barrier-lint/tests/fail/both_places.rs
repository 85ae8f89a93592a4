//! In the heap and outside it.
use barrier_lint::{NotInHeap, OnHeap, Place};

#[derive(NotInHeap)]
struct Both;
unsafe impl Place for Both {
    type At = OnHeap;
}

fn main() {}
