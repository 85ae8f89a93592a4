//! What people see: progress, failures, and the result at the end; and the same for programs as JSON.

use std::fs;
use std::io::{self, BufRead, BufReader, Seek, SeekFrom};
use std::path::Path;
use std::time::Duration;

use anstream::adapter::strip_str;
use anstream::println;
use anstyle::{AnsiColor, Style};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::COMMIT_BUDGET;
use crate::count::Counts;
use crate::run::Done;
use crate::stage::{Stage, Tier};
use crate::verdict::Outcome;

/// How many lines of a failed stage's output are shown.
const TAIL: usize = 40;

const GREEN: Style = AnsiColor::Green.on_default();
const RED: Style = AnsiColor::Red.on_default().bold();
const YELLOW: Style = AnsiColor::Yellow.on_default();

/// What people see of the stages that run now.
pub struct Board {
    all: MultiProgress,
    silent: bool,
}

/// The progress of a stage: a line where nobody looks on, a spinner in a terminal.
pub struct Progress {
    spinner: ProgressBar,
    board: MultiProgress,
    silent: bool,
}

impl Board {
    pub fn new() -> Board {
        Board { all: MultiProgress::new(), silent: false }
    }

    /// Shows nothing.
    #[cfg(test)]
    pub fn hidden() -> Board {
        Board { all: MultiProgress::with_draw_target(indicatif::ProgressDrawTarget::hidden()), silent: true }
    }

    /// Says that stage `number` of `all` starts.
    pub fn start(&self, stage: &Stage, number: usize, all: usize) -> Progress {
        let spinner = self.all.add(ProgressBar::new_spinner());
        if self.all.is_hidden() {
            if !self.silent {
                println!("[{number:>2}/{all}] {:<12} {} ...", stage.name, stage.about);
            }
        } else {
            let template = "{prefix} {elapsed:>4} {wide_msg:.dim}";
            spinner.set_style(ProgressStyle::with_template(template).expect("a valid template"));
            spinner.set_prefix(format!("[{number:>2}/{all}] {:<12}", stage.name));
        }
        Progress { spinner, board: self.all.clone(), silent: self.silent }
    }
}

impl Progress {
    /// Shows nothing.
    #[cfg(test)]
    pub fn hidden() -> Progress {
        let board = Board::hidden();
        Progress { spinner: ProgressBar::hidden(), board: board.all, silent: true }
    }

    /// Shows the last line of the log, where somebody looks on.
    pub fn tick(&self, log: &Path) {
        if !self.spinner.is_hidden() {
            self.spinner.set_message(tail(log, 1).unwrap_or_default().join(""));
            self.spinner.tick();
        }
    }

    /// Says how the stage ended.
    pub fn finish(self, done: &Done, number: usize, all: usize) {
        self.spinner.finish_and_clear();
        if !self.silent {
            // Nobody else writes meanwhile.
            self.board.suspend(|| Progress::show(done, number, all));
        }
    }

    fn show(done: &Done, number: usize, all: usize) {
        let (style, word, reason) = match &done.outcome {
            Outcome::Passed => (GREEN, "ok", ""),
            Outcome::Failed(reason) => (RED, "FAILED", reason.as_str()),
            Outcome::Skipped(reason) => (YELLOW, "SKIPPED", reason.as_str()),
        };
        let (time, cpu) = (seconds(done.time), seconds(done.cpu));
        let counts = done.counts;
        println!("[{number:>2}/{all}] {:<12} {style}{word:<7}{style:#} {time:>11} (CPU {cpu})  {counts}", done.name);
        if !reason.is_empty() {
            println!("        {reason}");
        }
        if let (Outcome::Failed(_), Some(log)) = (&done.outcome, &done.log) {
            for line in tail(log, TAIL).unwrap_or_default() {
                println!("        | {line}");
            }
            println!("        all of it: {}", log.display());
        }
    }
}

/// The last lines of a file that say anything, read from its last 64 KiB.
fn tail(path: &Path, lines: usize) -> io::Result<Vec<String>> {
    let mut file = fs::File::open(path)?;
    let begin = file.metadata()?.len().saturating_sub(64 << 10);
    file.seek(SeekFrom::Start(begin))?;
    let all: Vec<String> = BufReader::new(file)
        .split(b'\n')
        .map(|line| Ok(strip_str(&String::from_utf8_lossy(&line?)).to_string()))
        .collect::<io::Result<_>>()?;
    let end = all.iter().rposition(|line| !line.trim().is_empty()).map_or(0, |last| last + 1);
    Ok(all[end.saturating_sub(lines)..end].to_vec())
}

fn seconds(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    if seconds < 60.0 {
        format!("{seconds:.1} s")
    } else {
        format!("{} min {:02} s", seconds as u64 / 60, seconds as u64 % 60)
    }
}

/// All results of a run.
pub struct Report<'a> {
    pub tier: Tier,
    /// Whether these are all the stages of the tier.
    pub complete: bool,
    pub time: Duration,
    pub done: &'a [Done],
    /// Stages that were not reached.
    pub not_run: Vec<&'static str>,
}

impl Report<'_> {
    pub fn counts(&self) -> Counts {
        self.done.iter().map(|done| done.counts).sum()
    }

    /// Whether every stage that ran passed or was skipped, and all of them were reached.
    pub fn is_good(&self) -> bool {
        self.failed().next().is_none() && self.counts().failed == 0 && self.not_run.is_empty()
    }

    fn failed(&self) -> impl Iterator<Item = &Done> {
        self.done.iter().filter(|done| matches!(done.outcome, Outcome::Failed(_)))
    }

    /// The time that this run should have stayed under.
    fn budget(&self) -> Option<Duration> {
        (self.tier == Tier::Commit && self.complete).then_some(COMMIT_BUDGET)
    }

    /// Over budget: the stages that took longest.
    fn over_budget(&self) -> Option<String> {
        let budget = self.budget().filter(|budget| self.time > *budget)?;
        let mut slowest: Vec<&Done> = self.done.iter().collect();
        slowest.sort_by_key(|done| std::cmp::Reverse(done.time));
        let slowest: Vec<String> =
            slowest.iter().take(3).map(|done| format!("{} {}", done.name, seconds(done.time))).collect();
        Some(format!("over the budget of {}; slowest: {}", seconds(budget), slowest.join(", ")))
    }

    /// Everything after the stages' own lines. The last line is the sum.
    pub fn print(&self) {
        println!();
        for done in self.failed() {
            if let Outcome::Failed(reason) = &done.outcome {
                println!("{RED}failed:{RED:#} {}: {reason}", done.name);
            }
        }
        if !self.not_run.is_empty() {
            println!("not run: {}", self.not_run.join(", "));
        }
        if !self.complete {
            println!("not the whole tier: stages were chosen by --only or --skip");
        }
        let budget = self.budget().map(|budget| format!(" of {} (cold, on two cores)", seconds(budget)));
        println!("{} tier: {}{}", self.tier.name(), seconds(self.time), budget.unwrap_or_default());
        if let Some(warning) = self.over_budget() {
            println!("{YELLOW}warning:{YELLOW:#} {warning}");
        }
        println!("{}", self.counts());
    }

    /// The report as a JSON object.
    pub fn json(&self) -> String {
        let stages = self.done.iter().map(|done| {
            let (result, reason) = match &done.outcome {
                Outcome::Passed => ("passed", None),
                Outcome::Failed(reason) => ("failed", Some(reason.as_str())),
                Outcome::Skipped(reason) => ("skipped", Some(reason.as_str())),
            };
            JsonStage {
                name: done.name,
                result,
                reason,
                seconds: done.time.as_secs_f64(),
                cpu_seconds: done.cpu.as_secs_f64(),
                counts: done.counts,
                log: done.log.as_deref(),
            }
        });
        let json = Json {
            tier: self.tier,
            complete: self.complete,
            seconds: self.time.as_secs_f64(),
            budget_seconds: self.budget().map(|budget| budget.as_secs()),
            counts: self.counts(),
            stages: stages.collect(),
            not_run: &self.not_run,
        };
        serde_json::to_string_pretty(&json).expect("strings and numbers") + "\n"
    }
}

#[derive(Serialize)]
struct Json<'a> {
    tier: Tier,
    complete: bool,
    seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    budget_seconds: Option<u64>,
    #[serde(flatten)]
    counts: Counts,
    stages: Vec<JsonStage<'a>>,
    not_run: &'a [&'static str],
}

#[derive(Serialize)]
struct JsonStage<'a> {
    name: &'a str,
    result: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    seconds: f64,
    cpu_seconds: f64,
    #[serde(flatten)]
    counts: Counts,
    #[serde(skip_serializing_if = "Option::is_none")]
    log: Option<&'a Path>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn done(name: &'static str, outcome: Outcome, counts: Counts, seconds: u64) -> Done {
        let time = Duration::from_secs(seconds);
        Done { name, outcome, counts, time, cpu: time * 2, log: None, interrupted: false }
    }

    fn passed(name: &'static str, seconds: u64) -> Done {
        done(name, Outcome::Passed, Counts::PASSED, seconds)
    }

    fn report(done: &[Done]) -> Report<'_> {
        let time = done.iter().map(|done| done.time).sum();
        Report { tier: Tier::Commit, complete: true, time, done, not_run: Vec::new() }
    }

    #[test]
    fn one_failure_spoils_the_run() {
        let skipped = done("miri", Outcome::Skipped("no miri".to_owned()), Counts::SKIPPED, 0);
        let mut all = vec![passed("fmt", 1), skipped];
        assert!(report(&all).is_good());
        all.push(done("unit", Outcome::Failed("exit status 101".to_owned()), Counts::FAILED, 1));
        assert!(!report(&all).is_good());
        assert_eq!(report(&all).counts().to_string(), "1 passed, 1 failed, 1 skipped");
    }

    #[test]
    fn what_was_not_reached_is_not_good() {
        let all = [passed("fmt", 1)];
        assert!(!Report { not_run: vec!["unit"], ..report(&all) }.is_good());
    }

    #[test]
    fn the_budget_is_held_against_the_whole_commit_tier_only() {
        let budget = COMMIT_BUDGET.as_secs();
        assert_eq!(report(&[passed("fmt", budget)]).over_budget(), None);
        let slow = [passed("fmt", 1), passed("unit", budget), passed("doc", 70), passed("lint", 2)];
        let warning = report(&slow).over_budget().unwrap();
        assert_eq!(warning, "over the budget of 15 min 00 s; slowest: unit 15 min 00 s, doc 1 min 10 s, lint 2.0 s");
        assert_eq!(Report { complete: false, ..report(&slow) }.over_budget(), None);
        assert_eq!(Report { tier: Tier::Long, ..report(&slow) }.over_budget(), None);
    }

    #[test]
    fn the_json_says_the_same() {
        let all = [passed("fmt", 2), done("doc", Outcome::Failed("exit status 1".to_owned()), Counts::FAILED, 3)];
        let json: serde_json::Value = serde_json::from_str(&report(&all).json()).unwrap();
        assert_eq!(json["tier"], "commit");
        assert_eq!((&json["passed"], &json["failed"]), (&1.into(), &1.into()));
        assert_eq!(json["seconds"], 5.0);
        assert_eq!(json["stages"][0]["result"], "passed");
        assert_eq!(json["stages"][0]["cpu_seconds"], 4.0);
        assert_eq!(json["stages"][1]["reason"], "exit status 1");
        assert_eq!(json["stages"][1]["failed"], 1);
    }

    #[test]
    fn the_tail_is_the_last_lines_that_say_anything() {
        let path = std::env::temp_dir().join(format!("tricolor-verify-tail-{}", std::process::id()));
        fs::write(&path, "one\n\ntwo\nthree\n\n \n").unwrap();
        assert_eq!(tail(&path, 2).unwrap(), ["two", "three"]);
        assert_eq!(tail(&path, 9).unwrap(), ["one", "", "two", "three"]);
        fs::write(&path, "").unwrap();
        assert!(tail(&path, 1).unwrap().is_empty());
        fs::remove_file(path).unwrap();
    }
}
