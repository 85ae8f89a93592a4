//! What the atomics of both kinds of models have in common: `inner`'s, in types of their own, so that something can be done
//! around each access. What that is says the module's function `access`, which is given the order that is asked for and runs
//! the access with the order that it is to have.

/// Invokes `$wrap` for each type, with its value and what can be done with it in one step.
macro_rules! each_atomic {
    ($wrap:ident) => {
        $wrap!(AtomicBool, bool: fetch_and fetch_or fetch_xor);
        $wrap!(AtomicU8, u8: fetch_add fetch_sub fetch_and fetch_or fetch_xor fetch_max fetch_min);
        $wrap!(AtomicU32, u32: fetch_add fetch_sub fetch_and fetch_or fetch_xor fetch_max fetch_min);
        $wrap!(AtomicU64, u64: fetch_add fetch_sub fetch_and fetch_or fetch_xor fetch_max fetch_min);
        $wrap!(AtomicUsize, usize: fetch_add fetch_sub fetch_and fetch_or fetch_xor fetch_max fetch_min);
        $wrap!(AtomicPtr<T>, *mut T:);
    };
}
pub(super) use each_atomic;

/// One type, with what is alike for both; its constructor and more are the module's.
macro_rules! wrapped {
    ($name:ident $(<$p:ident>)?, $value:ty: $($op:ident)*) => {
        /// See the module's text.
        #[repr(transparent)]
        pub struct $name $(<$p>)? (inner::$name $(<$p>)?);

        impl $(<$p>)? $name $(<$p>)? {
            /// As in std.
            pub fn store(&self, value: $value, order: Ordering) {
                access(order, |order| self.0.store(value, order));
            }

            /// As in std.
            pub fn swap(&self, value: $value, order: Ordering) -> $value {
                access(order, |order| self.0.swap(value, order))
            }

            /// As in std.
            pub fn compare_exchange(
                &self,
                old: $value,
                new: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                access(success, |success| self.0.compare_exchange(old, new, success, failure))
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

            $(
                /// As in std.
                pub fn $op(&self, value: $value, order: Ordering) -> $value {
                    access(order, |order| self.0.$op(value, order))
                }
            )*
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
pub(super) use wrapped;
