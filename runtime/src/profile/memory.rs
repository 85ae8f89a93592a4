//! All memory of this process but the runtime's own, word by word, while the world is stopped: no malloc, and what other
//! threads unmap meanwhile is no fault, since it is the kernel that reads.

use crate::m::M;
use crate::proc::newm::G0_STACK;
use crate::sched::Sched;
use crate::signal::ALTSTACK;
use crate::symbol::each_line;
use core::sync::atomic::AtomicU8;
use gc_core::Pile;
use gc_core::sync::Ordering;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

const PAGE: usize = 4096;
/// Pages that are looked up, and read, at once.
const PAGES: usize = 16;
/// Bytes at the lower end of an M's stack that are not left out with it: its exact place is not known.
const SLACK: usize = 64 << 10;
/// In a page's entry: it is in memory, or swapped out. Else it has never been written.
const THERE: u64 = 3 << 62;

/// Lies in the program's data: it must be come by.
static WITNESS: AtomicU8 = AtomicU8::new(1);

/// How the process reads itself. Of the thread, not of the process: the first one may have ended.
pub(super) struct Memory {
    memory: OwnedFd,
    /// Which pages are there.
    pages: OwnedFd,
}

impl Memory {
    /// Outside the runtime.
    pub(super) fn open() -> io::Result<Memory> {
        let open = |path| std::fs::File::open(path).map(OwnedFd::from);
        Ok(Memory { memory: open("/proc/thread-self/mem")?, pages: open("/proc/thread-self/pagemap")? })
    }

    /// Calls `f` with each word. The error is a number of the system's.
    pub(super) fn each_word(&self, sched: &Sched, f: &mut dyn FnMut(usize)) -> Result<(), i32> {
        let own = own(sched);
        let mut complete = false;
        let witness = (&raw const WITNESS).addr();
        each_line(c"/proc/thread-self/maps", |line| {
            if let Some((start, end, private)) = wanted(line) {
                complete |= (start..end).contains(&witness);
                self.without(own.as_slice(), start, end, private, f);
            }
            true
        });
        if complete { Ok(()) } else { Err(libc::EIO) }
    }

    /// Words from `start` to `end` that are in no range of `own`, which is in order.
    fn without(&self, own: &[(usize, usize)], mut start: usize, end: usize, private: bool, f: &mut dyn FnMut(usize)) {
        for (lo, hi) in own {
            if *hi <= start || *lo >= end {
                continue;
            }
            self.words(start, *lo, private, f);
            start = *hi;
        }
        self.words(start, end, private, f);
    }

    /// Words from `start` to `end`, as far as they can be read. Of `private` memory, which has a page where something was
    /// written; shared memory may lose its pages and still have it.
    pub(super) fn words(&self, start: usize, end: usize, private: bool, f: &mut dyn FnMut(usize)) {
        let mut at = start / PAGE * PAGE;
        while at < end {
            let mut there = [0_u64; PAGES];
            let n = PAGES.min((end - at).div_ceil(PAGE));
            if !private || !read(&self.pages, at / PAGE * 8, &mut there[..n]) {
                // Not known: they may be.
                there = [THERE; PAGES];
            }
            for page in (0..n).filter(|i| there[*i] & THERE != 0) {
                let base = at + page * PAGE;
                let mut words = [0_u64; PAGE / 8];
                if read(&self.memory, base, &mut words) {
                    let wanted = words.iter().zip((base..).step_by(8)).filter(|(_, at)| (start..end).contains(at));
                    wanted.for_each(|(word, _)| f(*word as usize));
                }
            }
            at += n * PAGE;
        }
    }
}

/// Fills `into` from a place in a file. `false`: it cannot be read.
fn read(file: &OwnedFd, at: usize, into: &mut [u64]) -> bool {
    let bytes = size_of_val(into);
    // SAFETY: writes so many bytes at most to a live buffer.
    unsafe { libc::pread(file.as_raw_fd(), into.as_mut_ptr().cast(), bytes, at as i64) == bytes as isize }
}

/// The range of a line, and whether it is private, of the kernel's list, `start-end rights offset device inode path`, if a handle can be there: not where
/// nobody can read or write, nor in a file that nobody can write to.
fn wanted(line: &[u8]) -> Option<(usize, usize, bool)> {
    let line = core::str::from_utf8(line).ok()?;
    let mut words = line.split_ascii_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    let rights = words.next()?.as_bytes();
    let inode = words.nth(2)?;
    let (readable, writable) = (rights.first() == Some(&b'r'), rights.get(1) == Some(&b'w'));
    let number = |text: &str| usize::from_str_radix(text, 16).ok();
    let private = rights.get(3) != Some(&b's');
    (writable || readable && inode == "0").then_some((number(start)?, number(end)?, private))
}

/// The runtime's own memory: in order, ranges do not overlap but may touch.
fn own(sched: &Sched) -> Pile<(usize, usize)> {
    let mut own = Pile::new();
    #[cfg(not(modelled))]
    gc_core::sync::each_own_mapping(|start, end| own.push((start, end)));
    for m in sched.ms() {
        own_of(m, &mut own);
    }
    own.as_mut_slice().sort_unstable();
    own
}

/// An M's stacks. What is above its own one belongs to thread-locals.
fn own_of(m: &M, own: &mut Pile<(usize, usize)>) {
    let (g0, signal) = (m.g0_hi.load(Ordering::Relaxed), m.altstack.load(Ordering::Relaxed));
    if g0 != 0 {
        own.push((g0 - (G0_STACK - SLACK), g0));
    }
    if signal != 0 {
        own.push((signal, signal + ALTSTACK));
    }
}
