//! `cargo versus`: Tricolor beside its peers, in one run.
//!
//! Every workload is a program for each contestant that prints one figure: the median of its own rounds. The contestants
//! take turns, several times, so that a noisy machine is noisy for all of them; the table says the median of the turns,
//! the spread, and the ratio to Tricolor. A peer that cannot be had here is listed as missing, never guessed.
//!
//! So far the rows are those by which the collector's mark layout was chosen.

mod peers;
mod table;

use clap::Parser;
use peers::Contestant;
use serde::Serialize;
use std::process::ExitCode;
use tricolor_benches::Figure;

/// Tricolor beside its peers, in one run.
#[derive(Parser)]
#[command(name = "cargo versus", bin_name = "cargo versus")]
struct Args {
    /// Runs only workloads whose name contains this; may be given more than once.
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Turns of each contestant.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    turns: u32,
    /// Small sizes and two turns: whether everything runs, not how fast.
    #[arg(long)]
    quick: bool,
    /// Prints JSON instead of the table.
    #[arg(long)]
    json: bool,
    /// Lists the workloads, and ends.
    #[arg(long)]
    list: bool,
}

/// What is measured.
struct Workload {
    name: &'static str,
    unit: &'static str,
    what: &'static str,
    /// The argument by which the contestants' `mark_rate` know it.
    shape: &'static str,
}

const WORKLOADS: [Workload; 4] = [
    Workload {
        name: "mark-graph",
        unit: "MiB/s",
        what: "marking a random graph, 64 B with 4 pointers",
        shape: "graph",
    },
    Workload { name: "mark-tree", unit: "MiB/s", what: "marking a binary tree of 32 B nodes", shape: "tree" },
    Workload {
        name: "mark-ordered",
        unit: "MiB/s",
        what: "marking a slice of pointers to 48 B leaves",
        shape: "ordered",
    },
    Workload { name: "mark-shuffled", unit: "MiB/s", what: "the same in random order", shape: "shuffled" },
];

/// What one contestant did at one workload.
#[derive(Serialize)]
struct Row {
    workload: &'static str,
    unit: &'static str,
    contestant: &'static str,
    version: String,
    /// Medians of all turns, sorted; empty: it is missing.
    turns: Vec<f64>,
    /// Median over Tricolor's median; more is better.
    ratio: Option<f64>,
    /// Why there are no figures.
    missing: Option<String>,
}

fn measure(workload: &Workload, contestants: &[Contestant], turns: u32, scale: u32) -> Vec<Row> {
    let mut rows: Vec<Row> = contestants
        .iter()
        .map(|c| Row {
            workload: workload.name,
            unit: workload.unit,
            contestant: c.name,
            version: c.version.clone(),
            turns: Vec::new(),
            ratio: None,
            missing: c.missing.clone(),
        })
        .collect();
    for turn in 1..=turns {
        for (contestant, row) in contestants.iter().zip(&mut rows) {
            if row.missing.is_some() {
                continue;
            }
            eprintln!("{} {turn}/{turns}: {}", workload.name, contestant.name);
            match contestant.mark_rate(workload.shape, scale) {
                Ok(figure) => row.turns.push(figure),
                Err(why) => row.missing = Some(why),
            }
        }
    }
    let median = |row: &Row| (!row.turns.is_empty()).then(|| Figure::of(row.turns.clone()).median());
    let ours = median(&rows[0]);
    for row in &mut rows {
        row.turns.sort_by(f64::total_cmp);
        row.ratio = median(row).zip(ours).map(|(theirs, ours)| theirs / ours);
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
        chosen.iter().for_each(|w| println!("{:<14} {:<6} {}", w.name, w.unit, w.what));
        return ExitCode::SUCCESS;
    }
    let (turns, scale) = if args.quick { (2, 64) } else { (args.turns, 1) };
    let contestants = [peers::tricolor(), peers::go()];
    if let Some(why) = &contestants[0].missing {
        eprintln!("cargo versus: {why}");
        return ExitCode::FAILURE;
    }
    let rows: Vec<Row> = chosen.iter().flat_map(|w| measure(w, &contestants, turns, scale)).collect();
    if args.json {
        match serde_json::to_string_pretty(&rows) {
            Ok(json) => println!("{json}"),
            Err(e) => eprintln!("cargo versus: {e}"),
        }
    } else {
        table::print(&rows);
    }
    // A contestant that was there and failed is a failure; one that is missing is not.
    let failed = rows
        .iter()
        .any(|r| r.missing.is_some() && contestants.iter().any(|c| c.name == r.contestant && c.missing.is_none()));
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
