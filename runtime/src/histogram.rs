//! Log-linear histograms of times, off heap.
//!
//! A power of two has 32 buckets, so what a bucket says is at most 1/32 (3.1 %) above what was recorded. Recording is a few
//! relaxed additions: no lock, no allocation, any number of threads, with or without a P. A reader may see a time in the
//! sum and not yet in its bucket.

use barrier_lint::nowritebarrierrec;
use core::time::Duration;
use gc_core::sync::{AtomicU64, Ordering, Zeroed};

// Relaxed throughout: statistics.
const O: Ordering = Ordering::Relaxed;

barrier_lint::certify! {
    fn bucket_of: "arithmetic";
}

/// Buckets per power of two, as a power of two.
const SUB: u32 = if cfg!(modelled) { 0 } else { 5 };
/// What is longer (18 minutes) counts as this long.
const LONGEST: u64 = if cfg!(modelled) { 1 } else { (1 << 40) - 1 };
const BUCKETS: usize = bucket_of(LONGEST) + 1;

/// The bucket of a time in nanoseconds. Below 64 each has its own.
const fn bucket_of(ns: u64) -> usize {
    let ns = if ns > LONGEST { LONGEST } else { ns };
    let shift = (ns | 1).ilog2().saturating_sub(SUB);
    ((shift as usize) << SUB) + (ns >> shift) as usize
}

/// The longest time that falls into a bucket.
const fn end_of(bucket: usize) -> u64 {
    let shift = (bucket >> SUB).saturating_sub(1);
    let first = (bucket - (shift << SUB)) as u64;
    ((first + 1) << shift) - 1
}

/// Times, in nanoseconds.
pub(crate) struct Histogram {
    counts: [AtomicU64; BUCKETS],
    sum: AtomicU64,
    max: AtomicU64,
}

// SAFETY: all zero is what `zeroed` makes: nothing recorded.
unsafe impl Zeroed for Histogram {
    fn zeroed() -> Histogram {
        Histogram {
            counts: core::array::from_fn(|_| AtomicU64::new(0)),
            sum: AtomicU64::new(0),
            max: AtomicU64::new(0),
        }
    }
}

impl Histogram {
    /// Adds a time. May run without a P.
    #[nowritebarrierrec]
    pub(crate) fn record(&self, ns: u64) {
        if ns > self.max.load(O) {
            self.max.fetch_max(ns, O);
        }
        self.sum.fetch_add(ns, O);
        self.counts[bucket_of(ns)].fetch_add(1, O);
    }

    /// A copy. Allocates nothing.
    pub(crate) fn copy(&self, to: &mut Snapshot) {
        to.counts.iter_mut().zip(&self.counts).for_each(|(to, n)| *to = n.load(O));
        (to.sum, to.max) = (self.sum.load(O), self.max.load(O));
    }

    /// A copy for the program. Allocates.
    pub(crate) fn read(&self) -> Distribution {
        let mut copy = Snapshot::new();
        self.copy(&mut copy);
        copy.distribution()
    }
}

/// What a histogram held.
pub(crate) struct Snapshot {
    counts: Vec<u64>,
    sum: u64,
    max: u64,
}

impl Snapshot {
    /// Of nothing.
    pub(crate) fn new() -> Snapshot {
        Snapshot { counts: vec![0; BUCKETS], sum: 0, max: 0 }
    }

    /// The same for the program.
    pub(crate) fn distribution(&self) -> Distribution {
        // The last bucket has no end.
        let end = |i: usize| Duration::from_nanos(if i == BUCKETS - 1 { self.max } else { end_of(i) });
        let counts = self.counts.iter().enumerate();
        Distribution {
            buckets: counts.filter(|(_, n)| **n > 0).map(|(i, n)| (end(i), *n)).collect(),
            total: Duration::from_nanos(self.sum),
            max: Duration::from_nanos(self.max),
        }
    }
}

/// How often something took how long. Rounded up, by 1/32 (3.1 %) at most; all that takes longer than 18 minutes counts
/// as the longest.
#[derive(Clone, Debug, Default)]
pub struct Distribution {
    buckets: Vec<(Duration, u64)>,
    total: Duration,
    max: Duration,
}

impl Distribution {
    /// How often.
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|(_, n)| n).sum()
    }

    /// The sum of all times; exact.
    pub fn total(&self) -> Duration {
        self.total
    }

    /// The longest time; exact. Zero if there is none.
    pub fn max(&self) -> Duration {
        self.max
    }

    /// The time that a part `q` of all stayed within: 0.5 is the median, 0.999 leaves one in a thousand out. At most
    /// [`max`](Distribution::max); zero if there is none.
    ///
    /// # Panics
    /// If `q` is not in 0 to 1.
    pub fn quantile(&self, q: f64) -> Duration {
        assert!((0.0..=1.0).contains(&q), "a quantile is in 0 to 1, not {q}");
        let wanted = (q * self.count() as f64).ceil().max(1.0) as u64;
        let mut seen = 0;
        let bucket = self.buckets.iter().find(|(_, n)| {
            seen += n;
            seen >= wanted
        });
        bucket.map_or(self.max, |(end, _)| (*end).min(self.max))
    }

    /// What was recorded: the longest time of each bucket that is not empty, and how many fell into it; in order.
    pub fn buckets(&self) -> &[(Duration, u64)] {
        &self.buckets
    }
}

#[cfg(test)]
mod tests {
    use super::{BUCKETS, Histogram, LONGEST, Zeroed, bucket_of, end_of};
    use core::time::Duration;

    #[test]
    fn buckets_follow_each_other_and_are_narrow() {
        for bucket in 0..BUCKETS - 1 {
            let end = end_of(bucket);
            assert_eq!((bucket_of(end), bucket_of(end + 1)), (bucket, bucket + 1));
            let width = end_of(bucket + 1) - end;
            assert!(width * 32 <= (end + 1).max(32), "bucket {} is {width} wide, from {}", bucket + 1, end + 1);
        }
        assert_eq!(end_of(BUCKETS - 1), LONGEST);
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn quantiles_are_near_what_was_recorded() {
        let h = Histogram::zeroed();
        assert_eq!(h.read().quantile(0.99), Duration::ZERO);
        (1..=10_000).for_each(|us| h.record(us * 1000));
        h.record(u64::from(u32::MAX) * 1000);
        let d = h.read();
        assert_eq!(d.count(), 10_001);
        assert_eq!(d.max(), Duration::from_micros(u32::MAX.into()));
        assert_eq!(d.total(), Duration::from_micros(10_000 * 10_001 / 2 + u64::from(u32::MAX)));
        for (q, us) in [(0.0, 1), (0.5, 5_001), (0.99, 9_901), (0.9999, 10_000)] {
            let exact = Duration::from_micros(us);
            assert!((exact..=exact * 33 / 32).contains(&d.quantile(q)), "{q}: {:?}, not {exact:?}", d.quantile(q));
        }
        assert_eq!(d.quantile(1.0), d.max());
    }
}
