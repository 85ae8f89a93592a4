//! Atomics for models that shuttle runs: the processor's, with a place before each access at which another thread may be chosen.
//! All are sequentially consistent, whatever order they are given. (shuttle's own are the same, and twenty times as large: a G or
//! an M would not fit into a model's heap.)

use super::Ordering::{self, SeqCst};
use super::explorer::thread::sleep;
use super::wrapped::{each_atomic, wrapped};
use core::fmt;
use core::sync::atomic as inner;
use core::time::Duration;

fn access<T>(_: Ordering, f: impl FnOnce(Ordering) -> T) -> T {
    // Another thread may be chosen here. (shuttle has no time: whoever sleeps can be chosen at once.)
    sleep(Duration::ZERO);
    f(SeqCst)
}

macro_rules! atomic {
    ($name:ident $(<$p:ident>)?, $value:ty: $($op:ident)*) => {
        wrapped!($name $(<$p>)?, $value: $($op)*);

        impl $(<$p>)? $name $(<$p>)? {
            /// One that holds `value`.
            pub const fn new(value: $value) -> Self {
                Self(inner::$name::new(value))
            }

            /// What it holds, which is no step of the model.
            pub fn peek(&self) -> $value {
                self.0.load(SeqCst)
            }

            /// What it holds at the end.
            pub fn into_inner(self) -> $value {
                self.0.into_inner()
            }

            /// As in std.
            pub fn load(&self, order: Ordering) -> $value {
                access(order, |order| self.0.load(order))
            }

            /// As in std.
            pub fn fetch_update(
                &self,
                success: Ordering,
                failure: Ordering,
                mut f: impl FnMut($value) -> Option<$value>,
            ) -> Result<$value, $value> {
                let mut old = self.load(failure);
                while let Some(new) = f(old) {
                    match self.compare_exchange(old, new, success, failure) {
                        Ok(old) => return Ok(old),
                        Err(now) => old = now,
                    }
                }
                Err(old)
            }
        }
    };
}
each_atomic!(atomic);
