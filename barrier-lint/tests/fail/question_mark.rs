//! `?` on a `Result`.
use barrier_lint::nowritebarrierrec;

#[nowritebarrierrec]
fn question(r: Result<u32, u8>) -> Result<u32, u32> {
    Ok(r?)
}

fn main() {}
