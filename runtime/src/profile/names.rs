//! The function, file and line of an address, by the program's debug information. With malloc and locks of std: not for
//! code inside the runtime, which has `symbol`.

use core::fmt;

/// One function on a stack.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Frame {
    /// Its name; where nothing is known, the address.
    pub function: String,
    /// Where it is defined; empty if that is not known.
    pub file: String,
    /// The line of the call in it; 0 if that is not known.
    pub line: u32,
}

impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.function)?;
        if self.line != 0 {
            write!(f, " ({}:{})", self.file, self.line)?;
        }
        Ok(())
    }
}

/// The functions at the call before `pc`, the innermost inlined one first. At least one.
pub(super) fn of(pc: usize) -> Vec<Frame> {
    let mut frames = Vec::new();
    // It looks before the address by itself.
    backtrace::resolve(core::ptr::without_provenance_mut(pc), |symbol| {
        let Some(name) = symbol.name() else { return };
        let file = symbol.filename().map_or_else(String::new, |file| file.display().to_string());
        frames.push(Frame { function: format!("{name:#}"), file, line: symbol.lineno().unwrap_or(0) });
    });
    if frames.is_empty() {
        frames.push(Frame { function: format!("{pc:#x}"), file: String::new(), line: 0 });
    }
    frames
}
