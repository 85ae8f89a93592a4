//! The slots on which goroutines begin: of equal size, in one reservation.
//!
//! ```text
//! slot   [ guard | usable, committed as it is touched ........ top ]
//! arena  [ slot 0 | slot 1 | ... ]     one mapping, NORESERVE, no huge pages
//! ```
//!
//! A slot is cut off when a G is made and stays with that G, which is reused; so there is no list of stacks here.
//! The main goroutine's stack is a mapping of its own, larger.
//!
//! What would break if huge pages were allowed: each stack would commit 2 MiB at its first touch.

use super::guard::{self, GUARD, NoStack};
use barrier_lint::{NotInHeap, nowritebarrierrec};
use gc_core::sync::{AtomicUsize, Ordering};
use std::io;

/// Bytes of a page.
pub(super) const PAGE: usize = 4 << 10;
/// Distance of stacks unless the builder says otherwise.
pub(crate) const DEFAULT_STACK: usize = 256 << 10;
/// Stack of the main goroutine unless the builder says otherwise.
pub(crate) const DEFAULT_MAIN_STACK: usize = 8 << 20;
/// Smallest stack that the builder takes.
pub(crate) const MIN_STACK: usize = 64 << 10;
/// Address space for goroutine stacks: a quarter of what the limits of the process leave, if that is less; halved until
/// the operating system agrees.
const RESERVE: usize = 256 << 30;
/// The least number of goroutine stacks with which a runtime starts.
const LEAST_SLOTS: usize = 128;

/// A range of addresses for a stack: usable from `lo` to `hi`, the guard just below `lo`.
#[derive(Clone, Copy, NotInHeap)]
pub(crate) struct Stack {
    pub(crate) lo: usize,
    pub(crate) hi: usize,
}

impl Stack {
    /// Whether `address` lies in it.
    #[nowritebarrierrec]
    pub(crate) fn contains(&self, address: usize) -> bool {
        self.lo <= address && address < self.hi
    }
}

/// All goroutine stacks.
pub(crate) struct StackArena {
    base: usize,
    slots: usize,
    slot_bytes: usize,
    next: AtomicUsize,
    main: Stack,
}

/// What an address is, to the handler of segmentation faults.
pub(crate) enum Hit {
    /// In the guard of this stack.
    Guard(Stack),
    /// In a stack, above its guard.
    Inside,
    /// Somewhere else.
    Outside,
}

/// A fresh mapping for stacks.
#[cfg(not(modelled))]
pub(super) fn map(bytes: usize) -> io::Result<usize> {
    // SAFETY: a fresh anonymous mapping; no existing memory is touched.
    let p = unsafe {
        libc::mmap(
            core::ptr::null_mut(),
            bytes,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
            -1,
            0,
        )
    };
    if p == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the range just mapped. A kernel without huge pages refuses, which is as good.
    unsafe { libc::madvise(p, bytes, libc::MADV_NOHUGEPAGE) };
    gc_core::sync::own_mapping(p.expose_provenance(), bytes);
    Ok(p.expose_provenance())
}

/// A mapping of `map` is about to be unmapped.
pub(super) fn disown(start: usize) {
    #[cfg(not(modelled))]
    gc_core::sync::disown_mapping(start);
    #[cfg(modelled)]
    let _ = start;
}

/// No goroutine of a model has a stack of its own.
#[cfg(modelled)]
pub(super) fn map(_: usize) -> io::Result<usize> {
    Ok(GUARD)
}

impl StackArena {
    /// Reserves address space for stacks of `slot_bytes` and one of `main_bytes`.
    pub(crate) fn new(slot_bytes: usize, main_bytes: usize) -> io::Result<StackArena> {
        let slot_bytes = slot_bytes.max(MIN_STACK).next_multiple_of(GUARD);
        let main_bytes = main_bytes.next_multiple_of(GUARD) + GUARD;
        let least = slot_bytes * LEAST_SLOTS;
        let mut bytes = RESERVE.min(gc_core::address_space_left() / 4).max(least);
        let base = loop {
            match map(bytes) {
                Ok(p) => break p,
                Err(e) if bytes <= least => return Err(e),
                Err(_) => bytes = (bytes / 2).max(least),
            }
        };
        let main = map(main_bytes)?;
        let arena = StackArena {
            base,
            slots: bytes / slot_bytes,
            slot_bytes,
            next: AtomicUsize::new(0),
            main: Stack { lo: main + GUARD, hi: main + main_bytes },
        };
        _ = guard::install(main);
        Ok(arena)
    }

    /// How many stacks there are, the main goroutine's aside.
    pub(crate) fn slots(&self) -> usize {
        self.slots
    }

    /// Bytes of address space of the stacks cut off so far, guards included.
    pub(crate) fn bytes(&self) -> usize {
        // Relaxed: statistics.
        self.next.load(Ordering::Relaxed).min(self.slots) * self.slot_bytes + (self.main.hi - self.main.lo + GUARD)
    }

    /// The main goroutine's stack.
    pub(crate) fn main(&self) -> Stack {
        self.main
    }

    /// One more stack. May run without a P.
    pub(crate) fn alloc(&self) -> Result<Stack, NoStack> {
        // Relaxed: a ticket; what it names is reached by its owner only.
        let i = self.next.fetch_add(1, Ordering::Relaxed);
        if i >= self.slots {
            self.next.fetch_sub(1, Ordering::Relaxed);
            return Err(NoStack::Memory);
        }
        let start = self.base + i * self.slot_bytes;
        guard::install(start)?;
        Ok(Stack { lo: start + GUARD, hi: start + self.slot_bytes })
    }

    /// Where `addr` lies. Runs in a signal handler.
    #[nowritebarrierrec]
    pub(crate) fn hit(&self, addr: usize) -> Hit {
        let (stack, start) = if addr.wrapping_sub(self.main.lo - GUARD) < self.main.hi - self.main.lo + GUARD {
            (self.main, self.main.lo - GUARD)
        } else if addr.wrapping_sub(self.base) < self.slots * self.slot_bytes {
            let start = addr - (addr - self.base) % self.slot_bytes;
            (Stack { lo: start + GUARD, hi: start + self.slot_bytes }, start)
        } else {
            return Hit::Outside;
        };
        if addr - start < GUARD { Hit::Guard(stack) } else { Hit::Inside }
    }
}

impl Drop for StackArena {
    /// Only an arena that no runtime ever used is dropped; a live one is leaked with its `Sched`.
    fn drop(&mut self) {
        // SAFETY: mapped by `new` with these sizes; no goroutine ran on them.
        unsafe {
            disown(self.base);
            libc::munmap(core::ptr::with_exposed_provenance_mut(self.base), self.slots * self.slot_bytes);
            let main = self.main.lo - GUARD;
            disown(main);
            libc::munmap(core::ptr::with_exposed_provenance_mut(main), self.main.hi - main);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stacks_are_apart_and_their_guards_are_known() {
        let arena = StackArena::new(DEFAULT_STACK, DEFAULT_MAIN_STACK).expect("address space");
        let a = arena.alloc().expect("a stack");
        let b = arena.alloc().expect("a stack");
        assert_eq!(b.hi - a.hi, DEFAULT_STACK);
        assert!(a.hi <= b.lo - GUARD);
        assert!(matches!(arena.hit(b.lo - 1), Hit::Guard(s) if s.lo == b.lo));
        assert!(matches!(arena.hit(b.lo), Hit::Inside));
        assert!(matches!(arena.hit(arena.main().lo - 1), Hit::Guard(_)));
        assert!(matches!(arena.hit(8), Hit::Outside));
        // SAFETY: the top word of a stack of ours.
        unsafe { core::ptr::with_exposed_provenance_mut::<usize>(b.hi - 8).write(7) };
    }
}
