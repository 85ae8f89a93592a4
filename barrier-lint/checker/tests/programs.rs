//! The checker over real programs: what it must report of each, exactly.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use serde_json::Value;

const SUITE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../suite");

struct Run {
    status: Option<i32>,
    out: String,
    err: String,
}

/// One build at a time: another profile or another setting would replace a program that is just being read.
static BUILDS: Mutex<()> = Mutex::new(());

/// Runs the checker over a program of the suite.
fn check(program: &str, profile: &str, arguments: &[&str], env: &[(&str, &str)]) -> Run {
    let _alone = BUILDS.lock().unwrap_or_else(PoisonError::into_inner);
    let mut command = Command::new(env!("CARGO_BIN_EXE_cargo-barrier-lint"));
    command.args(["barrier-lint", "--package", "barrier-lint-suite", "--bin", program, "--profile", profile]);
    command.args(arguments).current_dir(SUITE).envs(env.iter().copied());
    // What `cargo test` says about this test is not about the program.
    for name in ["CARGO_MANIFEST_DIR", "CARGO_MANIFEST_PATH", "CARGO_PKG_NAME"] {
        command.env_remove(name);
    }
    let output = command.output().expect("the checker starts");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    Run { status: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

fn long_tier() -> bool {
    std::env::var("TRICOLOR_TIER").is_ok_and(|tier| tier == "long")
}

fn list(name: &str) -> String {
    format!("{SUITE}/{name}")
}

/// With lists that permit nothing but panics.
fn with_lists<'a>(stop: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["--stop", stop, "--allow", "/dev/null"], more].concat()
}

fn refuses(program: &str, profile: &str, arguments: &[&str], env: &[(&str, &str)], because: &str) {
    let run = check(program, profile, &with_lists("/dev/null", arguments), env);
    assert!(run.err.contains(because), "{program}: {}\n{}", run.err, run.out);
    assert_eq!(run.status, Some(2), "{program}");
    assert_eq!(run.out, "", "{program}: a refusal is no verdict");
}

/// Its roots by name, without type arguments, with their verdicts.
fn roots(run: &Run) -> BTreeMap<String, String> {
    let report: Value = serde_json::from_str(&run.out).unwrap_or_else(|e| panic!("{e}: {}{}", run.out, run.err));
    let text = |v: &Value| v.as_str().expect("text").to_owned();
    let all = report["roots"].as_array().expect("roots");
    all.iter().map(|r| (text(&r["root"]), text(&r["verdict"]))).collect()
}

/// Each root of the suite stands in a module that says what must become of it.
fn whole_suite(profile: &str, env: &[(&str, &str)]) {
    let run = check("suite", profile, &with_lists(&list("stop.list"), &["--json"]), env);
    let roots = roots(&run);
    assert_eq!(run.status, Some(1), "{}", run.err);
    let mut names: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (root, verdict) in &roots {
        let (_, path) = root.split_once("suite::").expect("a root of the suite");
        let module = path.split("::").next().expect("a module");
        assert_eq!(verdict, &module.to_uppercase(), "{profile} {env:?}: {root}: {}", run.out);
        let name = path.rsplit("::").find(|part| !part.starts_with('<') && !part.ends_with('>')).expect("a name");
        names.entry(module).or_default().push(name);
    }
    names.values_mut().for_each(|n| n.sort_unstable());
    assert_eq!(names["bad"], BAD, "{profile} {env:?}");
    assert_eq!(names["ok"], OK, "{profile} {env:?}");
    assert_eq!(names["unknown"], UNKNOWN, "{profile} {env:?}");
}

const BAD: &[&str] = &[
    "asm_function",
    "by_value_first",
    "callback",
    "coercion",
    "constant_pointer",
    "direct",
    "drop_by_assignment",
    "drop_in_a_closure",
    "drop_in_a_vector",
    "drop_of_a_generic",
    "drop_of_a_local",
    "drop_of_a_parameter",
    "drop_of_a_temporary",
    "drop_of_nested",
    "drop_while_unwinding",
    "drops_the_payload",
    "explicit_deref",
    "falls_through",
    "far_below",
    "field_deref",
    "generic",
    "in_asm",
    "index",
    "message",
    "method",
    "mutable_deref",
    "never_called",
    "of_the_library",
    "operator",
    "operator_in_a_closure",
    "own_barrier",
    "own_method",
    "passed_to_asm",
    "receiver_deref",
    "recorded_site",
    "recursive",
    "shadowed",
    "shadowed_macro",
    "tail_call",
    "through_a_helper",
    "through_another_crate",
    "trait_method",
    "twin_of_a_gate",
    "upper_case",
    "upper_case_constant",
];

const OK: &[&str] = &[
    "atomics",
    "behind_a_gate",
    "change",
    "clean_pointer",
    "clean_recursion",
    "deref",
    "generic",
    "go",
    "hoisted",
    "m",
    "make",
    "may_panic",
    "method",
    "only_its_own",
    "panics",
    "step",
    "switch",
    "unlisted",
];

const UNKNOWN: &[&str] = &[
    "asm_label",
    "drop_of_a_trait_object",
    "pointer_in_a_static",
    "pointer_in_a_table",
    "pointer_parameter",
    "pointer_to_map",
    "trait_object",
];

#[test]
fn the_suite_in_dev() {
    whole_suite("dev", &[]);
}

/// The profile of the check: that of releases under another name, and what `cargo verify` builds anyway.
#[test]
fn the_suite_in_lint() {
    whole_suite("lint", &[]);
}

#[test]
fn the_suite_without_optimisation_and_with_lto() {
    if long_tier() {
        whole_suite("dev", &[("CARGO_PROFILE_DEV_OPT_LEVEL", "0")]);
        whole_suite("release", &[]);
        whole_suite("release", &[("CARGO_PROFILE_RELEASE_LTO", "thin")]);
        whole_suite("release", &[("CARGO_PROFILE_RELEASE_LTO", "fat"), ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1")]);
    }
}

#[test]
fn a_chain_names_functions_and_lines() {
    let run = check("suite", "lint", &with_lists(&list("stop.list"), &[]), &[]);
    let (_, chain) = run.out.split_once("BAD suite::bad::drop_of_a_local\n").expect("the root");
    let mut chain = chain.lines();
    let (first, second) = (chain.next().expect("a step"), chain.next().expect("a step"));
    assert!(first.starts_with("    calls <barrier_lint_suite::Stores as core::ops::drop::Drop>::drop at "), "{first}");
    assert!(first.contains("src/bad.rs:"), "{first}");
    assert!(second.starts_with("    calls gc_write_barrier at "), "{second}");
    assert!(second.contains("src/lib.rs:") && second.contains(" (in set, inlined at "), "{second}");
}

#[test]
fn an_unknown_call_says_what_it_is() {
    let run = check("suite", "lint", &with_lists(&list("stop.list"), &[]), &[]);
    for (root, says) in [
        (
            "asm_label",
            "calls `suite_asm_label`, which has no size in the symbol table: give it `.type` and `.size` at ",
        ),
        ("trait_object", "calls anything: `"),
    ] {
        let (_, chain) = run.out.split_once(&format!("UNKNOWN suite::unknown::{root}\n")).expect("the root");
        let step = chain.lines().next().expect("a step").trim_start();
        assert!(step.starts_with(says) && step.contains("src/unknown.rs:"), "{step}");
    }
}

#[test]
fn what_cannot_be_checked_is_refused() {
    let lint = "lint";
    refuses("unmarked", lint, &[], &[], "no records: the program has no section `barrier_lint`");
    refuses("rootless", lint, &[], &[], "no root: ");
    refuses("trusting", lint, &[], &[], "no canary: ");
    refuses("inlined", lint, &[], &[], "INLINED record: `gate` was inlined into `inlined::middle`");
    refuses("inlined", lint, &[], &[], "INLINED record: `promises` was inlined into `inlined::middle`");
    refuses("merged", lint, &[], &[], "MERGED gate: ");
    refuses("folded", lint, &["--forbid", "folded_barrier"], &[], "the canary `folded::canary_of_folded` was not");
    refuses("trusting", lint, &["--forbid", "no_such"], &[], "nothing to look for: the program has no function");
    let run = check("trusting", lint, &with_lists("/dev/null", &["--without-canaries"]), &[]);
    assert_eq!((run.status, run.out.lines().next()), (Some(0), Some("OK trusting::clean")), "{}", run.err);
}

#[test]
fn a_stripped_program_is_refused() {
    // Builds it.
    check("trusting", "lint", &with_lists("/dev/null", &[]), &[]);
    let tool = Path::new(env!("CARGO_BIN_EXE_cargo-barrier-lint"));
    let program = tool.ancestors().nth(2).expect("target/profile/tool").join("barrier-lint/lint/trusting");
    for (what, because) in [("--strip-all", "the program is stripped"), ("--strip-debug", "no line tables")] {
        let stripped = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("trusting{what}"));
        // It comes with the linker.
        let status = Command::new("strip").arg(what).arg("-o").args([&stripped, &program]).status().expect("binutils");
        assert!(status.success(), "strip {what}");
        let run = Command::new(tool).arg(&stripped).args(with_lists("/dev/null", &[])).output().expect("it starts");
        let (out, err) = (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
        assert!(err.contains(because), "{what}: {err}");
        assert_eq!((run.status.code(), &*out), (Some(2), ""), "{what}");
    }
}

#[test]
fn what_is_marked_but_not_linked_can_be_asked_for() {
    let run = check("suite", "lint", &with_lists(&list("stop.list"), &["--complete"]), &[]);
    let absent: Vec<_> = run.err.lines().filter_map(|l| Some(l.split_once("not in this program: ")?.1)).collect();
    let names: Vec<_> = absent.iter().filter_map(|l| Some(l.split_once(" (")?.0)).collect();
    let expected = [
        "barrier_lint::ptr::cas_no_write_barrier",
        "barrier_lint::ptr::get",
        "barrier_lint::ptr::set_no_write_barrier",
        "barrier_lint::ptr::swap_no_write_barrier",
        "barrier_lint::ptr::word",
        "barrier_lint_suite::generic",
        "suite::ok::by_value",
        "suite::ok::look",
    ];
    assert_eq!(names, expected, "{}", run.err);
    assert!(absent[5].contains("suite/src/lib.rs:"), "{}", absent[5]);
    assert_eq!((run.status, &*run.out), (Some(2), ""));
}

/// `cargo` finds the tool as one that is installed, and the workspace has an alias for it.
#[test]
fn both_commands_of_cargo_run_the_check() {
    let tool = Path::new(env!("CARGO_BIN_EXE_cargo-barrier-lint"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(tool.parent().expect("a folder").to_owned()).chain(std::env::split_paths(&path));
    let path = std::env::join_paths(folders).expect("a PATH");
    let _alone = BUILDS.lock().unwrap_or_else(PoisonError::into_inner);
    for command in ["barrier-lint", "lint-barriers"] {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args([command, "--package", "barrier-lint-suite", "--profile", "lint", "--bin", "trusting"]);
        cargo.args(["--stop", "/dev/null", "--allow", "/dev/null", "--without-canaries"]);
        let output = cargo.current_dir(SUITE).env("PATH", &path).output().expect("cargo starts");
        let out = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(out.lines().next(), Some("OK trusting::clean"), "{command}");
    }
}

#[test]
fn a_file_that_is_no_program_is_refused() {
    for (path, because) in [("/dev/null", "not a 64-bit ELF program"), ("/no/such", "No such file")] {
        let run = Command::new(env!("CARGO_BIN_EXE_cargo-barrier-lint")).arg(path).output().expect("it starts");
        let err = String::from_utf8_lossy(&run.stderr).into_owned();
        assert!(run.status.code() == Some(2) && err.contains(because), "{err}");
    }
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).expect("a list")
}

/// A list of its own for a test.
fn written(name: &str, text: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, text).expect("a list");
    path
}

#[test]
fn lists_permit_what_they_name_and_nothing_else() {
    let verdict = |stop: &str, allow: &str, root: &str| {
        let run = check("suite", "lint", &["--json", "--stop", stop, "--allow", allow], &[]);
        roots(&run)[root].clone()
    };
    let stop = list("stop.list");
    let allow = written("allow.list", "indirect suite::unknown::trait_object: for the test\n[other]\nindirect x: no\n");
    let callback = "address suite::bad::callback -> suite::bad::at_exit: for the test\n";
    let callback = written("address.list", callback);
    let [allow, callback] = [&allow, &callback].map(|p| p.to_str().expect("UTF-8"));
    assert_eq!(verdict(&stop, allow, "suite::unknown::trait_object"), "OK");
    assert_eq!(verdict(&stop, allow, "suite::unknown::pointer_parameter"), "UNKNOWN");
    assert_eq!(verdict(&stop, callback, "suite::bad::callback"), "OK");
    assert_eq!(verdict("/dev/null", "/dev/null", "suite::ok::panics"), "UNKNOWN");
    // The barrier below a stopped function is found once its line is gone.
    let helper = written("helper.list", &format!("{}suite::bad::helper: for the test\n", read(&stop)));
    assert_eq!(verdict(helper.to_str().expect("UTF-8"), "/dev/null", "suite::bad::through_a_helper"), "OK");
    assert_eq!(verdict(&stop, "/dev/null", "suite::bad::through_a_helper"), "BAD");
}

#[test]
fn a_line_that_nothing_needs_is_an_error() {
    let unused = written("unused.list", "suite::no_such: for the test\n");
    let idle = written("idle.list", "suite::ok::step: for the test\n");
    for (path, why) in [(unused, "unused.list:1: no root needs this line"), (idle, "idle.list:1: without this line")] {
        let run = check("suite", "lint", &with_lists(path.to_str().expect("UTF-8"), &[]), &[]);
        assert!(run.status == Some(2) && run.err.contains(why), "{}", run.err);
    }
}

#[test]
fn a_function_is_explained() {
    let run = check("suite", "lint", &with_lists(&list("stop.list"), &["--explain", "suite::bad::helper"]), &[]);
    assert_eq!(run.status, Some(0), "{}", run.err);
    for part in ["calls gc_write_barrier at ", "as a root: BAD", "reached from the root suite::bad::operator:"] {
        assert!(run.out.contains(part), "{part}: {}", run.out);
    }
}

/// The example's own file. As an example it is built with all that the crate's tests need, which is a long build.
#[test]
fn the_example_of_another_effect_is_clean() {
    let records = ["--records", "no_alloc"];
    let run = check("signal_handler", "lint", &records, &[]);
    assert_eq!(run.status, Some(0), "{}{}", run.out, run.err);
    assert!(run.out.starts_with("OK signal_handler::on_signal\n"), "{}", run.out);
    if long_tier() {
        let _alone = BUILDS.lock().unwrap_or_else(PoisonError::into_inner);
        let mut command = Command::new(env!("CARGO_BIN_EXE_cargo-barrier-lint"));
        command.args(["--package", "barrier-lint", "--example", "signal_handler"]).args(records);
        let output = command.current_dir(SUITE).output().expect("it starts");
        assert_eq!(String::from_utf8_lossy(&output.stdout), run.out);
    }
}

#[test]
fn another_effect_is_a_matter_of_two_names() {
    let run = check("no_alloc", "lint", &["--records", "no_alloc"], &[]);
    assert_eq!(run.status, Some(1), "{}", run.err);
    assert!(run.out.contains("BAD no_alloc::collects") && run.out.contains("OK no_alloc::counts"), "{}", run.out);
}
