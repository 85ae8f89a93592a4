//! What a run has found: as a table, as JSON, as files.
//!
//! [`Report`] is all there is to know of a run; who wants to show it in another way (a page, plots) takes it from there.
//! [`Report::write`] puts it into a folder:
//!
//! | file | what |
//! |---|---|
//! | `summary.json` | the whole [`Report`] but for the timeline, with quantiles of all times |
//! | `times.csv` | name, longest time of a bucket in nanoseconds, how many fell into it |
//! | `timeline.csv` | a row per [`Sample`], about ten per second |
//! | `report.html` | the page ([`html`](super::html)) |
//! | `*.svg`, `*.png` | its charts |
//! | `failure.txt` | if something broke: all that the process has printed |

use super::plan::{Leg, Wanted};
use super::samples::{LongStop, Sample, Snapshot, Times};
use super::watch::{Ended, Failure};
use serde::Serialize;
use std::fmt::Write as _;
use std::path::Path;

/// A run.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// What was asked for.
    pub wanted: Wanted,
    /// Seconds, by the clock.
    pub seconds: f64,
    /// What each leg was to do. The last one is where it broke, if it did.
    pub legs: Vec<Leg>,
    /// What broke; `None`: nothing.
    pub failure: Option<Failure>,
    /// Sums over all legs, by name; in the order in which they were first seen.
    pub numbers: Vec<(String, u64)>,
    /// Times by name, over all legs: `time to stop: …` and `stopped: …` by reason, what goroutines waited for
    /// (`gc::latencies`: run queue, syscall exit, preemption by outcome, assist), hiccups, lateness of timers.
    pub times: Vec<Times>,
    /// The longest stops over all legs, the longest first; `at` counts from the beginning of the run.
    pub longest: Vec<LongStop>,
    /// The look at the heap and the scheduler of each 100 ms or so. `at` counts from the beginning of the run, and `phase`
    /// through all legs.
    #[serde(skip)]
    pub timeline: Vec<Sample>,
}

/// Quantiles of [`Times`], in nanoseconds.
#[derive(Clone, Debug, Serialize)]
pub struct Quantiles {
    pub name: String,
    pub count: u64,
    pub p50: u64,
    pub p99: u64,
    pub p999: u64,
    pub max: u64,
    pub total: u64,
}

impl Quantiles {
    fn of(times: &Times) -> Quantiles {
        let h = times.histogram();
        let q = |q: f64| h.value_at_quantile(q).min(times.max);
        let Times { name, count, total, max, .. } = times;
        Quantiles {
            name: name.clone(),
            count: *count,
            p50: q(0.5),
            p99: q(0.99),
            p999: q(0.999),
            max: *max,
            total: *total,
        }
    }
}

#[derive(Serialize)]
struct Summary<'a> {
    verdict: &'static str,
    quantiles: Vec<Quantiles>,
    #[serde(flatten)]
    report: &'a Report,
}

impl Report {
    /// Of a run that has not begun.
    pub fn new(wanted: Wanted) -> Report {
        let (legs, numbers, times, longest) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Report { wanted, seconds: 0.0, legs, failure: None, numbers, times, longest, timeline: Vec::new() }
    }

    /// Adds a leg.
    pub fn add(&mut self, leg: Leg, ended: Ended) {
        let phases: usize = self.legs.iter().map(|leg| leg.phases.len()).sum();
        let begin = self.seconds;
        let placed = |s: Sample| Sample { at: s.at + begin, phase: s.phase + phases, ..s };
        self.timeline.extend(ended.samples.into_iter().map(placed));
        let Snapshot { times, numbers, longest, .. } = ended.last.unwrap_or_default();
        let placed = longest.into_iter().map(|stop| LongStop { at: stop.at + begin, ..stop });
        LongStop::merge(&mut self.longest, placed.collect());
        for more in times {
            match self.times.iter_mut().find(|t| t.name == more.name) {
                Some(t) => t.add(&more),
                None => self.times.push(more),
            }
        }
        for (name, n) in numbers {
            match self.numbers.iter_mut().find(|(known, _)| *known == name) {
                Some((_, all)) => *all += n,
                None => self.numbers.push((name, n)),
            }
        }
        self.seconds += ended.seconds;
        self.failure = ended.failure;
        self.legs.push(leg);
    }

    /// A number by its name; 0 if nobody has counted it.
    pub fn number(&self, name: &str) -> u64 {
        self.numbers.iter().find(|(n, _)| n == name).map_or(0, |(_, n)| *n)
    }

    /// All quantiles.
    pub fn quantiles(&self) -> Vec<Quantiles> {
        self.times.iter().map(Quantiles::of).collect()
    }

    /// As JSON, in one object.
    pub fn json(&self) -> String {
        let verdict = if self.failure.is_some() { "broke" } else { "clean" };
        let summary = Summary { verdict, quantiles: self.quantiles(), report: self };
        serde_json::to_string_pretty(&summary).expect("plain data")
    }

    /// As a table of two parts.
    pub fn table(&self) -> String {
        let mut text = String::new();
        let wide = self.numbers.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        for (name, n) in &self.numbers {
            let rate = *n as f64 / self.seconds.max(1e-9);
            let _ = writeln!(text, "{name:<wide$} {n:>14} {rate:>14.0} /s");
        }
        let rows = self.quantiles();
        let wide = rows.iter().map(|row| row.name.len()).max().unwrap_or(0);
        let _ = writeln!(text, "\n{:<wide$} {:>9} {:>9} {:>9} {:>9} {:>9}", "", "count", "p50", "p99", "p99.9", "max");
        for Quantiles { name, count, p50, p99, p999, max, .. } in rows {
            let [p50, p99, p999, max] = [p50, p99, p999, max].map(time);
            let _ = writeln!(text, "{name:<wide$} {count:>9} {p50:>9} {p99:>9} {p999:>9} {max:>9}");
        }
        text
    }

    /// Writes the files into a folder. Returns what went wrong, if anything did, each with the file's name; the others
    /// are there.
    pub fn write(&self, folder: &Path) -> Vec<String> {
        // It was there when the run began.
        if let Err(why) = std::fs::create_dir_all(folder) {
            return vec![format!("{} is no folder any more, and cannot be made one: {why}", folder.display())];
        }
        let mut files = vec![("summary.json", self.json()), ("times.csv", self.times_csv())];
        files.push(("timeline.csv", self.timeline_csv()));
        if let Some(failure) = &self.failure {
            files.push(("failure.txt", format!("{}\n\n{}", failure.message(), failure.output)));
        }
        let mut wrong = Vec::new();
        for (name, text) in files {
            let path = folder.join(name);
            if let Err(why) = std::fs::write(&path, text) {
                wrong.push(format!("{}: {why}", path.display()));
            }
        }
        wrong.extend(super::html::write(self, folder));
        wrong
    }

    fn times_csv(&self) -> String {
        let mut text = String::from("name,upto_ns,count\n");
        for Times { name, buckets, .. } in &self.times {
            for (ns, n) in buckets {
                let _ = writeln!(text, "\"{name}\",{ns},{n}");
            }
        }
        text
    }

    fn timeline_csv(&self) -> String {
        let mut text = String::from(
            "at_s,phase,procs,cpu_s,cycles,heap_live,heap_goal,heap_used,allocated,stops,worst_to_stop_ns,worst_stopped_ns\n",
        );
        for s in &self.timeline {
            let goal = s.heap_goal.map_or(String::new(), |goal| goal.to_string());
            let (to_stop, stopped) = s.worst;
            let Sample { at, phase, procs, cpu, cycles, heap_live, heap_used, allocated, stops, .. } = s;
            let _ = writeln!(
                text,
                "{at:.4},{phase},{procs},{cpu:.3},{cycles},{heap_live},{goal},{heap_used},{allocated},{stops},{to_stop},{stopped}"
            );
        }
        text
    }
}

/// Nanoseconds, to three digits or so.
pub fn time(ns: u64) -> String {
    match ns {
        0..10_000 => format!("{ns} ns"),
        10_000..10_000_000 => format!("{} us", ns / 1000),
        10_000_000..10_000_000_000 => format!("{} ms", ns / 1_000_000),
        _ => format!("{} s", ns / 1_000_000_000),
    }
}

impl Failure {
    /// For who has to find the cause.
    pub fn message(&self) -> String {
        let Failure { check, what, phase, seed, after, repeat, .. } = self;
        format!(
            "BROKE after {after:.1} s, found by: {check}\n  {what}\n  phase {phase}, seed {seed}\n  again: {repeat}"
        )
    }
}
