//! Barriered stores on words.

use crate::faults::{self, Fault};
use crate::p::{GcP, forbidden};
use crate::stress::Window;
use crate::sync::current::{self, Region};
use crate::sync::{Ordering, overwrite, word};
use barrier_lint::writebarrier;

/// `*slot = new`, with the barrier.
///
/// # Safety
/// `slot` is a pointer word of a live heap object; `new` is null or the base of a live object.
#[inline(always)]
pub(super) unsafe fn store(slot: usize, new: usize) {
    // ThreadSanitizer sees no store in assembly: it gets the twin.
    #[cfg(all(target_arch = "x86_64", not(any(modelled, miri, tsan))))]
    // SAFETY: the asm reads this thread's state word and, if it is zero (P held, barrier off), does the one store that
    // the caller vouches for; else it leaves for the slow path, having stored nothing.
    unsafe {
        core::arch::asm!(
            "2: cmp dword ptr fs:[tricolor_current@TPOFF], 0",
            "jne {slow}",
            "mov qword ptr [{slot}], {new}",
            "3:",
            ".pushsection wb_ranges,\"aR\",@progbits",
            ".balign 4",
            ".long 2b - .",
            ".long 3b - .",
            ".popsection",
            slot = in(reg) slot,
            new = in(reg) new,
            // SAFETY: the caller's contract.
            slow = label { unsafe { gc_write_barrier(slot, new) } },
            options(nostack),
        );
    }
    #[cfg(not(all(target_arch = "x86_64", not(any(modelled, miri, tsan)))))]
    // SAFETY: the caller's contract.
    unsafe {
        store_twin(slot, new);
    }
}

/// The Rust twin of the assembly in `store`.
///
/// # Safety
/// As `store`.
#[allow(dead_code)] // one of the two is used by each build; a test compares them
pub(super) unsafe fn store_twin(slot: usize, new: usize) {
    if current::state() == 0 {
        #[cfg(modelled)]
        if faults::active(Fault::StopBeforeStore) {
            GcP::current().heap().world.at_safepoint(&mut || {});
        }
        // Release: pairs with the Acquire of `get` and of the marker.
        // SAFETY: the caller's contract.
        overwrite(unsafe { word::at(slot) }, new, Ordering::Release);
    } else {
        // SAFETY: the caller's contract.
        unsafe { gc_write_barrier(slot, new) };
    }
}

/// The slow path of a barriered store: the symbol that the whole-program check forbids below no-barrier roots. While the
/// barrier is on each store comes here, so what it mostly does, to record two pointers, is done without a call: the rest is
/// elsewhere.
///
/// # Safety
/// As `store`.
#[cold]
#[inline(never)]
#[unsafe(no_mangle)]
pub(super) unsafe fn gc_write_barrier(slot: usize, new: usize) {
    crate::sync::modelled("gc_write_barrier");
    // SAFETY: the caller's contract.
    let slot_word = unsafe { word::at(slot) };
    let region = Region::enter();
    let first = match current::state() {
        // Relaxed: as in `before_store`.
        current::PHASE => Some(slot_word.load(Ordering::Relaxed)),
        current::BARRIER => Some(slot),
        _ => None,
    };
    // SAFETY: a thread whose word says that the barrier is on, and nothing else, holds a P, whose `wb` nobody else touches; the
    // borrow ends here.
    let recorded = first.is_some_and(|first| unsafe { (*current::p().cast::<GcP>()).wb() }.record_quick(first, new));
    if recorded {
        // Release: as in `store`.
        return overwrite(slot_word, new, Ordering::Release);
    }
    // SAFETY: the caller's contract.
    unsafe { store_slowly(region, slot, new) }
}

/// The barrier of a store where there is more to do than to record it, or it is forbidden.
///
/// # Safety
/// As `store`.
#[writebarrier]
#[cold]
#[inline(never)]
unsafe fn store_slowly(_one: Region, slot: usize, new: usize) {
    // SAFETY: the caller's contract.
    let slot_word = unsafe { word::at(slot) };
    before_store(slot, || slot_word.load(Ordering::Relaxed), new);
    // Release: as in `store`.
    overwrite(slot_word, new, Ordering::Release);
}

/// The barrier of one store that the caller does next, in the same [`Region`].
#[writebarrier]
#[inline]
pub(super) fn before_store(slot: usize, old: impl FnOnce() -> usize, new: usize) {
    let state = current::state();
    if state & (current::NO_P | current::STOPPED) != 0 {
        #[cfg(any(feature = "faults", modelled))]
        if state & current::NO_P != 0 && faults::active(Fault::ShadeWithoutP) {
            return faults::shade_without_p(new);
        }
        forbidden_store(slot);
    }
    if state & current::BARRIER != 0 {
        let p = GcP::current();
        p.heap().window(Window::FlagCheckToStore);
        // Relaxed: only the value, to mark it; what it points to was published before it was stored here.
        let first = if state & current::MARKING != 0 { old() } else { slot };
        // SAFETY: this thread holds `p`; the borrows end here.
        unsafe { p.wb().record(p.heap(), p.gcw(), first, new) };
    }
}

/// The barrier of `n` stores that the caller does next, in the same [`Region`].
///
/// # Safety
/// `n` pointer words at `slot`.
#[writebarrier]
pub(super) unsafe fn before_stores(slot: usize, n: usize, new: impl Fn(usize) -> usize) {
    let state = current::state();
    if state == 0 {
        return;
    }
    if state & (current::NO_P | current::STOPPED) != 0 {
        forbidden_store(slot);
    }
    if faults::active(Fault::SkipMoveBarrier) {
        return;
    }
    let p = GcP::current();
    for i in 0..n {
        let slot = slot + i * size_of::<usize>();
        // Relaxed: as in `before_store`.
        // SAFETY: the caller's contract.
        let old = || unsafe { word::at(slot) }.load(Ordering::Relaxed);
        let first = if state & current::MARKING != 0 { old() } else { slot };
        // SAFETY: this thread holds `p`; the borrows end here.
        unsafe { p.wb().record(p.heap(), p.gcw(), first, new(i)) };
    }
    p.heap().window(Window::FlagCheckToStore);
}

#[cold]
fn forbidden_store(slot: usize) -> ! {
    forbidden(format_args!("a pointer is stored into the heap (at {slot:#x})"))
}
