//! The injection stress notices what it is there to notice. (It runs as a program: `tricolor_tests::injection`.)
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use std::process::{Command, Output};

fn injection(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_injection")).args(arguments).output().expect("the program runs")
}

fn errors(out: &Output) -> String {
    String::from_utf8_lossy(&out.stderr).into_owned()
}

#[test]
fn registers_of_another_goroutine_are_noticed() {
    let out = injection(&["5000", "xregs-of-another"]);
    assert!(!out.status.success(), "nobody noticed that vector registers were mixed up");
    // Or worse: pointers were mixed up.
    let err = errors(&out);
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
