//! Syntax with hidden calls.
use barrier_lint::nowritebarrierrec;

#[nowritebarrierrec]
fn for_iter(v: &[u32]) {
    for _ in v {}
    for _ in v.iter().rev() {}
    for _ in (0..3).map(|x| x) {}
    for _ in [1, 2].into_iter().rev() {}
}
#[nowritebarrierrec]
async fn asynchronous() {}
#[nowritebarrierrec]
fn async_block() {
    let _ = async { 1 };
    let _ = async || 1;
}
#[nowritebarrierrec]
impl S {
    async fn awaits(&self) {
        asynchronous().await
    }
}
struct S;

fn main() {}
