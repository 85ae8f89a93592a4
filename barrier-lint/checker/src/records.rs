//! The records that the attributes leave in a program, and what makes them worthless.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use object::{Object, ObjectSection};

use crate::Refusal;
use crate::lines::Lines;
use crate::program::{FunctionId, Program};

/// What a function says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Nothing forbidden in it, nor below it.
    Root,
    /// Nothing forbidden in it itself.
    Own,
    /// The search stops here.
    Gate,
    /// This is the forbidden thing.
    Site,
    /// A root that must be found guilty.
    Canary,
}

impl Kind {
    fn of(code: u64) -> Option<Kind> {
        let kind = (code & 0xff).wrapping_sub(1);
        [Kind::Root, Kind::Own, Kind::Gate, Kind::Site, Kind::Canary].get(kind as usize).copied()
    }
}

/// A record is two words: where, and what: the function's number above the eight bits of its kind.
const RECORD: usize = 16;
/// A mark is three words: the function's number; address and length of its name.
const MARK: usize = 24;

/// All records of a program.
#[derive(Default)]
pub struct Records {
    kinds: BTreeMap<FunctionId, BTreeSet<Kind>>,
    /// The addresses of recorded sites, by the function they ended up in.
    pub sites: HashMap<FunctionId, Vec<u64>>,
    /// The names of roots of which no instance is linked.
    pub absent: Vec<String>,
}

impl Records {
    pub fn is(&self, function: FunctionId, kind: Kind) -> bool {
        self.kinds.get(&function).is_some_and(|kinds| kinds.contains(&kind))
    }

    pub fn of_kind(&self, kind: Kind) -> impl Iterator<Item = FunctionId> {
        self.kinds.iter().filter(move |(_, kinds)| kinds.contains(&kind)).map(|(&id, _)| id)
    }

    /// Reads the section `name`, and `name_fns`.
    pub fn read(program: &Program, lines: &Lines, name: &str) -> Result<Records, Refusal> {
        let mut records = Records::default();
        let mut wrong = Vec::new();
        let (inside, pointers) = (entries(program, name, RECORD), entries(program, &format!("{name}_fns"), RECORD));
        if inside.is_empty() && pointers.is_empty() {
            return Err(Refusal(format!(
                "no records: the program has no section `{name}`. Either no function in it is marked, or it was not \
                 built by this tool (`--cfg barrier_lint` must reach the macros, too)"
            )));
        }
        let mut numbers = HashSet::new();
        for (entry, bytes) in inside {
            let code = word(bytes, 1);
            records.add_inside(program, lines, entry.wrapping_add(word(bytes, 0)), code, &mut wrong);
            numbers.insert(code >> 8);
        }
        for (entry, bytes) in entries(program, &format!("{name}_marks"), MARK) {
            if !numbers.contains(&word(bytes, 0)) {
                let text = program.initial_word(entry + 8).and_then(|at| program.data_at(at, word(bytes, 2)));
                let text = text.map(|bytes| String::from_utf8_lossy(bytes).into_owned());
                records
                    .absent
                    .push(text.unwrap_or_else(|| format!("the mark at {entry:#x}, whose name cannot be read")));
            }
        }
        records.absent.sort();
        for (entry, bytes) in pointers {
            let start = program.initial_word(entry);
            match (start.and_then(|at| program.function_at(at)), Kind::of(word(bytes, 1))) {
                (Some(id), Some(kind)) => drop(records.kinds.entry(id).or_default().insert(kind)),
                (_, None) => wrong.push(format!("the record at {entry:#x} has no known kind: another version's?")),
                (None, _) => wrong.push(format!("the record at {entry:#x} points to no function in the symbol table")),
            }
        }
        for id in records.of_kind(Kind::Gate) {
            let gate = &program.functions[id];
            if !gate.aliases.is_empty() {
                wrong.push(format!(
                    "MERGED gate: `{}` shares its address with `{}`: calls of either look like calls of the gate; \
                     build without identical code folding",
                    gate.name,
                    gate.aliases.join("`, `"),
                ));
            }
        }
        match wrong.is_empty() {
            true => Ok(records),
            false => Err(Refusal(wrong.join("\n"))),
        }
    }

    fn add_inside(&mut self, program: &Program, lines: &Lines, at: u64, code: u64, wrong: &mut Vec<String>) {
        let Some(kind) = Kind::of(code) else {
            return wrong.push(format!("the record of address {at:#x} has no known kind: another version's?"));
        };
        let Some(id) = program.function_around(at) else {
            return wrong.push(format!("the record of address {at:#x} is in no function of the symbol table"));
        };
        if kind == Kind::Site {
            self.sites.entry(id).or_default().push(at);
        } else {
            let frames = lines.frames(at);
            match &frames[..] {
                [_] => {}
                [] => wrong.push(format!(
                    "no line is known for the record in `{}`: whether it was inlined cannot be seen",
                    program.functions[id].name
                )),
                [own, .., _] => wrong.push(format!(
                    "INLINED record: `{}` was inlined into `{}` ({}:{}), which would be taken for it; make it \
                     #[inline(never)]",
                    own.function, program.functions[id].name, own.file, own.line
                )),
            }
        }
        self.kinds.entry(id).or_default().insert(kind);
    }
}

/// Address and bytes of each entry of a section.
fn entries(program: &Program, name: &str, size: usize) -> Vec<(u64, &'static [u8])> {
    let Some(section) = program.elf.section_by_name(name) else { return Vec::new() };
    let Ok(data) = section.data() else { return Vec::new() };
    data.chunks_exact(size).enumerate().map(|(i, bytes)| (section.address() + (i * size) as u64, bytes)).collect()
}

fn word(entry: &[u8], n: usize) -> u64 {
    u64::from_le_bytes(std::array::from_fn(|b| entry[n * 8 + b]))
}
