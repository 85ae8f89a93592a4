//! A run as one page that needs nothing from elsewhere, and its charts as files.
//!
//! Each chart stands in the page four times, for wide and narrow screens and for light and dark ones; a style sheet shows the
//! one that suits.

use super::charts::{Chart, Line, Look, Wrong};
use super::report::{Report, time};
use super::samples::Sample;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use std::path::Path;

/// What [`Times`](super::samples::Times) of the runtime's stops begin with, and what they are called in charts.
const STOPS: [(&str, &str); 2] = [("time to stop: ", "time to stop"), ("stopped: ", "stopped")];

/// A chart of a run, with the name of its file.
struct Figure {
    file: &'static str,
    title: &'static str,
    /// How to read it.
    about: &'static str,
    chart: Chart,
}

fn figures(report: &Report) -> Vec<Figure> {
    let samples = &report.timeline;
    let line = |name, value: &dyn Fn(&Sample) -> Option<f64>| Line {
        name,
        points: samples.iter().filter_map(|s| Some((s.at, value(s)?))).collect(),
    };
    let rate = |name, value: &dyn Fn(&Sample) -> f64| Line { name, points: rates(samples, value) };
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let merged = |prefix: &str| {
        let mut all = std::collections::BTreeMap::<u64, u64>::new();
        let of_stops = report.times.iter().filter(|t| t.name.starts_with(prefix));
        of_stops.flat_map(|t| &t.buckets).for_each(|(ns, n)| *all.entry(*ns).or_default() += n);
        all.into_iter().collect::<Vec<_>>()
    };
    let hiccups = report.times.iter().filter(|t| t.name.contains("hiccup"));
    // A series for each row of times whose name begins so; the part `cut` goes without saying.
    let rows = |prefix: &str, cut: &str| {
        let of = report.times.iter().filter(|t| t.name.starts_with(prefix));
        of.map(|t| (t.name.trim_start_matches(cut).trim_start_matches([',', ' ']).to_owned(), t.buckets.clone()))
            .collect::<Vec<_>>()
    };
    vec![
        Figure {
            file: "stops",
            title: "Stops of the world",
            about: "How long it took from the request until everybody stood, and how long they stood then. Both scales are \
                    logarithmic: a bar on the far right is a rare, long stop.",
            chart: Chart::Histogram { series: STOPS.map(|(prefix, name)| (name.to_owned(), merged(prefix))).into() },
        },
        Figure {
            file: "hiccups",
            title: "Hiccups",
            about: "By how much a loop that only reads the clock was late: on a goroutine, and, to compare with, on a thread \
                    that the runtime knows nothing of.",
            chart: Chart::Histogram {
                series: hiccups.map(|t| (t.name.replace("'s hiccups", ""), t.buckets.clone())).collect(),
            },
        },
        Figure {
            file: "waits",
            title: "Waiting for a P",
            about: "How long a goroutine that could run waited until it ran, and how long the end of a blocking call took, by \
                    how the goroutine got a P. Of what is slow every time is there, of the others one in so many.",
            chart: Chart::Histogram { series: ["run queue", "syscall exit"].map(|name| rows(name, "")).concat() },
        },
        Figure {
            file: "preemption",
            title: "Preemption",
            about: "From a request (for a stop, a handshake, a scan, or as the time slice is over) until the goroutine that \
                    ran had come to rest, by how it did.",
            chart: Chart::Histogram { series: rows("preemption", "preemption") },
        },
        Figure {
            file: "assists",
            title: "Assists",
            about: "How long a goroutine marked, at a time, before it could allocate.",
            chart: Chart::Histogram { series: rows("assist", "") },
        },
        Figure {
            file: "heap",
            title: "The heap",
            about: "In use, alive after the last marking, and the size at which the current cycle should end.",
            chart: Chart::Timeline {
                unit: "MiB",
                lines: vec![
                    line("in use", &|s| Some(mib(s.heap_used))),
                    line("alive", &|s| Some(mib(s.heap_live))),
                    line("goal", &|s| s.heap_goal.map(mib)),
                ],
            },
        },
        Figure {
            file: "processors",
            title: "Ps and processors",
            about: "Ps that are wanted, and how many processors the whole process kept busy.",
            chart: Chart::Timeline {
                unit: "",
                lines: vec![steps(line("Ps", &|s| Some(s.procs.into()))), rate("processors", &|s| s.cpu)],
            },
        },
        Figure {
            file: "rates",
            title: "Stops and cycles",
            about: "Per second.",
            chart: Chart::Timeline {
                unit: "per second",
                lines: vec![rate("stops", &|s| s.stops as f64), rate("cycles", &|s| f64::from(s.cycles))],
            },
        },
    ]
}

/// A value that changes at once.
fn steps(line: Line) -> Line {
    let corners = line.points.windows(2).flat_map(|pair| [pair[0], (pair[1].0, pair[0].1)]);
    Line { name: line.name, points: corners.chain(line.points.last().copied()).collect() }
}

/// Seconds between two looks that say nothing of a rate.
const SHORT: f64 = 0.05;

/// What grows, by the second: between samples of the same process.
fn rates(samples: &[Sample], value: &dyn Fn(&Sample) -> f64) -> Vec<(f64, f64)> {
    let mut rates = Vec::new();
    let mut before: Option<&Sample> = None;
    for now in samples {
        if let Some(then) = before {
            let (more, seconds) = (value(now) - value(then), now.at - then.at);
            if more >= 0.0 {
                // A look that came late is followed at once by the next one.
                if seconds < SHORT {
                    continue;
                }
                rates.push((now.at, more / seconds));
            }
        }
        before = Some(now);
    }
    rates
}

/// Writes `report.html`, and each chart as SVG and PNG. Returns what went wrong, if anything did, each with the file's
/// name; the others are there.
pub fn write(report: &Report, folder: &Path) -> Vec<String> {
    let figures = figures(report);
    let mut wrong = Vec::new();
    let mut save = |name: String, write: &dyn Fn(&Path) -> Result<(), Wrong>| {
        let path = folder.join(name);
        if let Err(why) = write(&path) {
            wrong.push(format!("{}: {why}", path.display()));
        }
    };
    save("report.html".into(), &|path| Ok(std::fs::write(path, page(report, &figures)?.into_string())?));
    for Figure { file, chart, .. } in &figures {
        save(format!("{file}.svg"), &|path| Ok(std::fs::write(path, chart.svg(Look::PAPER)?)?));
        save(format!("{file}.png"), &|path| chart.png(path));
    }
    wrong
}

fn page(report: &Report, figures: &[Figure]) -> Result<Markup, Wrong> {
    let mut drawn = Vec::new();
    for figure in figures {
        let charts = Look::ALL.map(|look| figure.chart.svg(look).map(|svg| (look.class(), svg)));
        drawn.push((figure, charts.into_iter().collect::<Result<Vec<_>, _>>()?));
    }
    let (verdict, class) = match report.failure {
        None => ("clean", "clean"),
        Some(_) => ("something broke", "broke"),
    };
    let title = format!("Tricolor stress: {}, seed {}", report.wanted.mode.name(), report.wanted.seed);
    Ok(html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) }
                style { (PreEscaped(colours())) (PreEscaped(STYLE)) }
            }
            body {
                h1 { (title) }
                p { strong class=(class) { (verdict) } ", " (format!("{:.1}", report.seconds)) " s" }
                @if let Some(failure) = &report.failure {
                    section {
                        h2 { "What broke" }
                        p { (failure.what) }
                        dl {
                            dt { "found by" } dd { (failure.check) }
                            dt { "phase" } dd { (failure.phase) }
                            dt { "after" } dd { (format!("{:.1} s", failure.after)) }
                            dt { "again" } dd { code { (failure.repeat) } }
                        }
                        details { summary { "what the process has printed" } pre { (failure.output) } }
                    }
                }
                @for (figure, charts) in &drawn {
                    section {
                        h2 { (figure.title) }
                        p { (figure.about) }
                        @for (class, svg) in charts { figure class=(class) { (PreEscaped(svg)) } }
                    }
                }
                section {
                    h2 { "Times" }
                    div class="wide-table" { (times(report)) }
                }
                section {
                    h2 { "The longest stops" }
                    p { "From the request until the world ran again, and how each P that was not idle came to stand." }
                    div class="wide-table" { (longest(report)) }
                }
                section {
                    h2 { "Numbers" }
                    div class="wide-table" { (numbers(report)) }
                }
                section {
                    h2 { "What was done" }
                    div class="wide-table" { (legs(report)) }
                }
            }
        }
    })
}

fn times(report: &Report) -> Markup {
    html! {
        table {
            thead { tr { th { } @for head in ["count", "p50", "p99", "p99.9", "max"] { th { (head) } } } }
            tbody {
                @for q in report.quantiles() {
                    tr {
                        th { (q.name) }
                        td { (q.count) }
                        @for ns in [q.p50, q.p99, q.p999, q.max] { td { (time(ns)) } }
                    }
                }
            }
        }
    }
}

fn longest(report: &Report) -> Markup {
    html! {
        table {
            thead { tr { th { } @for head in ["at", "to stop", "stopped", "who stood when"] { th { (head) } } } }
            tbody {
                @for stop in &report.longest {
                    tr {
                        th { (stop.name) }
                        td { (format!("{:.2} s", stop.at)) }
                        td { (time(stop.to_stop)) }
                        td { (time(stop.stopped)) }
                        td class="text" { @for p in &stop.ps { (p) br; } }
                    }
                }
            }
        }
    }
}

fn numbers(report: &Report) -> Markup {
    html! {
        table {
            thead { tr { th { } th { "count" } th { "per second" } } }
            tbody {
                @for (name, n) in &report.numbers {
                    tr { th { (name) } td { (n) } td { (format!("{:.0}", *n as f64 / report.seconds.max(1e-9))) } }
                }
            }
        }
    }
}

fn legs(report: &Report) -> Markup {
    html! {
        table {
            thead { tr { @for head in ["seed", "Ps", "TRICOLOR_GC", "storm", "stress", "phases"] { th { (head) } } } }
            tbody {
                @for leg in &report.legs {
                    tr {
                        td { (leg.wanted.seed) }
                        td { (leg.procs) }
                        td { (leg.percent) }
                        td { @if leg.storm > 0 { (leg.storm) " us" } @else { "none" } }
                        td class="text" { (leg.stress) }
                        td class="text" { (leg.phases.iter().map(|p| p.name.as_str()).collect::<Vec<_>>().join(", ")) }
                    }
                }
            }
        }
    }
}

fn colours() -> String {
    let [light, dark] = [false, true].map(|dark| Look { dark, narrow: false }.variables());
    format!(
        "
:root {{ {light} --faint: #5b6570; --bad: #b3261e; --good: #1a7f37; }}
@media (prefers-color-scheme: dark) {{
  :root {{ {dark} --faint: #9aa5b1; --bad: #ff8078; --good: #56d364; }}
}}"
    )
}

const STYLE: &str = "
body { background: var(--ground); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; max-width: 60rem;
  margin: 0 auto; padding: 1rem; overflow-wrap: anywhere; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.1rem; margin: 2rem 0 0; }
section > p { color: var(--faint); margin: 0.25rem 0 0.75rem; }
.clean { color: var(--good); } .broke { color: var(--bad); }
figure { margin: 0; display: none; } figure svg { width: 100%; height: auto; display: block; }
.light.wide { display: block; }
@media (max-width: 600px) { .light.wide { display: none; } .light.narrow { display: block; } }
@media (prefers-color-scheme: dark) {
  .light.wide, .light.narrow { display: none; } .dark.wide { display: block; }
}
@media (prefers-color-scheme: dark) and (max-width: 600px) {
  .dark.wide { display: none; } .dark.narrow { display: block; }
}
.wide-table { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: 0.2rem 0.7rem 0.2rem 0; border-bottom: 1px solid var(--rule); text-align: right; white-space: nowrap;
  vertical-align: top; }
tbody th, td.text { text-align: left; font-weight: normal; }
td.text { white-space: normal; min-width: 12rem; }
dt { color: var(--faint); } dd { margin: 0 0 0.5rem; }
pre { overflow-x: auto; border: 1px solid var(--rule); padding: 0.5rem; overflow-wrap: normal; }
";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stress::plan::{Mode, PATIENCE, Wanted};
    use crate::stress::samples::{LongStop, Times, latency_name};
    use crate::stress::watch::Failure;
    use tricolor::gc::Latency;

    fn report() -> Report {
        let wanted = Wanted {
            mode: Mode::Soak,
            seed: 7,
            seconds: 1.0,
            procs: Some(2),
            goroutines: 4,
            heap: 1 << 20,
            fault: None,
            plant: None,
            debug: None,
            patience: PATIENCE,
        };
        let mut report = Report::new(wanted);
        report.seconds = 1.0;
        report.numbers = vec![("cycles".into(), 12)];
        let times = |name: &str| Times {
            name: name.into(),
            count: 3,
            total: 6_000_000,
            max: 4_000_000,
            buckets: vec![(1_000_000, 2), (4_000_000, 1)],
        };
        report.times = ["time to stop: a test", "stopped: a test", "a goroutine's hiccups"].map(times).into();
        report.times.extend(Latency::ALL.iter().map(|latency| times(&latency_name(*latency, 1))));
        let sample = |i: u64| Sample {
            at: i as f64 / 10.0,
            procs: 2,
            cpu: i as f64 / 20.0,
            cycles: i as u32,
            heap_live: i << 20,
            heap_goal: Some(i << 22),
            heap_used: i << 21,
            stops: 2 * i,
            ..Sample::default()
        };
        report.timeline = (1..10).map(sample).collect();
        let ps = vec!["P1, M4, goroutine 17: a poll, after 12 us".into()];
        report.longest = vec![LongStop { name: "user".into(), at: 0.5, to_stop: 12_000, stopped: 34_000, ps }];
        report
    }

    fn page_of(report: &Report) -> String {
        page(report, &figures(report)).expect("it can be drawn").into_string()
    }

    #[test]
    fn a_page_stands_alone_and_has_each_chart_in_each_look() {
        let page = page_of(&report());
        assert_eq!(page.matches("<svg").count(), 8 * 4);
        for look in Look::ALL {
            assert_eq!(page.matches(&format!("<figure class=\"{}\"", look.class())).count(), 8);
        }
        for elsewhere in ["src=", "href=", "url(", "@import", "<script"] {
            assert!(!page.contains(elsewhere), "{elsewhere}");
        }
        for text in ["seed 7", "clean", "time to stop: a test", "4000 us", "cycles", "goroutine 17: a poll", "34 us"] {
            assert!(page.contains(text), "{text}");
        }
    }

    /// No latency that the runtime measures is left out, and none is told twice.
    #[test]
    fn each_latency_is_in_one_chart() {
        let report = report();
        let figures = figures(&report);
        let series = |file: &str| {
            let figure = figures.iter().find(|figure| figure.file == file).expect("a chart of that name");
            let Chart::Histogram { series } = &figure.chart else { panic!("{file} is no histogram") };
            assert!(series.iter().all(|(_, buckets)| buckets == &report.times[0].buckets), "{series:?}");
            series.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>()
        };
        let waits = series("waits");
        assert_eq!(waits[..2], ["run queue", "syscall exit"]);
        let preemption = series("preemption");
        assert_eq!(preemption[..2], ["at a safepoint", "left by itself"]);
        assert_eq!(series("assists"), ["assist"]);
        assert_eq!(waits.len() + preemption.len() + 1, Latency::ALL.len());
    }

    #[test]
    fn what_broke_is_said_and_cannot_change_the_page() {
        let mut report = report();
        report.failure = Some(Failure {
            check: "a worker".into(),
            what: "<script>alert(1)</script> & more".into(),
            phase: "1".into(),
            seed: 7,
            after: 0.5,
            repeat: "tricolor-stress soak --seed 7".into(),
            output: "</pre>".into(),
        });
        let page = page_of(&report);
        assert!(page.contains("something broke") && page.contains("tricolor-stress soak --seed 7"));
        assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt; &amp; more") && !page.contains("<script"));
        assert_eq!(page.matches("</pre>").count(), 1);
    }

    #[test]
    fn a_run_without_figures_has_a_page_too() {
        let mut report = report();
        (report.times, report.timeline) = (Vec::new(), Vec::new());
        assert!(page_of(&report).contains("</html>"));
    }

    #[test]
    fn a_folder_that_is_gone_is_made_again_or_named_once() {
        let gone = std::env::temp_dir().join(format!("tricolor-report-{}", std::process::id()));
        assert_eq!(report().write(&gone.join("deep")), [""; 0]);
        assert!(gone.join("deep/report.html").exists() && gone.join("deep/waits.png").exists());
        std::fs::remove_dir_all(&gone).expect("it was made");
        std::fs::write(&gone, "").expect("a file in its place");
        let wrong = report().write(&gone);
        std::fs::remove_file(&gone).expect("it is still there");
        assert!(matches!(&wrong[..], [one] if one.contains(gone.to_str().expect("text"))), "{wrong:?}");
    }

    #[test]
    fn what_grows_is_not_counted_across_processes() {
        let mut samples = report().timeline;
        samples[4].stops = 0;
        let rates = rates(&samples, &|s| s.stops as f64);
        assert!(rates.iter().all(|(_, rate)| *rate >= 0.0));
        assert_eq!(rates.len(), samples.len() - 2);
    }

    #[test]
    fn a_rate_is_not_from_one_look_to_the_next_at_once() {
        let mut samples = report().timeline;
        let middle = samples[5].at;
        samples[4].at = middle - 1e-3;
        samples[5].cpu += 0.04;
        let rates = rates(&samples, &|s| s.cpu);
        assert!(rates.len() == samples.len() - 2 && rates.iter().all(|(_, rate)| *rate < 2.0), "{rates:?}");
        assert!(rates.iter().all(|(at, _)| *at != middle));
    }
}
