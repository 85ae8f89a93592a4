//! Marked functions written by other macros, and unusual names.
#![deny(warnings, clippy::all)]
use barrier_lint::{nowritebarrier, nowritebarrierrec, yeswritebarrierrec};

#[nowritebarrierrec]
fn leaf(x: u32) -> u32 {
    x
}

macro_rules! setters {
    ($($name:ident: $ty:ty = $value:expr, $call:expr, $path:path;)*) => {$(
        /// Documented.
        #[nowritebarrierrec]
        fn $name(slot: &std::cell::Cell<$ty>) -> u32 {
            slot.set($value);
            let r = slot.get() as u32;
            r + $call + $path(1) + $crate::leaf(r) + ($path)(2)
        }
    )*};
}
setters! {
    set_a: u8 = 3, leaf(1), leaf;
    set_b: u16 = u16::MAX.wrapping_add(4), if leaf(2) > 1 { 1 } else { 0 }, crate::leaf;
}

#[nowritebarrierrec]
fn r#match(r#type: u32) -> u32 {
    r#type
}

struct S;
#[nowritebarrierrec]
impl S {
    #[track_caller]
    fn r#loop(&self) -> u32 {
        r#match(1)
    }
    #[must_use]
    #[inline(always)]
    pub(crate) unsafe extern "C" fn all(&self) -> u32 {
        self.r#loop()
    }
}

#[nowritebarrierrec]
fn names(r: &S, anchor: &S) -> u32 {
    // SAFETY: nothing to promise.
    r.r#loop() + anchor.r#loop() + unsafe { r.all() }
}

#[yeswritebarrierrec(wb = "the test has no Ps")]
fn own_anchor(anchor: u32) -> u32 {
    let _ = wb;
    anchor
}

static mut WORD: u32 = 4;

#[nowritebarrierrec]
fn static_mut() -> u32 {
    // SAFETY: one thread.
    unsafe { WORD.wrapping_add(1) }
}

#[nowritebarrierrec]
fn formats(x: u32) {
    assert!(x == 4, "{n} {0}", leaf(x), n = leaf(x));
    if x == 5 {
        panic!("{x} {y}", y = x.min(3));
    }
}

#[cfg(target_arch = "x86_64")]
#[nowritebarrierrec(asm = "returns its argument")]
#[unsafe(naked)]
extern "C" fn naked(x: u64) -> u64 {
    core::arch::naked_asm!("mov rax, rdi", "ret")
}

#[nowritebarrier]
impl S {
    fn shallow(&self) -> Vec<u32> {
        vec![self.r#loop()]
    }
}

fn main() {
    assert_eq!(set_a(&Default::default()), 3 + 1 + 1 + 3 + 2);
    assert_eq!(set_b(&Default::default()), 3 + 1 + 1 + 3 + 2);
    assert_eq!(names(&S, &S), 3);
    assert_eq!(own_anchor(2), 2);
    assert_eq!(static_mut(), 5);
    formats(4);
    #[cfg(target_arch = "x86_64")]
    assert_eq!(naked(3), 3);
    assert_eq!(S.shallow(), [1]);
}
