//! `--stack`: no path from a `#[nosplit]` function uses more stack than its budget.
//!
//! Depth of a function: its own frame, or what is in use of it at a call, plus eight bytes for the return address, plus the
//! depth of the callee; the largest of those. A function whose address is taken counts as called there. The walk ends at
//! `#[systemstack]` functions and at those of the stop list, which never come back, and where one that `switches` (a line of
//! that list) leaves its stack.

use std::collections::{BTreeMap, HashMap, HashSet};

use iced_x86::FlowControl;
use object::{Object, ObjectSection};

use crate::Refusal;
use crate::args::Options;
use crate::body::{self, How};
use crate::frame::{self, Frame};
use crate::lines::Lines;
use crate::program::{FunctionId, Program, Target};
use crate::rules::{self, List, Permit, Rule};

/// In place of a budget: here another stack begins.
const SYSTEM_STACK: u64 = u64::MAX;

/// A function on the deepest path, and how much of its frame is in use there.
struct Step {
    id: FunctionId,
    used: u64,
}

/// The deepest path from a function.
struct Depth {
    bytes: u64,
    path: Vec<Step>,
}

/// Why a path has no depth: the functions on it, and what is wrong with the last one.
struct Endless {
    path: Vec<FunctionId>,
    why: String,
}

struct Stacks<'a> {
    program: &'a Program,
    lines: &'a Lines,
    rules: &'a [Rule],
    /// Functions on other stacks.
    elsewhere: HashSet<FunctionId>,
    known: HashMap<FunctionId, Depth>,
    on_path: Vec<FunctionId>,
}

/// Prints a verdict per `#[nosplit]` function; gives the exit status.
pub fn run(program: &Program, lines: &Lines, name: &str, options: &Options) -> Result<u8, Refusal> {
    let mut list = Vec::new();
    for file in &options.stop {
        list.extend(rules::read(List::Stop, file, name)?);
    }
    let (budgets, elsewhere) = records(program, lines)?;
    let mut stacks = Stacks { program, lines, rules: &list, elsewhere, known: HashMap::new(), on_path: Vec::new() };
    let mut bad = 0;
    for (&id, &budget) in &budgets {
        let root = &program.functions[id].name;
        match stacks.depth(id) {
            Ok(()) => {
                let depth = &stacks.known[&id];
                let fits = depth.bytes <= budget;
                let (verdict, bytes) = (if fits { "OK" } else { "BAD" }, depth.bytes);
                println!("{verdict} {root}: {bytes} of {budget} bytes");
                for step in depth.path.iter().filter(|_| !fits) {
                    println!(
                        "    {:6} bytes in {}{}",
                        step.used,
                        program.functions[step.id].name,
                        stacks.place(step.id)
                    );
                }
                bad += usize::from(!fits);
            }
            Err(endless) => {
                bad += 1;
                println!("BAD {root}: {}", endless.why);
                for id in endless.path {
                    println!("           through {}{}", program.functions[id].name, stacks.place(id));
                }
            }
        }
    }
    println!(
        "{name}: {} budgets, {bad} not kept; the walk ends at {} functions on the system stack",
        budgets.len(),
        stacks.elsewhere.len()
    );
    Ok(u8::from(bad > 0))
}

type Budgets = BTreeMap<FunctionId, u64>;

fn records(program: &Program, lines: &Lines) -> Result<(Budgets, HashSet<FunctionId>), Refusal> {
    let section = program.elf.section_by_name("barrier_lint_stack").and_then(|s| Some((s.address(), s.data().ok()?)));
    let Some((start, data)) = section else {
        return Err(Refusal(
            "no stack records: no function in the program is #[nosplit], or it was not built by this tool".to_owned(),
        ));
    };
    let (mut budgets, mut elsewhere) = (Budgets::new(), HashSet::new());
    for (i, entry) in data.chunks_exact(16).enumerate() {
        let word = |n: usize| u64::from_le_bytes(std::array::from_fn(|b| entry[n * 8 + b]));
        let at = (start + i as u64 * 16).wrapping_add(word(0));
        let Some(id) = program.function_around(at) else {
            return Err(Refusal(format!("the stack record of address {at:#x} is in no function of the symbol table")));
        };
        if let [own, .., _] = &lines.frames(at)[..] {
            return Err(Refusal(format!(
                "INLINED record: `{}` was inlined into `{}`, which would be taken for it",
                own.function, program.functions[id].name
            )));
        }
        match word(1) {
            SYSTEM_STACK => drop(elsewhere.insert(id)),
            budget => drop(budgets.insert(id, budget)),
        }
    }
    if budgets.is_empty() {
        return Err(Refusal("no budget: no function of the program is #[nosplit]".to_owned()));
    }
    Ok((budgets, elsewhere))
}

impl Stacks<'_> {
    fn place(&self, id: FunctionId) -> String {
        let frames = self.lines.frames(self.program.functions[id].start);
        frames.last().map(|f| format!(" at {}:{}", f.file, f.line)).unwrap_or_default()
    }

    fn is_stopped(&self, name: &str) -> bool {
        self.permits(&Permit::Stop(name.to_owned()))
    }

    fn switches(&self, name: &str) -> bool {
        self.permits(&Permit::Switches(name.to_owned()))
    }

    fn permits(&self, permit: &Permit) -> bool {
        self.rules.iter().any(|r| r.permit == *permit)
    }

    fn endless<T>(&self, why: String) -> Result<T, Endless> {
        Err(Endless { path: self.on_path.clone(), why })
    }

    fn line(&self, at: u64) -> String {
        let frames = self.lines.frames(at);
        frames.first().map(|f| format!(" at {}:{}", f.file, f.line)).unwrap_or_default()
    }

    /// Puts the depth of a function into `known`.
    fn depth(&mut self, id: FunctionId) -> Result<(), Endless> {
        if self.known.contains_key(&id) {
            return Ok(());
        }
        if self.on_path.contains(&id) {
            self.on_path.push(id);
            let result = self.endless("a recursion: no number of bytes is enough".to_owned());
            self.on_path.clear();
            return result;
        }
        self.on_path.push(id);
        let result = self.below(id);
        if result.is_err() {
            self.on_path.clear();
            return result;
        }
        self.on_path.pop();
        Ok(())
    }

    fn below(&mut self, id: FunctionId) -> Result<(), Endless> {
        let function = &self.program.functions[id];
        let switches = self.switches(&function.name);
        let frame: Frame = match frame::read(self.program, function, switches) {
            Ok(frame) => frame,
            Err(unknown) => {
                let line = self.line(unknown.at);
                return self
                    .endless(format!("a frame whose size only run time knows: `{}`{line}", unknown.instruction));
            }
        };
        let body = body::read(self.program, function);
        let code = body::instructions(self.program, function);
        let calls: HashMap<u64, FlowControl> = code.iter().map(|i| (i.ip(), i.flow_control())).collect();
        let leaves = |at| switches && calls.get(&at) == Some(&FlowControl::IndirectBranch);
        if let Some(indirect) = body.indirect.iter().find(|i| !leaves(i.at)) {
            let line = self.line(indirect.at);
            return self
                .endless(format!("an indirect call, which may need any stack: `{}`{line}", indirect.instruction));
        }
        // A function's way back to itself is no way out, and so no edge.
        if let Some(call) = code.iter().find(|i| {
            i.flow_control() == FlowControl::Call && (function.start..function.end).contains(&i.near_branch_target())
        }) {
            self.on_path.push(id);
            return self.endless(format!("a recursion: no number of bytes is enough{}", self.line(call.ip())));
        }
        let mut deepest = Depth { bytes: frame.size, path: vec![Step { id, used: frame.size }] };
        for edge in &body.edges {
            let callee = match &edge.to {
                Target::Function(to) if self.elsewhere.contains(to) => continue,
                // A jump back to the start, or an address that is kept: recursion is found where it is called.
                Target::Function(to) if *to == id && edge.how == How::Takes => continue,
                Target::Function(to) => *to,
                other => {
                    let name = match other {
                        Target::External(name) => name.clone(),
                        other => self.program.name(other),
                    };
                    if self.is_stopped(&name) {
                        continue;
                    }
                    let line = self.line(edge.at);
                    return self
                        .endless(format!("code whose frame cannot be read: {}{line}", self.program.name(other)));
                }
            };
            let name = self.program.functions[callee].name.clone();
            if self.is_stopped(&name) {
                continue;
            }
            self.depth(callee)?;
            let jumps = matches!(
                calls.get(&edge.at),
                Some(FlowControl::UnconditionalBranch | FlowControl::ConditionalBranch | FlowControl::IndirectBranch)
            );
            let used = frame.used_at(edge.at) + if jumps { 0 } else { 8 };
            let of_callee = &self.known[&callee];
            if used + of_callee.bytes > deepest.bytes {
                let path = of_callee.path.iter().map(|s| Step { id: s.id, used: s.used });
                deepest = Depth {
                    bytes: used + of_callee.bytes,
                    path: [Step { id, used }].into_iter().chain(path).collect(),
                };
            }
        }
        self.known.insert(id, deepest);
        Ok(())
    }
}
