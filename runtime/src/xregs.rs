//! Vector registers of descheduled goroutines, off heap (Go's `xRegState`).
//!
//! ```text
//! async_preempt saves into p.xregs.scratch ─ xreg_save ─► an XRegs of the G, which is scanned with its stack
//!                                                         │ the G runs again, under whatever P
//! async_preempt restores from p.xregs.cache ◄─ xreg_restore ───┘
//! the next `xreg_save` on that P takes the area from p.xregs.cache for its own G: it is given back late
//! ```
//! What would break if `xreg_restore` gave the area back to the free list at once: another P could take it and write to it
//! before `async_preempt` has read it.
//!
//! Areas are all of one size, in a table whose pages are committed when first used, and never given back. The free ones
//! are a list: areas are taken off it under a lock (rank: innermost), on g0, and put on it without one, on the stack of
//! the goroutine that was preempted, where there is no room for waiting.

use crate::arch::async_preempt::XREGS_BYTES;
use crate::g::G;
use crate::p::P;
use crate::sched::Sched;
use barrier_lint::{NoBarrierPtr, NotInHeap, SystemStack, nowritebarrierrec, systemstack};
use core::cell::UnsafeCell;
use gc_core::Scanner;
use gc_core::sync::{AtomicPtr, Lock, MapError, Ordering, Rank, Table, Zeroed, modelled};

/// An area for the vector registers of one goroutine.
#[repr(C, align(64))]
#[derive(NotInHeap)]
pub(crate) struct XRegs {
    bytes: UnsafeCell<[u8; XREGS_BYTES]>,
    /// Next free one. Kept alive by the table.
    next: NoBarrierPtr<XRegs>,
}

/// What a P has of it.
#[repr(C, align(64))]
pub(crate) struct PXRegs {
    /// Where `async_preempt` saves.
    pub(crate) scratch: UnsafeCell<[u8; XREGS_BYTES]>,
    /// What `async_preempt` restores from, if not null; afterwards the area for the next goroutine.
    pub(crate) cache: AtomicPtr<XRegs>,
}

impl PXRegs {
    pub(crate) fn new() -> PXRegs {
        PXRegs { scratch: UnsafeCell::new([0; XREGS_BYTES]), cache: AtomicPtr::new(core::ptr::null_mut()) }
    }
}

// SAFETY: only the M that holds the P uses it.
unsafe impl Sync for PXRegs {}

// SAFETY: all zero is an area that nobody has used.
unsafe impl Zeroed for XRegs {
    fn zeroed() -> XRegs {
        XRegs { bytes: UnsafeCell::new([0; XREGS_BYTES]), next: NoBarrierPtr::null() }
    }
}

#[cfg(modelled)]
impl XRegs {
    /// What it holds.
    pub(crate) fn bytes(&self) -> [u8; XREGS_BYTES] {
        // SAFETY: as `async_preempt` reads it; loom's threads share an OS thread.
        unsafe { *self.bytes.get() }
    }
}

// SAFETY: an area belongs to one G, one P, or the list.
unsafe impl Sync for XRegs {}

/// The areas of a scheduler.
pub(crate) struct Areas {
    all: Table<XRegs>,
    /// The first free one.
    free: AtomicPtr<XRegs>,
    /// How many were ever used. Who holds the lock may take areas off the list.
    used: Lock<usize>,
}

impl Areas {
    /// For `most` descheduled goroutines at once, and one area for each of `procs` Ps.
    pub(crate) fn new(most: usize, procs: usize) -> Result<Areas, MapError> {
        let all = Table::new(most + procs)?;
        Ok(Areas { all, free: AtomicPtr::new(core::ptr::null_mut()), used: Lock::new(Rank::VectorAreas, 0) })
    }

    /// Bytes that the areas take.
    pub(crate) fn bytes(&self) -> usize {
        *self.used.lock() * size_of::<XRegs>()
    }

    /// A free area. On g0, as it may wait.
    #[nowritebarrierrec]
    fn take(&self, _on: &SystemStack) -> *mut XRegs {
        modelled("Areas::take");
        let mut used = self.used.lock();
        // Acquire: pairs with the Release in `give_back`, for the link.
        let mut first = self.free.load(Ordering::Acquire);
        // SAFETY: null, or an area, which lies in a table that is never freed.
        while let Some(area) = unsafe { first.as_ref() } {
            // Nobody else takes areas off, so `area` stays where it is, with the same link, unless others come before it.
            match self.free.compare_exchange(first, area.next.get(), Ordering::Acquire, Ordering::Acquire) {
                Ok(_) => return first,
                Err(now) => first = now,
            }
        }
        *used += 1;
        if *used > self.all.len() {
            gc_core::throw!("more than {} goroutines are descheduled by signals", self.all.len());
        }
        core::ptr::from_ref(&self.all[*used - 1]).cast_mut()
    }

    /// Puts an area on the list. Never waits.
    #[nowritebarrierrec]
    fn give_back(&self, area: &XRegs) {
        modelled("Areas::give_back");
        let mut first = self.free.load(Ordering::Relaxed);
        loop {
            // SAFETY: areas lie in a table that is never freed.
            unsafe { area.next.set_no_write_barrier(first) };
            let new = core::ptr::from_ref(area).cast_mut();
            // Release: pairs with the Acquires in `take`, for the link.
            match self.free.compare_exchange_weak(first, new, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return,
                Err(now) => first = now,
            }
        }
    }
}

/// Moves what `async_preempt` has saved from the scratch of `p` to an area of `gp`. On g0, where the M keeps its P: on
/// the goroutine's stack the copy would be of whatever P it wakes up with (Go's `xRegSave`).
#[systemstack]
#[nowritebarrierrec]
pub(crate) fn xreg_save(on: &SystemStack, gp: &G, p: &P) {
    modelled("xreg_save");
    if !gp.xregs.load(Ordering::Relaxed).is_null() {
        gc_core::throw!("a goroutine is descheduled that is so already");
    }
    let mut area = p.xregs.cache.swap(core::ptr::null_mut(), Ordering::Relaxed);
    if area.is_null() {
        area = gp.sched.xregs.take(on);
    }
    // SAFETY: the area is this goroutine's alone, the scratch this P's, which this M holds.
    unsafe { core::ptr::copy_nonoverlapping(p.xregs.scratch.get(), (*area).bytes.get(), 1) };
    // Release: pairs with the Acquire in `scan`.
    gp.xregs.store(area, Ordering::Release);
}

/// Puts the area of `gp` where `async_preempt` restores from. On the goroutine's stack, in the runtime; until it has
/// restored nothing else happens on this P.
#[nowritebarrierrec]
pub(crate) fn xreg_restore(gp: &G, p: &P) {
    modelled("xreg_restore");
    let area = gp.xregs.swap(core::ptr::null_mut(), Ordering::Relaxed);
    if gc_core::faults::active(gc_core::faults::Fault::XRegsOfAnother) {
        return; // `async_preempt` restores from the scratch
    }
    let mut old = p.xregs.cache.swap(area, Ordering::Relaxed);
    if gc_core::faults::active(gc_core::faults::Fault::XRegsFreedEarly) {
        old = area;
    }
    // SAFETY: null, or an area that nobody restores from any more, since this M holds the P.
    if let Some(old) = unsafe { old.as_ref() } {
        gp.sched.xregs.give_back(old);
    }
}

/// `p` will not be used for a while: gives back the area that it keeps for the next goroutine. The caller holds `p`, on
/// g0, or has stopped the world with nobody else holding it.
#[nowritebarrierrec]
pub(crate) fn give_up(sched: &Sched, p: &P) {
    let area = p.xregs.cache.swap(core::ptr::null_mut(), Ordering::Relaxed);
    // SAFETY: null, or an area that nobody restores from, since no goroutine runs on `p`.
    if let Some(area) = unsafe { area.as_ref() } {
        sched.xregs.give_back(area);
    }
}

/// Scans the vector registers of a descheduled goroutine, if it is one.
///
/// # Safety
/// Nobody runs the goroutine meanwhile.
pub(crate) unsafe fn scan(gp: &G, s: &mut Scanner<'_>) {
    // Acquire: pairs with the Release in `xreg_save`.
    let area = gp.xregs.load(Ordering::Acquire);
    if area.is_null() || gc_core::faults::active(gc_core::faults::Fault::XRegsUnscanned) {
        return;
    }
    // SAFETY: the goroutine's area, which is written only by its own M.
    unsafe {
        let lo = (*area).bytes.get().cast::<usize>();
        s.conservative(lo, lo.add(XREGS_BYTES / size_of::<usize>()));
    }
}
