//! The monotonic clock.

/// Nanoseconds since some fixed moment. May run without a P.
pub(crate) use gc_core::sync::nanos as nanotime;
