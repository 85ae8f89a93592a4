//! Time for goroutines: a goroutine that sleeps costs no thread.
//!
//! ```
//! use std::time::{Duration, Instant};
//! use tricolor::time;
//! # unsafe { tricolor::Runtime::builder().run(|| {
//! let begin = Instant::now();
//! time::sleep(Duration::from_millis(2));
//! assert!(begin.elapsed() >= Duration::from_millis(2));
//!
//! let mut every = time::interval(Duration::from_millis(1));
//! for _ in 0..3 {
//!     every.tick();
//! }
//!
//! let answer = time::timeout(Duration::from_secs(60), || 6 * 7);
//! assert_eq!(answer, Ok(42));
//! let (tx, rx) = tricolor::chan::bounded::<()>(0);
//! assert!(time::timeout(Duration::from_millis(1), move || rx.recv()).is_err());
//! # drop(tx);
//! # }) }
//! ```
//!
//! Times are those of the monotonic clock, as `std::time::Instant`. Nothing here returns early; how late depends on what
//! else there is to run: some 50 us on an idle machine, and a time slice (10 ms) or more where goroutines compute on all Ps.
//!
//! The protocol is in the head of `timers.rs`.

mod clock;
mod heap;
mod interval;
pub(crate) mod timers;

pub use interval::{Interval, interval, interval_at};
pub use std::time::{Duration, Instant};

pub(crate) use clock::{coarse, nanotime, tick};

use crate::g::{G, getg};
use core::fmt;

/// The goroutine that calls `what`.
fn goroutine(what: &str) -> &'static G {
    match getg() {
        Some(gp) if crate::p::holds_one() => gp,
        _ => panic!("`{what}` is called on a goroutine, not in a blocking call or on another thread"),
    }
}

/// `after` from now, for a timer.
pub(crate) fn deadline(after: Duration) -> u64 {
    nanotime().saturating_add(u64::try_from(after.as_nanos()).unwrap_or(u64::MAX))
}

/// Parks the goroutine for at least `duration`. A safepoint; needs a P. Source: Go's `time.Sleep`.
///
/// # Panics
/// Outside a goroutine, and in a blocking call.
pub fn sleep(duration: Duration) {
    let gp = goroutine("sleep");
    crate::proc::park::poll();
    if !duration.is_zero() {
        timers::sleep_until(gp, deadline(duration));
    }
}

/// Parks the goroutine until `when`, which may be past. A safepoint; needs a P.
///
/// # Panics
/// Outside a goroutine, and in a blocking call.
pub fn sleep_until(when: Instant) {
    sleep(when.saturating_duration_since(Instant::now()));
}

/// How many timers are armed now: of goroutines that sleep, and of those that wait with a limit. Does not need a P; 0
/// outside a runtime.
pub fn pending() -> usize {
    crate::m::getm().map_or(0, |m| {
        // SAFETY: an M's scheduler lives for ever.
        timers::count(unsafe { &*m.sched.load(gc_core::sync::Ordering::Relaxed) })
    })
}

/// A time limit has passed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Elapsed;

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the time limit has passed")
    }
}

impl std::error::Error for Elapsed {}

/// Runs `f` on a goroutine of its own, and waits for its result, but not for longer than `limit`.
///
/// A goroutine cannot be ended from outside: one that is late goes on, and its result is dropped. To end it as well, give
/// it something to look at: a channel whose other end goes, a socket with a timeout. To wait for a value with a limit,
/// [`Receiver::recv_timeout`](crate::chan::Receiver::recv_timeout) is enough.
///
/// Needs a P; a safepoint. Source: Go's pattern of a goroutine, a channel and `time.After`; the name is tokio's.
///
/// # Errors
/// [`Elapsed`] if the time has passed.
///
/// # Panics
/// Outside a goroutine, and if `f` does, with its payload. A panic of an `f` that is late ends the process, as that of any
/// goroutine that nobody joins.
#[track_caller]
pub fn timeout<T, F>(limit: Duration, f: F) -> Result<T, Elapsed>
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    goroutine("timeout");
    let (done, wait) = crate::chan::bounded::<()>(0);
    let handle = crate::spawn(move || {
        // Goes at its end, also if it panics.
        let _done = done;
        f()
    });
    match wait.recv_timeout(limit) {
        Err(crate::chan::RecvTimeoutError::Timeout) if !handle.is_finished() => Err(Elapsed),
        _ => match handle.join() {
            Ok(value) => Ok(value),
            Err(payload) => crate::resume_unwind(payload),
        },
    }
}
