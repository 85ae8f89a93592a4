//! From addresses to source lines, through what was inlined.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use addr2line::gimli::{self, Dwarf, EndianSlice, LittleEndian, SectionId};
use object::{Object, ObjectSection};
use serde::Serialize;

use crate::Refusal;
use crate::program::{Program, demangled};

/// A function at one address: the innermost of those inlined there, or what they were inlined into.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Frame {
    pub function: String,
    pub file: String,
    pub line: u32,
}

/// The line tables of a program.
pub struct Lines {
    context: addr2line::Context<EndianSlice<'static, LittleEndian>>,
    /// Left off the names of files.
    base: String,
    known: RefCell<HashMap<u64, Rc<[Frame]>>>,
}

impl Lines {
    pub fn of(program: &Program) -> Result<Lines, Refusal> {
        if program.elf.section_by_name(".debug_line").is_none_or(|s| s.size() == 0) {
            return Err(Refusal(
                "the program has no line tables: without them inlined records cannot be told from others; build it \
                 with `debug = \"line-tables-only\"`"
                    .to_owned(),
            ));
        }
        let section = |id: SectionId| -> Result<_, gimli::Error> {
            let data = program.elf.section_by_name(id.name()).and_then(|s| s.data().ok());
            Ok(EndianSlice::new(data.unwrap_or_default(), LittleEndian))
        };
        let context = Dwarf::load(section).and_then(addr2line::Context::from_dwarf);
        let context = context.map_err(|e| Refusal(format!("the program's line tables: {e}")))?;
        let base = std::env::current_dir().map(|d| format!("{}/", d.display())).unwrap_or_default();
        Ok(Lines { context, base, known: RefCell::default() })
    }

    /// The functions at an instruction, innermost first; empty if the line tables do not cover it.
    pub fn frames(&self, at: u64) -> Rc<[Frame]> {
        if let Some(known) = self.known.borrow().get(&at) {
            return known.clone();
        }
        let frames: Rc<[Frame]> = self.find(at).into();
        self.known.borrow_mut().insert(at, frames.clone());
        frames
    }

    /// Without the folder that this runs in; for the standard library, without the compiler's.
    fn short<'f>(&self, file: &'f str) -> &'f str {
        let std = file.strip_prefix("/rustc/").and_then(|f| f.split_once('/')).map(|(_commit, file)| file);
        std.or_else(|| file.strip_prefix(&self.base)).unwrap_or(file)
    }

    fn find(&self, at: u64) -> Vec<Frame> {
        let mut frames = Vec::new();
        let Ok(mut found) = self.context.find_frames(at).skip_all_loads() else { return frames };
        while let Ok(Some(frame)) = found.next() {
            let function = frame.function.as_ref().and_then(|f| Some(demangled(&f.raw_name().ok()?)));
            let file = frame.location.as_ref().and_then(|l| l.file).unwrap_or("?");
            frames.push(Frame {
                function: function.unwrap_or_else(|| "?".to_owned()),
                file: self.short(file).to_owned(),
                line: frame.location.as_ref().and_then(|l| l.line).unwrap_or(0),
            });
        }
        frames
    }
}
