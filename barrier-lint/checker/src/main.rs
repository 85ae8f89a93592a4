//! `cargo barrier-lint`: walks a linked program from every recorded root and prints the chain to any barrier.
//!
//! `target` builds the program with records, `program` and `lines` read it, `records` finds the roots, `body` and `flow`
//! read one function, `walk` goes from one to the next, `rules` says what it may pass by, `check` judges all roots and
//! the check itself.
#![forbid(unsafe_code)]

mod args;
mod body;
mod check;
mod explain;
mod flow;
mod frame;
mod lines;
mod program;
mod ranges;
mod records;
mod report;
mod rules;
mod stack;
mod target;
mod walk;

use std::path::Path;
use std::process::ExitCode;

use args::Options;

/// Why the check cannot be made.
#[derive(Debug)]
pub struct Refusal(pub String);

/// A root reaches a barrier, or nobody knows.
const GUILTY: u8 = 1;
/// The check itself could not be made, or permits more than it needs to.
const CANNOT_CHECK: u8 = 2;

fn main() -> ExitCode {
    let mut options = match Options::read(std::env::args_os()) {
        Ok(options) => options,
        Err(error) => error.exit(),
    };
    let paths = match options.path.clone() {
        Some(path) => Ok(vec![path]),
        None => target::build(&mut options),
    };
    let paths = match paths {
        Ok(paths) => paths,
        Err(refusal) => return refused("", &refusal),
    };
    let mut status = 0;
    for path in paths {
        match one(&path, &options) {
            Ok(of_this) => status = status.max(of_this),
            Err(refusal) => return refused(&format!("{}: ", path.display()), &refusal),
        }
    }
    ExitCode::from(status)
}

fn refused(what: &str, refusal: &Refusal) -> ExitCode {
    for line in refusal.0.lines() {
        eprintln!("cargo-barrier-lint: {what}{line}");
    }
    eprintln!("cargo-barrier-lint: no verdict");
    ExitCode::from(CANNOT_CHECK)
}

/// Checks one program; gives the exit status for it.
fn one(path: &Path, options: &Options) -> Result<u8, Refusal> {
    if options.stack || options.ranges {
        let (program, lines) = check::read(path)?;
        let name = check::program_name(path);
        return match options.stack {
            true => stack::run(&program, &lines, &name, options),
            false => ranges::run(&program, &lines, &name),
        };
    }
    let subject = check::Subject::load(path, options)?;
    let walker = subject.walker(options)?;
    if let Some(name) = &options.explain {
        explain::explain(&subject, &walker, name)?;
        return Ok(0);
    }
    let outcome = check::run(&walker, options)?;
    if options.json {
        let text = serde_json::to_string(&subject.json(&outcome)).map_err(|e| Refusal(e.to_string()))?;
        println!("{text}");
    } else {
        subject.print(&outcome);
    }
    for line in &outcome.idle {
        eprintln!("cargo-barrier-lint: {line}");
    }
    Ok(match outcome.roots.iter().all(|(_, f)| f.verdict.is_ok()) {
        _ if !outcome.idle.is_empty() => CANNOT_CHECK,
        true => 0,
        false => GUILTY,
    })
}
