//! The collector's part of a P: cache, barrier buffer, work (Go's `mcache`, `wbBuf` and `gcw`).
//!
//! **Holding.** One thread at a time holds a P: the one that called `acquire_p`, until its `release_p`; or whoever
//! the host lets act for an idle one (`World::for_each_p`, the stopper). Only the holder touches the cells below.
//! `release_p` flushes, so a P that nobody holds has an empty barrier buffer and no work.

use crate::alloc::Cache;
use crate::barrier::WbBuf;
use crate::faults::{self, Fault};
use crate::heap::Heap;
use crate::mark::GcWork;
use crate::root::FreeRoots;
use crate::sync::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, Ordering, current, nanos};
use barrier_lint::{certify, nowritebarrierrec, yeswritebarrierrec};
use core::cell::UnsafeCell;

/// The collector's part of a P. Off heap, lives for ever.
#[repr(C, align(64))]
pub struct GcP {
    /// The owner should come to a safepoint soon: set by the host (stop, time slice, `for_each_p`), cleared by it,
    /// polled by the host's `poll` and by marking.
    pub preempt: AtomicBool,
    /// Number of this P in its heap.
    pub id: u32,
    heap: &'static Heap,
    /// The state word of the thread that holds this P, for flips; null while nobody does.
    state_word: AtomicPtr<AtomicU32>,
    wb: UnsafeCell<WbBuf>,
    gcw: UnsafeCell<GcWork>,
    cache: UnsafeCell<Cache>,
    roots: UnsafeCell<FreeRoots>,
    /// Time that workers marked on this P in this cycle, nanoseconds.
    pub(crate) worked: AtomicU64,
    /// Under a memory limit: the time for which this P was held, and since when it is ([`nanos`]; 0: it is not).
    held: AtomicU64,
    held_since: AtomicU64,
}

// SAFETY: the cells are touched by the holder only (see the module's text); the rest is atomic or constant.
unsafe impl Sync for GcP {}

impl GcP {
    pub(crate) fn new(heap: &'static Heap, id: u32) -> &'static GcP {
        let p = crate::offheap::persistent_new(GcP {
            preempt: AtomicBool::new(false),
            id,
            heap,
            state_word: AtomicPtr::new(core::ptr::null_mut()),
            wb: UnsafeCell::new(WbBuf::new(&heap.config.stress)),
            gcw: UnsafeCell::new(GcWork::new(&heap.config.stress)),
            cache: UnsafeCell::new(Cache::new(heap.config.profile_rate, id)),
            roots: UnsafeCell::new(FreeRoots::default()),
            worked: AtomicU64::new(0),
            held: AtomicU64::new(0),
            held_since: AtomicU64::new(0),
        });
        // SAFETY: persistent memory is never freed.
        unsafe { p.as_ref() }
    }

    /// The P that this thread holds.
    ///
    /// A thread without a P that comes here is a fatal error (invariant I1): it may neither allocate nor touch the
    /// heap.
    #[nowritebarrierrec(assoc)]
    #[inline(always)]
    pub fn current() -> &'static GcP {
        // SAFETY: null, or a P that lives for ever.
        match unsafe { current::p().cast::<GcP>().as_ref() } {
            Some(p) => p,
            None => heap_without_p(),
        }
    }

    /// The P that this thread holds, if any. May run without a P.
    #[nowritebarrierrec(assoc)]
    pub fn try_current() -> Option<&'static GcP> {
        // SAFETY: null, or a P that lives for ever.
        unsafe { current::p().cast::<GcP>().as_ref() }
    }

    /// The heap that this P belongs to.
    #[nowritebarrierrec]
    #[inline(always)]
    pub fn heap(&self) -> &'static Heap {
        self.heap
    }

    /// The barrier buffer.
    ///
    /// # Safety
    /// The caller holds this P, and no other borrow of the buffer is alive.
    #[nowritebarrierrec]
    #[inline(always)]
    #[allow(clippy::mut_from_ref)]
    pub(crate) unsafe fn wb(&self) -> &mut WbBuf {
        // SAFETY: the caller's contract.
        unsafe { &mut *self.wb.get() }
    }

    /// The mark work of this P.
    ///
    /// # Safety
    /// The caller holds this P, and no other borrow of its work is alive.
    #[nowritebarrierrec]
    #[inline(always)]
    #[allow(clippy::mut_from_ref)]
    pub(crate) unsafe fn gcw(&self) -> &mut GcWork {
        // SAFETY: the caller's contract.
        unsafe { &mut *self.gcw.get() }
    }

    /// The allocation cache.
    ///
    /// # Safety
    /// The caller holds this P, and no other borrow of the cache is alive.
    #[inline(always)]
    #[allow(clippy::mut_from_ref)]
    pub(crate) unsafe fn cache(&self) -> &mut Cache {
        // SAFETY: the caller's contract.
        unsafe { &mut *self.cache.get() }
    }

    /// Slots for roots that this P has at hand.
    ///
    /// # Safety
    /// The caller holds this P, and no other borrow of them is alive.
    #[nowritebarrierrec]
    #[inline(always)]
    #[allow(clippy::mut_from_ref)]
    pub(crate) unsafe fn roots(&self) -> &mut FreeRoots {
        // SAFETY: the caller's contract.
        unsafe { &mut *self.roots.get() }
    }

    /// Empties the barrier buffer and hands all local work to everyone. What the buffer held is work only if it was white,
    /// else marking would go on for as long as anybody stores.
    ///
    /// # Safety
    /// The caller holds this P, or acts for an idle one.
    #[nowritebarrierrec]
    pub(crate) unsafe fn flush(&self) {
        crate::sync::modelled("GcP::flush");
        // SAFETY: the caller's contract; the borrows do not overlap with others.
        unsafe {
            if faults::active(Fault::ShadeAfterTermination) && self.heap.marking() {
                return self.gcw().dispose(self.heap);
            }
            self.wb().flush(self.heap, self.gcw());
            self.gcw().dispose(self.heap);
        }
    }

    /// For how long this P was held until `now`, in nanoseconds; only counted under a memory limit.
    #[nowritebarrierrec]
    pub(crate) fn held(&self, now: u64) -> u64 {
        // Relaxed: an estimate.
        let since = match self.held_since.load(Ordering::Relaxed) {
            0 => 0,
            since => now.saturating_sub(since),
        };
        self.held.load(Ordering::Relaxed) + since
    }

    /// For the limiter.
    #[inline(never)]
    #[nowritebarrierrec]
    fn held_from_now(&self) {
        // Relaxed, as in `held_until_now`: the holder's own, which others only estimate by.
        self.held_since.store(nanos(), Ordering::Relaxed);
    }

    /// For the limiter.
    #[inline(never)]
    #[nowritebarrierrec]
    fn held_until_now(&self) {
        self.held.store(self.held(nanos()), Ordering::Relaxed);
        self.held_since.store(0, Ordering::Relaxed);
    }

    /// Writes the state word of the thread that holds this P, if any. The world is stopped.
    pub(crate) fn write_state(&self, bits: u32) {
        // Acquire: pairs with the Release of `acquire_p`, for the word itself; what is in it is ordered by the stop.
        let word = self.state_word.load(Ordering::Acquire);
        // SAFETY: null, or the word of a thread that holds this P and therefore has not ended.
        if let Some(word) = unsafe { word.as_ref() } {
            word.store(bits, Ordering::Relaxed);
        }
    }
}

impl Heap {
    /// This thread now holds `p`: publishes it and loads the phase, which cannot change while a P is held and
    /// running. The inverse of [`Heap::release_p`].
    #[yeswritebarrierrec]
    pub fn acquire_p(&self, p: &'static GcP) {
        crate::sync::modelled("Heap::acquire_p");
        debug_assert!(current::p().is_null(), "acquire_p by a thread that holds a P");
        current::set_p(core::ptr::from_ref(p).cast_mut().cast());
        // Release: pairs with the Acquire of `write_state`.
        p.state_word.store(core::ptr::from_ref(current::state_word()).cast_mut(), Ordering::Release);
        if self.limiter.on() {
            p.held_from_now();
        }
        // SAFETY: this thread holds `p` from now on.
        unsafe { p.cache() }.flush_if_stale(self);
        let had = current::state() & !current::NO_P;
        current::set_state(if faults::active(Fault::StalePhase) { had } else { self.state_bits(p) });
        if faults::active(Fault::BufferLost) {
            // SAFETY: as above.
            unsafe { p.wb().forget() };
        }
        if faults::active(Fault::ShadeAfterTermination) && !self.marking() {
            // SAFETY: as above.
            unsafe { p.flush() };
        }
    }

    /// Empties `p`, which will not be used for a while: barrier buffer, mark work, and cache, whose spans others may
    /// allocate from then.
    ///
    /// # Safety
    /// The caller holds `p`, or has stopped the world, and nothing of the collector is under way on it.
    #[yeswritebarrierrec]
    pub unsafe fn empty_p(&self, p: &GcP) {
        // SAFETY: the caller's contract.
        unsafe {
            p.flush();
            p.cache().flush(self);
            self.roots.take_back(p.roots());
        }
    }

    /// This thread is about to give `p` up: flushes barrier buffer and work, and makes barriers fatal here.
    #[nowritebarrierrec]
    pub fn release_p(&self, p: &'static GcP) {
        crate::sync::modelled("Heap::release_p");
        debug_assert!(core::ptr::eq(GcP::current(), p), "release_p of a P that this thread does not hold");
        if current::state() & current::BARRIER != 0 && !faults::active(Fault::BufferLost) {
            // SAFETY: this thread still holds `p`.
            unsafe { p.flush() };
        }
        if self.limiter.on() {
            p.held_until_now();
        }
        // Before the P is given up: from here on a pointer store of this thread is fatal.
        let kept = if faults::active(Fault::StalePhase) { current::state() & current::PHASE } else { 0 };
        if !faults::active(Fault::WordKept) {
            current::set_state(current::NO_P | kept);
        }
        current::set_p(core::ptr::null_mut());
        p.state_word.store(core::ptr::null_mut(), Ordering::Relaxed);
    }
}

/// Invariant I1 is broken.
#[cold]
#[inline(never)]
pub(crate) fn no_p(what: core::fmt::Arguments<'_>) -> ! {
    crate::throw!(
        "{what} by a thread that holds no P: no pointer store, allocation or heap access may run there \
         (in a `blocking` call, on a foreign thread, or inside the scheduler)"
    )
}

#[cold]
fn heap_without_p() -> ! {
    no_p(format_args!("the heap is used"))
}

/// This thread's state word forbids what it is about to do: invariant I1 or I2 is broken.
#[cold]
#[inline(never)]
pub(crate) fn forbidden(what: core::fmt::Arguments<'_>) -> ! {
    if current::state() & current::NO_P != 0 {
        no_p(what)
    }
    crate::throw!(
        "{what} while another thread has stopped the world: only the stopper may touch the heap now, so the host has \
         let a thread run that it reported as stopped"
    )
}

/// The P of this thread, which must have one and may use the heap: fatal otherwise, in every build.
pub(crate) fn holder(what: &str) -> &'static GcP {
    if current::state() & (current::NO_P | current::STOPPED) != 0 {
        forbidden(format_args!("{what}"));
    }
    GcP::current()
}

/// A barrier runs where an attribute says that none can (debug builds): a function pointer, a reason that is not true.
#[cfg(debug_assertions)]
pub(crate) fn inside_no_barrier(barrier: &str, function: &str) -> ! {
    crate::throw!("a write barrier ({barrier}) inside the no-barrier function {function}")
}

certify! {
    fn heap_without_p: "ends the process";
}
