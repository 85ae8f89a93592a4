//! The monotonic clock.

#[cfg(not(modelled))]
use barrier_lint::certify;
use barrier_lint::nowritebarrierrec;

/// Nanoseconds since some fixed moment. May run without a P.
pub(crate) use gc_core::sync::nanos as nanotime;

#[cfg(not(modelled))]
certify! {
    use libc::clock_gettime: "a system call, or the vDSO";
}

/// Time does not pass.
#[cfg(modelled)]
#[nowritebarrierrec]
pub(crate) fn coarse() -> u64 {
    nanotime()
}

/// As [`nanotime`], but only as of the last tick of the kernel (some milliseconds), for a quarter of the price: for
/// what is written at every switch and read by reports only. May run without a P.
#[cfg(not(modelled))]
#[nowritebarrierrec]
pub(crate) fn coarse() -> u64 {
    let mut t = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `t` is a live timespec.
    unsafe { clock_gettime(libc::CLOCK_MONOTONIC_COARSE, &raw mut t) };
    t.tv_sec as u64 * 1_000_000_000 + t.tv_nsec as u64
}
