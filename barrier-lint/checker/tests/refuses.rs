//! A checker that cannot check must not look like one that found nothing.

use std::process::Command;

#[test]
fn unbuilt_walk_is_an_error() {
    let out = Command::new(env!("CARGO_BIN_EXE_cargo-barrier-lint")).output().expect("the checker starts");
    assert_eq!(out.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&out.stderr).contains("Nothing was checked"));
}
