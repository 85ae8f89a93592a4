//! Attributes that contradict, or stand in the wrong place.
use barrier_lint::{Wb, nowritebarrier, nowritebarrierrec, yeswritebarrierrec};

#[nowritebarrierrec]
fn takes_token(_wb: Wb<'_>) {}
#[nowritebarrier]
fn takes_token_too(_wb: &barrier_lint::Wb<'_>) {}
#[nowritebarrierrec]
#[yeswritebarrierrec]
fn both() {}
#[nowritebarrierrec(wb = "because")]
fn token_in_the_wrong_place() {}
#[yeswritebarrierrec(asm = "because")]
fn asm_in_the_wrong_place() {}
#[yeswritebarrierrec(wb = " ")]
fn empty_reason() {}
#[yeswritebarrierrec(wb)]
fn no_reason() {}
#[nowritebarrierrec(sometimes)]
fn unknown_argument() {}
#[nowritebarrierrec(receiver = "because")]
fn no_receiver() {}
#[yeswritebarrierrec]
#[inline]
fn inlined() {}
#[nowritebarrierrec]
struct NotAFunction;
#[nowritebarrier]
fn conjures() {
    // SAFETY: there is none.
    let _ = unsafe { Wb::conjure() };
}

fn main() {}
