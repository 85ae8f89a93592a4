//! `cargo versus`: Tricolor beside its peers, in one run.
//!
//! Each contestant is a program that does one workload, once, and tells what its metrics came to. The contestants take
//! turns, several times, so that a noisy machine is noisy for all of them; the table says the median of the turns, the
//! spread, and the ratio to Tricolor. A peer that cannot be had here is listed as missing, and one that has no such
//! thing as left out, each with the reason; nothing is guessed.

mod contestants;
mod load;
mod plot;
mod run;
mod table;
mod workloads;

use clap::Parser;
use contestants::Contestant;
use run::Turn;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use tricolor_benches::Figure;
use workloads::{Group, WORKLOADS, Workload};

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
    /// Turns of each contestant.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    turns: u32,
    /// Small sizes and two turns: whether everything runs, not how fast.
    #[arg(long)]
    quick: bool,
    /// Prints JSON instead of the table.
    #[arg(long)]
    json: bool,
    /// Writes a bar chart for each group of workloads into this folder, as SVG.
    #[arg(long, value_name = "FOLDER")]
    plot: Option<PathBuf>,
    /// Lists the workloads, and ends.
    #[arg(long)]
    list: bool,
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
    /// Why there are no figures.
    without: Option<String>,
    /// It was there, and failed.
    failed: bool,
}

/// What a contestant has done so far.
#[derive(Default)]
struct Record {
    turns: Vec<BTreeMap<String, f64>>,
    without: Option<String>,
    left_out: bool,
    failed: bool,
}

impl Record {
    fn turn(&mut self, contestant: &Contestant, workload: &Workload, scale: u32) {
        match run::turn(contestant, workload, scale) {
            Ok(Turn::Metrics(metrics)) => self.turns.push(metrics),
            Ok(Turn::None(why)) => (self.without, self.left_out) = (Some(format!("left out: {why}")), true),
            Err(why) => {
                eprintln!("{why}");
                (self.without, self.failed) = (Some(format!("failed: {why}")), true);
            }
        }
    }
}

fn measure(workload: &Workload, all: &[Contestant], turns: u32, scale: u32) -> Vec<Row> {
    let contestants: Vec<_> = all.iter().filter(|c| c.is_in(workload.group)).collect();
    let missing = |c: &&Contestant| c.missing.as_ref().map(|why| format!("missing: {why}"));
    let mut records: Vec<_> = contestants.iter().map(|c| Record { without: missing(c), ..Record::default() }).collect();
    for turn in 1..=turns {
        for (contestant, record) in contestants.iter().zip(&mut records) {
            if record.without.is_none() {
                eprintln!("{} {turn}/{turns}: {}", workload.name, contestant.name);
                record.turn(contestant, workload, scale);
            }
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
            row.ratio = row.median.zip(ours).map(|(theirs, ours)| theirs / ours);
        }
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
            let metrics: Vec<_> = w.metrics.iter().map(|m| format!("{} {}", m.name, m.unit)).collect();
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
    let turns = if args.quick { 2 } else { args.turns };
    let scale = |w: &Workload| if args.quick { w.quick } else { 1 };
    let rows: Vec<Row> = chosen.iter().flat_map(|w| measure(w, &contestants, turns, scale(w))).collect();
    if args.json {
        match serde_json::to_string_pretty(&rows) {
            Ok(json) => println!("{json}"),
            Err(e) => eprintln!("cargo versus: {e}"),
        }
    } else {
        table::print(&rows);
    }
    if let Some(folder) = &args.plot {
        match plot::write(&rows, folder) {
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
