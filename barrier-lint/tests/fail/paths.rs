//! Calls of functions that nobody certified, by path.
use barrier_lint::nowritebarrierrec;

mod other {
    pub fn bad(_: u32) {}
    pub use self::bad as renamed;
    #[barrier_lint::nowritebarrierrec]
    fn private() {}
    pub mod deep {
        pub fn bad() {}
    }
}
fn bad(_: u32) {}
fn generic<T>(_: T) {}
extern "C" fn foreign() {}
#[allow(non_snake_case)]
fn Sneaky(_: u32) {}
static POINTER: fn(u32) = bad;

#[nowritebarrierrec]
fn direct() {
    bad(1)
}
#[nowritebarrierrec]
fn nested_module() {
    other::deep::bad();
    other::renamed(1);
}
#[nowritebarrierrec]
fn private() {
    other::private()
}
#[nowritebarrierrec]
fn turbofish() {
    generic::<u32>(1)
}
#[nowritebarrierrec]
fn extern_c() {
    foreign()
}
#[nowritebarrierrec]
fn unlisted_std() {
    std::thread::yield_now();
    std::process::exit(1);
}
#[nowritebarrierrec]
fn as_value() {
    let _ = Some(1).map(bad);
    let _f = self::bad;
}
#[nowritebarrierrec]
fn in_closure() {
    let _c = || bad(1);
}
#[nowritebarrierrec]
fn in_macro(x: Option<u32>) {
    assert!(bad(1) == ());
    let _ = matches!(x, Some(y) if bad(y) == ());
}
#[nowritebarrierrec]
fn in_cfg() {
    #[cfg(all())]
    bad(1);
}
#[nowritebarrierrec]
fn upper_case() {
    Sneaky(1);
    POINTER(1);
}
#[nowritebarrierrec]
fn upper_case_value() {
    let _ = Some(1).map(Sneaky);
    let _ = Some(1).map(POINTER);
}
#[nowritebarrierrec]
fn shadowed_by_import() {
    use other::bad as direct;
    use other::deep::{self as nested_module, bad as turbofish};
    direct(1);
    turbofish();
    nested_module::bad();
}
struct S;
#[nowritebarrierrec]
impl S {
    fn in_impl(&self) {
        bad(2)
    }
}

fn main() {}
