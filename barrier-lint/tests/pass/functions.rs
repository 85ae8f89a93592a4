//! Kinds of functions, and paths to them.
#![deny(warnings, missing_docs, unreachable_pub, clippy::all)]
use barrier_lint::{certify, nowritebarrier, nowritebarrierrec, writebarrier, yeswritebarrierrec};

mod deep {
    use barrier_lint::nowritebarrierrec;
    /// Documented.
    #[nowritebarrierrec]
    #[inline]
    pub(crate) fn leaf(x: u32) -> u32 {
        x + 1
    }
    #[nowritebarrierrec]
    pub(super) fn up() -> u32 {
        super::plain(1)
    }
    pub(crate) mod deeper {
        pub(crate) use super::leaf as renamed;
        #[barrier_lint::nowritebarrierrec]
        pub(in crate::deep) fn narrow() {}
        #[barrier_lint::nowritebarrierrec]
        pub(crate) fn calls() {
            crate::deep::deeper::narrow();
            self::narrow()
        }
    }
}
use deep::deeper::renamed;

#[nowritebarrierrec]
fn plain(x: u32) -> u32 {
    x
}

#[nowritebarrierrec]
#[cold]
fn paths() -> u32 {
    deep::deeper::calls();
    renamed(1) + crate::deep::leaf(2) + self::plain(3) + deep::up()
}

#[nowritebarrierrec]
fn even(n: u32) -> bool {
    if n == 0 { true } else { odd(n - 1) }
}

#[nowritebarrierrec]
fn odd(n: u32) -> bool {
    if n == 0 { false } else { even(n - 1) }
}

#[nowritebarrierrec]
fn generic<'a, T: ?Sized, const N: usize>(x: &'a T, _: [u8; N]) -> &'a T
where
    T: Sync,
{
    x
}

#[nowritebarrierrec]
fn calls_generic(s: &str) -> &str {
    let _ = generic::<u32, 1>(&1, [0]);
    generic(s, [0; 3])
}

#[nowritebarrierrec]
fn impl_arg(f: impl Copy, _: &dyn Send) -> impl Copy {
    f
}

#[nowritebarrierrec]
fn calls_impl_arg() {
    let _ = impl_arg(1u8, &2u8);
}

#[nowritebarrierrec]
unsafe fn raw(p: *const u32) -> u32 {
    // SAFETY: the caller's promise.
    unsafe { p.read() }
}

#[nowritebarrierrec]
unsafe extern "C" fn entry(p: *const u32) -> u32 {
    // SAFETY: the caller's promise.
    unsafe { raw(p) }
}

#[nowritebarrierrec]
const fn constant(x: u32) -> u32 {
    match x.checked_add(1) {
        Some(y) => y,
        None => panic!("too many"),
    }
}

const ONE: u32 = constant(0);

#[nowritebarrierrec]
fn uses_const() -> u32 {
    constant(ONE) + const { constant(2) }
}

#[nowritebarrierrec]
fn nested(x: u32) -> u32 {
    #[nowritebarrierrec]
    fn inner(x: u32) -> u32 {
        x * 2
    }
    inner(x)
}

fn anything() {
    println!("not checked");
}

#[yeswritebarrierrec]
fn gate() {
    anything()
}

/// A reason of its own.
#[yeswritebarrierrec(wb = "the test has no Ps")]
pub(crate) fn gate_with_token<T>(x: T) -> T {
    barriered(wb, x)
}

#[writebarrier]
fn barriered<T>(_: barrier_lint::Wb<'_>, x: T) -> T {
    x
}

#[nowritebarrierrec]
fn calls_gates() -> u32 {
    gate();
    gate_with_token(1)
}

#[nowritebarrier]
fn shallow(cell: &std::cell::Cell<Vec<u32>>) -> Option<u32> {
    anything();
    for x in [1, 2] {
        cell.set(vec![x]);
    }
    let v = cell.take();
    Some(*v.first()?)
}

certify! {
    pub(crate) fn listed: "does nothing";
    use std::process::id: "a system call";
}
fn listed() {}

#[nowritebarrierrec]
fn calls_listed() -> u32 {
    listed();
    id()
}

#[nowritebarrierrec(indirect = "only marked functions are ever passed")]
fn indirect(f: fn(u32) -> u32, t: &(fn(u32) -> u32,)) -> u32 {
    let g = f;
    f(1) + g(2) + (t.0)(3) + Some(1).map(f).unwrap()
}

#[nowritebarrierrec(asm = "one nop")]
fn assembly() {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: does nothing.
    unsafe {
        core::arch::asm!("nop", options(nomem, nostack, preserves_flags))
    }
}

#[nowritebarrierrec]
#[cfg(any())]
fn absent() {}

fn main() {
    assert!(even(4) && paths() > 0 && calls_generic("x") == "x");
    calls_impl_arg();
    // SAFETY: a reference.
    assert_eq!(unsafe { entry(&7) }, 7);
    assert_eq!(uses_const() + nested(1) + calls_gates(), 2 + 3 + 2 + 1);
    assert_eq!(shallow(&Default::default()), Some(2));
    calls_listed();
    indirect(plain, &(plain,));
    assembly();
}
