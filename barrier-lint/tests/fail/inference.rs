//! The assertion beside `Type::f` cannot see what the call infers.
use barrier_lint::nowritebarrierrec;

struct Field<T>(*mut T);

#[nowritebarrierrec]
impl<T> Field<T> {
    fn nil() -> Self {
        Field(core::ptr::null_mut())
    }
}

#[nowritebarrierrec]
fn f() -> Field<u32> {
    Field::nil()
}

fn main() {
    f().0.is_null();
}
