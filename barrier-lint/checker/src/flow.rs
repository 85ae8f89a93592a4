//! Where an indirect call or jump leads, if the function itself says so: registers loaded with the address of a
//! function or of a table, followed along all paths.
//!
//! A register holds a few known things, or anything. Paths that meet unite what they know; a call leaves anything in
//! the registers that it may change; code that no branch reaches (landing pads of unwinding) starts with anything. So
//! what is resolved is right, as far as the function's own registers go, and all else stays open.

use std::collections::{BTreeMap, BTreeSet};

use iced_x86::{FlowControl, Instruction, InstructionInfoFactory, Mnemonic, OpAccess, OpKind, Register};

use crate::body::code_at;
use crate::program::{Function, Program, Target};

/// Something that a register is known to hold.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Thing {
    Code(Target),
    Data(u64),
    /// An entry of the table of offsets at this address.
    Offset(u64),
    /// What an entry of that table leads to.
    Landing(u64),
}

/// What a register holds: one of these, or (`None`) anything.
type Value = Option<BTreeSet<Thing>>;

/// More than that is as good as anything.
const MOST: usize = 8;

#[derive(Clone, PartialEq)]
struct State([Value; 16]);

const ANYTHING: State = State([const { None }; 16]);

impl State {
    fn get(&self, r: Register) -> Value {
        number(r).and_then(|n| self.0[n].clone())
    }

    fn set(&mut self, r: Register, value: Value) {
        if let Some(n) = number(r) {
            self.0[n] = value;
        }
    }

    /// Adds what another path knows; says whether that changed anything.
    fn join(&mut self, other: &State) -> bool {
        let mut changed = false;
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            let joined = match (&*mine, theirs) {
                (Some(a), Some(b)) => Some(a | b).filter(|all| all.len() <= MOST),
                _ => None,
            };
            changed |= *mine != joined;
            *mine = joined;
        }
        changed
    }
}

fn number(r: Register) -> Option<usize> {
    r.is_gpr().then(|| r.full_register().number())
}

fn one(thing: Thing) -> Value {
    Some(BTreeSet::from([thing]))
}

/// The targets of the instructions at the positions `open`; `None` where anything is possible. A jump within the
/// function, through a table, has none.
pub fn resolve(
    program: &Program,
    function: &Function,
    code: &[Instruction],
    open: &[usize],
) -> Vec<Option<Vec<Target>>> {
    let mut flow = Flow { program, function, code, at_entry: BTreeMap::new(), info: InstructionInfoFactory::new() };
    flow.run();
    let found: Vec<_> = open.iter().map(|&i| flow.targets(i)).collect();
    // A jump that may lead anywhere may lead anywhere inside, too, with anything in the registers.
    let leads_inside = |i: usize| {
        code[i].flow_control() == FlowControl::IndirectBranch
            && (code[i].op0_kind() == OpKind::Register || code[i].memory_index() != Register::None)
    };
    if open.iter().zip(&found).any(|(&i, targets)| targets.is_none() && leads_inside(i)) {
        return vec![None; open.len()];
    }
    found
}

struct Flow<'a> {
    program: &'a Program,
    function: &'a Function,
    code: &'a [Instruction],
    /// What is known where a block starts.
    at_entry: BTreeMap<usize, State>,
    info: InstructionInfoFactory,
}

impl Flow<'_> {
    fn run(&mut self) {
        let starts = self.block_starts();
        for &start in &starts {
            if start == 0 || !self.at_entry.contains_key(&start) && !self.is_padding(start, &starts) {
                self.at_entry.insert(start, ANYTHING);
                self.spread(start, &starts);
            }
        }
    }

    /// Whether nothing but padding stands between an instruction and the next block.
    fn is_padding(&self, start: usize, starts: &BTreeSet<usize>) -> bool {
        let end = starts.range(start + 1..).next().copied().unwrap_or(self.code.len());
        self.code[start..end].iter().all(|i| matches!(i.mnemonic(), Mnemonic::Nop | Mnemonic::Int3))
    }

    fn position(&self, ip: u64) -> Option<usize> {
        self.code.binary_search_by_key(&ip, Instruction::ip).ok()
    }

    fn is_inside(&self, ip: u64) -> bool {
        self.function.start <= ip && ip < self.function.end
    }

    /// The instructions after branches, and those that branches lead to.
    fn block_starts(&self) -> BTreeSet<usize> {
        let mut starts = BTreeSet::from([0]);
        for (i, instruction) in self.code.iter().enumerate() {
            if let Some(to) = branch(instruction)
                && let Some(to) = self.position(to)
            {
                starts.insert(to);
            }
            if !matches!(instruction.flow_control(), FlowControl::Next | FlowControl::Call | FlowControl::IndirectCall)
            {
                starts.insert(i + 1);
            }
            // Jump tables lead only to addresses that the table names.
            if instruction.mnemonic() == Mnemonic::Lea && instruction.is_ip_rel_memory_operand() {
                let table = instruction.ip_rel_memory_address();
                starts.extend(self.landings(table).into_iter().filter_map(|to| self.position(to)));
            }
        }
        starts.retain(|&s| s < self.code.len());
        starts
    }

    /// The addresses inside this function that a table of offsets leads to.
    fn landings(&self, table: u64) -> Vec<u64> {
        let entry = |i: u64| {
            let at = table + 4 * i;
            let to = table.wrapping_add_signed(self.program.constant_offset(at)?.into());
            (self.is_inside(to) && to != self.function.start).then_some(to)
        };
        (0..).map_while(entry).collect()
    }

    /// Follows the code from a block on, as long as something new is learnt.
    fn spread(&mut self, start: usize, starts: &BTreeSet<usize>) {
        let mut work = vec![start];
        while let Some(block) = work.pop() {
            let mut state = self.at_entry[&block].clone();
            for i in block..self.code.len() {
                if i != block && starts.contains(&i) {
                    self.meet(i, &state, &mut work);
                    break;
                }
                let instruction = self.code[i];
                if let Some(to) = branch(&instruction)
                    && let Some(to) = self.position(to)
                {
                    self.meet(to, &state, &mut work);
                }
                for to in self.jump_table(&instruction, &state).unwrap_or_default() {
                    if let Some(to) = self.position(to) {
                        self.meet(to, &state, &mut work);
                    }
                }
                if ends(&instruction) {
                    break;
                }
                self.step(&instruction, &mut state);
            }
        }
    }

    fn meet(&mut self, block: usize, state: &State, work: &mut Vec<usize>) {
        match self.at_entry.get_mut(&block) {
            Some(known) => {
                if known.join(state) {
                    work.push(block);
                }
            }
            None => {
                self.at_entry.insert(block, state.clone());
                work.push(block);
            }
        }
    }

    /// What an instruction does to the registers.
    fn step(&mut self, i: &Instruction, state: &mut State) {
        if matches!(i.flow_control(), FlowControl::Call | FlowControl::IndirectCall) {
            use Register::{R8, R9, R10, R11, RAX, RCX, RDI, RDX, RSI};
            [RAX, RCX, RDX, RSI, RDI, R8, R9, R10, R11].into_iter().for_each(|r| state.set(r, None));
            return;
        }
        let value = self.value(i, state);
        for used in self.info.info(i).used_registers() {
            if !matches!(used.access(), OpAccess::Read | OpAccess::CondRead | OpAccess::None | OpAccess::NoMemAccess) {
                state.set(used.register(), None);
            }
        }
        if i.op0_kind() == OpKind::Register && i.op0_register().is_gpr64() && value.is_some() {
            state.set(i.op0_register(), value);
        }
    }

    /// What the first operand of an instruction holds afterwards.
    fn value(&self, i: &Instruction, state: &State) -> Value {
        let is_register = |n| i.op_kind(n) == OpKind::Register;
        match i.mnemonic() {
            Mnemonic::Lea if i.is_ip_rel_memory_operand() => {
                let address = i.ip_rel_memory_address();
                one(code_at(self.program, address).map_or(Thing::Data(address), Thing::Code))
            }
            Mnemonic::Mov if i.is_ip_rel_memory_operand() && is_register(0) => {
                self.program.constant_code(i.ip_rel_memory_address()).and_then(|t| one(Thing::Code(t)))
            }
            Mnemonic::Mov if is_register(0) && is_register(1) => state.get(i.op1_register()),
            Mnemonic::Movsxd if i.op1_kind() == OpKind::Memory && i.memory_displacement64() == 0 => {
                let things = state.get(i.memory_base())?;
                let offset = |t| if let Thing::Data(table) = t { Some(Thing::Offset(table)) } else { None };
                (i.memory_index_scale() == 4).then(|| things.into_iter().map(offset).collect())?
            }
            Mnemonic::Add if is_register(0) && is_register(1) => {
                let (a, b) = (state.get(i.op0_register())?, state.get(i.op1_register())?);
                let (mut offsets, mut tables) = (BTreeSet::new(), BTreeSet::new());
                for thing in a.into_iter().chain(b) {
                    match thing {
                        Thing::Offset(table) => offsets.insert(table),
                        Thing::Data(table) => tables.insert(table),
                        _ => return None,
                    };
                }
                (offsets == tables).then(|| offsets.into_iter().map(Thing::Landing).collect())
            }
            m if is_conditional_move(m) && is_register(1) => {
                let both = &state.get(i.op0_register())? | &state.get(i.op1_register())?;
                Some(both)
            }
            _ => None,
        }
    }

    /// Where a jump through a table leads, if it is one.
    fn jump_table(&self, i: &Instruction, state: &State) -> Option<Vec<u64>> {
        if i.flow_control() != FlowControl::IndirectBranch || i.op0_kind() != OpKind::Register {
            return None;
        }
        let mut all = Vec::new();
        for thing in state.get(i.op0_register())? {
            let Thing::Landing(table) = thing else { return None };
            let landings = self.landings(table);
            if landings.is_empty() {
                return None;
            }
            all.extend(landings);
        }
        (!all.is_empty()).then_some(all)
    }

    fn targets(&mut self, position: usize) -> Option<Vec<Target>> {
        let (&block, state) = self.at_entry.range(..=position).next_back()?;
        let mut state = state.clone();
        for i in block..position {
            let instruction = self.code[i];
            self.step(&instruction, &mut state);
        }
        let i = &self.code[position];
        if self.jump_table(i, &state).is_some() {
            return Some(Vec::new());
        }
        let things = match i.op0_kind() {
            OpKind::Register => state.get(i.op0_register())?,
            // A slot of a table whose address is known: a virtual call on a known type.
            OpKind::Memory if i.memory_index() == Register::None => {
                let slot = |t| match t {
                    Thing::Data(table) => {
                        let at = table.wrapping_add(i.memory_displacement64());
                        self.program.constant_code(at).map(Thing::Code)
                    }
                    _ => None,
                };
                state.get(i.memory_base())?.into_iter().map(slot).collect::<Option<_>>()?
            }
            _ => return None,
        };
        let code = |t| if let Thing::Code(target) = t { Some(target) } else { None };
        things.into_iter().map(code).collect()
    }
}

/// Where a direct branch leads.
fn branch(i: &Instruction) -> Option<u64> {
    let is_branch = matches!(i.flow_control(), FlowControl::UnconditionalBranch | FlowControl::ConditionalBranch);
    (is_branch && i.op0_kind() == OpKind::NearBranch64).then(|| i.near_branch_target())
}

/// Whether the next instruction is reached only by branches.
fn ends(i: &Instruction) -> bool {
    matches!(i.flow_control(), FlowControl::UnconditionalBranch | FlowControl::IndirectBranch | FlowControl::Return)
        || i.mnemonic() == Mnemonic::Ud2
}

fn is_conditional_move(m: Mnemonic) -> bool {
    use Mnemonic::{
        Cmova, Cmovae, Cmovb, Cmovbe, Cmove, Cmovg, Cmovge, Cmovl, Cmovle, Cmovne, Cmovno, Cmovnp, Cmovns, Cmovo,
        Cmovp, Cmovs,
    };
    matches!(
        m,
        Cmova
            | Cmovae
            | Cmovb
            | Cmovbe
            | Cmove
            | Cmovg
            | Cmovge
            | Cmovl
            | Cmovle
            | Cmovne
            | Cmovno
            | Cmovnp
            | Cmovns
            | Cmovo
            | Cmovp
            | Cmovs
    )
}
