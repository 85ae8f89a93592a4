//! Unused pages of parked goroutines' stacks go back to the system.
//!
//! A goroutine that has not run between two scans of its stack will hardly run soon: the second scanner, which has the SCAN
//! bit anyway, gives back what lies below its frames, once until it runs again. What would break without the bit: the
//! goroutine would run on the pages meanwhile.

use super::arena::{PAGE, Stack};
use crate::g::G;
use gc_core::sync::Ordering;

/// `G::quiet`: its pages have been given back since it ran last.
const GIVEN: u32 = u32::MAX;

/// Bytes below the frames that stay: what the next calls touch at once.
const KEPT: usize = 2 * PAGE;

/// The goroutine runs: its pages are its own for two cycles.
#[inline]
pub(crate) fn begins_to_run(gp: &G) {
    // Relaxed: read under the SCAN bit, which a running goroutine does not grant.
    gp.quiet.store(0, Ordering::Relaxed);
}

/// A stack has been scanned in `cycle`. The caller has the SCAN bit, and nobody uses what lies below the saved sp: the
/// goroutine is neither in a blocking call nor suspended in place.
pub(crate) fn give_back(gp: &G, cycle: u32) {
    let quiet = gp.quiet.load(Ordering::Relaxed);
    if quiet == GIVEN || quiet == cycle {
        return;
    }
    if quiet == 0 {
        gp.quiet.store(cycle, Ordering::Relaxed);
        return;
    }
    gp.quiet.store(GIVEN, Ordering::Relaxed);
    let sp = gp.sp.load(Ordering::Relaxed);
    if let Some(stack) = gp.segments.holding(gp.stack, sp) {
        discard(Stack { lo: stack.lo, hi: sp.saturating_sub(KEPT) });
    }
    if let Some(spare) = gp.segments.spare() {
        discard(spare);
    }
}

/// The whole pages in `range` lose their memory, and are zeros when they are touched again. Guards stay.
fn discard(range: Stack) {
    let (lo, hi) = (range.lo.next_multiple_of(PAGE), range.hi & !(PAGE - 1));
    if lo < hi {
        // SAFETY: pages of a stack that hold nothing that is needed (the caller's contract).
        unsafe { libc::madvise(core::ptr::with_exposed_provenance_mut(lo), hi - lo, libc::MADV_DONTNEED) };
    }
}
