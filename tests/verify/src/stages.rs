//! The stages: what fails fast comes first. They run in this order, those that are `beside` in a row of their own.
//!
//! A new stage is a row of [`STAGES`] and a function that gives its steps. An integration test that should show as a
//! stage of its own also stands in [`CLAIMED`].

use std::path::Path;

use crate::stage::{Plan, Stage, Step, Tier};
use crate::verdict::Expect;
use crate::workspace::Workspace;

/// All stages.
pub const STAGES: &[Stage] = &[
    stage("fmt", "the sources are formatted", Tier::Commit, fmt),
    stage("clippy", "no lint fires", Tier::Commit, clippy),
    stage("unit", "tests inside the crates", Tier::Commit, unit),
    stage("doc", "documentation builds, its examples run", Tier::Commit, doc),
    stage("integration", "tests that use the crates from outside", Tier::Commit, integration),
    beside(stage("compile-fail", "what must not compile does not", Tier::Commit, compile_fail)),
    beside(stage("twins", "no no-barrier function has an implied call", Tier::Commit, twins)),
    beside(stage("outside", "a user's crate that names `tricolor` alone", Tier::Commit, outside)),
    stage("traces", "traces and profiles, read by what others have written for them", Tier::Long, traces),
    beside(stage("models", "loom models, each with its failing twin", Tier::Commit, models)),
    beside(stage("cycles", "whole cycles under shuttle, with failing twins", Tier::Long, cycles)),
    beside(stage("lint", "no barrier behind a no-barrier root of the linked program", Tier::Commit, lint)),
    beside(stage(
        "lint-lto",
        "the same for the shipped profile, and with link-time optimisation",
        Tier::Long,
        lint_lto,
    )),
    stage("preempt-asm", "async_preempt keeps every register, on each architecture", Tier::Commit, preempt_asm),
    stage("gdb", "what gdb shows of goroutines that signals have stopped", Tier::Commit, gdb),
    stage("main-job", "word_index agrees with a single-threaded program", Tier::Commit, main_job),
    stage("matrix", "one P, two, many; preemption on and off", Tier::Commit, matrix),
    stage("injection", "kernels compute the same, however often a signal stops them", Tier::Commit, injection),
    stage("oracle", "random heaps against an oracle outside the heap", Tier::Commit, oracle),
    stage("parked", "a million parked goroutines take 5 KiB each at most", Tier::Long, parked),
    stage("counts", "the fast paths take as many instructions as recorded", Tier::Long, counts),
    beside(stage("miri", "gc-core's unit tests under Miri", Tier::Long, miri)),
    stage("tsan", "gc-core on plain threads under ThreadSanitizer", Tier::Long, tsan),
];

/// Integration tests that are stages of their own.
const CLAIMED: &[&str] = &["compile_fail", "implied", "word_index", "oracle", "async_preempt", "gdb", "injection"];

/// Sets the flags that `cargo models` sets; the two share a target folder.
const LOOM: &str = "build.rustflags=[\"--cfg=modelled\",\"--cfg=loom\"]";

/// Sets the flags that `cargo cycles` sets; likewise.
const SHUTTLE: &str = "build.rustflags=[\"--cfg=modelled\",\"--cfg=shuttle\"]";

/// Sets the flag that makes the attributes emit twins; programs are never built with it. As a wrapper of the workspace's own
/// crates, so that the others need not be built anew.
const TWINS: &str = "barrier-lint/tests/with_twins.sh";

const WORD_INDEX: [&str; 5] = ["lint-barriers", "--package", "tricolor", "--example", "word_index"];

/// What the crate in `tests/outside` prints when everything in it worked.
const OUTSIDE_SAYS: &str = "outside: 42 from a goroutine, nodes 1 2 after a collection";

/// What it prints besides where a trace is asked for, since it is built without the feature for that.
const OUTSIDE_HAS_NO_TRACE: &str =
    "tricolor: no trace in some.pftrace: this program is built without the feature `trace` of tricolor";

/// What another program there prints, built as the workspace is, and without frame pointers.
const WITH_FRAME_POINTERS: &str = "outside: with frame pointers, time slices end in loops without calls";
const WITHOUT_FRAME_POINTERS: &str =
    "outside: without frame pointers, stops end in loops without calls, time slices do not";

const fn stage(name: &'static str, about: &'static str, tier: Tier, plan: fn(&Workspace) -> Plan) -> Stage {
    Stage { name, about, tier, beside: false, plan }
}

const fn beside(stage: Stage) -> Stage {
    Stage { beside: true, ..stage }
}

fn fmt(workspace: &Workspace) -> Plan {
    workspace.needs(workspace.cargo(&["fmt", "--version"]), "rustfmt")?;
    Ok(vec![
        Step::new(workspace.cargo(&["fmt", "--all", "--check"]), Expect::Success),
        Step::new(workspace.cargo(&["fmt", "--manifest-path", "tests/outside/Cargo.toml", "--check"]), Expect::Success),
        Step::new(workspace.cargo(&["fmt", "--manifest-path", "tests/traces/Cargo.toml", "--check"]), Expect::Success),
    ])
}

fn clippy(workspace: &Workspace) -> Plan {
    workspace.needs(workspace.cargo(&["clippy", "--version"]), "clippy")?;
    let all = ["clippy", "--workspace", "--all-targets", "--", "-Dwarnings"];
    // The models reach every module that is built differently for them.
    let of_models = |bin, target, flags| {
        let build = ["clippy", "--package", "tricolor-tests", "--bin", bin, "--target-dir", target, "--config", flags];
        workspace.cargo(&[&build[..], &["--", "-Dwarnings"]].concat())
    };
    // What is there only for traces and profiles, and its crates, can be left out.
    let bare = ["clippy", "--package", "tricolor", "--no-default-features", "--all-targets", "--", "-Dwarnings"];
    let mut builds = vec![workspace.cargo(&all)];
    if workspace.tier == Tier::Long {
        // The stages `outside` and `models` build these, too.
        builds.push(workspace.cargo(&bare));
        builds.push(of_models("models", "target/loom", LOOM));
        builds.push(of_models("cycles", "target/shuttle", SHUTTLE));
    }
    Ok(builds.into_iter().map(|build| Step::new(build, Expect::Success)).collect())
}

fn unit(workspace: &Workspace) -> Plan {
    Ok(vec![workspace.inner_tests()])
}

fn doc(workspace: &Workspace) -> Plan {
    let public = ["--package", "gc-core", "--package", "barrier-lint", "--package", "tricolor"];
    let pages = workspace.cargo(&[&["doc", "--no-deps"][..], &public].concat());
    let examples = workspace.cargo(&["test", "--workspace", "--doc", "--no-fail-fast"]);
    Ok(vec![
        Step::new(pages, Expect::Success).env("RUSTDOCFLAGS", "-Dwarnings"),
        Step::new(examples, Expect::Tests { at_least: 1 }),
    ])
}

fn integration(workspace: &Workspace) -> Plan {
    Ok(vec![workspace.tests_except(CLAIMED)?])
}

fn compile_fail(workspace: &Workspace) -> Plan {
    let suites = workspace.tests_named(&["compile_fail", "implied"])?;
    Ok(vec![Step { expect: Expect::Cases, ..suites }])
}

/// The sources once more, with what the attributes emit for the compiler to look at (`barrier-lint`'s twins).
fn twins(workspace: &Workspace) -> Plan {
    let mut command = workspace.cargo(&["check", "--package", "gc-core", "--package", "tricolor"]);
    command.env("RUSTC_WORKSPACE_WRAPPER", workspace.root.join(TWINS));
    Ok(vec![Step::new(command, Expect::Success)])
}

fn outside(workspace: &Workspace) -> Plan {
    let run = |target: &Path, bin: &[&str]| {
        let mut command = workspace.cargo(&["run", "--quiet", "--manifest-path", "tests/outside/Cargo.toml"]);
        command.arg("--target-dir").arg(target).args(bin);
        command
    };
    // The same flags and profile as the workspace, so the same folder: what both need is built once.
    let here = &workspace.target;
    let with = run(here, &["--bin", "signals", "--", "with"]);
    let without = run(&here.join("outside"), &["--bin", "signals", "--", "without"]);
    Ok(vec![
        Step::new(run(here, &[]), Expect::Line(OUTSIDE_SAYS)),
        Step::new(run(here, &[]), Expect::Line(OUTSIDE_HAS_NO_TRACE)).env("TRICOLOR_TRACE", "some.pftrace"),
        Step::new(with, Expect::Line(WITH_FRAME_POINTERS)),
        Step::new(without, Expect::Line(WITHOUT_FRAME_POINTERS)).env("RUSTFLAGS", "-Cforce-frame-pointers=no"),
    ])
}

fn traces(workspace: &Workspace) -> Plan {
    let mut command = workspace.cargo(&["test", "--manifest-path", "tests/traces/Cargo.toml"]);
    // As with `outside`.
    command.arg("--target-dir").arg(&workspace.target);
    Ok(vec![Step::new(command, Expect::Tests { at_least: 15 })])
}

fn models(workspace: &Workspace) -> Plan {
    // What the suite refuses: a model that is gone, proves nothing, or has become vacuous. With the flags of `cargo models`.
    let checks = [
        "test",
        "--package",
        "tricolor-tests",
        "--lib",
        "--profile",
        "models",
        "--target-dir",
        "target/loom",
        "--config",
    ];
    let deeper: &[&str] = if workspace.tier == Tier::Long { &["--nightly"] } else { &[] };
    Ok(vec![
        Step::new(workspace.cargo(&[&checks[..], &[LOOM]].concat()), Expect::Tests { at_least: 7 }),
        Step::new(workspace.cargo(&[&["models", "run"], deeper].concat()), Expect::Summary),
    ])
}

fn cycles(workspace: &Workspace) -> Plan {
    // The same seed each time; where there is time, others.
    let more: &[&str] = if workspace.tier == Tier::Long { &["--fresh", "--times", "25"] } else { &[] };
    Ok(vec![Step::new(workspace.cargo(&[&["cycles", "run"], more].concat()), Expect::Summary)])
}

fn lint(workspace: &Workspace) -> Plan {
    // Uses every part of the runtime, so that generic code is there, too.
    // (Some functions are there for planted faults alone.)
    let harness =
        ["lint-barriers", "--package", "tricolor", "--example", "harness", "--features", "faults", "--complete"];
    let programs = [&WORD_INDEX[..], &harness];
    let mut steps: Vec<Step> = programs.map(|arguments| Step::new(workspace.cargo(arguments), Expect::Roots)).into();
    // The same programs; their tables of unsafe points against their code.
    let ranges = [&WORD_INDEX[..], &harness[..7]].map(|program| [program, &["--ranges"]].concat());
    steps.extend(ranges.map(|arguments| Step::new(workspace.cargo(&arguments), Expect::Success)));
    let budgets = [&WORD_INDEX[..], &["--stack"]].concat();
    steps.push(Step::new(workspace.cargo(&budgets), Expect::Success));
    Ok(steps)
}

fn lint_lto(workspace: &Workspace) -> Plan {
    let command = || workspace.cargo(&[&WORD_INDEX[..], &["--profile", "release"]].concat());
    let with = |lto| Step::new(command(), Expect::Roots).env("CARGO_PROFILE_RELEASE_LTO", lto);
    Ok(vec![Step::new(command(), Expect::Roots), with("thin"), with("fat")])
}

fn preempt_asm(workspace: &Workspace) -> Plan {
    let mkpreempt = |argument| workspace.cargo(&["run", "--quiet", "--package", "mkpreempt", "--", argument]);
    Ok(vec![
        Step::new(mkpreempt("--check"), Expect::Success),
        Step::new(mkpreempt("--harness"), Expect::Summary),
        workspace.tests_named(&["async_preempt"])?,
    ])
}

fn gdb(workspace: &Workspace) -> Plan {
    let probe = workspace.command("gdb", &["-nx", "-batch", "-return-child-result", "-ex", "run", "--args", "true"]);
    workspace.needs(probe, "gdb, with the right to trace,")?;
    Ok(vec![workspace.tests_named(&["gdb"])?])
}

fn main_job(workspace: &Workspace) -> Plan {
    Ok(vec![workspace.tests_named(&["word_index"])?])
}

/// What the runtime's tests are run with besides its own choice: `TRICOLOR_PROCS`, and `TRICOLOR_DEBUG` where preemption is
/// off. (`word_index` runs with all of them in a test of its own.) The first two are each other's opposite: for the commit
/// tier, with the tests that it matters most to.
const MATRIX: [(&str, Option<&str>); 6] = [("1", OFF), ("16", None), ("1", None), ("16", OFF), ("2", None), ("2", OFF)];

const OFF: Option<&str> = Some("asyncpreemptoff=1");

fn matrix(workspace: &Workspace) -> Plan {
    let tests = || match workspace.tier {
        Tier::Commit => workspace.tests_named(&["sched", "preempt", "suspend"]),
        Tier::Long => workspace.runtime_tests_except(CLAIMED),
    };
    let corners = if workspace.tier == Tier::Commit { &MATRIX[..2] } else { &MATRIX };
    let step = |(procs, debug): &(&str, Option<&str>)| {
        // Six times with long durations would be an hour; those are for the stage `integration`.
        let step = tests()?.env("TRICOLOR_PROCS", procs).env("TRICOLOR_TIER", Tier::Commit.name());
        Ok(match debug {
            Some(debug) => step.env("TRICOLOR_DEBUG", debug),
            None => step,
        })
    };
    corners.iter().map(step).collect()
}

fn injection(workspace: &Workspace) -> Plan {
    // Its tests come with the program. `cargo run` would build it anew, and the runtime with it: for one package alone cargo
    // chooses fewer features of others' crates.
    let storm = workspace.command(workspace.target.join("debug/injection"), &[]);
    Ok(vec![workspace.tests_named(&["injection"])?, Step::new(storm, Expect::Summary)])
}

fn oracle(workspace: &Workspace) -> Plan {
    Ok(vec![workspace.tests_named(&["oracle"])?])
}

fn parked(workspace: &Workspace) -> Plan {
    const MILLION: [&str; 3] = ["--at-most", "5120", "1000000"];
    let enough = ["-c", "test $(awk '/^MemAvailable:/ {print $2}' /proc/meminfo) -gt 6500000"];
    workspace.needs(workspace.command("sh", &enough), "memory enough for it (6.5 GB)")?;
    let bench = ["run", "--quiet", "--release", "--package", "tricolor-benches", "--bin", "parked", "--"];
    Ok(vec![Step::new(workspace.cargo(&[&bench[..], &MILLION].concat()), Expect::Success)])
}

fn counts(workspace: &Workspace) -> Plan {
    workspace.needs(workspace.command("valgrind", &["--version"]), "valgrind")?;
    let check = ["run", "--quiet", "--release", "--package", "tricolor-benches", "--bin", "counts", "--", "--check"];
    Ok(vec![Step::new(workspace.cargo(&check), Expect::Summary)])
}

fn miri(workspace: &Workspace) -> Plan {
    let nightly = |arguments: &[&str]| {
        let mut command = workspace.command("rustup", &["run", "nightly", "cargo", "miri"]);
        // Those of the pinned toolchain, which Miri is not part of.
        command.args(arguments).env_remove("CARGO").env_remove("RUSTUP_TOOLCHAIN");
        command
    };
    workspace.needs(nightly(&["--version"]), "Miri, a component of the nightly toolchain,")?;
    let mut command = nightly(&["test", "--package", "gc-core", "--lib", "--target-dir"]);
    command.arg(workspace.target.join("miri"));
    Ok(vec![Step::new(command, Expect::Tests { at_least: 1 })])
}

/// The sanitizer's runtime comes with the pinned toolchain; that its flag is unstable is all that `RUSTC_BOOTSTRAP` is
/// for. std is not built anew for it, so what is ordered by std's locks alone is reported, rightly or not: the tests
/// that run here use gc-core's.
fn tsan(workspace: &Workspace) -> Plan {
    const TARGET: &str = "x86_64-unknown-linux-gnu";
    const FLAGS: &str =
        "--cfg=tsan -Zsanitizer=thread -Cunsafe-allow-abi-mismatch=sanitizer -Cforce-frame-pointers=yes";
    let probe = ["-", "--crate-name=probe", "--crate-type=cdylib", "--target", TARGET, "-Zsanitizer=thread"];
    let mut probe = workspace.command("rustc", &probe);
    probe.args(["-Cunsafe-allow-abi-mismatch=sanitizer", "-o"]).arg(workspace.target.join("tsan-probe.so"));
    probe.env("RUSTC_BOOTSTRAP", "1");
    workspace.needs(probe, "ThreadSanitizer's runtime for the pinned toolchain")?;
    let suppressions = workspace.root.join("gc-core/tests/tsan.suppressions");
    let step = |arguments: &[&str]| {
        let mut command = workspace.cargo(&["test", "--no-fail-fast", "--package", "gc-core", "--target", TARGET]);
        command.arg("--target-dir").arg(workspace.target.join("tsan")).args(arguments);
        command.env("TSAN_OPTIONS", format!("suppressions={}", suppressions.display()));
        Step::new(command, Expect::Tests { at_least: 1 }).env("RUSTC_BOOTSTRAP", "1").env("RUSTFLAGS", FLAGS)
    };
    let tests = ["smoke", "access", "weak", "drops", "pieces", "pacing", "oracle"];
    Ok(vec![
        step(&tests.map(|name| ["--test", name]).concat()),
        // With the planted race, which must be reported.
        step(&["--features", "faults", "--test", "races"]),
        step(&["--lib", "sync::"]),
    ])
}

/// The stages with these names out of those of the tier; `skip` wins over `only`, which also reaches into the long
/// tier.
pub fn select(tier: Tier, only: &[String], skip: &[String]) -> Result<Vec<&'static Stage>, String> {
    if let Some(unknown) = only.iter().chain(skip).find(|name| STAGES.iter().all(|stage| stage.name != **name)) {
        let names: Vec<&str> = STAGES.iter().map(|stage| stage.name).collect();
        return Err(format!("unknown stage `{unknown}`; the stages are {}", names.join(", ")));
    }
    let named = |names: &[String], stage: &Stage| names.iter().any(|name| name == stage.name);
    let chosen: Vec<&Stage> = STAGES
        .iter()
        .filter(|stage| if only.is_empty() { stage.tier <= tier } else { named(only, stage) })
        .filter(|stage| !named(skip, stage))
        .collect();
    if chosen.is_empty() {
        return Err("no stage is left to run".to_owned());
    }
    Ok(chosen)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stage::Obstacle;
    use crate::workspace::tests::workspace;

    fn names(tier: Tier, only: &[&str], skip: &[&str]) -> Result<Vec<&'static str>, String> {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        Ok(select(tier, &owned(only), &owned(skip))?.iter().map(|stage| stage.name).collect())
    }

    #[test]
    fn stage_names_are_unique_file_names() {
        for (i, stage) in STAGES.iter().enumerate() {
            assert!(stage.name.chars().all(|c| c.is_ascii_lowercase() || c == '-'), "{}", stage.name);
            assert!(STAGES[..i].iter().all(|other| other.name != stage.name), "{}", stage.name);
        }
    }

    #[test]
    fn the_long_tier_holds_the_commit_tier() {
        let commit = names(Tier::Commit, &[], &[]).unwrap();
        let long = names(Tier::Long, &[], &[]).unwrap();
        assert!(!commit.contains(&"miri"));
        assert_eq!(long.len(), STAGES.len());
        assert!(commit.iter().all(|name| long.contains(name)));
    }

    #[test]
    fn only_and_skip_choose_in_the_order_of_the_table() {
        assert_eq!(names(Tier::Commit, &["doc", "fmt"], &[]).unwrap(), ["fmt", "doc"]);
        assert_eq!(names(Tier::Commit, &["doc", "fmt"], &["doc"]).unwrap(), ["fmt"]);
        assert_eq!(names(Tier::Commit, &["miri"], &[]).unwrap(), ["miri"]);
        assert!(!names(Tier::Commit, &[], &["doc"]).unwrap().contains(&"doc"));
    }

    #[test]
    fn wrong_choices_are_named() {
        let unknown = names(Tier::Commit, &["fmt"], &["fuzz"]).unwrap_err();
        assert!(unknown.starts_with("unknown stage `fuzz`; the stages are fmt, clippy, "), "{unknown}");
        assert_eq!(names(Tier::Commit, &["fmt"], &["fmt"]).unwrap_err(), "no stage is left to run");
    }

    #[test]
    fn claimed_tests_are_missed_by_their_stage_and_not_by_integration() {
        let workspace = workspace(&["stops"]);
        assert!(integration(&workspace).is_ok());
        for plan in [compile_fail, preempt_asm, main_job, matrix, injection, oracle] {
            assert!(matches!(plan(&workspace), Err(Obstacle::Project(_))));
        }
    }
}
