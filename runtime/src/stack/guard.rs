//! Guards: the low end of each stack, which nobody may touch.
//!
//! `MADV_GUARD_INSTALL` (Linux 6.13) marks pages inside one mapping. A kernel without it needs an `mprotect`ed range, which
//! cuts its mapping in two: each stack then takes two of `vm.max_map_count` mappings, of which there are 65,530 as a
//! rule. Of these an eighth is left to others. What would break otherwise: the goroutine that takes the last one leaves
//! none to malloc and to the heap, which then fail wherever they are.

use barrier_lint::NotInHeap;
use core::fmt;
use gc_core::faults::{self, Fault};
use gc_core::sync::Ordering;
use std::sync::atomic::{AtomicBool, AtomicUsize};

/// Bytes of a guard. Rust's frames probe every page; C code built without `-fstack-clash-protection` may jump over a
/// smaller one.
pub(super) const GUARD: usize = 32 << 10;

/// `madvise`: a range that faults without a mapping of its own.
const MADV_GUARD_INSTALL: libc::c_int = 102;

/// What the kernel allows a process unless somebody has set it otherwise.
const USUAL_MAPPINGS: usize = 65_530;

// Of the process, as the mappings are.
/// Whether the kernel marks guards; what it once refused is not tried again.
static MARKS: AtomicBool = AtomicBool::new(true);
/// Guards that are mappings of their own.
static PROTECTED: AtomicUsize = AtomicUsize::new(0);
/// The value of `vm.max_map_count`; 0: not read yet.
static MAPPINGS: AtomicUsize = AtomicUsize::new(0);

/// How a guard is kept.
#[derive(Clone, Copy, PartialEq, Eq, NotInHeap)]
pub(super) enum Guard {
    Marked,
    Protected,
}

/// Why there is no further stack.
#[derive(Clone, Copy, Debug)]
pub(crate) enum NoStack {
    /// Each guard takes mappings, of which there are no more for stacks.
    Mappings,
    /// The reservation is used up, or the system has no memory.
    Memory,
}

impl fmt::Display for NoStack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoStack::Mappings => {
                let (stacks, mappings) = (PROTECTED.load(Ordering::Relaxed), MAPPINGS.load(Ordering::Relaxed));
                write!(
                    f,
                    "this kernel (before Linux 6.13) marks no guard pages, so that each of {stacks} stacks takes two of the \
                     {mappings} mappings that vm.max_map_count allows, and the others are left to the rest of the \
                     process: raise vm.max_map_count"
                )
            }
            NoStack::Memory => f.write_str("no address space or memory is left for it"),
        }
    }
}

/// Makes the first [`GUARD`] bytes at `start` fault: the low end of a stack that nobody uses yet.
pub(super) fn install(start: usize) -> Result<Guard, NoStack> {
    let p = core::ptr::with_exposed_provenance_mut(start);
    // Relaxed: a hint; whoever reads the old value tries the mark once more.
    if MARKS.load(Ordering::Relaxed) && !faults::active(Fault::NoGuardMarks) {
        // SAFETY: the caller's contract.
        if unsafe { libc::madvise(p, GUARD, MADV_GUARD_INSTALL) } == 0 {
            return Ok(Guard::Marked);
        }
        MARKS.store(false, Ordering::Relaxed);
    }
    let mappings = mappings();
    // Relaxed: a count.
    if PROTECTED.fetch_add(1, Ordering::Relaxed) >= (mappings - mappings / 8) / 2 {
        PROTECTED.fetch_sub(1, Ordering::Relaxed);
        return Err(NoStack::Mappings);
    }
    // SAFETY: as above.
    if unsafe { libc::mprotect(p, GUARD, libc::PROT_NONE) } != 0 {
        PROTECTED.fetch_sub(1, Ordering::Relaxed);
        return Err(NoStack::Mappings);
    }
    Ok(Guard::Protected)
}

/// A stack with this guard has been unmapped.
pub(super) fn removed(guard: Guard) {
    if guard == Guard::Protected {
        // Relaxed: a count.
        PROTECTED.fetch_sub(1, Ordering::Relaxed);
    }
}

/// `vm.max_map_count`. Without malloc: this may be the moment at which it fails.
fn mappings() -> usize {
    // Relaxed: everybody reads the same.
    let known = MAPPINGS.load(Ordering::Relaxed);
    if known != 0 {
        return known;
    }
    let mut text = [0_u8; 24];
    // SAFETY: a path that ends with 0; a live buffer of that length; the descriptor just opened.
    let n = unsafe {
        let file = libc::open(c"/proc/sys/vm/max_map_count".as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC);
        let n = libc::read(file, text.as_mut_ptr().cast(), text.len());
        libc::close(file);
        usize::try_from(n).unwrap_or(0)
    };
    let value = core::str::from_utf8(&text[..n]).ok().and_then(|text| text.trim().parse().ok());
    let value = value.filter(|&n| n > 0).unwrap_or(USUAL_MAPPINGS);
    MAPPINGS.store(value, Ordering::Relaxed);
    value
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_kernel_says_how_many_mappings_there_are() {
        let text = std::fs::read_to_string("/proc/sys/vm/max_map_count").expect("procfs");
        assert_eq!(super::mappings(), text.trim().parse().expect("a number"));
    }
}
