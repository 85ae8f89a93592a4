//! The suite's own checks are seen to fail: each gets what it is there to refuse.

use super::explore::{Plan, explore};
use super::properties::PROPERTIES;
use super::run::{Job, Outcome, report};
use super::{MODELS, Model, faults, find, properties};
use loom::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::panic::catch_unwind;
use std::sync::Arc;
use std::time::Instant;

/// Holds, in a few executions, and drives nothing.
const SMALL: Model = Model {
    name: "small",
    property: "two that add lose nothing",
    source: "here",
    threads: 2,
    bound: None,
    least: 1,
    run: || {
        let sum = Arc::new(AtomicUsize::new(0));
        let other = sum.clone();
        let thread = loom::thread::spawn(move || other.fetch_add(1, SeqCst));
        sum.fetch_add(1, SeqCst);
        thread.join().expect("the other one");
        assert_eq!(sum.load(SeqCst), 2);
    },
    drives: &[],
    twins: &["no-scavenger"],
};

fn held(executions: usize) -> Outcome {
    Outcome { held: Some(executions), why: String::new(), seconds: 0.0 }
}

fn failed(job: Job, outcome: Outcome) -> usize {
    report(&[job], &[outcome], &Plan::default(), Instant::now())
}

fn all_faults() -> impl Iterator<Item = &'static str> + Clone {
    gc_core::faults::ALL.iter().map(|(name, _)| *name)
}

#[test]
fn what_there_is_is_in_order() {
    properties::check(PROPERTIES, MODELS).unwrap();
    faults::check(all_faults(), MODELS, faults::ELSEWHERE).unwrap();
    assert!(MODELS.iter().all(|m| !m.twins.is_empty() && !m.drives.is_empty() && m.least > 0));
    let mut names: Vec<_> = MODELS.iter().map(|m| m.name).collect();
    names.sort_unstable();
    assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "two models of one name");
}

#[test]
fn a_property_whose_model_is_gone() {
    let why = properties::check(&[(7, "gone", &["mark-word", "no-such-model"])], MODELS).unwrap_err();
    assert!(why.contains("property 7 (gone)") && why.contains("no-such-model"), "{why}");
    assert!(properties::check(&[(7, "gone", &[])], MODELS).unwrap_err().contains("property 7"));
    // Each model that a property names is missed.
    for (number, _, names) in PROPERTIES {
        for name in *names {
            let others: Vec<Model> = MODELS.iter().filter(|m| m.name != *name).copied().collect();
            let why = properties::check(PROPERTIES, &others).unwrap_err();
            assert!(why.contains(name), "without {name}, of property {number}: {why}");
        }
    }
}

#[test]
fn a_function_that_is_never_entered() {
    static MODEL: Model = Model { drives: &["no_such_function"], ..SMALL };
    let panic = catch_unwind(|| explore(&MODEL, &Plan::default(), false)).unwrap_err();
    let why = panic.downcast_ref::<String>().expect("a message");
    assert!(why.contains("`no_such_function`"), "{why}");
}

#[test]
fn too_few_executions() {
    static MODEL: Model = Model { least: 1000, ..SMALL };
    let executions = explore(&MODEL, &Plan::default(), false);
    assert!((2..1000).contains(&executions), "{executions}");
    assert_eq!(failed((&MODEL, None), held(executions)), 1);
    assert_eq!(failed((&SMALL, None), held(executions)), 0);
}

#[test]
fn a_twin_that_passes() {
    let twin = Some("no-scavenger");
    gc_core::faults::choose(twin).unwrap();
    let executions = explore(&SMALL, &Plan::default(), false);
    gc_core::faults::choose(None).unwrap();
    assert_eq!(failed((&SMALL, twin), held(executions)), 1);
    let fails = |why: &str| Outcome { held: None, why: why.into(), seconds: 0.0 };
    assert_eq!(failed((&SMALL, twin), fails("X was freed")), 0);
    assert_eq!(failed((&SMALL, twin), fails("")), 1, "nobody can tell why it fails");
    assert_eq!(failed((&SMALL, None), fails("X was freed")), 1);
}

#[test]
fn a_fault_that_nobody_catches() {
    let why = faults::check(all_faults().chain(["new"]), MODELS, faults::ELSEWHERE).unwrap_err();
    assert!(why.contains("`new`"), "{why}");
    let why = faults::check(all_faults(), MODELS, &faults::ELSEWHERE[1..]).unwrap_err();
    assert!(why.contains(faults::ELSEWHERE[0].0), "{why}");
    let old = [faults::ELSEWHERE, &[("old", "tests/old.rs")]].concat();
    let why = faults::check(all_faults(), MODELS, &old).unwrap_err();
    assert!(why.contains("`old`") && why.contains("tests/old.rs"), "{why}");
    let model = Model { twins: &["older"], ..*find("mark-word").unwrap() };
    let models = [MODELS, &[model]].concat();
    let why = faults::check(all_faults(), &models, faults::ELSEWHERE).unwrap_err();
    assert!(why.contains("`older`") && why.contains("mark-word"), "{why}");
}

/// Where a test is said to catch a fault, it names that.
#[test]
fn tests_that_catch_faults_name_them() {
    for (fault, file) in faults::ELSEWHERE {
        let path = format!("{}/../{file}", env!("CARGO_MANIFEST_DIR"));
        let text =
            std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{file}, which is to catch `{fault}`: {e}"));
        assert!(text.contains(fault), "{file} does not name `{fault}`");
    }
}
