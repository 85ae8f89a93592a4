//! Atomics for models: loom's, with `SeqCst` as the processor has it.
//!
//! loom treats a `SeqCst` access as `AcqRel`, so "store mine, then look at yours", which much of a scheduler rests on, would
//! fail in every model. Here a `SeqCst` store or read-modify-write is followed by a `SeqCst` fence, which loom does know:
//! that is what the instruction is on x86 (`xchg`, a `lock` prefix). A `SeqCst` load is a plain one, there as here; so a
//! model still fails where a weaker store is followed by a `SeqCst` load without a fence. What is not modelled: machines on
//! which a `SeqCst` store does not order the *weaker* accesses behind it.

use super::Ordering;
use core::fmt;
use core::ops::Deref;
use loom::sync::atomic as inner;

fn after<T>(order: Ordering, out: T) -> T {
    if order == Ordering::SeqCst {
        inner::fence(Ordering::SeqCst);
    }
    out
}

macro_rules! atomic {
    ($name:ident $(<$p:ident>)?, $value:ty) => {
        /// See the module's text.
        pub struct $name $(<$p>)? (inner::$name $(<$p>)?);

        impl $(<$p>)? $name $(<$p>)? {
            /// One that holds `value`.
            pub fn new(value: $value) -> Self {
                Self(inner::$name::new(value))
            }

            /// What it holds at the end.
            pub fn into_inner(self) -> $value {
                // SAFETY: nobody else has it any more.
                unsafe { self.0.unsync_load() }
            }

            /// As in std.
            pub fn store(&self, value: $value, order: Ordering) {
                after(order, self.0.store(value, order));
            }

            /// As in std.
            pub fn swap(&self, value: $value, order: Ordering) -> $value {
                after(order, self.0.swap(value, order))
            }

            /// As in std.
            pub fn compare_exchange(
                &self,
                old: $value,
                new: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                after(success, self.0.compare_exchange(old, new, success, failure))
            }

            /// As in std.
            pub fn compare_exchange_weak(
                &self,
                old: $value,
                new: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                after(success, self.0.compare_exchange_weak(old, new, success, failure))
            }
        }

        impl $(<$p>)? fmt::Debug for $name $(<$p>)? {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        // SAFETY: a number or an address that the collector does not follow.
        unsafe impl $(<$p>)? barrier_lint::NotInHeap for $name $(<$p>)? {}

        impl $(<$p>)? Deref for $name $(<$p>)? {
            type Target = inner::$name $(<$p>)?;
            fn deref(&self) -> &Self::Target {
                &self.0
            }
        }
    };
}

macro_rules! fetch {
    ($name:ident, $value:ty: $($op:ident)*) => {
        impl $name {
            $(
                /// As in std.
                pub fn $op(&self, value: $value, order: Ordering) -> $value {
                    after(order, self.0.$op(value, order))
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
