//! Expressions and statements inside a checked body.
#![deny(warnings, clippy::all)]
use barrier_lint::nowritebarrierrec;
use core::sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering::*, fence};
use core::{hint, mem, ptr};
use std::cell::{Cell, UnsafeCell};
use std::mem::MaybeUninit;
use std::ptr::NonNull;

struct Node {
    next: *mut Node,
    n: u64,
}

struct List {
    head: AtomicPtr<Node>,
    len: AtomicUsize,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Id(u32);

barrier_lint::certify! { operators Id: "derived"; }

#[derive(Clone, Copy)]
enum State {
    Idle,
    Busy(u32, Id),
    Named { num: u32 },
}

#[nowritebarrierrec]
impl List {
    const fn new() -> Self {
        List { head: AtomicPtr::new(ptr::null_mut()), len: AtomicUsize::new(0) }
    }

    /// # Safety
    /// `node` stays.
    unsafe fn push(&self, node: *mut Node) {
        let mut old = self.head.load(Relaxed);
        loop {
            // SAFETY: the caller's promise.
            unsafe { (*node).next = old };
            match self.head.compare_exchange_weak(old, node, AcqRel, Acquire) {
                Ok(_) => break,
                Err(now) => old = now,
            }
            hint::spin_loop();
        }
        self.len.fetch_add(1, Relaxed);
    }

    fn sum(&self) -> u64 {
        let mut at = self.head.load(Acquire);
        let mut sum = 0u64;
        // SAFETY: nodes stay.
        while let Some(node) = unsafe { at.as_ref() } {
            sum = sum.wrapping_add(node.n);
            at = node.next;
        }
        sum
    }
}

#[nowritebarrierrec]
fn id(x: u32) -> u32 {
    x
}

#[nowritebarrierrec]
fn control(xs: &mut [u32], limit: usize) -> u32 {
    let mut sum = 0;
    'outer: for i in 0..xs.len().min(limit) {
        for j in (0..=i).rev() {
            if xs[j] == 9 {
                continue 'outer;
            }
            sum += xs[j];
        }
    }
    let Some(first) = xs.first_mut() else { return 0 };
    *first += 1;
    let value = if let Some(&last) = xs.last()
        && last > 1
    {
        last
    } else {
        match xs.len() {
            0 => 0,
            1 | 2 if sum > 3 => id(1),
            n => n as u32,
        }
    };
    let found = loop {
        if sum > 10 {
            break sum;
        }
        sum += 1;
    };
    value + found
}

#[nowritebarrierrec]
fn values(x: u32) -> (Option<Id>, State, Option<u32>) {
    let many = [Id(1); 4];
    let Id(inner) = many[0];
    let s = State::Busy(x, Id(inner));
    let named = State::Named { num: x };
    let t = match (s, named) {
        (State::Busy(n, Id(m)), State::Named { num }) => n + m + num,
        _ => 0,
    };
    let id_fn = id;
    let _ = id_fn;
    (Some(x).map(Id), State::Idle, Some(t).map(id).map(|v| v + id(v)))
}

#[nowritebarrierrec]
fn macros(x: u32, p: *const u32) -> bool {
    assert!(x.is_power_of_two());
    assert!(id(x) > 0, "x is {x} and {}", id(x));
    debug_assert_eq!(id(x), x, "the same");
    debug_assert!(!p.is_null());
    if x == 77 {
        unreachable!("never {}", id(x))
    }
    const _: () = assert!(mem::offset_of!(Node, n) > 0);
    matches!(Some(id(x)), Some(y) if id(y) == x) || cfg!(windows)
}

static COUNT: AtomicU64 = AtomicU64::new(0);
static mut PLAIN: u64 = 0;

#[nowritebarrierrec]
fn statics() -> u64 {
    fence(SeqCst);
    COUNT.fetch_max(3, Relaxed);
    // SAFETY: one thread.
    unsafe {
        PLAIN += 1;
        let p = &raw mut PLAIN;
        p.write(p.read() + 1);
        ptr::write(p, core::ptr::read(p) + 1);
        ptr::addr_of!(PLAIN).read_volatile() + u64::from(COUNT.load(Relaxed) as u32)
    }
}

struct Cells {
    raw: UnsafeCell<u32>,
    count: Cell<u32>,
    slot: Cell<Option<NonNull<u32>>>,
    unit: MaybeUninit<u32>,
}

#[nowritebarrierrec]
fn cells(c: &mut Cells) -> usize {
    c.count.set(c.count.get() + 1);
    c.slot.set(NonNull::new(c.raw.get()));
    c.unit.write(4);
    let mut other = MaybeUninit::uninit();
    other.write(1u8);
    let p = c.slot.get().unwrap();
    // SAFETY: `raw` is alive.
    unsafe { *p.as_ptr() += 1 };
    let mut a = 1;
    mem::swap(&mut a, c.raw.get_mut());
    let old = mem::replace(c.raw.get_mut(), 5);
    let fresh = Cell::new(old);
    size_of::<u32>() + mem::align_of::<u64>() + p.addr().get() - p.as_ptr() as usize + fresh.get() as usize
}

#[nowritebarrierrec]
fn moves(v: Option<String>, mut w: Option<String>) -> (String, [Option<String>; 2]) {
    let taken = w.take();
    (v.unwrap(), [w, taken])
}

#[nowritebarrierrec]
fn reborrow(x: &mut u32) {
    add(x, 1);
    add(x, 2);
    let mut f = |n| add(x, n);
    call_it(&mut f);
}

#[nowritebarrierrec]
fn add(x: &mut u32, n: u32) {
    *x += n
}

barrier_lint::certify! { fn call_it: "calls its argument, a closure that was checked where it stands"; }
fn call_it(f: &mut dyn FnMut(u32)) {
    f(4)
}

#[nowritebarrierrec]
fn attributes(x: u64) -> u64 {
    #[cfg(any())]
    nothing();
    #[cfg(any())]
    x.nothing();
    #[allow(clippy::let_and_return)]
    let y = x.rotate_left(1);
    y
}

#[nowritebarrierrec]
fn temporaries(s: &List) -> usize {
    let r = &s.len.load(Relaxed);
    let first = [1usize, 2].first().copied().unwrap_or(3);
    *r + first + Some([1usize, 2]).as_ref().map(|a| a.len()).unwrap_or(0)
}

#[nowritebarrierrec]
fn question(o: Option<&u32>, p: *const u32) -> Option<u32> {
    // SAFETY: the caller's reference.
    let q = unsafe { p.as_ref() }?;
    let mut sum = *o? + q.checked_add(1)?;
    for n in [id(1), 2] {
        sum += n
    }
    for n in &[3] {
        sum += n
    }
    Some(sum)
}

macro_rules! throw {
    ($($arg:tt)*) => { panic!($($arg)*) };
}
#[nowritebarrierrec]
fn fatal(x: Option<u32>) -> u32 {
    let Some(x) = x else { crate::throw!("none") };
    match x {
        0 => throw!("zero {}", id(x)),
        n => n,
    }
}
use throw;

#[nowritebarrierrec]
fn imports(p: *const List) -> u64 {
    use crate::id as renamed;
    use core::{mem as m, ptr::null as nil};
    use inner::{self as again, two};
    let none: *const u8 = nil();
    // SAFETY: the caller's reference.
    let len = unsafe { &*p }.len.load(Relaxed) as u64;
    // SAFETY: likewise.
    len + unsafe { (*p).sum() } + u64::from(renamed(1)) + m::size_of::<u8>() as u64 + two() + again::two() + none as u64
}
mod inner {
    #[barrier_lint::nowritebarrierrec]
    pub(super) fn two() -> u64 {
        2
    }
}

#[nowritebarrierrec]
fn conditions(x: Id) -> u32 {
    #[nowritebarrierrec]
    fn same(a: Id, b: Id) -> bool {
        a == b
    }
    if x == Id(3) || same(x, Id(4)) {
        return 1;
    }
    let mut n = match Some(x.0) {
        Some(3) => 0,
        other => other.map_or(1, |o| o + 1),
    };
    while n < 10 && !same(Id(n), x) {
        n += 1
    }
    n += n.is_power_of_two().then_some(1).unwrap_or(0);
    let label = 'found: {
        if n.is_multiple_of(2) {
            break 'found 1;
        }
        2
    };
    let table = [id, id];
    let _ = table;
    let pick = |c: bool| if c { label } else { n.wrapping_neg() };
    let boxed: &dyn Fn(bool) -> u32 = &pick;
    let _ = boxed;
    Some(n).filter(|n| *n > 1).map(Some).map(|o| o.is_some()).map(u32::from_bool).unwrap_or(0)
}
trait FromBool {
    fn from_bool(b: bool) -> u32;
}
impl FromBool for u32 {
    fn from_bool(b: bool) -> u32 {
        b as u32
    }
}
barrier_lint::certify! { trait FromBools { fn from_bool } for u32: "a cast"; }

fn main() {
    assert_eq!(question(Some(&1), &2), Some(1 + 3 + 1 + 2 + 3));
    fatal(Some(1));
    imports(&List::new());
    conditions(Id(3));
    static LIST: List = List::new();
    let mut node = Node { next: ptr::null_mut(), n: 3 };
    // SAFETY: `node` outlives the list's use.
    unsafe { LIST.push(&mut node) };
    assert_eq!(LIST.sum(), 3);
    control(&mut [1, 2, 3], 2);
    assert!(matches!(values(1), (Some(Id(1)), State::Idle, Some(_))));
    assert!(macros(4, &1));
    statics();
    cells(&mut Cells { raw: 1.into(), count: 0.into(), slot: None.into(), unit: MaybeUninit::uninit() });
    moves(Some("a".into()), None);
    computed_arguments(5);
    let mut x = 0;
    reborrow_all(&mut x);
    attributes(1);
    temporaries(&LIST);
    let text = std::panic::catch_unwind(|| fails(3)).unwrap_err();
    assert_eq!(text.downcast_ref::<&str>(), Some(&"assertion failed: x.is_power_of_two()"));
}

#[nowritebarrierrec]
fn computed_arguments(x: u32) {
    assert!(x < 9, "{}", (x << 1) >> 1);
    assert_eq!(x & 1, x % 2);
}

#[nowritebarrierrec]
fn fails(x: u32) {
    assert!(x.is_power_of_two());
}

fn reborrow_all(x: &mut u32) {
    reborrow(x);
    assert_eq!(*x, 7);
}
