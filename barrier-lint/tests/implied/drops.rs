//! Values whose drop glue nobody certified.
use barrier_lint::nowritebarrierrec;

struct D(u32);
impl Drop for D {
    fn drop(&mut self) {}
}
struct Holds {
    d: D,
    o: Option<D>,
}

#[nowritebarrierrec]
fn make() -> D {
    D(1)
}
#[nowritebarrierrec]
fn take(d: D) {
    core::mem::forget(d)
}

#[nowritebarrierrec]
fn local() {
    let _local = make();
}
#[nowritebarrierrec]
fn temporary() {
    make();
}
#[nowritebarrierrec]
fn field_of_temporary() -> u32 {
    make().0
}
#[nowritebarrierrec]
fn wildcard() {
    let _ = make();
}
#[nowritebarrierrec]
fn parameter(d: D) -> u32 {
    d.0
}
#[nowritebarrierrec]
fn generic<T>(t: T) -> usize {
    size_of_val(&t)
}
#[nowritebarrierrec]
fn on_one_path(d: D, keep: bool) {
    if keep {
        take(d)
    }
}
#[nowritebarrierrec]
fn early_return(d: D, keep: Option<u32>) -> Option<u32> {
    let n = keep?;
    take(d);
    Some(n)
}
#[nowritebarrierrec]
fn assigned_to_variable(n: u32) {
    let mut d = D(n);
    d = make();
    take(d)
}
#[nowritebarrierrec]
fn assigned_to_field(h: &mut Holds) {
    h.d = make();
}
#[nowritebarrierrec]
fn assigned_through_reference(slot: &mut Option<D>) {
    *slot = None;
}
#[nowritebarrierrec]
fn assigned_through_pointer(slot: *mut D) {
    // SAFETY: the test never runs.
    unsafe { *slot = D(1) }
}
#[nowritebarrierrec]
fn in_an_element(slots: &mut [Option<D>]) {
    slots[1] = None;
}
#[nowritebarrierrec]
fn in_a_loop() {
    for _ in 0..3 {
        let _d = make();
    }
}
#[nowritebarrierrec]
fn in_an_arm(o: Option<u32>) {
    match o {
        Some(_) => drop_nothing(&make()),
        None => {}
    }
}
#[nowritebarrierrec]
fn drop_nothing(_: &D) {}
#[nowritebarrierrec]
fn discarded_payload(o: Option<D>) -> bool {
    matches!(o, Some(_))
}
#[nowritebarrierrec]
fn shadowed() {
    let d = make();
    let d = core::mem::ManuallyDrop::new(d);
    let e = make();
    let _ = (&d, &e);
}
#[nowritebarrierrec]
fn boxed(b: Box<u32>) -> u32 {
    *b
}
struct S(D);
#[nowritebarrierrec]
impl S {
    fn method(self) {}
    fn assoc(n: u32) {
        let _s = S(D(n));
    }
}
#[nowritebarrierrec]
trait Marked {
    fn m(&self, d: D);
}
#[nowritebarrierrec]
impl Marked for S {
    fn m(&self, _d: D) {}
}
struct Certified(D);
#[nowritebarrierrec]
impl Drop for Certified {
    fn drop(&mut self) {}
}
/// Its own `drop` is certified, its field's is not.
#[nowritebarrierrec]
fn certified_outside(_c: Certified) {}

fn main() {}
