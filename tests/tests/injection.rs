//! The injection stress notices what it is there to notice. (It runs as a program: `tricolor_tests::injection`.)
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use std::process::{Command, Output};
use tricolor_tests::injection::{STUCK, WRONG};

fn injection(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_injection")).args(arguments).output().expect("the program runs")
}

fn errors(out: &Output) -> String {
    String::from_utf8_lossy(&out.stderr).into_owned()
}

#[test]
fn registers_of_another_goroutine_are_noticed() {
    let out = injection(&["5000", "xregs-of-another"]);
    let err = errors(&out);
    assert!(!out.status.success(), "nobody noticed that vector registers were mixed up");
    // By a wrong answer, or worse: pointers were mixed up, and a signal ended it, or it hung.
    if let Some(status) = out.status.code() {
        assert!(
            [WRONG, STUCK].contains(&status) || err.contains("fatal error") || err.contains("panicked"),
            "{status}: {err}"
        );
    }
    println!("{:?} {err}", out.status);
}

#[test]
fn what_it_does_not_understand_it_names() {
    for (arguments, named) in [(&["many"][..], "\"many\""), (&["10", "no-such-fault"], "no-such-fault")] {
        let out = injection(arguments);
        assert_eq!(out.status.code(), Some(2));
        assert!(errors(&out).contains(named), "{}", errors(&out));
    }
}
