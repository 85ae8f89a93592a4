use gc_core::{Gc, Trace};

#[derive(Trace)]
struct Guard<T: Send>(T);

impl<T: Send> Drop for Guard<T> {
    fn drop(&mut self) {}
}

fn main() {
    // Fine for plain data, but not for what holds a `Gc`.
    let _ = Gc::new(Guard(1_u8));
    let _ = Gc::new(Guard(Some(Gc::new(1_u8))));
}
