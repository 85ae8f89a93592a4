//! The body of a `const fn` is checked by the compiler.
use barrier_lint::nowritebarrierrec;

fn bad() {}
struct D;
impl Drop for D {
    fn drop(&mut self) {}
}

#[nowritebarrierrec]
const fn calls(v: &mut Vec<u32>) {
    bad();
    v.push(1);
}
#[nowritebarrierrec]
const fn drops(_d: D) {}

fn main() {}
