//! Prefetches: they have no effect but on time, and any number may be given as an address.

/// Bytes of a cache line.
pub(crate) const LINE: usize = 64;

/// Starts to load the line of `addr`, to be read.
#[inline(always)]
pub(crate) fn to_read(addr: usize) {
    #[cfg(all(target_arch = "x86_64", not(any(modelled, miri))))]
    // SAFETY: a prefetch has no effect but on time.
    unsafe {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(core::ptr::without_provenance(addr));
    }
    #[cfg(not(all(target_arch = "x86_64", not(any(modelled, miri)))))]
    let _ = addr;
}

/// Starts to load the line of `addr`, to be written: no other processor keeps it.
#[inline(always)]
pub(crate) fn to_write(addr: usize) {
    #[cfg(all(target_arch = "x86_64", not(any(modelled, miri))))]
    // SAFETY: a prefetch has no effect but on time; processors without it take the instruction for a `nop`. (The intrinsic
    // makes one for reading of it, as not every x86-64 need have this one.)
    unsafe {
        core::arch::asm!("prefetchw [{}]", in(reg) addr, options(nostack, preserves_flags, readonly));
    }
    #[cfg(not(all(target_arch = "x86_64", not(any(modelled, miri)))))]
    let _ = addr;
}
