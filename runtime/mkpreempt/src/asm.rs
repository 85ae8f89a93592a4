//! Assembly text in the making.

use std::fmt::Write;

/// What is left out or put wrong on purpose, for the harness's bad twins. The product has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    #[default]
    None,
    /// This register keeps its place in the frame but is neither saved nor restored.
    Without(&'static str),
    /// This line of assembly is missing wherever it stands.
    Lacks(&'static str),
    /// The in-runtime count is cleared before the vector state is back (x86).
    ClearsEarly,
}

impl Fault {
    /// Whether this register is to be saved.
    pub fn keeps(self, register: &str) -> bool {
        !matches!(self, Fault::Without(name) if name == register)
    }
}

/// The text of one file, with its fault.
pub struct Asm {
    text: String,
    comment: &'static str,
    fault: Fault,
}

impl Asm {
    /// An empty text, with this sign before comments.
    pub fn new(comment: &'static str, fault: Fault) -> Asm {
        Asm { text: String::new(), comment, fault }
    }

    pub fn line(&mut self, line: impl AsRef<str>) {
        let line = line.as_ref();
        if !matches!(self.fault, Fault::Lacks(missing) if missing == line) {
            writeln!(self.text, "    {line}").expect("a string takes all text");
        }
    }

    pub fn lines(&mut self, lines: &[&str]) {
        for line in lines {
            self.line(line);
        }
    }

    pub fn label(&mut self, name: &str) {
        writeln!(self.text, "{name}:").expect("a string takes all text");
    }

    /// A comment; no braces, which `global_asm!` would read as operands.
    pub fn say(&mut self, text: &str) {
        for line in text.lines() {
            let line = format!("{} {line}", self.comment);
            assert!(!line.contains(['{', '}']), "a comment must not name an operand in braces: {line}");
            writeln!(self.text, "{}", line.trim_end()).expect("a string takes all text");
        }
    }

    /// A comment among the instructions.
    pub fn note(&mut self, text: &str) {
        assert!(!text.contains(['{', '}', '\n']), "a comment must not name an operand in braces: {text}");
        self.line(format!("{} {text}", self.comment));
    }

    pub fn done(self) -> String {
        self.text
    }
}
