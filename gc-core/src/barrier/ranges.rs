//! The table of restartable stores: section `wb_ranges`.
//!
//! A barriered store tests this thread's state word and then stores (`store`). A thread that is suspended between the
//! two, over a flip, would store without the barrier that it needs. So each such sequence has an entry in the table,
//! its start and its end, both relative to the entry's own words; and who suspends a thread inside one sets it back
//! to the start first: until its last instruction, the store, the sequence has changed nothing but flags. Source:
//! Go's restartable unsafe points, rseq.

use core::arch::global_asm;

// The section must exist for the symbols below, also in a program that never stores: an entry of no instructions.
global_asm!(".pushsection wb_ranges,\"aR\",@progbits", ".balign 4", ".long 0", ".long -4", ".popsection",);

/// One sequence: offsets from the address of the field.
#[repr(C)]
struct Range {
    start: i32,
    end: i32,
}

unsafe extern "C" {
    #[link_name = "__start_wb_ranges"]
    static FIRST: Range;
    #[link_name = "__stop_wb_ranges"]
    static END: Range;
}

/// What a field of an entry says.
///
/// # Safety
/// It is one.
#[barrier_lint::nowritebarrierrec]
unsafe fn target(field: *const i32) -> usize {
    // SAFETY: the caller's contract.
    field.addr().wrapping_add_signed(unsafe { field.read() } as isize)
}

/// Where a thread that was interrupted at `pc` must go on, if that is inside a barriered store: at its start.
/// May run without a P, and in a signal handler.
#[barrier_lint::nowritebarrierrec]
pub fn restart_point(pc: usize) -> Option<usize> {
    let (mut at, end) = (&raw const FIRST, &raw const END);
    while at < end {
        // SAFETY: an entry of the table, which lies between the linker's two symbols.
        let (start, end) = unsafe { (target(&raw const (*at).start), target(&raw const (*at).end)) };
        if start <= pc && pc < end {
            return Some(start);
        }
        // SAFETY: at most one past the last entry.
        at = unsafe { at.add(1) };
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Gc, GcCell};

    #[inline(never)]
    fn a_store(cell: &GcCell<Option<Gc<u64>>>) {
        cell.set(None);
    }

    #[test]
    fn entries_are_found_and_nothing_else() {
        let (first, end) = (&raw const FIRST, &raw const END);
        assert_eq!((end.addr() - first.addr()) % size_of::<Range>(), 0);
        let a_store: fn(&GcCell<Option<Gc<u64>>>) = core::hint::black_box(a_store);
        assert!((0..32).any(|i| restart_point(a_store as usize + i).is_some()));
        assert_eq!(restart_point(0), None);
        assert_eq!(restart_point(entries_are_found_and_nothing_else as *const () as usize), None);
        let mut at = first;
        let mut stores = 0;
        while at < end {
            // SAFETY: an entry.
            let (start, end) = unsafe { (target(&raw const (*at).start), target(&raw const (*at).end)) };
            for pc in start..end {
                assert_eq!(restart_point(pc), Some(start));
            }
            stores += usize::from(end > start);
            // The compare with its address, the jump, the store.
            assert!(end == start || (12..40).contains(&(end - start)), "{start:#x}..{end:#x}");
            // SAFETY: as above.
            at = unsafe { at.add(1) };
        }
        assert!(stores > 0, "this crate's tests store");
    }
}
