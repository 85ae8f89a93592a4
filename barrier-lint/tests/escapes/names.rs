//! Names that stand for something else.
#![allow(dead_code, non_snake_case)]
use barrier_lint::nowritebarrierrec;

mod certified {
    #[barrier_lint::nowritebarrierrec]
    pub fn go() {}
}
use certified::*;

fn go() {
    println!("not the certified one")
}

fn Sneaky(x: u32) -> u32 {
    println!("not certified");
    x
}

#[nowritebarrierrec]
fn shadowed() {
    go()
}
barrier_lint::certify! { fn call_it: "calls a closure, which is checked where it stands"; }
fn call_it(f: fn(u32) -> u32) -> u32 {
    f(1)
}
#[nowritebarrierrec]
fn upper_case() -> u32 {
    call_it(Sneaky)
}

macro_rules! unreachable {
    () => {
        println!("not the standard library's")
    };
}
#[nowritebarrierrec]
fn shadowed_macro() {
    unreachable!()
}

fn main() {}
