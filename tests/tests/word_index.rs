//! The main job keeps its word: the index is right on real files, whatever the runtime's settings, and nothing that
//! could not be read is passed over in silence.

#[path = "word_index/program.rs"]
mod program;
#[path = "word_index/reference.rs"]
mod reference;
#[path = "word_index/tree.rs"]
mod tree;
/// The example's own file, for its unit tests.
#[path = "../../runtime/examples/word_index/words.rs"]
mod words;

use program::{Run, Scratch, build, command, from, run, word_index};
use reference::Reference;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

const MB: u64 = 1_000_000;

/// Runs the program over `path` with these settings and compares all that it found.
fn check(path: &Path, expected: &Reference, settings: &[(&str, &str)], flags: &[&str]) -> Value {
    let scratch = Scratch::new("dump");
    let dump = scratch.path().join("dump");
    let out =
        run(command().envs(settings.iter().copied()).args(flags).arg("--json").arg("--dump").arg(&dump).arg(path))
            .code(0);
    assert_eq!(out.stderr.lines().find(|line| !line.contains("binary")), None, "with {settings:?}");
    let json = out.json();
    for (key, value) in expected.json().as_object().expect("an object") {
        assert_eq!(&json[key], value, "{key}, with {settings:?}");
    }
    let dump = fs::read_to_string(dump).expect("a dump");
    expected.compare(&dump).unwrap_or_else(|difference| panic!("with {settings:?}: {difference}"));
    json
}

fn equals_with_all_settings(path: &Path) {
    let expected = Reference::of(path);
    let mut most_inside = None;
    for procs in ["1", "2", "8"] {
        for percent in ["100", "5"] {
            for debug in ["verify=0", "verify=1"] {
                let settings = [("TRICOLOR_PROCS", procs), ("TRICOLOR_GC", percent), ("TRICOLOR_DEBUG", debug)];
                let json = check(path, &expected, &settings, &[]);
                let gc = &json["gc"];
                eprintln!("{settings:?}: {gc}");
                assert!(gc["cycles"].as_u64() >= Some(if percent == "5" { 2 } else { 1 }), "{gc}");
                assert_eq!(gc["verified_objects"].as_u64() > Some(0), debug == "verify=1", "{gc}");
                if procs != "1" {
                    most_inside = most_inside.max(json["index"]["inserters"].as_u64());
                }
            }
        }
    }
    assert!(most_inside >= Some(2), "never two inserters at once");
}

#[test]
fn the_index_equals_a_single_threaded_one() {
    equals_with_all_settings(tree::part(10 * MB).path());
    if tree::long_tier() {
        match tree::documentation() {
            Some(path) => equals_with_all_settings(&path),
            None => equals_with_all_settings(tree::part(120 * MB).path()),
        }
    }
}

/// Also with more Ps than cores, and where loops are interrupted at safepoints alone.
#[test]
fn the_index_is_the_same_on_any_number_of_ps_with_preemption_and_without() {
    let tree = tree::part(2 * MB);
    let expected = Reference::of(tree.path());
    for procs in ["1", "2", "16"] {
        for debug in ["asyncpreemptoff=0", "asyncpreemptoff=1"] {
            let settings = [("TRICOLOR_PROCS", procs), ("TRICOLOR_DEBUG", debug), ("TRICOLOR_GC", "10")];
            let gc = &check(tree.path(), &expected, &settings, &[])["gc"];
            assert!(gc["cycles"].as_u64() >= Some(2), "{settings:?}: {gc}");
        }
    }
}

#[test]
fn the_last_of_many_rounds_is_right_and_memory_stays_flat() {
    let tree = tree::part(if tree::long_tier() { 100 * MB } else { 10 * MB });
    let expected = Reference::of(tree.path());
    // Without a collector all is kept: a measure that calls this flat measures nothing.
    for (procs, percent, flat) in [("2", "100", true), ("8", "50", true), ("2", "off", false)] {
        let settings = [("TRICOLOR_PROCS", procs), ("TRICOLOR_GC", percent)];
        let json = check(tree.path(), &expected, &settings, &["--repeat", "24"]);
        let rounds = json["rounds"].as_array().expect("a list");
        let resident: Vec<u64> = rounds.iter().filter_map(|round| round["rss"].as_u64()).collect();
        eprintln!("{settings:?}: resident after each round: {resident:?}");
        assert_eq!(resident.len(), 24);
        // A round ends anywhere in a cycle, and stale words on stacks may keep one or two indexes for a while: a
        // single round says little. If all were kept, the last eight would need three times what eight early ones do.
        let (early, late) = (median(&resident[2..10]), median(&resident[16..]));
        assert_eq!(late < 2 * early, flat, "{settings:?}: {early} bytes early, {late} bytes late: {resident:?}");
    }
}

fn median(of: &[u64]) -> u64 {
    let mut sorted = of.to_vec();
    sorted.sort_unstable();
    sorted[sorted.len() / 2]
}

#[test]
fn without_a_path_target_and_dot_entries_are_left_out() {
    let tree = Scratch::new("default");
    for path in ["one.txt", "sub/two", "target/three", "sub/target/four", ".hidden", "sub/.git/five", ".git/six"] {
        tree.file(path, path.rsplit('/').next().expect("a name"));
    }
    let words = |out: Run| {
        let out = out.code(0).json();
        let top = out["top"].as_array().expect("a list").iter().filter_map(|pair| pair[0].as_str().map(str::to_owned));
        top.collect::<Vec<_>>()
    };
    let default = run(command().arg("--json").current_dir(tree.path()));
    assert_eq!(words(default), ["one", "two", "txt"]);
    let whole = run(command().args(["--json", "."]).current_dir(tree.path()));
    assert_eq!(words(whole), ["five", "four", "hidden", "one", "six", "three", "two", "txt"]);
    let hidden = run(command().args(["--json", "target", "sub/.git/five"]).current_dir(tree.path()));
    assert_eq!(words(hidden), ["five", "three"]);
}

/// One word per kind of thing that may lie in a folder; those that can be read hold `good`.
fn awkward() -> (Scratch, Vec<(&'static str, &'static str)>) {
    let tree = Scratch::new("awkward");
    tree.file("good", "good");
    tree.file("empty", "");
    tree.file("sub/good", "Good");
    tree.file("binary", b"bad \xff\xfe bad");
    tree.file("sub/cut", "bad ü".as_bytes().split_last().expect("bytes").1);
    let at = |name: &str| tree.path().join(name);
    symlink("good", at("link")).expect("a link");
    symlink("..", at("sub/up")).expect("a link");
    symlink("nowhere", at("broken")).expect("a link");
    symlink("circle", at("circle")).expect("a link");
    drop(UnixListener::bind(at("socket")).expect("a socket"));
    let made = Command::new("mkfifo").arg(at("fifo")).status().expect("mkfifo can be started");
    assert!(made.success());
    let named = vec![
        ("binary", "binary"),
        ("sub/cut", "binary"),
        ("broken", "broken link"),
        ("circle", "broken link"),
        ("socket", "neither a file nor a folder"),
        ("fifo", "neither a file nor a folder"),
    ];
    (tree, named)
}

#[test]
fn what_cannot_be_read_is_named_and_counted_and_the_rest_is_not_lost() {
    let (tree, mut named) = awkward();
    let locked = |path: &str, mode| fs::set_permissions(tree.path().join(path), fs::Permissions::from_mode(mode));
    tree.file("locked", "bad");
    tree.file("closed/inside", "bad");
    locked("locked", 0).and_then(|()| locked("closed", 0)).expect("permissions");
    named.extend([("locked", "denied"), ("closed", "denied"), ("missing", "No such file")]);

    // Root may read everything, so root becomes nobody, who needs a copy of the program where he may run it.
    let bin = Scratch::new("bin");
    let program = bin.path().join("word_index");
    fs::copy(word_index(), &program).expect("a copy");
    let mut command = from(&program);
    if fs::metadata("/proc/self").expect("proc").uid() == 0 {
        command.uid(65534).gid(65534);
    }
    let out = run(command.args(["--json", ".", "missing"]).current_dir(tree.path())).code(0);
    locked("closed", 0o755).expect("permissions");

    for &(path, why) in &named {
        let path = if path == "missing" { path.to_owned() } else { format!("./{path}") };
        assert!(out.line_on(&path).contains(why), "{}", out.stderr);
    }
    assert_eq!(out.stderr.lines().count(), named.len(), "{}", out.stderr);
    let json = out.json();
    let numbers = ["files", "binary", "unreadable", "links", "words"].map(|key| json[key].as_u64());
    assert_eq!(numbers, [3, 2, 7, 2, 2].map(Some), "{json}");
    assert_eq!(json["top"], serde_json::json!([["good", 2]]));
}

#[test]
fn a_file_that_fails_while_it_is_read_is_named() {
    let out = run(command().args(["--json", "/proc/self/mem", "/proc/self/stat"])).code(0);
    out.line_on("/proc/self/mem");
    let json = out.json();
    assert_eq!((json["files"].as_u64(), json["unreadable"].as_u64()), (Some(1), Some(1)), "{json}");
}

#[test]
fn the_report_counts_what_was_skipped() {
    let (tree, _) = awkward();
    let out = run(command().arg(".").current_dir(tree.path())).code(0);
    assert!(out.stdout.contains("2 binary, 4 unreadable, 2 links"), "{}", out.stdout);
    assert!(out.stdout.contains("           2  good"), "{}", out.stdout);
    assert!(out.stdout.contains("inserters inside at once"), "{}", out.stdout);
}

#[test]
fn the_exit_status_is_1_only_if_nothing_could_be_read() {
    let tree = Scratch::new("status");
    let good = tree.file("good", "good");
    let binary = tree.file("binary", b"\xff");
    let missing = tree.path().join("missing");
    let folder = tree.path().join("folder");
    fs::create_dir(&folder).expect("a folder");
    let status = |paths: &[&PathBuf]| {
        let out = run(command().arg("--json").args(paths));
        out.json();
        out.status.code()
    };
    assert_eq!(status(&[&missing]), Some(1));
    assert_eq!(status(&[&missing, &missing]), Some(1));
    assert_eq!(status(&[&missing, &good]), Some(0));
    assert_eq!(status(&[&missing, &binary]), Some(0));
    // Nothing to read is no failure.
    assert_eq!(status(&[&folder]), Some(0));
    assert_eq!(status(&[&binary]), Some(0));
}

#[test]
fn a_link_that_is_named_is_followed() {
    let tree = Scratch::new("link");
    tree.file("folder/good", "good");
    symlink("folder", tree.path().join("link")).expect("a link");
    symlink("nowhere", tree.path().join("broken")).expect("a link");
    let out = run(command().args(["--json", "link", "broken"]).current_dir(tree.path())).code(0);
    assert_eq!(out.json()["words"], 1);
    out.line_on("broken");
}

#[test]
fn sixty_four_open_files_are_enough() {
    let tree = Scratch::new("many");
    for i in 0..2000 {
        tree.file(&format!("{}/{i}", i % 40), format!("word{i} common"));
    }
    let mut limited = Command::new("sh");
    limited.args(["-c", "ulimit -n 64 && exec \"$0\" \"$@\""]).arg(word_index());
    let out = run(limited.args(["--json", "--repeat", "3"]).arg(tree.path()).env("TRICOLOR_PROCS", "8")).code(0);
    assert_eq!(out.stderr, "");
    assert_eq!((&out.json()["files"], &out.json()["words"]), (&2000.into(), &4000.into()));
}

#[test]
fn long_words_and_sorted_words_are_words_like_others() {
    let tree = Scratch::new("words");
    let letters = |n: usize| (0..n).map(|i| char::from(b'a' + (i % 26) as u8)).collect::<String>();
    tree.file("long", format!("{} {}", letters(100_000), letters(3_000_000)));
    let sorted: Vec<String> = (b'a'..=b'z')
        .flat_map(|a| (b'a'..=b'z').flat_map(move |b| (b'a'..=b'z').map(move |c| [a, b, c])))
        .map(|word| String::from_utf8(word.to_vec()).expect("letters"))
        .collect();
    for i in 0..8 {
        tree.file(&format!("sorted/{i}"), sorted.join("\n"));
    }
    let expected = Reference::of(tree.path());
    let json = check(tree.path(), &expected, &[("TRICOLOR_GC", "5"), ("TRICOLOR_DEBUG", "verify=1")], &[]);
    assert!(json["index"]["depth"].as_u64() < Some(64), "sorted words made the tree deep: {}", json["index"]);
}

#[test]
fn a_setting_that_does_not_parse_ends_the_program_at_once() {
    for (variable, value) in [
        ("TRICOLOR_PROCS", "two"),
        ("TRICOLOR_PROCS", "0"),
        ("TRICOLOR_GC", ""),
        ("TRICOLOR_GC", "-5"),
        ("TRICOLOR_DEBUG", "gctrace"),
        ("TRICOLOR_DEBUG", "nosuch=1"),
    ] {
        let out = run(command().arg("/").env(variable, value)).code(2);
        assert_eq!(out.stdout, "");
        assert_eq!(out.stderr.lines().count(), 1, "{}", out.stderr);
        let says = |what: &str| assert!(out.stderr.contains(what), "no {what:?} in {}", out.stderr);
        [variable, value, "allowed"].into_iter().for_each(says);
    }
}

#[test]
fn arguments_that_make_no_sense_are_refused() {
    for arguments in [&["--repeat", "0"][..], &["--repeat", "x"], &["--no-such-option"], &["--json", "--repeat"]] {
        let out = run(command().args(arguments)).code(2);
        assert!(out.stdout.is_empty() && !out.stderr.is_empty(), "{arguments:?}");
    }
    assert!(run(command().arg("--help")).code(0).stdout.contains("PATH"));
}

#[test]
fn gctrace_prints_one_line_per_cycle() {
    let tree = tree::part(MB);
    let out =
        run(command().args(["--json", "--repeat", "8"]).arg(tree.path()).env("TRICOLOR_DEBUG", "gctrace=1")).code(0);
    let lines = out.stderr.lines().filter(|line| line.starts_with("gc ")).count() as u64;
    assert_eq!(out.json()["gc"]["cycles"].as_u64(), Some(lines), "{}", out.stderr);
}

/// Not the shipped program: it checks itself, and may have faults.
/// With the features that tests have, so that all but the example itself is built already.
fn debug_build() -> PathBuf {
    build(&["--workspace"])
}

#[test]
fn no_malloc_inside_the_runtime_and_no_debug_assertion_fails() {
    let tree = tree::part(2 * MB);
    let expected = Reference::of(tree.path()).json();
    let program = debug_build();
    let bytes = fs::read(&program).expect("the program");
    assert!(bytes.windows(18).any(|at| at == b"inside the runtime"), "its malloc is not checked");
    for (procs, percent) in [("2", "5"), ("4", "100")] {
        let settings = [("TRICOLOR_PROCS", procs), ("TRICOLOR_GC", percent)];
        let out = run(from(&program).envs(settings).arg("--json").arg(tree.path())).code(0).json();
        for (key, value) in expected.as_object().expect("an object") {
            assert_eq!(&out[key], value, "{key}, with {settings:?}");
        }
    }
}

#[test]
fn the_shipped_word_index_contains_no_planted_fault() {
    let contains = |program: &[u8], what: &str| program.windows(what.len()).any(|bytes| bytes == what.as_bytes());
    // The word that says which fault is on, as the symbol table has it.
    const CHOSEN: &str = "gc_core6faults2on6CHOSEN";
    let shipped = fs::read(word_index()).expect("the program");
    assert!(contains(&shipped, "gc_core"), "the program has no symbols: this test would find nothing");
    for (name, _) in gc_core::faults::ALL {
        assert!(!contains(&shipped, name), "the shipped program knows the fault {name}");
    }
    assert!(!contains(&shipped, CHOSEN), "the shipped program can have a fault");

    // The same search does find them where they are.
    let faulty = fs::read(debug_build()).expect("the program");
    assert!(contains(&faulty, CHOSEN), "a program that can have faults looks like one that cannot");
}
