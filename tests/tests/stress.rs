//! `cargo stress` finds nothing where nothing is wrong, and what is wrong otherwise.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use serde_json::Value;
use std::process::{Command, Output};

fn stress(arguments: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tricolor-stress"));
    command.args(arguments.split_whitespace()).env_remove("TRICOLOR_DEBUG");
    command.output().expect("the program runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn everything(out: &Output) -> String {
    format!("{:?}\n{}\n{}", out.status, text(&out.stdout), text(&out.stderr))
}

/// Runs for a moment, clean. The names of the numbers must be there, and not be 0.
fn clean(arguments: &str, numbers: &[&str]) {
    let out = stress(&format!("{arguments} --seconds 1.5 --goroutines 16 --json"));
    assert_eq!(out.status.code(), Some(0), "{arguments}: {}", everything(&out));
    let found: Value = serde_json::from_slice(&out.stdout).unwrap_or_else(|e| panic!("{e}: {}", everything(&out)));
    assert_eq!(found["verdict"], "clean");
    assert_eq!(found["failure"], Value::Null);
    let all = found["numbers"].as_array().expect("numbers");
    for name in numbers {
        let number = all.iter().find(|pair| pair[0] == **name).map(|pair| pair[1].as_u64());
        assert!(number > Some(Some(0)), "{arguments}: {name}: {all:?}");
    }
    let quantiles = found["quantiles"].as_array().expect("quantiles");
    assert!(quantiles.iter().any(|row| row["name"] == "stopped: end of marking"), "{quantiles:?}");
}

#[test]
fn stops_are_clean() {
    clean("stw", &["stops asked for", "handshakes", "stops: user", "cycles", "foreign signals"]);
}

#[test]
fn heaps_are_clean() {
    clean("heap", &["objects of the oracle", "cycles"]);
}

#[test]
fn preemption_is_clean() {
    clean("preempt", &["right answers", "suspensions", "signals sent"]);
}

#[test]
fn blocking_calls_are_clean() {
    clean("syscall", &["blocking calls", "stops: user", "cycles"]);
}

#[test]
fn all_together_is_clean() {
    clean("soak", &["cycles"]);
}

/// Runs what breaks, and returns what is said of it: how it was found must be among `checks`, and there must be a command
/// that does it again.
fn breaks(arguments: &str, checks: &[&str]) -> String {
    let out = stress(&format!("{arguments} --seed 5 --json"));
    assert_eq!(out.status.code(), Some(1), "{arguments}: {}", everything(&out));
    let found: Value = serde_json::from_slice(&out.stdout).unwrap_or_else(|e| panic!("{e}: {}", everything(&out)));
    assert_eq!(found["verdict"], "broke");
    let check = found["failure"]["check"].as_str().expect("how it was found");
    println!("{arguments}: {check}: {}", found["failure"]["what"]);
    assert!(checks.is_empty() || checks.contains(&check), "{arguments}: {}", everything(&out));
    let err = text(&out.stderr);
    let seed = found["failure"]["seed"].as_u64().expect("a seed");
    let mode = arguments.split(' ').next().expect("a subcommand");
    assert!(err.contains(&format!("again: cargo stress {mode} --seed {seed} ")), "{err}");
    err
}

#[test]
fn who_waits_for_ever_is_found_and_shown() {
    let err = breaks("stw --seconds 60 --patience 2 --goroutines 8 --plant hang", &["hang"]);
    assert!(err.contains("hang, goroutine"), "{err}");
    // Every goroutine with its stack, the threads and Ps, and what the kernel knows.
    for shown in ["[chan receive", "workers::planted::work", "SCHED ", "P0: status=", "M0: ", "state S"] {
        assert!(err.contains(shown), "{shown:?} is missing: {err}");
    }
}

#[test]
fn a_crash_leaves_what_everybody_did_last() {
    let err = breaks("stw --seconds 60 --goroutines 8 --plant crash", &["SIGSEGV"]);
    for shown in ["address 0x8", "\ngoroutine ", "workers::Worker::work", "goroutine starts", "SCHED "] {
        assert!(err.contains(shown), "{shown:?} is missing: {err}");
    }
}

#[test]
fn a_wrong_answer_says_whose_it_is() {
    let err = breaks("syscall --seconds 60 --goroutines 8 --plant wrong", &["wrong"]);
    for shown in ["a wrong answer, planted", "its seed ", "phase 0: syscall", "thread ", "\non goroutine "] {
        assert!(err.contains(shown), "{shown:?} is missing: {err}");
    }
    breaks("stw --seconds 60 --goroutines 8 --plant panic", &["panic"]);
    breaks("stw --seconds 60 --goroutines 8 --plant exit", &["exit"]);
}

#[test]
fn planted_faults_are_found() {
    // A damaged heap shows in many ways.
    breaks("heap --seconds 60 --break skip-stacks", &[]);
    breaks("preempt --seconds 60 --break xregs-of-another", &[]);
    breaks("syscall --seconds 60 --break syscall-exit-plain", &[]);
    breaks("soak --seconds 60 --break alloc-white", &[]);
    // Found by this tool.
    breaks("stw --seconds 120 --debug preemptstorm=50 --break gfget-unguarded", &[]);
}

#[test]
fn what_it_does_not_understand_it_names() {
    for (arguments, named) in [
        ("", "Usage"),
        ("soke", "soke"),
        ("stw --seconds 0", "0.1 to 1000000"),
        ("stw --procs 0", "1..=256"),
        ("stw --procs 257", "1..=256"),
        ("stw --goroutines none", "none"),
        ("heap --heap 5XB", "64KiB to 64GiB"),
        ("heap --heap 1TiB", "64KiB to 64GiB"),
        ("soak --seed -1", "-1"),
        ("soak --break no-such-fault", "no-deletion-barrier"),
        ("soak --plant trees", "hang, crash, wrong, panic, exit"),
        ("stw --seconds 1 --debug gctrace=7", "gctrace=0 or gctrace=1"),
        ("stw --seconds 1 --report /proc/nowhere", "--report /proc/nowhere"),
        ("stw --seconds 1 --report /proc/self/stat/x", "--report /proc/self/stat/x"),
    ] {
        let out = stress(arguments);
        assert_eq!(out.status.code(), Some(2), "{arguments}: {}", everything(&out));
        assert!(text(&out.stderr).contains(named), "{arguments}: {}", everything(&out));
    }
}

fn folder(name: &str) -> std::path::PathBuf {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&folder);
    folder
}

#[test]
fn a_report_has_the_figures() {
    let folder = folder("stress-report");
    let out = stress(&format!("stw --seconds 2 --goroutines 8 --report {}", folder.display()));
    assert_eq!(out.status.code(), Some(0), "{}", everything(&out));
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap_or_else(|why| panic!("{name}: {why}"));
    let summary: Value = serde_json::from_str(&read("summary.json")).expect("JSON");
    assert_eq!(summary["verdict"], "clean");
    let rows = summary["quantiles"].as_array().expect("quantiles").iter();
    let names: Vec<_> = rows.filter_map(|row| row["name"].as_str()).collect();
    // What goroutines have waited for is another matter in each run.
    let waits = ["run queue", "syscall exit", "preemption", "assist"];
    for wanted in [&["time to stop: "][..], &["stopped: "], &["hiccups"], &waits] {
        assert!(wanted.iter().any(|part| names.iter().any(|name| name.contains(part))), "{wanted:?}: {names:?}");
    }
    let (times, tables) = (read("times.csv"), text(&out.stdout));
    for name in names {
        assert!(
            times.contains(&format!("\n\"{name}\",")) && tables.contains(&format!("\n{name} ")),
            "{name}: {tables}"
        );
    }
    let timeline = read("timeline.csv");
    let (head, row) = (timeline.lines().next().expect("a head"), timeline.lines().nth(1).expect("a row"));
    assert_eq!(head.split(',').count(), row.split(',').count(), "{timeline}");
}

/// The disk is full when the report is written: the verdict is there all the same, and so is the rest of the report.
#[test]
fn a_report_that_cannot_be_written_costs_nothing_else() {
    let folder = folder("stress-full");
    std::fs::create_dir_all(&folder).expect("a folder");
    for name in ["summary.json", "stops.png"] {
        std::os::unix::fs::symlink("/dev/full", folder.join(name)).expect("a link");
    }
    let out = stress(&format!("stw --seconds 30 --goroutines 8 --plant wrong --report {}", folder.display()));
    assert_eq!(out.status.code(), Some(1), "{}", everything(&out));
    let err = text(&out.stderr);
    for said in [
        "the report is not complete",
        "summary.json: No space left",
        "stops.png: No space left",
        "again: cargo stress stw",
    ] {
        assert!(err.contains(said), "{said:?} is missing: {}", everything(&out));
    }
    let failure = std::fs::read_to_string(folder.join("failure.txt")).expect("the failure is written");
    assert!(failure.contains("a wrong answer, planted"), "{failure}");
}
