//! Runs stages: those that measure or have limits of time one after the other, and beside them, one after the other as
//! well and with what is left of the processors, those that only build and search.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anstream::adapter::strip_str;

use crate::count::Counts;
use crate::process::{self, End};
use crate::report::{Board, Progress};
use crate::stage::{Obstacle, Stage, Step};
use crate::verdict::{self, Outcome};
use crate::workspace::Workspace;

/// What became of a stage.
pub struct Done {
    pub name: &'static str,
    pub outcome: Outcome,
    pub counts: Counts,
    pub time: Duration,
    /// CPU time of its commands: what does not depend on how busy the machine is.
    pub cpu: Duration,
    /// Everything that its commands printed; nothing if none ran.
    pub log: Option<PathBuf>,
    /// Somebody stopped the tool while it ran.
    pub interrupted: bool,
}

/// Runs stages in a workspace.
pub struct Runner<'a> {
    pub workspace: &'a Workspace,
    /// Longest time for a stage.
    pub limit: Duration,
    pub interrupted: &'a AtomicBool,
}

impl Runner<'_> {
    /// Runs stages. What became of them, in their order; those that were not reached are not there.
    pub fn run_all(&self, stages: &[&'static Stage], board: &Board, fail_fast: bool) -> Vec<Done> {
        let done = Mutex::new(Vec::new());
        let stop = AtomicBool::new(false);
        let lane = |beside: bool| {
            for (i, stage) in stages.iter().enumerate().filter(|(_, stage)| stage.beside == beside) {
                // Relaxed: what a lane has found is behind the lock.
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                let progress = board.start(stage, i + 1, stages.len());
                let result = self.run(stage, &progress);
                progress.finish(&result, i + 1, stages.len());
                let failed = matches!(result.outcome, Outcome::Failed(_));
                stop.fetch_or(result.interrupted || (failed && fail_fast), Ordering::Relaxed);
                done.lock().expect("no lane panics").push((i, result));
            }
        };
        thread::scope(|scope| {
            scope.spawn(|| lane(true));
            lane(false);
        });
        let mut done = done.into_inner().expect("no lane panics");
        done.sort_by_key(|(i, _)| *i);
        done.into_iter().map(|(_, done)| done).collect()
    }

    /// Runs one stage; errors are results, too.
    pub fn run(&self, stage: &Stage, progress: &Progress) -> Done {
        let start = Instant::now();
        let mut done = Done {
            name: stage.name,
            outcome: Outcome::Passed,
            counts: Counts::default(),
            time: Duration::ZERO,
            cpu: Duration::ZERO,
            log: None,
            interrupted: false,
        };
        (done.outcome, done.counts) = match (stage.plan)(self.workspace) {
            Err(Obstacle::Machine(reason)) => (Outcome::Skipped(reason), Counts::SKIPPED),
            Err(Obstacle::Project(reason)) => (Outcome::Failed(reason), Counts::FAILED),
            Ok(steps) => {
                let path = self.workspace.target.join("verify").join(format!("{}.log", stage.name));
                let results = self.run_steps(steps, stage.beside, &path, &mut done, progress);
                done.log = Some(path);
                results.unwrap_or_else(|error| (Outcome::Failed(format!("its log: {error}")), Counts::FAILED))
            }
        };
        done.time = start.elapsed();
        done
    }

    fn run_steps(
        &self,
        steps: Vec<Step>,
        beside: bool,
        path: &Path,
        done: &mut Done,
        progress: &Progress,
    ) -> std::io::Result<(Outcome, Counts)> {
        let mut log = create_log(path)?;
        let deadline = Instant::now() + self.limit;
        let mut results = Vec::new();
        for mut step in steps {
            if beside {
                process::stand_back(&mut step.command);
            }
            writeln!(log, "$ {}", shown(&step.command))?;
            let begin = log.stream_position()?;
            let left = deadline.saturating_duration_since(Instant::now());
            let (mut end, cpu) = process::run(step.command, &log, left, self.interrupted, || progress.tick(path));
            done.cpu += cpu;
            if let End::TimedOut(_) = end {
                end = End::TimedOut(self.limit);
            }
            results.push(verdict::judge(&end, &read_from(path, begin)?, step.expect));
            done.interrupted |= matches!(end, End::Interrupted);
            if matches!(end, End::Interrupted | End::TimedOut(_)) {
                break;
            }
        }
        Ok(verdict::sum(&results))
    }
}

/// Appends always, as the processes that share the file do.
fn create_log(path: &Path) -> std::io::Result<File> {
    fs::create_dir_all(path.parent().expect("a file in a folder"))?;
    File::create(path)?;
    File::options().append(true).open(path)
}

fn read_from(path: &Path, begin: u64) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(begin))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    // trybuild colours what it says even where there is no terminal.
    Ok(strip_str(&String::from_utf8_lossy(&bytes)).to_string())
}

/// The command as one would type it, without the folder of its program.
fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    let mut words = vec![program.to_string_lossy().into_owned()];
    words.extend(command.get_args().map(|argument| {
        let argument = argument.to_string_lossy();
        if argument.contains([' ', '"', '[']) { format!("'{argument}'") } else { argument.into_owned() }
    }));
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stage::{Plan, Tier};
    use crate::verdict::Expect;
    use crate::workspace::tests::workspace;

    fn run(plan: fn(&Workspace) -> Plan, limit: Duration) -> (Done, String) {
        static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let next = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let mut workspace = workspace(&[]);
        workspace.target.push(format!("tricolor-verify-run-{}-{next}", std::process::id()));
        let stage = Stage { name: "try", about: "", tier: Tier::Commit, beside: false, plan };
        let runner = Runner { workspace: &workspace, limit, interrupted: &AtomicBool::new(false) };
        let done = runner.run(&stage, &Progress::hidden());
        let log = done.log.as_ref().map(|path| fs::read_to_string(path).unwrap()).unwrap_or_default();
        let _ = fs::remove_dir_all(&workspace.target);
        (done, log)
    }

    fn step(workspace: &Workspace, script: &str) -> Step {
        Step::new(workspace.command("sh", &["-c", script]), Expect::Tests { at_least: 1 })
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn steps_are_judged_by_their_own_output_and_all_of_them_run() {
        const RESULT: &str = "echo 'test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured'";
        let plan = |w: &Workspace| Ok(vec![step(w, RESULT), step(w, "echo none"), step(w, RESULT)]);
        let (done, log) = run(plan, LONG);
        assert_eq!(done.outcome, Outcome::Failed("0 tests ran, where at least 1 should".to_owned()));
        assert_eq!(done.counts.to_string(), "4 passed, 1 failed, 0 skipped");
        assert_eq!(log.lines().filter(|line| line.starts_with("$ sh -c ")).count(), 3);
    }

    #[test]
    fn colours_do_not_hide_a_case() {
        let plan = |w: &Workspace| {
            let script = r"printf 'test \033[0m\033[1ma.rs\033[0m ... \033[0m\033[32mok\n\033[0m\n'";
            Ok(vec![Step { expect: Expect::Cases, ..step(w, script) }])
        };
        let (done, _) = run(plan, LONG);
        assert_eq!((done.outcome, done.counts), (Outcome::Passed, Counts::PASSED));
    }

    #[test]
    fn a_stage_that_hangs_ends_with_its_limit() {
        let start = Instant::now();
        let (done, log) = run(|w| Ok(vec![step(w, "sleep 600"), step(w, "echo next")]), LONG / 200);
        assert_eq!(done.outcome, Outcome::Failed("timed out after 0.3 s".to_owned()));
        assert_eq!(done.counts, Counts::FAILED);
        assert!(!log.contains("next") && start.elapsed() < LONG);
    }

    #[test]
    fn stages_beside_the_others_run_meanwhile_and_all_are_in_order() {
        // Each waits for the other one.
        fn meets(w: &Workspace, own: &str, other: &str) -> Plan {
            let (own, other) = (w.target.join(own), w.target.join(other));
            let script = format!(
                "touch {}; until [ -e {} ]; do sleep 0.01; done; echo 'test result: ok. 1 passed; 0 failed; 0 ignored'",
                own.display(),
                other.display()
            );
            Ok(vec![step(w, &script)])
        }
        fn fails(w: &Workspace) -> Plan {
            Ok(vec![step(w, "exit 1")])
        }
        const fn new(name: &'static str, beside: bool, plan: fn(&Workspace) -> Plan) -> Stage {
            Stage { name, about: "", tier: Tier::Commit, beside, plan }
        }
        static LEFT: Stage = new("left", true, |w| meets(w, "left", "right"));
        static RIGHT: Stage = new("right", false, |w| meets(w, "right", "left"));
        static FAILS: Stage = new("fails", false, fails);
        static LATER: Stage = new("later", false, fails);
        let mut workspace = workspace(&[]);
        workspace.target.push(format!("tricolor-verify-lanes-{}", std::process::id()));
        let runner = Runner { workspace: &workspace, limit: LONG, interrupted: &AtomicBool::new(false) };
        let names = |fail_fast| {
            // They are to meet again.
            let _ = fs::remove_dir_all(&workspace.target);
            fs::create_dir_all(&workspace.target).unwrap();
            let done = runner.run_all(&[&LEFT, &RIGHT, &FAILS, &LATER], &Board::hidden(), fail_fast);
            assert!(done[..2].iter().all(|done| done.outcome == Outcome::Passed), "{:?}", done[0].outcome);
            done.iter().map(|done| done.name).collect::<Vec<_>>()
        };
        assert_eq!(names(false), ["left", "right", "fails", "later"]);
        assert_eq!(names(true), ["left", "right", "fails"]);
        fs::remove_dir_all(&workspace.target).unwrap();
    }

    #[test]
    fn obstacles_are_told_apart() {
        let (done, _) = run(|_| Err(Obstacle::Machine("no go".to_owned())), LONG);
        assert_eq!((done.outcome, done.counts), (Outcome::Skipped("no go".to_owned()), Counts::SKIPPED));
        let (done, _) = run(|_| Err(Obstacle::Project("no test".to_owned())), LONG);
        assert_eq!((done.outcome, done.counts), (Outcome::Failed("no test".to_owned()), Counts::FAILED));
        assert!(done.log.is_none());
    }

    #[test]
    fn a_command_is_shown_as_one_would_type_it() {
        let mut command = Command::new("/usr/bin/cargo");
        command.args(["models", "--config", "a=[\"b\"]"]);
        assert_eq!(shown(&command), "cargo models --config 'a=[\"b\"]'");
    }
}
