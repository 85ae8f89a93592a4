//! What the watched process tells its watcher, as lines of JSON on its standard output.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use tricolor::gc::{self, Distribution};

/// Times of one kind. In nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Times {
    pub name: String,
    pub count: u64,
    pub total: u64,
    pub max: u64,
    /// The longest time of each bucket that is not empty, and how many fell into it; in order.
    pub buckets: Vec<(u64, u64)>,
}

impl Times {
    /// What the runtime has recorded: its buckets as they are.
    pub fn of_runtime(name: String, d: &Distribution) -> Times {
        let ns = |d: std::time::Duration| d.as_nanos() as u64;
        let buckets = d.buckets().iter().map(|(end, n)| (ns(*end), *n)).collect();
        Times { name, count: d.count(), total: ns(d.total()), max: ns(d.max()), buckets }
    }

    /// What workers have recorded.
    pub fn of_workers(name: &str, h: &Histogram<u64>) -> Times {
        let buckets: Vec<_> = h.iter_recorded().map(|v| (v.value_iterated_to(), v.count_at_value())).collect();
        let total = buckets.iter().map(|(ns, n)| ns * n).sum();
        Times { name: name.into(), count: h.len(), total, max: if h.is_empty() { 0 } else { h.max() }, buckets }
    }

    /// Adds what another leg has recorded.
    pub fn add(&mut self, other: &Times) {
        let mut all: std::collections::BTreeMap<u64, u64> = self.buckets.iter().copied().collect();
        other.buckets.iter().for_each(|(ns, n)| *all.entry(*ns).or_default() += n);
        self.buckets = all.into_iter().collect();
        self.count += other.count;
        self.total += other.total;
        self.max = self.max.max(other.max);
    }

    /// As a histogram of hdrhistogram's, to three digits.
    pub fn histogram(&self) -> Histogram<u64> {
        let mut h = super::workers::times();
        self.buckets.iter().for_each(|(ns, n)| h.saturating_record_n(*ns, *n));
        h
    }
}

/// A look at the runtime.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Seconds since the process began.
    pub at: f64,
    pub phase: usize,
    /// Ps that are wanted.
    pub procs: u32,
    /// Processor time of the process so far, in seconds.
    pub cpu: f64,
    pub cycles: u32,
    /// Bytes.
    pub heap_live: u64,
    /// Bytes; `None`: cycles only run on request.
    pub heap_goal: Option<u64>,
    /// Bytes.
    pub heap_used: u64,
    /// Bytes ever allocated.
    pub allocated: u64,
    /// Stops so far.
    pub stops: u64,
    /// Of all stops so far, in nanoseconds: the longest from request to stand, and the longest stand.
    pub worst: (u64, u64),
}

/// One of the longest stops. Times in nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LongStop {
    pub name: String,
    /// Seconds since the process began.
    pub at: f64,
    pub to_stop: u64,
    pub stopped: u64,
    /// How each P that was not idle came to stand, the last one first.
    pub ps: Vec<String>,
}

impl LongStop {
    /// What is kept of all legs.
    pub const KEPT: usize = 10;

    fn of_runtime(stop: &gc::LongStop) -> LongStop {
        let told = |p: &gc::StoppedP| {
            let thread = p.m.map_or(String::new(), |m| format!(", M{m}"));
            let goroutine = p.goroutine.map_or(String::new(), |goid| format!(", goroutine {goid}"));
            let after = super::report::time(p.after.as_nanos() as u64);
            format!("P{}{thread}{goroutine}: {}, after {after}", p.p, p.how)
        };
        LongStop {
            name: stop.name.into(),
            at: stop.at.as_secs_f64(),
            to_stop: stop.to_stop.as_nanos() as u64,
            stopped: stop.stopped.as_nanos() as u64,
            ps: stop.ps.iter().map(told).collect(),
        }
    }

    /// Adds those of another leg, and keeps the longest.
    pub fn merge(all: &mut Vec<LongStop>, more: Vec<LongStop>) {
        all.extend(more);
        all.sort_by_key(|stop| std::cmp::Reverse(stop.to_stop + stop.stopped));
        all.truncate(LongStop::KEPT);
    }
}

/// Everything that has been recorded so far.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    pub at: f64,
    pub times: Vec<Times>,
    pub numbers: Vec<(String, u64)>,
    pub longest: Vec<LongStop>,
}

/// A line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Line {
    Sample(Sample),
    Snapshot(Snapshot),
    /// The last line of a process in which nothing broke.
    Clean,
}

/// As a row of times is called. The count is of what was measured.
pub fn latency_name(latency: gc::Latency, one_in: u32) -> String {
    match one_in {
        1 => latency.name().into(),
        n => format!("{} (1 in {n})", latency.name()),
    }
}

/// Seconds of processor time that this process has had.
fn cpu() -> f64 {
    // SAFETY: fills a live structure for which all zero is valid.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &raw mut usage);
        usage
    };
    let seconds = |t: libc::timeval| t.tv_sec as f64 + t.tv_usec as f64 / 1e6;
    seconds(usage.ru_utime) + seconds(usage.ru_stime)
}

impl Sample {
    /// Looks. On a goroutine.
    pub fn take(at: f64, phase: usize, procs: u32) -> Sample {
        // First: it belongs to `at`, and the others may take their time.
        let cpu = cpu();
        let (stats, stops) = (gc::stats(), gc::stops());
        let longest = |of: fn(&gc::StopRow) -> &Distribution| {
            stops.iter().map(|row| of(row).max().as_nanos() as u64).max().unwrap_or(0)
        };
        Sample {
            at,
            phase,
            procs,
            cpu,
            cycles: stats.cycles,
            heap_live: stats.heap_live as u64,
            heap_goal: (stats.heap_goal != usize::MAX).then_some(stats.heap_goal as u64),
            heap_used: stats.heap_used as u64,
            allocated: stats.allocated_bytes,
            stops: stops.iter().map(|row| row.count).sum(),
            worst: (longest(|row| &row.to_stop), longest(|row| &row.stopped)),
        }
    }
}

impl Snapshot {
    /// Takes over what a later look has seen.
    pub fn update(&mut self, later: Snapshot) {
        self.at = self.at.max(later.at);
        if !later.longest.is_empty() {
            self.longest = later.longest;
        }
        for times in later.times {
            match self.times.iter_mut().find(|t| t.name == times.name) {
                Some(t) => *t = times,
                None => self.times.push(times),
            }
        }
        for (name, n) in later.numbers {
            match self.numbers.iter_mut().find(|(known, _)| *known == name) {
                Some((_, now)) => *now = n,
                None => self.numbers.push((name, n)),
            }
        }
    }

    /// Looks at everything but what workers record. On a goroutine.
    pub fn take(at: f64) -> Snapshot {
        let longest = gc::longest_stops().iter().map(LongStop::of_runtime).collect();
        let mut snapshot = Snapshot { at, longest, ..Snapshot::default() };
        for row in gc::stops().iter().filter(|row| row.count > 0) {
            snapshot.numbers.push((format!("stops: {}", row.name), row.count));
            snapshot.times.push(Times::of_runtime(format!("time to stop: {}", row.name), &row.to_stop));
            snapshot.times.push(Times::of_runtime(format!("stopped: {}", row.name), &row.stopped));
        }
        for row in gc::latencies().iter().filter(|row| row.times.count() > 0) {
            snapshot.times.push(Times::of_runtime(latency_name(row.latency, row.one_in), &row.times));
        }
        let (stats, signals) = (gc::stats(), gc::suspensions());
        for (name, n) in [
            ("cycles", stats.cycles.into()),
            ("objects dropped", stats.dropped_objects),
            ("bytes allocated", stats.allocated_bytes),
            ("objects verified", stats.verified_objects),
            ("preemptions", signals.descheduled),
            ("suspensions", signals.suspended),
            ("signals sent", signals.sent),
            ("stores begun again", signals.restarted),
        ] {
            if n > 0 {
                snapshot.numbers.push((name.into(), n));
            }
        }
        snapshot
    }
}
