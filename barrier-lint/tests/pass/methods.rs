//! Methods, `impl` blocks and traits.
#![deny(warnings, missing_docs, clippy::all)]
use barrier_lint::{Wb, nowritebarrierrec, writebarrier, yeswritebarrierrec};

struct S<T: Copy> {
    v: T,
}

#[nowritebarrierrec]
impl<T: Copy> S<T> {
    const ZERO: u32 = 0;
    fn new(v: T) -> Self {
        Self { v }
    }
    const fn peek(&self) -> &T {
        &self.v
    }
    fn replace(&mut self, v: T) -> T
    where
        T: Send,
    {
        let old = *self.peek();
        self.v = v;
        old
    }
    fn into(self) -> T {
        *self.peek()
    }
    fn count(&self, n: u32) -> u32 {
        if n == 0 { Self::ZERO } else { self.count(n - 1) + Self::help() }
    }
    fn help() -> u32 {
        1
    }
    #[yeswritebarrierrec(wb = "the test has no Ps")]
    fn gate(&self) {
        self.store(wb)
    }
    #[writebarrier]
    fn store(&self, _: Wb<'_>) {}
}

impl S<u8> {
    #[nowritebarrierrec(assoc)]
    fn one() -> u8 {
        1
    }
    #[nowritebarrierrec]
    fn alone(&mut self) -> u8 {
        self.gate();
        self.replace(Self::one())
    }
}

#[nowritebarrierrec]
fn use_it(s: &mut S<u8>, b: &Box<S<u8>>) -> u32 {
    let t = S::<u8>::new(3);
    let n = t.into();
    s.replace(n);
    (*s).alone();
    let p: *const S<u8> = s;
    // SAFETY: from a reference.
    let via_raw = unsafe { (*p).count(2) };
    b.count(1) + S::<u8>::count(s, 2) + <S<u8>>::help() + S::<u8>::help() + via_raw
}

/// A marked trait.
#[nowritebarrierrec]
pub trait World {
    /// Required.
    fn stop(&self) -> u32;
    /// Without a receiver.
    fn zero() -> u32
    where
        Self: Sized;
    /// Not marked, hence free.
    #[writebarrier]
    fn report(&self) -> String {
        format!("{}", self.stop())
    }
}

struct Threads;

#[nowritebarrierrec]
impl World for Threads {
    fn stop(&self) -> u32 {
        helper()
    }
    fn zero() -> u32 {
        0
    }
}

struct Others;

impl World for Others {
    #[nowritebarrierrec(tr_impl)]
    fn stop(&self) -> u32 {
        helper()
    }
    #[nowritebarrierrec(tr_impl)]
    fn zero() -> u32 {
        1
    }
}

#[nowritebarrierrec]
fn helper() -> u32 {
    5
}

trait Single {
    #[nowritebarrierrec]
    fn single(&self) -> u32;
}

#[nowritebarrierrec]
impl Single for u32 {
    fn single(&self) -> u32 {
        *self
    }
}

#[nowritebarrierrec]
fn traits<W: World>(w: &W, d: &dyn World, i: &impl World) -> u32 {
    w.stop() + d.stop() + i.stop() + W::zero() + <W as World>::zero() + 3u32.single()
}

struct Guard<'a>(&'a std::cell::Cell<u32>);

#[nowritebarrierrec]
impl Drop for Guard<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() + helper())
    }
}

#[nowritebarrierrec(foreign_trait)]
impl AsRef<u32> for Threads {
    fn as_ref(&self) -> &u32 {
        let _ = self.stop();
        &1
    }
}

#[nowritebarrierrec]
fn early(g: Guard) -> u32 {
    drop(g);
    helper()
}

#[derive(Clone, Copy)]
struct Cell8(u8);
impl Cell8 {
    #[nowritebarrierrec]
    fn chain(self) -> Self {
        self
    }
    #[nowritebarrierrec]
    fn by_mut(&mut self) -> &mut Self {
        self
    }
    #[nowritebarrierrec]
    unsafe fn risky(&self) -> u8 {
        self.0
    }
}

#[nowritebarrierrec]
fn chains(mut c: Cell8, all: &[Cell8; 2], i: usize) -> u8 {
    let d = c.by_mut().by_mut().chain().chain();
    let e = all[i].chain();
    // SAFETY: nothing to promise.
    unsafe { d.risky() + e.risky() }
}

struct Ptr<T: ?Sized>(*const T);
#[nowritebarrierrec(receiver = "has no methods")]
impl<T: ?Sized> std::ops::Deref for Ptr<T> {
    type Target = T;
    fn deref(&self) -> &T {
        // SAFETY: the test makes these from live references.
        unsafe { &*self.0 }
    }
}
struct Holds<'a> {
    p: Ptr<S<u8>>,
    r: &'a Ptr<S<u8>>,
}
#[nowritebarrierrec]
fn through_deref(h: &Holds, p: &Ptr<S<u8>>, mut q: Ptr<S<u8>>) -> u32 {
    let m = &mut q;
    h.p.count(1) + h.r.count(1) + p.count(1) + m.count(1) + q.count(1)
}

struct Fatal;
#[nowritebarrierrec]
impl Fatal {
    fn never(&self) -> ! {
        panic!("never returns")
    }
    fn arm(&self, x: Option<u32>) -> u32 {
        match x {
            Some(x) if x.is_power_of_two() => x.min(3),
            Some(x) => x,
            None => self.never(),
        }
    }
    fn tail(&self) -> u32 {
        self.never()
    }
    fn statement(&self, x: Option<u32>) -> u32 {
        let Some(x) = x else { self.never() };
        if x == 1 {
            self.never();
        }
        Some(x).map(|y| if y > 7 { self.never() } else { y }).unwrap_or_else(|| self.never())
    }
}

fn main() {
    let pointee = S::new(1u8);
    let p = || Ptr(&raw const pointee);
    assert_eq!(through_deref(&Holds { p: p(), r: &p() }, &p(), p()), 5);
    assert_eq!(Fatal.arm(Some(4)) + Fatal.arm(Some(5)) + Fatal.statement(Some(6)), 14);
    assert!(std::panic::catch_unwind(|| Fatal.tail()).is_err());
    let mut s = S::new(1);
    assert_eq!(use_it(&mut s, &Box::new(S::new(2))), 1 + 2 + 1 + 1 + 2);
    assert_eq!(traits(&Threads, &Threads, &Threads), 18);
    assert_eq!(Others.stop() + Others::zero(), 6);
    assert_eq!(Threads.report(), "5");
    let c = std::cell::Cell::new(0);
    early(Guard(&c));
    assert_eq!(*Threads.as_ref(), 1);
    // With twins, a certified `Drop` is none.
    assert_eq!(c.get(), if std::mem::needs_drop::<Guard>() { 5 } else { 0 });
    assert_eq!(chains(Cell8(1), &[Cell8(2); 2], 1), 3);
}
