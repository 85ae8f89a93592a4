//! How much stack one function uses: where its stack pointer is at each call.
//!
//! The offset (bytes below where the return address lies) is followed along all branches inside the function. Whatever
//! moves the stack pointer by an amount that the code does not say makes the frame unknown.

use std::collections::{BTreeMap, HashMap};

use iced_x86::{FlowControl, Instruction, InstructionInfoFactory, Mnemonic, OpAccess, OpKind, Register};

use crate::body::{self, shown};
use crate::program::{Function, Program};

/// What one function does to the stack.
pub struct Frame {
    /// The most that it uses itself, in bytes.
    pub size: u64,
    /// How much of it is in use at each instruction.
    at: BTreeMap<u64, State>,
}

/// Why a frame has no size: an instruction, and where.
pub struct Unknown {
    pub at: u64,
    pub instruction: String,
}

/// Offsets of the stack pointer and, once it is set, of the frame pointer.
#[derive(Clone, Copy, PartialEq)]
struct State {
    sp: i64,
    bp: Option<i64>,
}

impl Frame {
    /// How much is in use at an instruction.
    pub fn used_at(&self, at: u64) -> u64 {
        self.at.get(&at).map_or(self.size, |s| s.sp.max(0) as u64)
    }
}

/// `switches`: where it writes the stack pointer, it leaves for another stack.
pub fn read(program: &Program, function: &Function, switches: bool) -> Result<Frame, Unknown> {
    let code = body::instructions(program, function);
    let index: HashMap<u64, usize> = code.iter().enumerate().map(|(i, c)| (c.ip(), i)).collect();
    let mut info = InstructionInfoFactory::new();
    let mut at: BTreeMap<u64, State> = BTreeMap::new();
    let mut size = 0;
    let mut todo = vec![(0, State { sp: 0, bp: None })];
    let mut first_unseen = 0;
    loop {
        let Some((i, state)) = todo.pop() else {
            // Behind a jump table: the frame is as it was at its largest, as compilers set it up once.
            let Some(i) = (first_unseen..code.len()).find(|&i| !at.contains_key(&code[i].ip())) else { break };
            first_unseen = i;
            let bp = at.values().find_map(|s| s.bp);
            let sp = at.range(..code[i].ip()).next_back().map_or(0, |(_, s)| s.sp).max(size);
            todo.push((i, State { sp, bp }));
            continue;
        };
        let Some(instruction) = code.get(i) else { continue };
        match at.get(&instruction.ip()) {
            // A loop in which the stack pointer sinks, or two ways here with different frames: the deeper one counts.
            Some(known) if known.sp >= state.sp => continue,
            Some(known) if state.sp - known.sp > 0 && at.len() > code.len() * 8 => {
                return Err(unknown(instruction));
            }
            _ => {}
        }
        if state.sp > 1 << 24 {
            return Err(unknown(instruction));
        }
        at.insert(instruction.ip(), state);
        let Some(after) = step(instruction, state, &mut info) else {
            if switches && instruction.mnemonic() == Mnemonic::Mov && instruction.op0_register() == Register::RSP {
                continue;
            }
            return Err(unknown(instruction));
        };
        size = size.max(after.sp).max(lowest(instruction, state));
        let branch =
            matches!(instruction.op0_kind(), OpKind::NearBranch16 | OpKind::NearBranch32 | OpKind::NearBranch64)
                .then(|| index.get(&instruction.near_branch_target()).copied());
        match instruction.flow_control() {
            FlowControl::UnconditionalBranch => todo.extend(branch.flatten().map(|to| (to, after))),
            FlowControl::ConditionalBranch => {
                todo.extend(branch.flatten().map(|to| (to, after)));
                todo.push((i + 1, after));
            }
            FlowControl::Return | FlowControl::IndirectBranch | FlowControl::Exception => {}
            _ => todo.push((i + 1, after)),
        }
    }
    Ok(Frame { size: size.max(0) as u64, at })
}

fn unknown(instruction: &Instruction) -> Unknown {
    Unknown { at: instruction.ip(), instruction: shown(instruction) }
}

/// The lowest byte that an instruction names, be it below the stack pointer: a leaf may use 128 bytes there.
fn lowest(instruction: &Instruction, state: State) -> i64 {
    let displacement = instruction.memory_displacement64() as i64;
    let is_memory = (0..instruction.op_count()).any(|i| instruction.op_kind(i) == OpKind::Memory);
    match (instruction.memory_base(), state.bp) {
        _ if !is_memory || instruction.mnemonic() == Mnemonic::Nop => state.sp,
        (Register::RSP, _) => state.sp - displacement,
        (Register::RBP, Some(bp)) => bp - displacement,
        _ => state.sp,
    }
}

/// The state after an instruction; `None` if nobody can say.
fn step(instruction: &Instruction, mut state: State, info: &mut InstructionInfoFactory) -> Option<State> {
    let immediate = |i| match instruction.op_kind(i) {
        OpKind::Immediate8to64 | OpKind::Immediate32to64 | OpKind::Immediate8 | OpKind::Immediate32 => {
            Some(instruction.immediate(i) as i64)
        }
        _ => None,
    };
    let to = instruction.op0_register();
    let from = if instruction.op_count() > 1 { instruction.op1_register() } else { Register::None };
    // Calls come back with the stack as it was.
    if matches!(instruction.flow_control(), FlowControl::Call | FlowControl::IndirectCall) {
        return Some(state);
    }
    match (instruction.mnemonic(), to) {
        (Mnemonic::Sub, Register::RSP) => state.sp += immediate(1)?,
        (Mnemonic::Add, Register::RSP) => state.sp -= immediate(1)?,
        // Rounds down: as much as the mask can take.
        (Mnemonic::And, Register::RSP) => {
            let mask = immediate(1)?;
            let step = mask.checked_neg().filter(|s| *s > 0 && s & (s - 1) == 0)?;
            state.sp += step - 8.min(step);
        }
        (Mnemonic::Lea, Register::RSP) => {
            let by = instruction.memory_displacement64() as i64;
            if instruction.memory_index() != Register::None {
                return None;
            }
            match instruction.memory_base() {
                Register::RSP => state.sp -= by,
                Register::RBP => state.sp = state.bp? - by,
                _ => return None,
            }
        }
        (Mnemonic::Mov, Register::RBP) if from == Register::RSP => state.bp = Some(state.sp),
        (Mnemonic::Lea, Register::RBP) if instruction.memory_base() == Register::RSP => {
            state.bp = Some(state.sp - instruction.memory_displacement64() as i64);
        }
        (Mnemonic::Mov, Register::RSP) if from == Register::RBP => state.sp = state.bp?,
        (Mnemonic::Leave, _) => state = State { sp: state.bp? - 8, bp: None },
        (Mnemonic::Pop, Register::RBP) => state = State { sp: state.sp - 8, bp: None },
        (Mnemonic::Pop, Register::RSP) => return None,
        _ if instruction.is_stack_instruction() => state.sp -= i64::from(instruction.stack_pointer_increment()),
        _ => {
            let info = info.info(instruction);
            let writes = |r: Register| {
                info.used_registers().iter().any(|u| {
                    u.register().full_register() == r
                        && matches!(
                            u.access(),
                            OpAccess::Write | OpAccess::CondWrite | OpAccess::ReadWrite | OpAccess::ReadCondWrite
                        )
                })
            };
            if writes(Register::RSP) {
                return None;
            }
            if writes(Register::RBP) {
                state.bp = None;
            }
        }
    }
    Some(state)
}
