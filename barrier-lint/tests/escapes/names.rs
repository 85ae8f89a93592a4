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
#[nowritebarrierrec]
fn upper_case() -> Option<u32> {
    Some(1).map(Sneaky)
}

fn main() {}
