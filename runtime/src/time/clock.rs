//! The monotonic clock.

use barrier_lint::nowritebarrierrec;
#[cfg(not(modelled))]
use core::sync::atomic::{AtomicU64, Ordering};

/// Nanoseconds since some fixed moment. May run without a P.
pub(crate) use gc_core::sync::nanos as nanotime;

/// Time does not pass.
#[cfg(modelled)]
#[nowritebarrierrec]
pub(crate) fn coarse() -> u64 {
    nanotime()
}

/// As [`nanotime`], but as of the last [`tick`], some milliseconds ago at most, for a load: for what is written at every
/// switch and read by reports only. May run without a P.
#[cfg(not(modelled))]
#[nowritebarrierrec]
#[inline]
pub(crate) fn coarse() -> u64 {
    // Relaxed: a number, on which nothing depends.
    TICK.load(Ordering::Relaxed)
}

#[cfg(not(modelled))]
static TICK: AtomicU64 = AtomicU64::new(0);

/// Time has passed: sysmon says so each time it looks, and an M that wakes, since sysmon sleeps while nobody runs. May run
/// without a P.
#[nowritebarrierrec]
pub(crate) fn tick() {
    #[cfg(not(modelled))]
    // Relaxed: as above.
    TICK.store(nanotime(), Ordering::Relaxed);
}
