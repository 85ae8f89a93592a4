//! The monotonic clock.

use barrier_lint::nowritebarrierrec;

/// Nanoseconds since some fixed moment. May run without a P.
#[nowritebarrierrec]
pub(crate) fn nanotime() -> u64 {
    let mut t = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `t` is a live timespec.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut t) };
    t.tv_sec as u64 * 1_000_000_000 + t.tv_nsec as u64
}
