//! The whole check of one program.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::Refusal;
use crate::args::Options;
use crate::lines::Lines;
use crate::program::{FunctionId, Program};
use crate::records::{Kind, Records};
use crate::rules::{self, List, Rule};
use crate::walk::{Finding, Lists, Verdict, Walker};

/// A program that has been read, with what it says about itself.
pub struct Subject {
    pub name: String,
    pub program: Program,
    pub lines: Lines,
    pub records: Records,
    pub rules: Vec<Rule>,
}

/// Reads a program and its line tables.
pub fn read(path: &Path) -> Result<(Program, Lines), Refusal> {
    let bytes = std::fs::read(path).map_err(|e| Refusal(e.to_string()))?;
    let program = Program::parse(bytes)?;
    let lines = Lines::of(&program)?;
    Ok((program, lines))
}

impl Subject {
    /// Reads a program, or says why it cannot be checked.
    pub fn load(path: &Path, options: &Options) -> Result<Subject, Refusal> {
        let (program, lines) = read(path)?;
        let records = Records::read(&program, &lines, &options.records)?;
        let name = program_name(path);
        let mut rules = Vec::new();
        for (list, files) in [(List::Stop, &options.stop), (List::Allow, &options.allow)] {
            for file in files {
                rules.extend(rules::read(list, file, &name)?);
            }
        }
        Ok(Subject { name, program, lines, records, rules })
    }

    /// The walker over this program, if there is anything to look for.
    pub fn walker(&self, options: &Options) -> Result<Walker<'_>, Refusal> {
        let forbidden = options.forbidden();
        if self.records.sites.is_empty() && !forbidden.iter().any(|name| self.program.has(name)) {
            let functions = match forbidden.is_empty() {
                true => "--forbid names no function".to_owned(),
                false => format!("the program has no function `{}`", forbidden.join("`, `")),
            };
            return Err(Refusal(format!("nothing to look for: {functions}, and there is no recorded site")));
        }
        Ok(Walker::new(&self.program, &self.lines, &self.records, &self.rules, &forbidden))
    }
}

/// The name of the target: test programs carry a hash.
pub fn program_name(path: &Path) -> String {
    let stem = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let hashed =
        stem.rsplit_once('-').filter(|(_, hash)| hash.len() == 16 && hash.bytes().all(|b| b.is_ascii_hexdigit()));
    hashed.map_or(stem.clone(), |(name, _)| name.to_owned())
}

/// What became of the roots.
pub struct Outcome {
    pub roots: Vec<(FunctionId, Finding)>,
    pub canaries: usize,
    /// What is wrong with the lists: lines that serve for nothing.
    pub idle: Vec<String>,
    /// Time for the walk, without the build and the reading.
    pub time: Duration,
    pub read: usize,
}

impl Outcome {
    pub fn count(&self, of: impl Fn(&Verdict) -> bool) -> usize {
        self.roots.iter().filter(|(_, f)| of(&f.verdict)).count()
    }
}

/// Judges all roots; refuses if the check cannot fail.
pub fn run(walker: &Walker, options: &Options) -> Result<Outcome, Refusal> {
    let start = Instant::now();
    let records = walker.records;
    let mut roots: Vec<FunctionId> = records.of_kind(Kind::Root).chain(records.of_kind(Kind::Own)).collect();
    roots.sort_by_key(|&id| (&walker.program.functions[id].name, id));
    roots.dedup();
    let mut wrong = Vec::new();
    if roots.is_empty() {
        wrong.push("no root: no function of the program is recorded as free of barriers".to_owned());
    }
    let findings: Vec<_> = roots.into_iter().map(|id| (id, walker.judge(id, Lists::Hold))).collect();
    let canaries = judge_canaries(walker, options, &mut wrong);
    if options.complete {
        wrong.extend(records.absent.iter().map(|name| format!("marked, but not in this program: {name}")));
    }
    if !wrong.is_empty() {
        return Err(Refusal(wrong.join("\n")));
    }
    let idle = walker.rules.iter().enumerate().filter_map(|(n, rule)| {
        let why = idle(walker, &findings, n)?;
        Some(format!("{}: {why}: `{}`", rule.place, rule.permit))
    });
    let idle = idle.collect();
    Ok(Outcome { roots: findings, canaries, idle, time: start.elapsed(), read: walker.read.get() })
}

fn judge_canaries(walker: &Walker, options: &Options, wrong: &mut Vec<String>) -> usize {
    let canaries: Vec<FunctionId> = walker.records.of_kind(Kind::Canary).collect();
    if canaries.is_empty() && !options.without_canaries {
        wrong.push(
            "no canary: nothing shows that this check can fail. Mark a function that reaches a barrier #[canary], or \
             say --without-canaries"
                .to_owned(),
        );
    }
    for &id in &canaries {
        if !matches!(walker.judge(id, Lists::Hold).verdict, Verdict::Bad(_)) {
            wrong.push(format!(
                "the canary `{}` was not condemned: barriers have been optimised away, or this tool does not see them",
                walker.program.functions[id].name
            ));
        }
    }
    canaries.len()
}

/// What is wrong with a rule, if anything: each must pass something by that would not be clean without it, and a
/// barrier put there, with the rule gone, must be found.
fn idle(walker: &Walker, findings: &[(FunctionId, Finding)], rule: usize) -> Option<&'static str> {
    let users: Vec<_> = findings.iter().filter(|(_, f)| f.rules.contains(&rule)).collect();
    if users.is_empty() {
        return Some("no root needs this line");
    }
    let is_needed = |(id, f): &&(FunctionId, Finding)| {
        !f.verdict.is_ok() || !walker.judge(*id, Lists::Without(rule)).verdict.is_ok()
    };
    if !users.iter().any(is_needed) {
        return Some("without this line every root is clean, too");
    }
    let finds =
        |(id, _): &&(FunctionId, Finding)| matches!(walker.judge(*id, Lists::BarrierAt(rule)).verdict, Verdict::Bad(_));
    (!users.iter().all(finds)).then_some("a barrier put where this line looks away would not be found")
}
