//! Names of the standard library that stand for something else.
use barrier_lint::nowritebarrierrec;

struct Mine;
impl From<Mine> for u32 {
    fn from(_: Mine) -> u32 {
        1
    }
}
mod ptr {
    pub unsafe fn read<T>(p: *const T) -> T {
        unsafe { p.read() }
    }
}
fn fence(_: core::sync::atomic::Ordering) {}
struct NonNull<T>(T);
impl<T> NonNull<T> {
    fn dangling() {}
}

#[nowritebarrierrec]
fn from(m: Mine) -> u32 {
    u32::from(m)
}
#[nowritebarrierrec]
fn not_cores(p: *const u8) -> u8 {
    fence(core::sync::atomic::Ordering::SeqCst);
    let _: () = NonNull::<u8>::dangling();
    unsafe { ptr::read(p) }
}

fn main() {}
