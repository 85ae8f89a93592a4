//! `interval`: ticks without drift.

use super::{Duration, Instant, sleep_until};

/// Ticks at equal distances. See [`interval`].
#[derive(Debug)]
pub struct Interval {
    next: Instant,
    period: Duration,
}

/// Ticks every `period`, at once for the first time. Needs a P only to [`tick`](Interval::tick). Source: Go's
/// `time.NewTicker`; the name is tokio's.
///
/// The ticks are at the start plus multiples of the period, however late the goroutine is with one of them. Who is so late
/// that others have passed skips those, as with Go's tickers (tokio calls it `Skip`).
///
/// # Panics
/// If `period` is zero.
pub fn interval(period: Duration) -> Interval {
    interval_at(Instant::now(), period)
}

/// As [`interval`], with the first tick at `start`.
///
/// # Panics
/// If `period` is zero.
pub fn interval_at(start: Instant, period: Duration) -> Interval {
    assert!(!period.is_zero(), "an interval of zero length: at least a nanosecond is needed");
    Interval { next: start, period }
}

impl Interval {
    /// Waits for the next tick, and returns when it was due. A safepoint; needs a P.
    ///
    /// # Panics
    /// Outside a goroutine, and in a blocking call.
    pub fn tick(&mut self) -> Instant {
        sleep_until(self.next);
        let due = self.next;
        self.next = after(due, Instant::now(), self.period);
        due
    }

    /// The distance between ticks.
    pub fn period(&self) -> Duration {
        self.period
    }
}

/// The first tick after both `due`, which was one, and `now`.
fn after(due: Instant, now: Instant, period: Duration) -> Instant {
    let late = now.saturating_duration_since(due).as_nanos();
    let whole = late / period.as_nanos() + 1;
    let next = u64::try_from(whole.saturating_mul(period.as_nanos())).unwrap_or(u64::MAX);
    // Beyond the clock's range it does not come.
    due.checked_add(Duration::from_nanos(next)).unwrap_or(due + Duration::from_secs(1 << 32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missed_ticks_are_skipped_and_the_rest_stay_in_step() {
        let (start, ms) = (Instant::now(), Duration::from_millis);
        assert_eq!(after(start, start, ms(10)), start + ms(10));
        assert_eq!(after(start, start + ms(9), ms(10)), start + ms(10));
        assert_eq!(after(start, start + ms(10), ms(10)), start + ms(20));
        assert_eq!(after(start, start + ms(35), ms(10)), start + ms(40));
        assert!(after(start, start, Duration::MAX) > start + ms(1 << 32));
    }
}
