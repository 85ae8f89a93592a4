//! Tokens, pointer fields and places.
#![deny(warnings, clippy::all)]
use barrier_lint::{NoBarrierPtr, NotInHeap, OffHeap, Place, SystemStack, Wb, nowritebarrierrec};
use std::cell::UnsafeCell;
use std::sync::atomic::AtomicUsize;

#[derive(NotInHeap)]
struct Span<const N: usize> {
    start: usize,
    marks: [AtomicUsize; N],
    next: NoBarrierPtr<Span<N>>,
    raw: UnsafeCell<*mut u8>,
}

#[derive(NotInHeap)]
struct Holder<T>(T, Option<std::ptr::NonNull<T>>);

#[derive(NotInHeap)]
enum Kind<'a> {
    Small(u8),
    Large { bytes: usize, at: *const &'a u8 },
}

#[derive(NotInHeap)]
union Bits {
    a: u64,
    b: [u8; 8],
}

fn off_heap<T: NotInHeap>(t: T) -> T
where
    T: Place<At = OffHeap>,
{
    t
}

struct M {
    /// Kept alive by `main`.
    p: NoBarrierPtr<u32>,
}

#[nowritebarrierrec]
fn set_p_no_write_barrier(m: &M, p: *mut u32) -> *mut u32 {
    let old = m.p.get();
    // SAFETY: `main` owns the word.
    unsafe { m.p.set_no_write_barrier(p) };
    old
}

#[nowritebarrierrec]
fn fresh(p: *mut u32) -> M {
    if p.is_null() { M { p: NoBarrierPtr::null() } } else { M { p: NoBarrierPtr::new(p) } }
}

#[nowritebarrierrec]
fn on_system_stack(_: &SystemStack) {}

fn twice(wb: Wb<'_>) {
    let other = wb;
    once(wb);
    once(other);
}

fn once(_: Wb<'_>) {}

static STATIC: NoBarrierPtr<u32> = NoBarrierPtr::null();

fn main() {
    let s = off_heap(Span {
        start: 1,
        marks: [AtomicUsize::new(0), AtomicUsize::new(1)],
        next: NoBarrierPtr::null(),
        raw: UnsafeCell::new(std::ptr::null_mut()),
    });
    assert!(s.start + s.marks.len() == 3 && s.next.get().is_null() && s.raw.into_inner().is_null());
    let h = off_heap(Holder(1u8, None));
    assert!(h.0 == 1 && h.1.is_none());
    let kinds = [off_heap(Kind::Small(1)), Kind::Large { bytes: 2, at: std::ptr::null() }];
    for k in &kinds {
        match k {
            Kind::Small(n) => assert_eq!(*n, 1),
            Kind::Large { bytes, at } => assert!(*bytes == 2 && at.is_null()),
        }
    }
    let bits = off_heap(Bits { a: 1 });
    // SAFETY: all bytes are set.
    assert_eq!(unsafe { bits.b[0] as u64 + bits.a }, 2);
    let mut word = 3;
    let m = fresh(std::ptr::null_mut());
    assert!(set_p_no_write_barrier(&m, &mut word).is_null() && !m.p.get().is_null());
    assert!(!fresh(&mut word).p.get().is_null() && STATIC.get().is_null());
    // SAFETY: this program has neither goroutines nor Ps.
    unsafe {
        on_system_stack(&SystemStack::conjure());
        twice(Wb::conjure());
    }
    assert_eq!(size_of::<Wb<'_>>() + size_of::<SystemStack>(), 0);
    assert_eq!(size_of::<NoBarrierPtr<u32>>(), size_of::<*mut u32>());
}
