//! Words inside the heap, by address.
//!
//! In production a heap word *is* an atomic. In models memory is only bytes, so each word of the (tiny) heap has a
//! twin in a table that belongs to the execution; [`adopt`] copies freshly written plain memory into it.

use super::AtomicUsize;

/// The shared word at `addr`.
///
/// # Safety
/// `addr` is word-aligned, inside the heap, and no plain access to it runs concurrently.
#[inline(always)]
pub unsafe fn at<'a>(addr: usize) -> &'a AtomicUsize {
    #[cfg(not(modelled))]
    // SAFETY: the caller's contract.
    unsafe {
        AtomicUsize::from_ptr(core::ptr::with_exposed_provenance_mut(addr))
    }
    #[cfg(modelled)]
    model::at(addr)
}

/// Makes plain stores to `[addr, addr + bytes)` visible as words. Costs nothing in production.
///
/// # Safety
/// The range is inside the heap, initialised, and nobody else writes it.
#[inline(always)]
pub unsafe fn adopt(addr: usize, bytes: usize) {
    #[cfg(modelled)]
    // SAFETY: the caller's contract.
    unsafe {
        model::adopt(addr, bytes)
    };
    #[cfg(not(modelled))]
    let _ = (addr, bytes);
}

/// Makes the words of `[addr, addr + bytes)` readable and writable as plain memory, until they are adopted again.
/// Costs nothing in production.
///
/// # Safety
/// The caller alone uses the range, but for the marker, which may read words of it.
#[inline(always)]
pub unsafe fn lend(addr: usize, bytes: usize) {
    #[cfg(modelled)]
    // SAFETY: the caller's contract.
    unsafe {
        model::lend(addr, bytes)
    };
    #[cfg(not(modelled))]
    let _ = (addr, bytes);
}

/// What the word at `addr` holds, for who looks on: no step of the model.
///
/// # Panics
/// If `addr` is not in the heap.
#[cfg(shuttle)]
pub fn peek(addr: usize) -> usize {
    model::at(addr).peek()
}

#[cfg(modelled)]
pub(crate) mod model {
    use super::AtomicUsize;
    use crate::sync::Ordering;
    use core::cell::Cell;

    std::thread_local! {
        /// Start of this execution's heap, and its words. All model threads share the OS thread.
        static WORDS: Cell<(usize, &'static [AtomicUsize])> = const { Cell::new((0, &[])) };
    }

    /// Starts a new execution: fresh words for the heap at `start`.
    pub(crate) fn install(start: usize, bytes: usize) {
        let words: Box<[AtomicUsize]> = (0..bytes / size_of::<usize>()).map(|_| AtomicUsize::new(0)).collect();
        WORDS.set((start, Box::leak(words)));
    }

    pub(super) fn at<'a>(addr: usize) -> &'a AtomicUsize {
        let (start, words) = WORDS.get();
        &words[(addr - start) / size_of::<usize>()]
    }

    pub(super) unsafe fn lend(addr: usize, bytes: usize) {
        for a in (addr..addr + bytes).step_by(size_of::<usize>()) {
            // Relaxed: ordered by how the caller got the range.
            let value = at(a).load(Ordering::Relaxed);
            // SAFETY: the caller's contract.
            unsafe { core::ptr::with_exposed_provenance_mut::<usize>(a).write(value) };
        }
    }

    pub(super) unsafe fn adopt(addr: usize, bytes: usize) {
        for a in (addr..addr + bytes).step_by(size_of::<usize>()) {
            // SAFETY: the caller's contract: initialised, private memory.
            let value = unsafe { core::ptr::with_exposed_provenance::<usize>(a).read() };
            // Relaxed: the object is published afterwards, with Release.
            at(a).store(value, Ordering::Relaxed);
        }
    }
}
