//! How many tests passed, failed and were skipped, read from what the test programs print.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign};

use serde::Serialize;

/// Numbers of tests by result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    pub passed: u64,
    pub failed: u64,
    pub skipped: u64,
}

impl Counts {
    pub const PASSED: Counts = Counts { passed: 1, failed: 0, skipped: 0 };
    pub const FAILED: Counts = Counts { passed: 0, failed: 1, skipped: 0 };
    pub const SKIPPED: Counts = Counts { passed: 0, failed: 0, skipped: 1 };

    /// The tests that really ran.
    pub fn ran(self) -> u64 {
        self.passed + self.failed
    }
}

impl Add for Counts {
    type Output = Counts;

    fn add(self, other: Counts) -> Counts {
        Counts {
            passed: self.passed + other.passed,
            failed: self.failed + other.failed,
            skipped: self.skipped + other.skipped,
        }
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Counts) {
        *self = *self + other;
    }
}

impl Sum for Counts {
    fn sum<I: Iterator<Item = Counts>>(counts: I) -> Counts {
        counts.fold(Counts::default(), Add::add)
    }
}

/// The tool's last line, and the line that `cargo models` ends with.
impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

/// Sums libtest's `test result:` lines. A test program that began (`running N tests`) and never came to its result has
/// crashed: it counts as one failed test. What a test says of itself past libtest, `SKIPPED: NAME: REASON`, is no pass.
pub fn libtest(output: &str) -> Counts {
    let results: Vec<Counts> = output.lines().filter_map(libtest_result).collect();
    let begun = output.lines().filter(|line| is_libtest_start(line)).count();
    let crashed = begun.saturating_sub(results.len()) as u64;
    let mut sum = results.into_iter().sum::<Counts>() + Counts { failed: crashed, ..Counts::default() };
    let skipped = said_skipped(output);
    sum.passed = sum.passed.saturating_sub(skipped);
    sum.skipped += skipped;
    sum
}

/// How many tests said of themselves that they cannot run here.
pub fn said_skipped(output: &str) -> u64 {
    // Not only at the start of a line: libtest may have begun one.
    output.lines().filter(|line| line.contains("SKIPPED: ")).count() as u64
}

/// `running 12 tests`
fn is_libtest_start(line: &str) -> bool {
    let mut words = line.split_whitespace();
    words.next() == Some("running")
        && words.next().is_some_and(|n| n.parse::<u64>().is_ok())
        && matches!(words.next(), Some("test" | "tests"))
        && words.next().is_none()
}

/// `test result: ok. 5 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out; finished in 0.01s`
fn libtest_result(line: &str) -> Option<Counts> {
    // Not only at the start of a line: what a test wrote last may lack its newline.
    let (_, result) = line.split_once("test result: ")?;
    let (_, fields) = result.split_once(". ")?;
    let field =
        |name: &str| fields.split(';').find_map(|field| field.trim().strip_suffix(name)?.trim().parse::<u64>().ok());
    Some(Counts { passed: field("passed")?, failed: field("failed")?, skipped: field("ignored")? })
}

/// The last line of the form `N passed, N failed, N skipped`, which must also be the last line that says anything.
pub fn summary(output: &str) -> Option<Counts> {
    let last = output.lines().rfind(|line| !line.trim().is_empty())?;
    let mut fields = last.split(',').map(str::trim);
    let mut field = |name: &str| fields.next()?.strip_suffix(name)?.trim().parse::<u64>().ok();
    let counts = Counts { passed: field("passed")?, failed: field("failed")?, skipped: field("skipped")? };
    fields.next().is_none().then_some(counts)
}

/// The cases of trybuild suites: `test cases/store.rs [should fail to compile] ... ok`.
pub fn trybuild(output: &str) -> Counts {
    without_impatience(output)
        .lines()
        .filter_map(|line| {
            let (name, result) = line.rsplit_once(" ... ")?;
            let name = name.trim_end_matches(" [should fail to compile]").trim_end_matches(" [should pass]");
            name.ends_with(".rs").then_some(if result.trim() == "ok" { Counts::PASSED } else { Counts::FAILED })
        })
        .sum()
}

/// What libtest says of a suite that takes long may stand in the middle of a case's line.
fn without_impatience(output: &str) -> String {
    let mut all = String::with_capacity(output.len());
    for line in output.split_inclusive('\n') {
        match line.trim_end().strip_suffix(" has been running for over 60 seconds").and_then(|l| l.rsplit_once("test "))
        {
            Some((before, _)) => all += before,
            None => all += line,
        }
    }
    all
}

/// The roots that the whole-program check went through, one line each, by the line's first word.
pub fn roots(output: &str) -> Counts {
    output
        .lines()
        .filter_map(|line| match line.split_whitespace().next()? {
            "OK" => Some(Counts::PASSED),
            "BAD" | "UNKNOWN" => Some(Counts::FAILED),
            _ => None,
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(passed: u64, failed: u64, skipped: u64) -> Counts {
        Counts { passed, failed, skipped }
    }

    #[test]
    fn libtest_results_are_summed_over_test_programs() {
        let output = "\
     Running unittests src/lib.rs (target/debug/deps/a-1)

running 3 tests
test a ... ok
test b ... ignored
test c ... FAILED

test result: FAILED. 1 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s

running 1 test
no newline heretest result: ok. 41 passed; 0 failed; 2 ignored; 0 measured; 7 filtered out; finished in 1.25s
";
        assert_eq!(libtest(output), counts(42, 1, 3));
    }

    #[test]
    fn a_test_program_without_a_result_counts_as_one_failed() {
        let output = "running 2 tests\ntest a ... ok\nerror: test failed (signal: 11, SIGSEGV)\n\
                      running 1 test\ntest result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out\n";
        assert_eq!(libtest(output), counts(1, 1, 0));
    }

    #[test]
    fn what_a_test_skips_by_itself_is_no_pass() {
        let output = "running 3 tests\nSKIPPED: a: no signals\ntest a ... ok\ntest b ... SKIPPED: main: one P\nok\n\
                      test c ... ok\ntest result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out\n";
        assert_eq!(libtest(output), counts(1, 0, 2));
    }

    #[test]
    fn prose_is_not_a_libtest_line() {
        let output = "running 5 goroutines\nrunning tests\ntest result: fine\nrunning 2 tests in a row\n";
        assert_eq!(libtest(output), counts(0, 0, 0));
    }

    #[test]
    fn a_summary_counts_only_as_the_last_line() {
        assert_eq!(summary("x\n3 passed, 1 failed, 2 skipped\n\n"), Some(counts(3, 1, 2)));
        assert_eq!(summary("3 passed, 1 failed, 2 skipped\nthread 'main' panicked\n"), None);
        assert_eq!(summary("3 passed, 1 failed\n"), None);
        assert_eq!(summary("3 passed, 1 failed, 2 skipped, 4 lost\n"), None);
        assert_eq!(summary("-3 passed, 1 failed, 2 skipped\n"), None);
        assert_eq!(summary(""), None);
    }

    #[test]
    fn a_summary_reads_back_what_it_printed() {
        let all = counts(7, 0, 19);
        assert_eq!(summary(&all.to_string()), Some(all));
    }

    #[test]
    fn trybuild_cases_are_counted_one_by_one() {
        let output = "\
test cases/a.rs [should fail to compile] ... ok
test cases/b.rs [should pass] ... error
test cases/c.rs ... mismatch
test compile_fail ... test cases/d.rs [should fail to compile] ... wip
test compile_fail ... ok
";
        assert_eq!(trybuild(output), counts(1, 3, 0));
    }

    #[test]
    fn a_suite_that_takes_long_does_not_hide_a_case() {
        let output = "\
test tests/a.rs [should pass] ... test suite has been running for over 60 seconds
ok
test tests/b.rs [should fail to compile] ... test suite has been running for over 60 seconds
mismatch
test suite has been running for over 60 seconds
test tests/c.rs ... ok
";
        assert_eq!(trybuild(output), counts(2, 1, 0));
    }

    #[test]
    fn roots_are_counted_by_their_first_word() {
        let output = "OK tricolor::startm\nBAD tricolor::exitsyscall\n  -> gc_write_barrier\nUNKNOWN f\nALL OK\n";
        assert_eq!(roots(output), counts(1, 2, 0));
    }
}
