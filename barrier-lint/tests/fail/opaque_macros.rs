//! Macros that the checker cannot see through.
use barrier_lint::nowritebarrierrec;

macro_rules! mine {
    () => {
        true
    };
}

#[nowritebarrierrec]
fn f() {
    println!("x");
    mine!();
    let _ = vec![1];
    // SAFETY: does nothing.
    unsafe { core::arch::asm!("nop") };
    assert!(mine!());
}

fn main() {}
