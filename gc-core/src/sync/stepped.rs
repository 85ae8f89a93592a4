//! Atomics for models that shuttle runs: the processor's, with a place before each access at which another thread may be chosen.
//! All are sequentially consistent, whatever order they are given. (shuttle's own are the same, and twenty times as large: a G or
//! an M would not fit into a model's heap.)

use super::Ordering::{self, SeqCst};
use super::explorer::thread::sleep;
use core::fmt;
use core::sync::atomic as inner;
use core::time::Duration;

/// Another thread may be chosen here. (shuttle has no time: whoever sleeps can be chosen at once.)
fn step() {
    sleep(Duration::ZERO);
}

macro_rules! atomic {
    ($name:ident $(<$p:ident>)?, $value:ty) => {
        /// See the module's text.
        #[repr(transparent)]
        pub struct $name $(<$p>)? (inner::$name $(<$p>)?);

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
            pub fn load(&self, _: Ordering) -> $value {
                step();
                self.0.load(SeqCst)
            }

            /// As in std.
            pub fn store(&self, value: $value, _: Ordering) {
                step();
                self.0.store(value, SeqCst)
            }

            /// As in std.
            pub fn swap(&self, value: $value, _: Ordering) -> $value {
                step();
                self.0.swap(value, SeqCst)
            }

            /// As in std.
            pub fn compare_exchange(
                &self,
                old: $value,
                new: $value,
                _: Ordering,
                _: Ordering,
            ) -> Result<$value, $value> {
                step();
                self.0.compare_exchange(old, new, SeqCst, SeqCst)
            }

            /// As in std, and never fails without a reason.
            pub fn compare_exchange_weak(
                &self,
                old: $value,
                new: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                self.compare_exchange(old, new, success, failure)
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

        impl $(<$p>)? fmt::Debug for $name $(<$p>)? {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        // SAFETY: a number or an address that the collector does not follow.
        unsafe impl $(<$p>)? barrier_lint::NotInHeap for $name $(<$p>)? {}
    };
}

macro_rules! fetch {
    ($name:ident, $value:ty: $($op:ident)*) => {
        impl $name {
            $(
                /// As in std.
                pub fn $op(&self, value: $value, _: Ordering) -> $value {
                    step();
                    self.0.$op(value, SeqCst)
                }
            )*
        }
    };
}

atomic!(AtomicBool, bool);
atomic!(AtomicU8, u8);
atomic!(AtomicU32, u32);
atomic!(AtomicU64, u64);
atomic!(AtomicUsize, usize);
atomic!(AtomicPtr<T>, *mut T);
fetch!(AtomicBool, bool: fetch_and fetch_or fetch_xor);
fetch!(AtomicU8, u8: fetch_add fetch_sub fetch_and fetch_or fetch_xor fetch_max fetch_min);
fetch!(AtomicU32, u32: fetch_add fetch_sub fetch_and fetch_or fetch_xor fetch_max fetch_min);
fetch!(AtomicU64, u64: fetch_add fetch_sub fetch_and fetch_or fetch_xor fetch_max fetch_min);
fetch!(AtomicUsize, usize: fetch_add fetch_sub fetch_and fetch_or fetch_xor fetch_max fetch_min);
