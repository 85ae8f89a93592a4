//! A linked program: its functions, its code, and the words in it that never change while it runs.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use object::elf::PT_GNU_RELRO;
use object::read::elf::{ElfFile64, ProgramHeader};
use object::{
    Architecture, LittleEndian, Object, ObjectSection, ObjectSymbol, ObjectSymbolTable, RelocationFlags,
    RelocationTarget, SectionFlags, SectionKind, SymbolKind,
};

use crate::Refusal;

/// The number of a function in [`Program::functions`].
pub type FunctionId = usize;

/// A function of the program, as its symbol table has it.
pub struct Function {
    pub start: u64,
    pub end: u64,
    /// Its name, without the hash that the compiler adds.
    pub name: String,
    /// Other names for the same address.
    pub aliases: Vec<String>,
}

impl Function {
    pub fn is_called(&self, name: &str) -> bool {
        self.name == name || self.aliases.iter().any(|a| a == name)
    }
}

/// Where a call or a pointer leads.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Target {
    Function(FunctionId),
    /// Code of another object, by its symbol's name.
    External(String),
    /// An address that no function of the symbol table covers.
    Nowhere(u64),
}

/// A relocated word.
#[derive(Clone)]
enum Word {
    Address(u64),
    External(String),
}

struct Code {
    range: Range<u64>,
    bytes: &'static [u8],
}

/// A linked x86_64 ELF program.
pub struct Program {
    pub elf: ElfFile64<'static, LittleEndian>,
    pub functions: Vec<Function>,
    code: Vec<Code>,
    relocated: HashMap<u64, Word>,
    /// Memory that is read-only once the program runs.
    constant: Vec<Range<u64>>,
    /// Symbols in code without a size.
    labels: BTreeMap<u64, String>,
    /// Code addresses are never immediate operands.
    pub position_independent: bool,
}

/// A symbol's name, without the hash that the compiler adds.
pub fn demangled(raw: &str) -> String {
    format!("{:#}", rustc_demangle::demangle(raw))
}

impl Program {
    /// Reads a program. The bytes are never given back: this process has one job.
    pub fn parse(bytes: Vec<u8>) -> Result<Program, Refusal> {
        let bytes: &'static [u8] = bytes.leak();
        let elf =
            ElfFile64::<LittleEndian>::parse(bytes).map_err(|e| Refusal(format!("not a 64-bit ELF program: {e}")))?;
        if elf.architecture() != Architecture::X86_64 {
            return Err(Refusal(format!("code of {:?}: only x86_64 can be decoded so far", elf.architecture())));
        }
        let mut program = Program {
            functions: Vec::new(),
            code: Vec::new(),
            relocated: HashMap::new(),
            constant: Vec::new(),
            labels: BTreeMap::new(),
            position_independent: elf.elf_header().e_type.get(LittleEndian) == object::elf::ET_DYN,
            elf,
        };
        program.read_sections();
        program.read_symbols()?;
        program.read_relocations();
        Ok(program)
    }

    fn read_sections(&mut self) {
        for section in self.elf.sections() {
            let SectionFlags::Elf { sh_flags, .. } = section.flags() else { continue };
            let range = section.address()..section.address() + section.size();
            if !sh_flags.contains(object::elf::SHF_ALLOC) {
                continue;
            }
            if section.kind() == SectionKind::Text
                && let Ok(bytes) = section.data()
            {
                self.code.push(Code { range: range.clone(), bytes });
            }
            if !sh_flags.contains(object::elf::SHF_WRITE) {
                self.constant.push(range);
            }
        }
        for segment in self.elf.elf_program_headers() {
            if segment.p_type(LittleEndian) == PT_GNU_RELRO {
                let start = segment.p_vaddr(LittleEndian);
                self.constant.push(start..start + segment.p_memsz(LittleEndian));
            }
        }
    }

    fn read_symbols(&mut self) -> Result<(), Refusal> {
        if self.elf.symbol_table().is_none_or(|t| t.symbols().next().is_none()) {
            return Err(Refusal(
                "the program is stripped: without a symbol table there are no functions to walk; build it with \
                 `strip = false`"
                    .to_owned(),
            ));
        }
        let mut by_start: BTreeMap<u64, (u64, Vec<String>)> = BTreeMap::new();
        let mut labels = BTreeMap::new();
        for symbol in self.elf.symbols() {
            let (start, Ok(name)) = (symbol.address(), symbol.name()) else { continue };
            if symbol.is_undefined() || name.is_empty() || self.bytes_at(start).is_none() {
                continue;
            }
            match symbol.kind() {
                SymbolKind::Text if symbol.size() > 0 => {
                    let entry = by_start.entry(start).or_default();
                    entry.0 = entry.0.max(symbol.size());
                    entry.1.push(demangled(name));
                }
                SymbolKind::Text | SymbolKind::Label | SymbolKind::Unknown => {
                    labels.insert(start, demangled(name));
                }
                _ => {}
            }
        }
        for (start, (size, mut names)) in by_start {
            names.sort();
            names.dedup();
            let name = names.remove(0);
            self.functions.push(Function { start, end: start + size, name, aliases: names });
        }
        self.labels = labels;
        Ok(())
    }

    fn read_relocations(&mut self) {
        let symbols = self.elf.dynamic_symbol_table();
        let mut relocated = HashMap::new();
        for (at, relocation) in self.elf.dynamic_relocations().into_iter().flatten() {
            let RelocationFlags::Elf { r_type } = relocation.flags() else { continue };
            let addend = relocation.addend() as u64;
            let symbol = match relocation.target() {
                RelocationTarget::Symbol(i) => symbols.as_ref().and_then(|t| t.symbol_by_index(i).ok()),
                _ => None,
            };
            let word = match (r_type, symbol) {
                (object::elf::R_X86_64_RELATIVE, _) => Word::Address(addend),
                (object::elf::R_X86_64_IRELATIVE, _) => Word::External("chosen at start-up (ifunc)".to_owned()),
                (
                    object::elf::R_X86_64_64 | object::elf::R_X86_64_GLOB_DAT | object::elf::R_X86_64_JUMP_SLOT,
                    Some(symbol),
                ) if symbol.is_undefined() => Word::External(demangled(symbol.name().unwrap_or("?"))),
                (
                    object::elf::R_X86_64_64 | object::elf::R_X86_64_GLOB_DAT | object::elf::R_X86_64_JUMP_SLOT,
                    Some(symbol),
                ) => Word::Address(symbol.address() + addend),
                _ => continue,
            };
            relocated.insert(at, word);
        }
        self.relocated = relocated;
    }

    /// The code from `at` to the end of its section.
    pub fn bytes_at(&self, at: u64) -> Option<&'static [u8]> {
        let code = self.code.iter().find(|c| c.range.contains(&at))?;
        Some(&code.bytes[(at - code.range.start) as usize..])
    }

    /// The function that starts at `at`.
    pub fn function_at(&self, at: u64) -> Option<FunctionId> {
        self.functions.binary_search_by_key(&at, |f| f.start).ok()
    }

    /// The function whose code `at` is part of.
    pub fn function_around(&self, at: u64) -> Option<FunctionId> {
        let after = self.functions.partition_point(|f| f.start <= at);
        (after > 0 && at < self.functions[after - 1].end).then(|| after - 1)
    }

    /// All functions of that name: instances of one generic function share it.
    pub fn functions_called(&self, name: &str) -> impl Iterator<Item = FunctionId> {
        self.functions.iter().enumerate().filter(move |(_, f)| f.is_called(name)).map(|(id, _)| id)
    }

    /// The name of a symbol without a size at `at`.
    pub fn label_at(&self, at: u64) -> Option<&str> {
        self.labels.get(&at).map(String::as_str)
    }

    /// Whether there is a function, a symbol without a size, or a function of another object of that name.
    pub fn has(&self, name: &str) -> bool {
        self.functions_called(name).next().is_some()
            || self.labels.values().any(|l| l == name)
            || self.elf.dynamic_symbols().any(|s| s.is_undefined() && s.name().is_ok_and(|n| demangled(n) == name))
    }

    /// The addresses of symbols without a size of these names.
    pub fn labels_called(&self, names: &[String]) -> impl Iterator<Item = u64> {
        self.labels.iter().filter(move |(_, label)| names.contains(label)).map(|(&at, _)| at)
    }

    /// What a jump to `at` reaches.
    pub fn target(&self, at: u64) -> Target {
        if let Some(id) = self.function_around(at) {
            return Target::Function(id);
        }
        self.stub(at).unwrap_or(Target::Nowhere(at))
    }

    /// A target's name.
    pub fn name(&self, target: &Target) -> String {
        match target {
            Target::Function(id) => self.functions[*id].name.clone(),
            Target::External(name) => format!("{name} (another object)"),
            Target::Nowhere(at) => match self.label_at(*at) {
                Some(label) => format!("`{label}`, which has no size in the symbol table: give it `.type` and `.size`"),
                None => format!("address {at:#x}, which no function in the symbol table covers"),
            },
        }
    }

    /// What an entry of a procedure linkage table jumps to.
    fn stub(&self, at: u64) -> Option<Target> {
        let bytes = self.bytes_at(at)?;
        let mut decoder = iced_x86::Decoder::with_ip(64, bytes, at, iced_x86::DecoderOptions::NONE);
        let mut instruction = decoder.decode();
        if instruction.mnemonic() == iced_x86::Mnemonic::Endbr64 {
            instruction = decoder.decode();
        }
        let through_slot = instruction.mnemonic() == iced_x86::Mnemonic::Jmp && instruction.is_ip_rel_memory_operand();
        through_slot.then(|| self.constant_code(instruction.ip_rel_memory_address()))?
    }

    fn is_constant(&self, at: u64) -> bool {
        self.constant.iter().any(|r| r.contains(&at))
    }

    /// The code that the unchanging word at `at` points to.
    pub fn constant_code(&self, at: u64) -> Option<Target> {
        if !self.is_constant(at) {
            return None;
        }
        match self.relocated.get(&at) {
            Some(Word::External(name)) => Some(Target::External(name.clone())),
            Some(Word::Address(a)) => self.bytes_at(*a).map(|_| self.target(*a)),
            None => {
                let address = self.raw_word(at)?;
                self.bytes_at(address).map(|_| self.target(address))
            }
        }
    }

    /// The word at `at` when the program starts, if it is an address inside the program.
    pub fn initial_word(&self, at: u64) -> Option<u64> {
        match self.relocated.get(&at) {
            Some(Word::Address(a)) => Some(*a),
            Some(Word::External(_)) => None,
            None => self.raw_word(at),
        }
    }

    fn raw_word(&self, at: u64) -> Option<u64> {
        let bytes = self.data_at(at, 8)?;
        Some(u64::from_le_bytes(bytes.try_into().ok()?))
    }

    /// A 32-bit entry of an unchanging table at `at`.
    pub fn constant_offset(&self, at: u64) -> Option<i32> {
        if !self.is_constant(at) {
            return None;
        }
        Some(i32::from_le_bytes(self.data_at(at, 4)?.try_into().ok()?))
    }

    /// Bytes of the program file that are mapped at `at`.
    pub fn data_at(&self, at: u64, size: u64) -> Option<&'static [u8]> {
        let inside = |s: &object::read::elf::ElfSection64<'static, '_, LittleEndian>| {
            s.address() != 0 && s.address() <= at && at + size <= s.address() + s.size()
        };
        let section = self.elf.sections().find(inside)?;
        section.data_range(at, size).ok()?
    }
}
