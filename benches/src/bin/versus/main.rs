//! `cargo versus`: Tricolor beside its peers, in one run.
//!
//! Each contestant is a program that does one workload, once, and tells what its metrics came to. The contestants take
//! turns, several times, so that a noisy machine is noisy for all of them; the table says the median of the turns, the
//! spread, and the ratio to Tricolor. A peer that cannot be had here is listed as missing, and one that has no such
//! thing as left out, each with the reason; nothing is guessed.

mod contestants;
mod latency;
mod load;
mod markdown;
mod plot;
mod run;
mod table;
mod workloads;

use clap::Parser;
use contestants::Contestant;
use run::{Setting, Turn};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tricolor_benches::Figure;
use workloads::{Goal, Group, WORKLOADS, Workload};

/// Tricolor beside its peers, in one run.
#[derive(Parser)]
#[command(name = "cargo versus", bin_name = "cargo versus")]
struct Args {
    /// Runs only workloads whose name contains this; may be given more than once.
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Only these peers; may be given more than once.
    #[arg(long, value_name = "PEER", value_parser = clap::builder::PossibleValuesParser::new(contestants::names()))]
    against: Vec<String>,
    /// Turns of each contestant [default: 5, and 15 of workloads of which a turn of all is over within 4 seconds].
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1000))]
    turns: Option<u32>,
    /// Small sizes and two turns: whether everything runs, not how fast.
    #[arg(long)]
    quick: bool,
    /// Prints JSON instead of the table.
    #[arg(long)]
    json: bool,
    /// Prints the tables as they stand in `benches/README.md`.
    #[arg(long, conflicts_with = "json")]
    markdown: bool,
    /// Writes a bar chart for each group of workloads, and the latencies, into this folder, as SVG and PNG.
    #[arg(long, value_name = "FOLDER")]
    plot: Option<PathBuf>,
    /// Folder of which `word-index` indexes the texts; entries called `target` or beginning with a dot are left out
    /// [default: this repository].
    #[arg(long, value_name = "FOLDER", value_parser = folder)]
    texts: Option<PathBuf>,
    /// Lists the workloads, and ends.
    #[arg(long)]
    list: bool,
}

fn folder(path: &str) -> Result<PathBuf, String> {
    match std::fs::metadata(path) {
        Ok(there) if there.is_dir() => Ok(PathBuf::from(path)),
        Ok(_) => Err("it is no folder".to_owned()),
        Err(e) => Err(e.to_string()),
    }
}

/// What one contestant's metric came to at one workload.
#[derive(Serialize)]
struct Row {
    workload: &'static str,
    group: Group,
    metric: &'static str,
    unit: &'static str,
    more_is_better: bool,
    contestant: &'static str,
    version: String,
    /// Of all turns, sorted.
    turns: Vec<f64>,
    median: Option<f64>,
    /// Median over Tricolor's median.
    ratio: Option<f64>,
    /// Only for the latency plot.
    point: bool,
    /// What Tricolor's figure should come to.
    goal: Option<Reached>,
    /// Why there are no figures.
    without: Option<String>,
    /// It was there, and failed.
    failed: bool,
}

/// A goal, and how near Tricolor is.
#[derive(Serialize)]
struct Reached {
    /// Whose figure Tricolor's is divided by; nobody's if it is absolute.
    over: Option<&'static str>,
    wanted: f64,
    /// None if the peer is missing.
    reached: Option<f64>,
}

impl Reached {
    fn is_enough(&self, more_is_better: bool) -> Option<bool> {
        self.reached.map(|x| if more_is_better { x >= self.wanted } else { x <= self.wanted })
    }
}

/// What a contestant has done so far.
#[derive(Default)]
struct Record {
    turns: Vec<BTreeMap<String, f64>>,
    result: Option<String>,
    without: Option<String>,
    left_out: bool,
    failed: bool,
}

impl Record {
    /// `expected`: what the others' result is.
    fn turn(&mut self, contestant: &Contestant, workload: &Workload, setting: Setting, expected: &Option<String>) {
        let turn = run::turn(contestant, workload, setting);
        match turn.and_then(|turn| agrees(contestant.name, turn, expected.as_deref())) {
            Ok(Turn::Told(told)) => {
                self.turns.push(told.metrics);
                self.result = told.result;
            }
            Ok(Turn::None(why)) => (self.without, self.left_out) = (Some(format!("left out: {why}")), true),
            Err(why) => {
                eprintln!("{why}");
                (self.without, self.failed) = (Some(format!("failed: {why}")), true);
            }
        }
    }
}

/// The turn, if what came of it is what came of the others'.
fn agrees(who: &str, turn: Turn, expected: Option<&str>) -> Result<Turn, String> {
    match (&turn, expected) {
        (Turn::Told(told), Some(expected)) if told.result.as_deref() != Some(expected) => {
            let result = told.result.as_deref().unwrap_or("nothing");
            Err(format!("{who}: the result is `{result}`, where others have `{expected}`"))
        }
        _ => Ok(turn),
    }
}

/// Turns, unless somebody says how many.
const TURNS: u32 = 5;
/// Turns of a workload that is soon over: a machine with other guests runs such a process at one speed or at another, and a
/// median of five falls to either side.
const MANY_TURNS: u32 = 15;
/// How long all contestants together may take for one turn of it.
const SOON: Duration = Duration::from_secs(4);

fn measure(workload: &Workload, all: &[Contestant], turns: Option<u32>, setting: Setting) -> Vec<Row> {
    let contestants: Vec<_> = all.iter().filter(|c| c.is_in(workload.group)).collect();
    let missing = |c: &&Contestant| c.missing.as_ref().map(|why| format!("missing: {why}"));
    let mut records: Vec<_> = contestants.iter().map(|c| Record { without: missing(c), ..Record::default() }).collect();
    let begin = Instant::now();
    let (mut turn, mut of) = (0, turns.unwrap_or(TURNS));
    while turn < of {
        turn += 1;
        for (i, contestant) in contestants.iter().enumerate() {
            if records[i].without.is_none() {
                eprintln!("{} {turn}/{of}: {}", workload.name, contestant.name);
                let expected = records.iter().find_map(|record| record.result.clone());
                records[i].turn(contestant, workload, setting, &expected);
            }
        }
        if turn == 1 && turns.is_none() && begin.elapsed() < SOON {
            of = MANY_TURNS;
        }
    }
    let row = |metric: &workloads::Metric, contestant: &Contestant, record: &Record| {
        let mut turns: Vec<f64> = match record.without {
            None => record.turns.iter().filter_map(|turn| turn.get(metric.name).copied()).collect(),
            Some(_) => Vec::new(),
        };
        turns.sort_by(f64::total_cmp);
        Row {
            workload: workload.name,
            group: workload.group,
            metric: metric.name,
            unit: metric.unit,
            more_is_better: metric.more_is_better,
            contestant: contestant.name,
            version: contestant.version.clone(),
            median: (!turns.is_empty()).then(|| Figure::of(turns.clone()).median()),
            turns,
            ratio: None,
            point: metric.point,
            goal: None,
            without: record.without.clone(),
            failed: record.failed,
        }
    };
    let mut rows = Vec::new();
    for metric in workload.metrics {
        let first = rows.len();
        let said = |(c, record): &(&&Contestant, &Record)| !(c.is_limit() && record.left_out);
        rows.extend(contestants.iter().zip(&records).filter(said).map(|(c, record)| row(metric, c, record)));
        let ours = rows[first].median;
        for row in &mut rows[first..] {
            row.ratio = row.median.zip(ours).map(|(theirs, ours)| theirs / ours).filter(|ratio| ratio.is_finite());
        }
        rows[first].goal = metric.goal.map(|goal| match goal {
            Goal::AtMost(wanted) => Reached { over: None, wanted, reached: ours },
            Goal::Times(wanted, over) => {
                let theirs = rows[first..].iter().find(|row| row.contestant == over).and_then(|row| row.median);
                Reached { over: Some(over), wanted, reached: ours.zip(theirs).map(|(ours, theirs)| ours / theirs) }
            }
        });
    }
    rows
}

fn main() -> ExitCode {
    let args = Args::parse();
    let chosen: Vec<&Workload> = WORKLOADS
        .iter()
        .filter(|w| args.only.is_empty() || args.only.iter().any(|name| w.name.contains(name.as_str())))
        .collect();
    if chosen.is_empty() {
        let names: Vec<_> = WORKLOADS.iter().map(|w| w.name).collect();
        eprintln!("cargo versus: no workload is called like {:?}: there are {}", args.only, names.join(", "));
        return ExitCode::from(2);
    }
    if args.list {
        for w in chosen {
            let shown = w.metrics.iter().filter(|m| !m.point);
            let metrics: Vec<_> = shown.map(|m| format!("{} {}", m.name, m.unit)).collect();
            println!("{:<14} {:<40} {}", w.name, metrics.join(", "), w.what);
        }
        return ExitCode::SUCCESS;
    }
    let groups: Vec<_> = chosen.iter().map(|w| w.group).collect();
    let wanted = |name: &str| args.against.is_empty() || args.against.iter().any(|a| a == name);
    let contestants = contestants::assemble(&groups, wanted);
    if let Some(why) = &contestants[0].missing {
        eprintln!("cargo versus: {why}");
        return ExitCode::FAILURE;
    }
    let turns = if args.quick { Some(2) } else { args.turns };
    let scale = |w: &Workload| if args.quick { w.quick } else { 1 };
    let texts = args.texts.clone().unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join(".."));
    let setting = |w: &Workload| Setting { scale: scale(w), texts: &texts };
    let rows: Vec<Row> = chosen.iter().flat_map(|w| measure(w, &contestants, turns, setting(w))).collect();
    if args.json {
        match serde_json::to_string_pretty(&rows) {
            Ok(json) => println!("{json}"),
            Err(e) => eprintln!("cargo versus: {e}"),
        }
    } else if args.markdown {
        print!("{}", markdown::tables(&rows));
    } else {
        table::print(&rows);
        table::print_goals(&rows);
    }
    if let Some(folder) = &args.plot {
        let written = plot::write(&rows, folder).and_then(|mut paths| {
            paths.extend(latency::write(&rows, folder)?);
            Ok(paths)
        });
        match written {
            Ok(paths) => paths.iter().for_each(|path| eprintln!("written: {}", path.display())),
            Err(e) => {
                eprintln!("cargo versus: no charts in {}: {e}", folder.display());
                return ExitCode::FAILURE;
            }
        }
    }
    // A contestant that was there and failed is a failure; one that is missing, or has no such thing, is not.
    if rows.iter().any(|row| row.failed) { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

#[cfg(test)]
mod tests {
    use super::*;
    use run::Told;

    #[test]
    fn results_must_be_the_same() {
        let told = |result: Option<&str>| Turn::Told(Told { result: result.map(str::to_owned), ..Told::default() });
        assert!(agrees("go", told(Some("5 words")), None).is_ok());
        assert!(agrees("go", told(Some("5 words")), Some("5 words")).is_ok());
        for other in [Some("6 words"), None] {
            let refused = agrees("go", told(other), Some("5 words")).map(|_| ()).unwrap_err();
            assert!(refused.starts_with("go: the result is ") && refused.ends_with("`5 words`"), "{refused}");
        }
    }

    #[test]
    fn the_arguments_are_consistent() {
        <Args as clap::CommandFactory>::command().debug_assert();
    }
}
