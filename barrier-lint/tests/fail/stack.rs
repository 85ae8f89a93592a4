//! Stack attributes that say too little, or stand in the wrong place.
use barrier_lint::{SystemStack, nosplit, systemstack};

#[nosplit]
fn no_budget() {}
#[nosplit(budget = 0)]
fn nothing() {}
#[nosplit(bytes = 8)]
fn other_word() {}
#[nosplit(budget = 800)]
async fn later() {}
#[nosplit(budget = 800)]
struct NotAFunction;

#[systemstack]
fn no_token(_g: usize) {}
#[systemstack]
fn owned_token(_on: SystemStack) {}
#[systemstack]
fn scans(_on: &SystemStack) {}

fn on_a_goroutine() {
    scans()
}

fn main() {}
