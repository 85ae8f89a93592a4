//! Method calls that nobody certified.
use barrier_lint::nowritebarrierrec;

#[derive(Clone)]
struct S;
impl S {
    fn bad(&self) {}
    fn assoc() {}
    #[nowritebarrierrec]
    fn good(&self) -> &Self {
        self
    }
}
trait Tr {
    fn m(&self);
    fn s();
}
trait Dyn {
    fn d(&self);
}

#[nowritebarrierrec]
fn inherent(s: &S) {
    s.bad();
    s.good().bad();
    S::assoc();
    S::bad(s);
    <S>::bad(s);
}
#[nowritebarrierrec]
fn traits<T: Tr>(t: &T, d: &dyn Dyn) {
    t.m();
    d.d();
    T::s();
    <T as Tr>::m(t);
    let _f = T::s;
}
#[nowritebarrierrec]
fn std_types<T: Clone>(t: &T, v: &mut Vec<u32>, s: &S) {
    let _ = t.clone();
    let _ = s.clone();
    v.push(1);
}
#[nowritebarrierrec]
fn in_macro(v: &mut Vec<u32>) {
    assert!(v.pop().is_none());
    debug_assert_eq!(v.capacity(), 1);
}
#[nowritebarrierrec]
fn dropping(o: Option<Vec<u32>>, c: &std::cell::Cell<Vec<u32>>) {
    c.set(o.unwrap_or(Vec::new()));
}

struct Barriered;
#[barrier_lint::writebarrier]
impl Drop for Barriered {
    fn drop(&mut self) {}
}
#[nowritebarrierrec]
fn explicit_drop(v: Vec<u32>, b: Barriered) {
    drop(v);
    drop(b);
}

#[nowritebarrierrec]
fn drops_the_argument(locked: bool, guard: Vec<u32>) -> Option<Vec<u32>> {
    locked.then_some(guard)
}

fn main() {}
