//! Atomics for models: loom's, with `SeqCst` as the processor has it.
//!
//! loom treats a `SeqCst` access as `AcqRel`, so "store mine, then look at yours", which much of a scheduler rests on, would
//! fail in every model. Here a `SeqCst` store or read-modify-write is followed by a `SeqCst` fence, which loom does know:
//! that is what the instruction is on x86 (`xchg`, a `lock` prefix). A `SeqCst` load is a plain one, there as here; so a
//! model still fails where a weaker store is followed by a `SeqCst` load without a fence. What is not modelled: machines on
//! which a `SeqCst` store does not order the *weaker* accesses behind it.

use super::Ordering;
use super::wrapped::{each_atomic, wrapped};
use core::fmt;
use core::ops::Deref;
use loom::sync::atomic as inner;

fn access<T>(order: Ordering, f: impl FnOnce(Ordering) -> T) -> T {
    let out = f(order);
    if order == Ordering::SeqCst {
        inner::fence(Ordering::SeqCst);
    }
    out
}

macro_rules! atomic {
    ($name:ident $(<$p:ident>)?, $value:ty: $($op:ident)*) => {
        wrapped!($name $(<$p>)?, $value: $($op)*);

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
        }

        impl $(<$p>)? Deref for $name $(<$p>)? {
            type Target = inner::$name $(<$p>)?;
            fn deref(&self) -> &Self::Target {
                &self.0
            }
        }
    };
}
each_atomic!(atomic);
