//! Malloc inside the runtime is fatal (invariant I8): whoever holds its lock may be suspended or descheduled.
//!
//! Every test binary that has this module checks so at each allocation of Rust code. What C code allocates by itself is
//! not seen.

use std::alloc::{GlobalAlloc, Layout, System};
use tricolor::gc_core::sync::current;

struct Checked;

#[global_allocator]
static CHECKED: Checked = Checked;

/// Every thread inside the runtime has a count that is not zero: on g0, in a region, with a lock, or in sysmon.
#[inline]
fn check(what: &str, layout: Layout) {
    let depth = current::locks();
    if depth != 0 {
        // Once: the report itself is outside the runtime.
        current::set_locks(0);
        tricolor::gc_core::throw!(
            "{what} of {} bytes inside the runtime (in-runtime count {depth}): the holder of malloc's lock may be suspended",
            layout.size()
        );
    }
}

// SAFETY: std's allocator.
unsafe impl GlobalAlloc for Checked {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        check("malloc", layout);
        // SAFETY: the caller's contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, p: *mut u8, layout: Layout) {
        check("free", layout);
        // SAFETY: the caller's contract.
        unsafe { System.dealloc(p, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        check("calloc", layout);
        // SAFETY: the caller's contract.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, p: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        check("realloc", layout);
        // SAFETY: the caller's contract.
        unsafe { System.realloc(p, layout, size) }
    }
}
