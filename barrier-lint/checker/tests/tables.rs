//! `--stack` and `--ranges` over real programs: what they must say of each function, exactly.

use std::process::Command;

const SUITE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../suite");

fn check(program: &str, arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cargo-barrier-lint"));
    command.args(["barrier-lint", "--package", "barrier-lint-suite", "--bin", program]);
    command.args(arguments).current_dir(SUITE);
    // What `cargo test` says about this test is not about the program.
    for name in ["CARGO_MANIFEST_DIR", "CARGO_MANIFEST_PATH", "CARGO_PKG_NAME"] {
        command.env_remove(name);
    }
    let output = command.output().expect("the checker starts");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// The line of each verdict, after the function's name.
fn said_of<'a>(out: &'a str, function: &str) -> Vec<&'a str> {
    let words = |l: &&str| l.split([' ', ':']).any(|w| w == function.rsplit("::").next().unwrap_or_default());
    out.lines()
        .filter(|l| l.starts_with("OK") || l.starts_with("BAD"))
        .filter(|l| l.contains(function))
        .filter(words)
        .collect()
}

const BUDGETS: &[(&str, &str)] = &[
    ("bad::alloc", "code whose frame cannot be read: malloc"),
    ("bad::dynamic", "a frame whose size only run time knows: `sub rsp,"),
    ("bad::indirect", "an indirect call, which may need any stack: `call"),
    ("bad::leaves_late", "of 500 bytes"),
    ("bad::leaves_unsaid", "a frame whose size only run time knows: `mov rsp,rax`"),
    ("bad::mutually", "a recursion"),
    ("bad::of_a_callee", "of 500 bytes"),
    ("bad::of_a_function_passed_on", "of 500 bytes"),
    ("bad::own_frame", "of 200 bytes"),
    ("bad::recursive", "a recursion"),
    ("bad::through_a_drop", "of 500 bytes"),
    ("ok::exactly", "of 1200 bytes"),
    ("ok::leaves", "of 200 bytes"),
    ("ok::on_one_path", "of 700 bytes"),
    ("ok::passed_on", "of 200 bytes"),
    ("ok::small", "of 200 bytes"),
    ("ok::tail", "of 300 bytes"),
];

#[test]
fn budgets_are_kept_or_not() {
    for profile in ["lint", "dev"] {
        let (status, out, err) = check("stack", &["--stack", "--profile", profile, "--stop", "stack.list"]);
        assert_eq!(status, Some(1), "{err}");
        for (function, why) in BUDGETS {
            let said = said_of(&out, function);
            let verdict = if function.starts_with("ok") { "OK" } else { "BAD" };
            assert!(
                matches!(said[..], [l] if l.starts_with(verdict) && l.contains(why)),
                "{profile} {function}: {out}"
            );
        }
        assert_eq!(out.lines().filter(|l| l.starts_with("OK") || l.starts_with("BAD")).count(), BUDGETS.len(), "{out}");
        // The path says where the bytes are.
        let path = out.split("BAD stack::bad::of_a_callee").nth(1).expect("a verdict");
        let large = path.lines().find(|l| l.contains("stack::uses")).expect("the large frame");
        let bytes: u32 = large.split_whitespace().next().and_then(|n| n.parse().ok()).expect("a number");
        assert!((600..700).contains(&bytes), "{large}");
    }
}

const RANGES: &[(&str, &[&str])] = &[
    ("bad::changes_a_register", &["changes something before the end"]),
    ("bad::empty", &["it is empty"]),
    ("bad::entered_in_the_middle", &["jumps into the middle"]),
    ("bad::in_an_instruction", &["in the middle of an instruction"]),
    ("bad::in_no_table", &["it is in no table"]),
    ("bad::no_preempt_with_a_call", &["leaves it and may come back"]),
    ("bad::store_too_early", &["changes something before the end"]),
    ("bad::two_stores", &["changes something before the end"]),
    ("bad::with_a_call", &["leaves it and may come back"]),
    ("bad::without_its_store", &["it is in no table", "is not its one store"]),
];

#[test]
fn ranges_are_what_the_code_shows() {
    let (status, out, err) = check("ranges", &["--ranges"]);
    assert_eq!(status, Some(1), "{err}");
    for (function, whys) in RANGES {
        let said = said_of(&out, function);
        assert!(
            said.len() == whys.len() && said.iter().zip(*whys).all(|(l, why)| l.contains(why)),
            "{function}: {said:?} in {out}"
        );
    }
    let wrong: usize = RANGES.iter().map(|(_, whys)| whys.len()).sum();
    assert!(out.contains(&format!("9 restartable, 2 no-preempt ranges, {wrong} wrong")), "{out}");
}

#[test]
fn a_program_without_records_is_refused() {
    for (arguments, why) in [(["--stack"], "no stack records"), (["--ranges"], "no ranges")] {
        let (status, out, err) = check("unmarked", &arguments);
        assert_eq!((status, &out[..]), (Some(2), ""), "{err}");
        assert!(err.contains(why), "{err}");
    }
}
