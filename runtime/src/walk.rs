//! Where a goroutine is: the return addresses on its stack, along the frame pointers. Neither locks nor allocates.
//!
//! What is read lies on the goroutine's own stack, whose segments the caller keeps from changing (it is at rest, or the
//! caller's own); a frame pointer that leads elsewhere, as code without frame pointers may leave one, ends the walk.

use crate::arch;
use crate::g::{self, G};
use gc_core::sync::Ordering;

/// Calls `f` for each return address from the frame at `at` on, the innermost first, while it says so. `false`: it has
/// said no.
pub(crate) fn frames(gp: &G, mut at: usize, mut f: impl FnMut(usize) -> bool) -> bool {
    loop {
        let Some(stack) = gp.segments.holding(gp.stack, at).filter(|s| at.is_multiple_of(8) && at + 16 <= s.hi) else {
            return true;
        };
        let words = core::ptr::with_exposed_provenance::<usize>(at);
        // SAFETY: two words inside a stack, which is mapped for ever.
        let (next, pc) = unsafe { (words.read(), words.add(1).read()) };
        if pc == 0 {
            return true;
        }
        if !f(pc) {
            return false;
        }
        if stack.contains(next) && next <= at {
            return true;
        }
        at = next;
    }
}

/// As [`frames`], for a goroutine that does not run, or is in a blocking call. A goroutine that was interrupted is at the
/// address of an instruction: `f` is told so.
pub(crate) fn at_rest(gp: &G, status: u32, mut f: impl FnMut(usize, bool) -> bool) -> bool {
    let start = match (status, crate::suspend::interrupted_at(gp)) {
        (g::SYSCALL, _) => arch::spilled_frame_pointer(gp.sp.load(Ordering::SeqCst)),
        (_, Some((pc, start))) => {
            if !f(pc, true) {
                return false;
            }
            start
        }
        (_, None) => arch::frame_pointer(gp.sp.load(Ordering::SeqCst)),
    };
    frames(gp, start, |pc| f(pc, false))
}

/// Fills `into` with the return addresses on the stack of `gp`, on which this runs; how many there are. Nothing where the
/// program has no frame pointers.
#[inline(never)]
pub(crate) fn callers(gp: &G, into: &mut [usize]) -> usize {
    if !gp.sched.settings.frame_pointers {
        return 0;
    }
    let mut n = 0;
    frames(gp, arch::own_frame_pointer(), |pc| {
        // What is not in the program's text is no return address of it.
        if n == into.len() || !crate::sight::in_program(pc) {
            return false;
        }
        into[n] = pc;
        n += 1;
        true
    });
    n
}
