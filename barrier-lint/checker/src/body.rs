//! What one function calls: its instructions, read once.

use iced_x86::{Decoder, DecoderOptions, FlowControl, Formatter, Instruction, IntelFormatter, Mnemonic, OpKind};

use crate::flow;
use crate::program::{Function, Program, Target};

/// How a function reaches another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum How {
    Calls,
    /// Passes its address on, or keeps it: somebody may call it.
    Takes,
}

/// A way out of a function.
#[derive(Clone, Debug)]
pub struct Edge {
    pub at: u64,
    pub how: How,
    pub to: Target,
}

/// A call whose target the code does not say.
#[derive(Clone, Debug)]
pub struct Indirect {
    pub at: u64,
    pub instruction: String,
}

/// The ways out of a function.
#[derive(Default)]
pub struct Body {
    pub edges: Vec<Edge>,
    pub indirect: Vec<Indirect>,
}

/// The instructions of a function.
pub fn instructions(program: &Program, function: &Function) -> Vec<Instruction> {
    let size = (function.end - function.start) as usize;
    let Some(bytes) = program.bytes_at(function.start) else { return Vec::new() };
    let bytes = &bytes[..size.min(bytes.len())];
    Decoder::with_ip(64, bytes, function.start, DecoderOptions::NONE).into_iter().collect()
}

pub fn shown(instruction: &Instruction) -> String {
    let mut text = String::new();
    IntelFormatter::new().format(instruction, &mut text);
    text
}

/// Reads a function.
pub fn read(program: &Program, function: &Function) -> Body {
    let code = instructions(program, function);
    let mut body = Body::default();
    let mut open = Vec::new();
    for (i, instruction) in code.iter().enumerate() {
        let at = instruction.ip();
        let mut edge = |how, to| body.edges.push(Edge { at, how, to });
        match instruction.flow_control() {
            FlowControl::Call
            | FlowControl::UnconditionalBranch
            | FlowControl::ConditionalBranch
            | FlowControl::XbeginXabortXend => match instruction.op0_kind() {
                OpKind::NearBranch16 | OpKind::NearBranch32 | OpKind::NearBranch64 => {
                    let to = instruction.near_branch_target();
                    let inside = function.start < to && to < function.end;
                    if !inside && to != function.start {
                        edge(How::Calls, program.target(to));
                    }
                }
                OpKind::FarBranch16 | OpKind::FarBranch32 => open.push(i),
                _ => {}
            },
            FlowControl::IndirectCall | FlowControl::IndirectBranch => match instruction.is_ip_rel_memory_operand() {
                true => match program.constant_code(instruction.ip_rel_memory_address()) {
                    Some(to) => edge(How::Calls, to),
                    None => open.push(i),
                },
                false => open.push(i),
            },
            _ if instruction.is_invalid() => open.push(i),
            _ => {
                if let Some(to) = taken(program, instruction)
                    && to != Target::Function(program.function_at(function.start).unwrap_or(usize::MAX))
                {
                    edge(How::Takes, to);
                }
            }
        }
    }
    if let Some(last) = code.last()
        && matches!(last.flow_control(), FlowControl::Next | FlowControl::ConditionalBranch)
    {
        body.edges.push(Edge { at: last.ip(), how: How::Calls, to: program.target(function.end) });
    }
    if !open.is_empty() {
        let resolved = flow::resolve(program, function, &code, &open);
        for (i, known) in open.into_iter().zip(resolved) {
            let at = code[i].ip();
            match known {
                Some(targets) => body.edges.extend(targets.into_iter().map(|to| Edge { at, how: How::Calls, to })),
                None => body.indirect.push(Indirect { at, instruction: shown(&code[i]) }),
            }
        }
    }
    body
}

/// The function whose address an instruction that is no call takes.
fn taken(program: &Program, instruction: &Instruction) -> Option<Target> {
    if instruction.is_ip_rel_memory_operand() {
        let address = instruction.ip_rel_memory_address();
        return match instruction.mnemonic() {
            Mnemonic::Lea => code_at(program, address),
            _ => program.constant_code(address).filter(|t| !matches!(t, Target::Nowhere(_))),
        };
    }
    if program.position_independent {
        return None;
    }
    let is_immediate =
        |i| matches!(instruction.op_kind(i), OpKind::Immediate32 | OpKind::Immediate64 | OpKind::Immediate32to64);
    let i = (0..instruction.op_count()).find(|&i| is_immediate(i))?;
    program.function_at(instruction.immediate(i)).map(Target::Function)
}

/// The function at an address in code, a stub included. An address in the middle of a function is no function's.
pub fn code_at(program: &Program, address: u64) -> Option<Target> {
    program.bytes_at(address)?;
    match program.function_at(address) {
        Some(id) => Some(Target::Function(id)),
        None if program.function_around(address).is_some() => None,
        None => Some(program.target(address)),
    }
}
