//! Why an allocation failed.

use crate::heap::{Heap, NoPages, PAGE_SIZE};
use core::fmt;

/// There is no memory for an object. What the `try_` forms return; for the others it is a fatal error with this text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AllocError {
    /// Bytes of the object; `usize::MAX` if they cannot be counted.
    pub size: usize,
    /// Bytes that the heap can have at most: its reservation of address space.
    pub limit: usize,
    /// Bytes of pages in use, after a whole collection.
    pub in_use: usize,
    /// Bytes of free pages, in pieces too small for the object.
    pub free: usize,
    /// What is lacking.
    pub reason: AllocErrorReason,
}

/// What an allocation lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AllocErrorReason {
    /// No run of free pages in the heap's reservation is long enough.
    Full,
    /// The operating system refuses memory; its error number (`errno`).
    Refused(i32),
    /// The array has more elements than an object can hold: their number, and bytes of each.
    TooLarge(usize, usize),
}

impl AllocError {
    #[cold]
    pub(crate) fn new(heap: &Heap, size: usize, why: NoPages) -> AllocError {
        let reason = match why {
            NoPages::Full => AllocErrorReason::Full,
            NoPages::Refused(e) => AllocErrorReason::Refused(e.errno),
        };
        Self::with(heap, size, reason)
    }

    #[cold]
    pub(crate) fn too_large(heap: &Heap, len: usize, element: usize) -> AllocError {
        Self::with(heap, usize::MAX, AllocErrorReason::TooLarge(len, element))
    }

    fn with(heap: &Heap, size: usize, reason: AllocErrorReason) -> AllocError {
        let usage = heap.pages.usage();
        AllocError {
            size,
            limit: heap.pages.capacity() * PAGE_SIZE,
            in_use: usage.in_use() * PAGE_SIZE,
            free: usage.free * PAGE_SIZE,
            reason,
        }
    }

    #[cold]
    #[inline(never)]
    pub(crate) fn fatal(&self) -> ! {
        crate::throw!("{self}")
    }
}

impl fmt::Display for AllocError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.reason {
            AllocErrorReason::TooLarge(len, element) => {
                return write!(f, "an array of {len} elements of {element} bytes is too large");
            }
            AllocErrorReason::Full => write!(f, "out of memory: no room for an object of {} bytes", self.size)?,
            AllocErrorReason::Refused(errno) => write!(
                f,
                "out of memory: the operating system refuses memory for an object of {} bytes ({})",
                self.size,
                std::io::Error::from_raw_os_error(errno)
            )?,
        }
        write!(
            f,
            "; the heap has {} bytes in use and {} free in pieces, of a reservation of {}",
            self.in_use, self.free, self.limit
        )
    }
}

impl std::error::Error for AllocError {}
