//! Calls of values.
use barrier_lint::nowritebarrierrec;

struct S {
    callback: fn(u32) -> u32,
}

#[nowritebarrierrec]
fn good(x: u32) -> u32 {
    x
}

#[nowritebarrierrec]
fn let_bound(x: u32) -> u32 {
    let g: fn(u32) -> u32 = good;
    g(x)
}
#[nowritebarrierrec]
fn field(s: &S) -> u32 {
    (s.callback)(1)
}
#[nowritebarrierrec]
fn parameter(f: impl Fn(u32) -> u32) -> u32 {
    f(1)
}
#[nowritebarrierrec]
fn shadows_certified(good: fn(u32) -> u32) -> u32 {
    good(1)
}
#[nowritebarrierrec]
fn passed_on(g: fn(u32) -> u32) -> Option<u32> {
    Some(1).map(g)
}
#[nowritebarrierrec]
fn in_pattern(o: Option<fn()>) {
    if let Some(f) = o {
        f()
    }
}
#[nowritebarrierrec]
fn in_matches(o: Option<fn() -> bool>) -> bool {
    matches!(o, Some(f) if f())
}

#[nowritebarrierrec]
fn nested_unmarked(x: u32) -> u32 {
    fn good(x: u32) -> u32 {
        println!("another");
        x
    }
    good(x)
}
const POINTER: fn() -> u32 = || 1;
#[nowritebarrierrec]
fn constant(o: Option<u32>) -> u32 {
    o.unwrap_or_else(POINTER)
}

fn main() {}
