//! Time. In models it stands still, for the length of an execution: what a model does must not depend on how it passes. But
//! for models of who asks again after a while: there it goes on by what such a one waits ([`clock_goes`]).

use barrier_lint::nowritebarrierrec;

#[cfg(not(modelled))]
barrier_lint::certify! {
    use libc::clock_gettime: "a system call, or the vDSO";
}

#[cfg(modelled)]
std::thread_local! {
    /// What time it is. All model threads share the OS thread.
    static CLOCK: core::cell::Cell<u64> = const { core::cell::Cell::new(0) };
    static GOES: core::cell::Cell<bool> = const { core::cell::Cell::new(false) };
}

/// Says what time it is, in nanoseconds; before the threads of a model start.
#[cfg(modelled)]
pub fn set_clock(nanos: u64) {
    CLOCK.set(nanos);
}

/// From now on time goes on when somebody waits with a limit; in all executions.
#[cfg(modelled)]
pub fn clock_goes() {
    GOES.set(true);
}

/// Somebody has waited for so many nanoseconds.
#[cfg(modelled)]
pub fn pass(nanos: u64) {
    if GOES.get() {
        CLOCK.set(CLOCK.get() + nanos);
    }
}

/// Nanoseconds of the monotonic clock. May run without a P.
#[nowritebarrierrec]
#[inline]
pub fn nanos() -> u64 {
    #[cfg(modelled)]
    {
        CLOCK.get()
    }
    #[cfg(not(modelled))]
    read(libc::CLOCK_MONOTONIC)
}

/// Nanoseconds of processor time that this thread has used. A system call. May run without a P.
#[nowritebarrierrec]
pub fn cpu_nanos() -> u64 {
    #[cfg(modelled)]
    {
        0
    }
    #[cfg(not(modelled))]
    read(libc::CLOCK_THREAD_CPUTIME_ID)
}

#[cfg(not(modelled))]
#[nowritebarrierrec]
#[inline]
fn read(clock: libc::clockid_t) -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: a live timespec; these clocks always exist.
    unsafe { clock_gettime(clock, &mut now) };
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}
