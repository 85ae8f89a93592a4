//! `--ranges`: the tables that say where a thread may not be preempted, against the code that they are about.
//!
//! An entry is two self-relative 32-bit words: the first instruction of a range, and the one behind its last.
//!
//! * `wb_ranges`, *restartable*: a thread found there is sent back to the start. So nothing but flags may have changed
//!   before the last instruction, which is the only store.
//! * `no_preempt_ranges`: a thread found there goes on. So it must come out again by itself: no call, no way back.
//!
//! An empty entry that points to the entry itself only makes sure that the table exists.
//!
//! Both are one sequence: whole instructions of one function, entered at the start only. A table is complete if every
//! place in the program that begins like a restartable range is one.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use iced_x86::{FlowControl, Instruction, InstructionInfoFactory, OpAccess, OpKind};
use object::{Object, ObjectSection};

use crate::Refusal;
use crate::body::{self, shown};
use crate::lines::Lines;
use crate::program::{FunctionId, Program};

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Restartable,
    NoPreempt,
}

const TABLES: [(Kind, &str, &str); 2] =
    [(Kind::Restartable, "wb_ranges", "restartable"), (Kind::NoPreempt, "no_preempt_ranges", "no-preempt")];

/// Prints what is wrong with the ranges; gives the exit status.
pub fn run(program: &Program, lines: &Lines, name: &str) -> Result<u8, Refusal> {
    let mut counts = Vec::new();
    let mut wrong: BTreeSet<String> = BTreeSet::new();
    for (kind, section, word) in TABLES {
        let ranges = entries(program, section);
        let mut starts = BTreeMap::new();
        for range in &ranges {
            if let Err(why) = check(program, kind, range) {
                wrong.insert(format!("BAD {word} range {}: {why}", place(program, lines, range.start)));
            } else {
                starts.insert(range.start, range.clone());
            }
        }
        if kind == Kind::Restartable {
            for at in unlisted(program, &starts) {
                wrong.insert(format!("BAD {word} range {}: it is in no table", place(program, lines, at)));
            }
        }
        counts.push(format!("{} {word}", ranges.len()));
    }
    if counts.iter().all(|c| c.starts_with("0 ")) {
        return Err(Refusal(
            "no ranges: the program has neither a section `wb_ranges` nor `no_preempt_ranges`".to_owned(),
        ));
    }
    wrong.iter().for_each(|w| println!("{w}"));
    println!("{name}: {} ranges, {} wrong", counts.join(", "), wrong.len());
    Ok(u8::from(!wrong.is_empty()))
}

fn entries(program: &Program, name: &str) -> Vec<Range<u64>> {
    let Some(section) = program.elf.section_by_name(name) else { return Vec::new() };
    let Ok(data) = section.data() else { return Vec::new() };
    let entry = |(i, bytes): (usize, &[u8])| {
        let at = section.address() + i as u64 * 8;
        let word = |n: usize| {
            let offset = i32::from_le_bytes(std::array::from_fn(|b| bytes[n * 4 + b]));
            (at + n as u64 * 4).wrapping_add_signed(offset.into())
        };
        (at, word(0)..word(1))
    };
    let all = data.chunks_exact(8).enumerate().map(entry);
    all.filter(|(at, range)| *range != (*at..*at)).map(|(_, range)| range).collect()
}

fn place(program: &Program, lines: &Lines, at: u64) -> String {
    let function = program.function_around(at).map_or("no function", |id| &program.functions[id].name);
    let frames = lines.frames(at);
    let line = frames.first().map(|f| format!(" at {}:{}", f.file, f.line)).unwrap_or_default();
    format!("in {function}{line}")
}

fn branch(instruction: &Instruction) -> Option<u64> {
    matches!(instruction.op0_kind(), OpKind::NearBranch16 | OpKind::NearBranch32 | OpKind::NearBranch64)
        .then(|| instruction.near_branch_target())
}

fn check(program: &Program, kind: Kind, range: &Range<u64>) -> Result<(), String> {
    if range.is_empty() {
        return Err(format!("it is empty, from {:#x} to {:#x}", range.start, range.end));
    }
    let function: FunctionId = program
        .function_around(range.start)
        .filter(|&id| range.end <= program.functions[id].end)
        .ok_or("it is not inside one function of the symbol table")?;
    let code = body::instructions(program, &program.functions[function]);
    let is_boundary = |at| code.iter().any(|i| i.ip() == at || i.next_ip() == at);
    if !is_boundary(range.start) || !is_boundary(range.end) {
        return Err("it begins or ends in the middle of an instruction".to_owned());
    }
    if let Some(from) = code.iter().find(|i| branch(i).is_some_and(|to| range.start < to && to < range.end)) {
        return Err(format!("`{}` at {:#x} jumps into the middle of it", shown(from), from.ip()));
    }
    let inside: Vec<&Instruction> = code.iter().filter(|i| range.contains(&i.ip())).collect();
    let mut info = InstructionInfoFactory::new();
    for (n, instruction) in inside.iter().enumerate() {
        let text = shown(instruction);
        match instruction.flow_control() {
            FlowControl::Next => {}
            FlowControl::ConditionalBranch | FlowControl::UnconditionalBranch => {}
            _ => return Err(format!("`{text}` leaves it and may come back")),
        }
        if kind == Kind::NoPreempt {
            continue;
        }
        let info = info.info(instruction);
        let is_write =
            |a| matches!(a, OpAccess::Write | OpAccess::CondWrite | OpAccess::ReadWrite | OpAccess::ReadCondWrite);
        let stores = info.used_memory().iter().filter(|m| is_write(m.access())).count();
        let is_last = n + 1 == inside.len();
        if is_last && stores != 1 {
            return Err(format!("its last instruction, `{text}`, is not its one store"));
        }
        if !is_last && (stores > 0 || info.used_registers().iter().any(|r| is_write(r.access()))) {
            return Err(format!("`{text}` changes something before the end, so it cannot be restarted"));
        }
    }
    Ok(())
}

/// Places that begin with the same instruction as a restartable range, and are none.
fn unlisted(program: &Program, ranges: &BTreeMap<u64, Range<u64>>) -> Vec<u64> {
    let first = |at: u64| {
        let bytes = program.bytes_at(at)?;
        let instruction = iced_x86::Decoder::with_ip(64, bytes, at, iced_x86::DecoderOptions::NONE).decode();
        // One that depends on where it stands says nothing of others.
        (!instruction.is_ip_rel_memory_operand()).then(|| &bytes[..instruction.len()])
    };
    let firsts: BTreeSet<&[u8]> = ranges.keys().filter_map(|&at| first(at)).collect();
    let all = program.functions.iter().flat_map(|f| {
        let code = body::instructions(program, f).into_iter();
        let bytes = |i: &Instruction| program.bytes_at(i.ip()).map(|b| &b[..i.len()]);
        code.filter(|i| bytes(i).is_some_and(|b| firsts.contains(b))).map(|i| i.ip()).collect::<Vec<_>>()
    });
    all.filter(|at| !ranges.contains_key(at)).collect()
}
