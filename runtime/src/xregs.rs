//! Vector registers of descheduled goroutines, off heap (Go's `xRegState`).
//!
//! ```text
//! async_preempt saves into p.xregs.scratch ─ save ─► an XRegs of the G, which is scanned with its stack
//!                                                         │ the G runs again, under whatever P
//! async_preempt restores from p.xregs.cache ◄─ restore ───┘
//! the next `save` on that P takes the area from p.xregs.cache for its own G: it is given back late
//! ```
//! What would break if `restore` gave the area back to the free list at once: another P could take it and write to it
//! before `async_preempt` has read it.
//!
//! Areas are all of one size, in a table whose pages are committed when first used, and never given back; a lock guards
//! the list of free ones (rank: innermost).

use crate::arch::async_preempt::XREGS_BYTES;
use crate::g::G;
use crate::p::P;
use barrier_lint::{NoBarrierPtr, NotInHeap, nowritebarrierrec};
use core::cell::UnsafeCell;
use gc_core::Scanner;
use gc_core::sync::{AtomicPtr, Lock, MapError, Ordering, Table, Zeroed};

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

// SAFETY: an area belongs to one G, one P, or the list.
unsafe impl Sync for XRegs {}

/// The areas of a scheduler.
pub(crate) struct Areas {
    all: Table<XRegs>,
    free: Lock<Free>,
}

struct Free {
    first: *mut XRegs,
    /// Areas ever used.
    used: usize,
}

// SAFETY: a list of areas, which live as long as the scheduler.
unsafe impl Send for Free {}

impl Areas {
    /// For `most` descheduled goroutines at once, and one area for each of `procs` Ps.
    pub(crate) fn new(most: usize, procs: usize) -> Result<Areas, MapError> {
        let free = Lock::new(Free { first: core::ptr::null_mut(), used: 0 });
        Ok(Areas { all: Table::new(most + procs)?, free })
    }

    /// Bytes that the areas take.
    pub(crate) fn bytes(&self) -> usize {
        self.free.lock().used * size_of::<XRegs>()
    }

    #[nowritebarrierrec]
    fn take(&self) -> *mut XRegs {
        let mut free = self.free.lock();
        // SAFETY: null, or a free area.
        if let Some(area) = unsafe { free.first.as_ref() } {
            free.first = area.next.get();
            return core::ptr::from_ref(area).cast_mut();
        }
        free.used += 1;
        if free.used > self.all.len() {
            gc_core::throw!("more than {} goroutines are descheduled by signals", self.all.len());
        }
        core::ptr::from_ref(&self.all[free.used - 1]).cast_mut()
    }

    #[nowritebarrierrec]
    fn give_back(&self, area: &XRegs) {
        let mut free = self.free.lock();
        // SAFETY: areas lie in a table that is never freed.
        unsafe { area.next.set_no_write_barrier(free.first) };
        free.first = core::ptr::from_ref(area).cast_mut();
    }
}

/// Moves what `async_preempt` has saved from the scratch of `p` to an area of `gp`. On the goroutine's stack, in the
/// runtime.
#[nowritebarrierrec]
pub(crate) fn save(gp: &G, p: &P) {
    let mut area = p.xregs.cache.swap(core::ptr::null_mut(), Ordering::Relaxed);
    if area.is_null() {
        area = gp.sched.xregs.take();
    }
    // SAFETY: the area is this goroutine's alone, the scratch this P's, which this M holds.
    unsafe { core::ptr::copy_nonoverlapping(p.xregs.scratch.get(), (*area).bytes.get(), 1) };
    // Release: pairs with the Acquire in `scan`.
    gp.xregs.store(area, Ordering::Release);
}

/// Puts the area of `gp` where `async_preempt` restores from. On the goroutine's stack, in the runtime; until it has
/// restored nothing else happens on this P.
#[nowritebarrierrec]
pub(crate) fn restore(gp: &G, p: &P) {
    let area = gp.xregs.swap(core::ptr::null_mut(), Ordering::Relaxed);
    let old = p.xregs.cache.swap(area, Ordering::Relaxed);
    // SAFETY: null, or an area that nobody restores from any more, since this M holds the P.
    if let Some(old) = unsafe { old.as_ref() } {
        gp.sched.xregs.give_back(old);
    }
}

/// Scans the vector registers of a descheduled goroutine, if it is one.
///
/// # Safety
/// Nobody runs the goroutine meanwhile.
pub(crate) unsafe fn scan(gp: &G, s: &mut Scanner<'_>) {
    // Acquire: pairs with the Release in `save`.
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
