//! Types of one place at the other.
use barrier_lint::{NotInHeap, OnHeap, Place};

/// What a heap's own derive writes.
unsafe trait Trace {}
macro_rules! derive_trace {
    ($t:ty: $($field:ty),*) => {
        unsafe impl Place for $t { type At = OnHeap; }
        unsafe impl Trace for $t {}
        const _: () = { fn f<T: Trace>() {} fn g() { $(f::<$field>();)* } };
    };
}
fn gc_new<T: Trace>(_: T) {}
fn off_heap<T: NotInHeap>(_: T) {}

#[derive(NotInHeap)]
struct Span {
    n: u32,
}
struct Obj {
    span: Span,
}
derive_trace!(Obj: Span);
struct Heap;
derive_trace!(Heap:);
struct Underived;

#[derive(NotInHeap)]
struct Holds {
    heap: Heap,
    many: [Heap; 2],
    generic: Option<Underived>,
}
#[derive(NotInHeap)]
enum Variants {
    A(Heap),
}

fn f() {
    gc_new(Span { n: 1 });
    off_heap(Heap);
    off_heap([Heap]);
    off_heap(Underived);
}

fn main() {}
