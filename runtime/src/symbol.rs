//! The function of an address, for dumps: from the symbol tables of the files that the program is mapped from.
//!
//! For code that runs while others are stopped anywhere, and in signal handlers: no malloc, no loader (hence no
//! `dladdr`, which takes its lock), system calls only. A file is mapped when an address in it is first asked for, and
//! stays so. One thread at a time looks; who comes meanwhile, perhaps in a handler on the same thread, gets no name.

use barrier_lint::nowritebarrierrec;
use core::cell::UnsafeCell;
use core::fmt;
use gc_core::sync::{Rank, RawLock};
use object::LittleEndian;
use object::elf;
use object::read::elf::{FileHeader, ProgramHeader, SectionHeader, Sym};

type Header = elf::FileHeader64<LittleEndian>;
const LE: LittleEndian = LittleEndian;

/// Files that are kept mapped.
const FILES: usize = 16;
/// Addresses whose names are remembered: goroutines that wait do so in few places.
const KNOWN: usize = 256;

unsafe extern "C" {
    // From the linker.
    static __executable_start: u8;
}

/// Prints the function of an address, and how far into it the address is: `name+0x12`; `(file+0x12)` where the file has
/// no name for it. Takes microseconds the first time.
pub(crate) struct Symbol {
    pc: usize,
    /// Somewhere in the function: before a return address, which may be the first one behind the function.
    inside: usize,
}

impl Symbol {
    /// For the address of an instruction.
    #[nowritebarrierrec(assoc)]
    pub(crate) fn at(pc: usize) -> Symbol {
        Symbol { pc, inside: pc }
    }

    /// For a return address.
    pub(crate) fn behind(pc: usize) -> Symbol {
        Symbol { pc, inside: pc.wrapping_sub(1) }
    }
}

impl fmt::Display for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !TABLES.lock.try_lock() {
            return f.write_str("?");
        }
        // SAFETY: under the lock.
        let tables = unsafe { &mut *TABLES.inner.get() };
        let found = match tables.find(self.inside) {
            // Not behind a call, but where a goroutine begins.
            Some(Found { name: None, .. }) if self.inside != self.pc => tables.find(self.pc),
            found => found,
        };
        TABLES.lock.unlock();
        match found {
            None => f.write_str("?"),
            Some(Found { name: Some(name), start, .. }) => {
                write!(f, "{:#}+{:#x}", demangled(name), self.pc.wrapping_sub(start))
            }
            Some(Found { file, start, .. }) => write!(f, "({}+{:#x})", file.as_str(), self.pc.wrapping_sub(start)),
        }
    }
}

/// A function of its own, which the checker knows by its name: `demangle` itself may be made a part of its caller.
#[inline(never)]
fn demangled(name: &str) -> rustc_demangle::Demangle<'_> {
    rustc_demangle::demangle(name)
}

/// What is known of an address.
#[derive(Clone, Copy)]
struct Found {
    /// The function, in a mapped symbol table.
    name: Option<&'static str>,
    file: Text,
    /// Of the function, or of the file.
    start: usize,
}

/// A short text, from its end if it is longer.
#[derive(Clone, Copy)]
struct Text {
    bytes: [u8; 128],
    len: usize,
}

impl Text {
    fn ending(text: &[u8]) -> Text {
        let mut bytes = [0; 128];
        let text = &text[text.len().saturating_sub(bytes.len())..];
        bytes[..text.len()].copy_from_slice(text);
        Text { bytes, len: text.len() }
    }

    fn as_str(&self) -> &str {
        core::str::from_utf8(&self.bytes[..self.len]).unwrap_or("?")
    }
}

/// A part of a file that is mapped to be run, and the file.
#[derive(Clone, Copy)]
struct File {
    start: usize,
    end: usize,
    /// Where the file's address 0 is.
    base: usize,
    /// The whole file; empty if it cannot be read.
    data: &'static [u8],
    name: Text,
}

struct Tables {
    files: [Option<File>; FILES],
    known: [(usize, Option<Found>); KNOWN],
}

struct Locked {
    lock: RawLock,
    inner: UnsafeCell<Tables>,
}

// SAFETY: `inner` is used under `lock`.
unsafe impl Sync for Locked {}

macro_rules! tables {
    () => {
        Locked {
            lock: RawLock::new(Rank::Symbols),
            inner: UnsafeCell::new(Tables { files: [None; FILES], known: [(0, None); KNOWN] }),
        }
    };
}

#[cfg(not(modelled))]
static TABLES: Locked = tables!();
/// No model looks for functions; a lock of loom's cannot be made by the compiler.
#[cfg(modelled)]
#[expect(clippy::disallowed_types, reason = "no lock of the runtime is inside")]
static TABLES: std::sync::LazyLock<Locked> = std::sync::LazyLock::new(|| tables!());

impl Tables {
    fn find(&mut self, pc: usize) -> Option<Found> {
        let place = pc.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56;
        let (known, found) = self.known[place % KNOWN];
        if known == pc && found.is_some() {
            return found;
        }
        let file = self.file(pc)?;
        let found = match function(file.data, pc - file.base) {
            Some((name, start)) => Found { name: Some(name), file: file.name, start: file.base + start },
            None => Found { name: None, file: file.name, start: file.base },
        };
        self.known[place % KNOWN] = (pc, Some(found));
        Some(found)
    }

    fn file(&mut self, pc: usize) -> Option<File> {
        let known = self.files.iter().flatten().find(|f| (f.start..f.end).contains(&pc));
        if let Some(file) = known {
            return Some(*file);
        }
        let file = open(pc)?;
        // When all places are taken it is looked up again each time, and stays mapped each time: few programs have so
        // many libraries, and dumps are rare.
        if let Some(place) = self.files.iter_mut().find(|f| f.is_none()) {
            *place = Some(file);
        }
        Some(file)
    }
}

/// The name and the start of the function at `addr`, an address as in the file.
fn function(data: &'static [u8], addr: usize) -> Option<(&'static str, usize)> {
    let header = Header::parse(data).ok()?;
    let sections = header.sections(LE, data).ok()?;
    [elf::SHT_SYMTAB, elf::SHT_DYNSYM].into_iter().find_map(|table| {
        let symbols = sections.symbols(LE, data, table).ok()?;
        let at = symbols.iter().find(|s| {
            let start = s.st_value(LE) as usize;
            s.st_type() == elf::STT_FUNC && addr.wrapping_sub(start) < s.st_size(LE) as usize
        })?;
        let names = sections.section(symbols.string_section()).ok()?.data(LE, data).ok()?;
        let name = names.get(at.st_name(LE) as usize..)?;
        // Not `symbol_name`: it looks for the end through a pointer, which nobody can check.
        let name = &name[..name.iter().position(|&b| b == 0)?];
        Some((core::str::from_utf8(name).ok()?, at.st_value(LE) as usize))
    })
}

/// Finds what `pc` is mapped from.
fn open(pc: usize) -> Option<File> {
    let mut found = None;
    each_line(c"/proc/self/maps", |line| {
        found = mapping(line).filter(|m| (m.start..m.end).contains(&pc));
        found.is_none()
    });
    let Mapping { start, end, offset, path } = found?;
    let name = Text::ending(path.as_str().rsplit('/').next().unwrap_or("?").as_bytes());
    // The program's own file may have been replaced since it was started.
    let own = (start..end).contains(&(&raw const __executable_start).addr()) || {
        let exe = (&raw const __executable_start).addr();
        let mut same = false;
        each_line(c"/proc/self/maps", |line| {
            same = mapping(line).is_some_and(|m| (m.start..m.end).contains(&exe) && m.path.as_str() == path.as_str());
            !same
        });
        same
    };
    let data = if own { read_only(b"/proc/self/exe\0") } else { read_only(&path.with_nul()) };
    let base = load_address(data, offset).map_or(start - offset, |address| start.wrapping_sub(address));
    Some(File { start, end, base, data, name })
}

/// The address, as in the file, of what lies at `offset` in it.
fn load_address(data: &[u8], offset: usize) -> Option<usize> {
    let header = Header::parse(data).ok()?;
    let parts = header.program_headers(LE, data).ok()?;
    parts.iter().filter(|part| part.p_type(LE) == elf::PT_LOAD).find_map(|part| {
        // A mapping begins at a page.
        let (from, bytes) = (part.p_offset(LE) as usize & !0xfff, part.p_filesz(LE) as usize + 0xfff);
        let address = part.p_vaddr(LE) as usize & !0xfff;
        (part.p_flags(LE).0 & elf::PF_X.0 != 0 && offset.wrapping_sub(from) < bytes).then(|| address + (offset - from))
    })
}

struct Mapping {
    start: usize,
    end: usize,
    offset: usize,
    path: Path,
}

#[derive(Clone, Copy)]
struct Path {
    bytes: [u8; 512],
    len: usize,
}

impl Path {
    fn as_str(&self) -> &str {
        core::str::from_utf8(&self.bytes[..self.len]).unwrap_or("?")
    }

    fn with_nul(&self) -> [u8; 513] {
        let mut out = [0; 513];
        out[..self.len].copy_from_slice(&self.bytes[..self.len]);
        out
    }
}

/// A line of `/proc/self/maps`: `start-end rights offset device inode path`.
fn mapping(line: &[u8]) -> Option<Mapping> {
    let line = core::str::from_utf8(line).ok()?;
    let (range, rest) = line.split_once(' ')?;
    let (start, end) = range.split_once('-')?;
    let number = |text: &str| usize::from_str_radix(text, 16).ok();
    let offset = number(rest.split(' ').nth(1)?)?;
    let path = line.find(['/', '[']).map_or("", |at| &line[at..]);
    let mut bytes = [0; 512];
    bytes.get_mut(..path.len())?.copy_from_slice(path.as_bytes());
    Some(Mapping { start: number(start)?, end: number(end)?, offset, path: Path { bytes, len: path.len() } })
}

/// Calls `f` for each line of a file until it returns false. Lines of more than 1 KiB are left out.
pub(crate) fn each_line(path: &core::ffi::CStr, mut f: impl FnMut(&[u8]) -> bool) {
    // SAFETY: a path that ends in 0.
    let fd = unsafe { libc::open(path.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC) };
    if fd < 0 {
        return;
    }
    let (mut text, mut len) = ([0u8; 1024], 0);
    loop {
        if len == text.len() {
            len = 0;
        }
        // SAFETY: the rest of a live buffer.
        let n = unsafe { libc::read(fd, text[len..].as_mut_ptr().cast(), text.len() - len) };
        if n <= 0 {
            break;
        }
        len += n as usize;
        let mut from = 0;
        while let Some(n) = text[from..len].iter().position(|&b| b == b'\n') {
            if !f(&text[from..from + n]) {
                // SAFETY: our own descriptor.
                unsafe { libc::close(fd) };
                return;
            }
            from += n + 1;
        }
        text.copy_within(from..len, 0);
        len -= from;
    }
    // SAFETY: our own descriptor.
    unsafe { libc::close(fd) };
}

/// Maps a file, whose path ends in 0, for ever. Empty if that cannot be.
fn read_only(path: &[u8]) -> &'static [u8] {
    // SAFETY: the path ends in 0; a fresh mapping, never written and never unmapped. (Who changes the file meanwhile
    // changes text in a dump.)
    unsafe {
        let fd = libc::open(path.as_ptr().cast(), libc::O_RDONLY | libc::O_CLOEXEC);
        if fd < 0 {
            return &[];
        }
        let mut stat: libc::stat = core::mem::zeroed();
        let ok = libc::fstat(fd, &raw mut stat) == 0 && stat.st_mode & libc::S_IFMT == libc::S_IFREG;
        let bytes = stat.st_size as usize;
        let at = if ok && bytes > 0 {
            libc::mmap(core::ptr::null_mut(), bytes, libc::PROT_READ, libc::MAP_PRIVATE, fd, 0)
        } else {
            libc::MAP_FAILED
        };
        libc::close(fd);
        if at == libc::MAP_FAILED { &[] } else { core::slice::from_raw_parts(at.cast(), bytes) }
    }
}
