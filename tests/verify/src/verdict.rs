//! What a command's end and output mean. Doubt counts against the test: a command that succeeds without showing that
//! it tested anything has failed.

use crate::count::{self, Counts};
use crate::process::End;

/// What a command must show, besides success, for its step to pass.
#[derive(Clone, Copy, Debug)]
pub enum Expect {
    /// Nothing more. The command is one test.
    Success,
    /// libtest results, from at least this many tests, one of which at least really ran. One that says `SKIPPED` was there;
    /// one that is ignored may be so for ever, and is none.
    Tests { at_least: u64 },
    /// Suites of trybuild, none of them empty. Each case is a test.
    Cases,
    /// A last line `N passed, N failed, N skipped`, from at least one test that really ran.
    Summary,
    /// A verdict on at least one root, by the whole-program check. Each root is a test.
    Roots,
    /// This line. The command is one test.
    Line(&'static str),
}

/// The result of a step or of a stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Passed,
    Failed(String),
    Skipped(String),
}

/// What trybuild says, with success, when its pattern matches no file.
const TRYBUILD_EMPTY: &str = "There are no trybuild tests enabled yet.";

/// What libtest says, with success, when a test program has no test.
const LIBTEST_EMPTY: &str = "running 0 tests";

/// Judges one command.
pub fn judge(end: &End, output: &str, expect: Expect) -> (Outcome, Counts) {
    let failure = end.problem();
    let mut counts = match expect {
        Expect::Success | Expect::Line(_) => Counts::default(),
        Expect::Tests { .. } => count::libtest(output),
        Expect::Cases => count::trybuild(output),
        Expect::Summary => count::summary(output).unwrap_or_default(),
        Expect::Roots => count::roots(output),
    };
    match failure.or_else(|| missing(expect, output, counts)) {
        None => {
            if matches!(expect, Expect::Success | Expect::Line(_)) {
                counts = Counts::PASSED;
            }
            (Outcome::Passed, counts)
        }
        Some(reason) => {
            // No test owns up to it: then the command itself is the one that failed.
            counts.failed = counts.failed.max(1);
            (Outcome::Failed(reason), counts)
        }
    }
}

/// What a successful command's output lacks.
fn missing(expect: Expect, output: &str, counts: Counts) -> Option<String> {
    if counts.failed > 0 {
        return Some(format!("exit status 0, but {} failed by its own output", counts.failed));
    }
    let at_least = match expect {
        Expect::Success => return None,
        Expect::Line(line) if output.lines().any(|l| l == line) => return None,
        Expect::Line(line) => return Some(format!("did not print the line `{line}`")),
        Expect::Cases if output.lines().any(|l| [TRYBUILD_EMPTY, LIBTEST_EMPTY].contains(&l)) => {
            return Some("a compile-fail suite is empty".to_owned());
        }
        Expect::Tests { at_least } => at_least,
        Expect::Cases | Expect::Summary | Expect::Roots => 1,
    };
    let said = if matches!(expect, Expect::Tests { .. }) { count::said_skipped(output) } else { 0 };
    let (ran, said) = (counts.ran(), said.min(counts.skipped));
    if ran > 0 && ran + said >= at_least {
        return None;
    }
    let beside = if said > 0 { format!(" and {said} said SKIPPED") } else { String::new() };
    Some(format!("{ran} tests ran{beside}, where at least {at_least} should"))
}

/// Sums up the steps of a stage.
pub fn sum(steps: &[(Outcome, Counts)]) -> (Outcome, Counts) {
    if steps.is_empty() {
        return (Outcome::Failed("has no steps".to_owned()), Counts::FAILED);
    }
    let counts = steps.iter().map(|(_, counts)| *counts).sum();
    let reasons = |pick: fn(&Outcome) -> Option<&String>| {
        let reasons: Vec<&str> = steps.iter().filter_map(|(outcome, _)| pick(outcome)).map(String::as_str).collect();
        (!reasons.is_empty()).then(|| reasons.join("; "))
    };
    let failed = reasons(|outcome| if let Outcome::Failed(reason) = outcome { Some(reason) } else { None });
    let skipped = reasons(|outcome| if let Outcome::Skipped(reason) = outcome { Some(reason) } else { None });
    let passed = steps.iter().any(|(outcome, _)| *outcome == Outcome::Passed);
    let outcome = match (failed, skipped) {
        (Some(reason), _) => Outcome::Failed(reason),
        (None, Some(reason)) if !passed => Outcome::Skipped(reason),
        (None, _) => Outcome::Passed,
    };
    (outcome, counts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::tests::shell;
    use std::time::Duration;

    const RESULT: &str = "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out";
    const TESTS: Expect = Expect::Tests { at_least: 1 };

    fn judge_shell(script: &str, expect: Expect) -> (Outcome, Counts) {
        let (end, output) = shell(script, Duration::from_secs(60), false);
        judge(&end, &output, expect)
    }

    fn failed(reason: &str) -> Outcome {
        Outcome::Failed(reason.to_owned())
    }

    #[test]
    fn success_is_one_test() {
        assert_eq!(judge_shell("true", Expect::Success), (Outcome::Passed, Counts::PASSED));
    }

    #[test]
    fn a_failing_command_is_one_failed_test() {
        assert_eq!(judge_shell("exit 1", Expect::Success), (failed("exit status 1"), Counts::FAILED));
        for expect in [TESTS, Expect::Cases, Expect::Summary, Expect::Roots, Expect::Line("x")] {
            assert_eq!(judge_shell("echo x; exit 101", expect), (failed("exit status 101"), Counts::FAILED));
        }
    }

    #[test]
    fn passing_tests_are_counted() {
        let (outcome, counts) = judge_shell(&format!("echo '{RESULT}'"), TESTS);
        assert_eq!((outcome, counts.to_string().as_str()), (Outcome::Passed, "3 passed, 0 failed, 1 skipped"));
    }

    #[test]
    fn claimed_passes_do_not_outweigh_an_exit_status() {
        let (outcome, counts) = judge_shell(&format!("echo '{RESULT}'; exit 101"), TESTS);
        assert_eq!(outcome, failed("exit status 101"));
        assert_eq!(counts.to_string(), "3 passed, 1 failed, 1 skipped");
    }

    #[test]
    fn an_exit_status_does_not_outweigh_a_failed_test() {
        let (outcome, counts) = judge_shell("echo 4 passed, 2 failed, 0 skipped", Expect::Summary);
        assert_eq!(outcome, failed("exit status 0, but 2 failed by its own output"));
        assert_eq!(counts.failed, 2);
    }

    #[test]
    fn zero_tests_are_a_failure() {
        let none = "test result: ok. 0 passed; 0 failed; 6 ignored; 0 measured; 9 filtered out";
        let (outcome, counts) = judge_shell(&format!("echo '{none}'"), TESTS);
        assert_eq!(outcome, failed("0 tests ran, where at least 1 should"));
        assert_eq!(counts.to_string(), "0 passed, 1 failed, 6 skipped");
        for expect in [TESTS, Expect::Cases, Expect::Summary, Expect::Roots] {
            assert!(matches!(judge_shell("echo fine", expect), (Outcome::Failed(_), Counts::FAILED)), "{expect:?}");
        }
    }

    #[test]
    fn a_test_that_says_skipped_was_there_and_an_ignored_one_was_not() {
        let three = Expect::Tests { at_least: 3 };
        let result =
            |passed, ignored| format!("echo 'test result: ok. {passed} passed; 0 failed; {ignored} ignored; 0'");
        let said = "echo 'SKIPPED: a: no go'; ";
        let (outcome, counts) = judge_shell(&format!("{said}{}", result(3, 0)), three);
        assert_eq!((outcome, counts.to_string().as_str()), (Outcome::Passed, "2 passed, 0 failed, 1 skipped"));
        assert_eq!(judge_shell(&result(2, 1), three).0, failed("2 tests ran, where at least 3 should"));
        let (outcome, _) = judge_shell(&format!("{said}{}", result(2, 0)), three);
        assert_eq!(outcome, failed("1 tests ran and 1 said SKIPPED, where at least 3 should"));
        let (outcome, _) = judge_shell(&format!("{said}{said}{said}{}", result(3, 0)), three);
        assert_eq!(outcome, failed("0 tests ran and 3 said SKIPPED, where at least 3 should"));
    }

    #[test]
    fn an_empty_suite_beside_a_full_one_is_a_failure() {
        for empty in [TRYBUILD_EMPTY, LIBTEST_EMPTY] {
            let script = format!("echo 'test a.rs [should fail to compile] ... ok'; echo '{empty}'");
            assert_eq!(judge_shell(&script, Expect::Cases).0, failed("a compile-fail suite is empty"));
        }
    }

    #[test]
    fn a_signal_is_a_failure_whatever_was_printed() {
        let (outcome, counts) = judge_shell(&format!("echo '{RESULT}'; kill -KILL $$"), TESTS);
        assert_eq!(outcome, failed("killed by signal 9"));
        assert_eq!(counts.failed, 1);
    }

    #[test]
    fn a_hang_is_a_failure_whatever_was_printed() {
        let script = format!("echo '{RESULT}'; sleep 600");
        let (end, output) = shell(&script, Duration::from_millis(500), false);
        let (outcome, counts) = judge(&end, &output, TESTS);
        assert_eq!(outcome, failed("timed out after 0.5 s"));
        assert_eq!(counts.to_string(), "3 passed, 1 failed, 1 skipped");
    }

    #[test]
    fn the_line_must_be_whole() {
        assert_eq!(judge_shell("echo sum 6", Expect::Line("sum 6")).0, Outcome::Passed);
        assert_eq!(judge_shell("echo sum 66", Expect::Line("sum 6")).0, failed("did not print the line `sum 6`"));
    }

    #[test]
    fn a_root_that_is_not_clean_has_failed() {
        let roots = |script: &str| judge_shell(script, Expect::Roots);
        assert_eq!(roots("echo OK f; echo OK g").0, Outcome::Passed);
        assert_eq!(roots("echo OK f; echo UNKNOWN g; exit 1").1.to_string(), "1 passed, 1 failed, 0 skipped");
        assert!(matches!(roots("echo 'no root' >&2; exit 2").0, Outcome::Failed(_)));
    }

    #[test]
    fn a_stage_fails_with_any_step_and_is_skipped_only_with_all() {
        let ok = (Outcome::Passed, Counts::PASSED);
        let bad = (failed("exit status 1"), Counts::FAILED);
        let skip = (Outcome::Skipped("no miri".to_owned()), Counts::SKIPPED);
        let (outcome, counts) = sum(&[ok.clone(), bad.clone(), bad, skip.clone()]);
        assert_eq!(outcome, failed("exit status 1; exit status 1"));
        assert_eq!(counts.to_string(), "1 passed, 2 failed, 1 skipped");
        assert_eq!(sum(&[ok, skip.clone()]).0, Outcome::Passed);
        assert_eq!(sum(std::slice::from_ref(&skip)).0, skip.0);
        assert_eq!(sum(&[]), (failed("has no steps"), Counts::FAILED));
    }
}
