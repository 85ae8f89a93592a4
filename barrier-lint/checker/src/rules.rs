//! The lists of what the walk may pass by, each line with its reason.
//!
//! ```text
//! # Stop list: the walk does not enter these functions.
//! core::panicking::panic_fmt: ends the process, since nothing of ours unwinds
//!
//! # Of stacks alone: what it has used when it leaves for another one counts.
//! switches my::switch: goes on with the scheduler's stack
//!
//! # Allow list.
//! indirect my::dispatch: the table holds marked functions only
//! address my::newm -> my::mstart: runs on another thread
//!
//! [my_program]
//! indirect my::helper: only in the program of that name
//! ```
//!
//! Names are exact. A line that no walk needed is an error: it hides something, or nothing.

use std::fmt;
use std::path::Path;

use crate::Refusal;

/// What a line permits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Permit {
    /// Not to enter this function.
    Stop(String),
    /// That this function leaves its stack for another one by a write to the stack pointer and a jump.
    Switches(String),
    /// Indirect calls that this function's own code makes, inlined or not.
    Indirect(String),
    /// That the first takes the address of the second, and nobody below the root calls it.
    Address(String, String),
}

impl Permit {
    /// Whose indirect calls are permitted.
    pub fn indirect(&self) -> Option<&str> {
        if let Permit::Indirect(name) = self { Some(name) } else { None }
    }

    /// Who may take whose address.
    pub fn address(&self) -> Option<(&str, &str)> {
        if let Permit::Address(from, to) = self { Some((from, to)) } else { None }
    }
}

impl fmt::Display for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Permit::Stop(name) => write!(f, "{name}"),
            Permit::Switches(name) => write!(f, "switches {name}"),
            Permit::Indirect(name) => write!(f, "indirect {name}"),
            Permit::Address(from, to) => write!(f, "address {from} -> {to}"),
        }
    }
}

/// A line of a list.
#[derive(Clone, Debug)]
pub struct Rule {
    pub permit: Permit,
    /// File and line.
    pub place: String,
}

/// Which of the two lists a file is.
#[derive(Clone, Copy)]
pub enum List {
    Stop,
    Allow,
}

/// Reads a list, as far as it concerns a program.
pub fn read(list: List, path: &Path, program: &str) -> Result<Vec<Rule>, Refusal> {
    let text = std::fs::read_to_string(path).map_err(|e| Refusal(format!("{}: {e}", path.display())))?;
    parse(list, &text, &path.display().to_string(), program)
}

fn parse(list: List, text: &str, file: &str, program: &str) -> Result<Vec<Rule>, Refusal> {
    let mut rules: Vec<Rule> = Vec::new();
    let mut concerned = true;
    for (i, line) in text.lines().enumerate() {
        let (place, line) = (format!("{file}:{}", i + 1), line.trim());
        let refuse = |text: &str| Err(Refusal(format!("{place}: {text}: `{line}`")));
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            concerned = name == program;
            continue;
        }
        let Some((what, reason)) = line.split_once(": ").map(|(w, r)| (w.trim(), r.trim())) else {
            return refuse("expected `what: reason`");
        };
        if reason.is_empty() || what.is_empty() {
            return refuse("expected `what: reason`, neither empty");
        }
        let permit = match (list, what.split_once(' ')) {
            (List::Stop, Some(("switches", name))) => Permit::Switches(name.trim().to_owned()),
            (List::Stop, _) => Permit::Stop(what.to_owned()),
            (List::Allow, Some(("indirect", name))) => Permit::Indirect(name.trim().to_owned()),
            (List::Allow, Some(("address", pair))) => match pair.split_once(" -> ") {
                Some((from, to)) => Permit::Address(from.trim().to_owned(), to.trim().to_owned()),
                None => return refuse("expected `address FUNCTION -> FUNCTION: reason`"),
            },
            (List::Allow, _) => return refuse("expected `indirect …` or `address …`"),
        };
        if rules.iter().any(|r| r.permit == permit) {
            return refuse("stands here twice");
        }
        if concerned {
            rules.push(Rule { permit, place });
        }
    }
    Ok(rules)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allow(text: &str) -> Result<Vec<Rule>, String> {
        parse(List::Allow, text, "allow", "p").map_err(|r| r.0)
    }

    #[test]
    fn lines_have_a_reason_and_a_form() {
        let rules = allow("# comment\n\nindirect a::b: because\naddress <A as B>::c -> d: also\n").unwrap();
        assert_eq!(rules[0].permit, Permit::Indirect("a::b".into()));
        assert_eq!(rules[1].permit, Permit::Address("<A as B>::c".into(), "d".into()));
        assert_eq!(rules[1].place, "allow:4");
        for (bad, why) in [
            ("indirect a::b", "allow:1: expected `what: reason`: `indirect a::b`"),
            ("indirect a::b: ", "allow:1: expected `what: reason`: `indirect a::b:`"),
            ("call a: r", "allow:1: expected `indirect …` or `address …`: `call a: r`"),
            ("address a: r", "allow:1: expected `address FUNCTION -> FUNCTION: reason`: `address a: r`"),
            ("indirect a: r\nindirect a: s", "allow:2: stands here twice: `indirect a: s`"),
        ] {
            assert_eq!(allow(bad).unwrap_err(), why);
        }
    }

    #[test]
    fn a_heading_limits_lines_to_one_program() {
        let rules = allow("indirect a: all\n[q]\nindirect b: other\n[p]\nindirect c: this\n").unwrap();
        let names: Vec<_> = rules.iter().map(|r| &r.permit).collect();
        assert_eq!(names, [&Permit::Indirect("a".into()), &Permit::Indirect("c".into())]);
    }
}
