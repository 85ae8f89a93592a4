//! What the poller knows of a file: `PollDesc`, as Go's `pollDesc`. One word each for who waits to read and to write:
//!
//! ```text
//! NIL    nobody waits, nothing has happened
//! WAIT   a goroutine is about to park: from NIL, by itself
//! G      it is parked: from WAIT, by its M, once its stack is at rest
//! READY  the file is ready, or was: from any of them, by `netpollready`; back to NIL by who waits next, or was woken
//!        from WAIT or G back to NIL: its time limit has passed, or somebody has closed the file
//! ```
//! Every change is a CAS. Who takes a G out of the word readies that goroutine, so it is readied once. Who takes WAIT out
//! readies nobody: the parking M's CAS fails, and the goroutine goes on at once.
//!
//! A goroutine that waits writes WAIT first and looks at `closing` and at its limit second; `close` and the timer store
//! theirs first and look at the word second. All of these are SeqCst. What would break otherwise: it parks after both.
//!
//! READY means "try again": a goroutine tries its system call before it waits, and after each wake-up. The kernel tells of
//! changes only (edge-triggered), so nothing else may take READY away. The word has room for one goroutine; others queue
//! for their [`Turn`].
//!
//! Descriptors are never freed, since `epoll_wait` may report a file that has been closed meanwhile. Each use has a number,
//! `seq`, which the kernel hands back with what it reports; a report for another use is dropped.

use super::turn::Turn;
use crate::g::{G, WaitReason};
use crate::proc::park::{WAIT, park_in};
use crate::time::timers::Timer;
use barrier_lint::{NoBarrierPtr, nowritebarrierrec};
use core::mem::ManuallyDrop;
use gc_core::faults::{self, Fault};
use gc_core::sync::{AtomicBool, AtomicPtr, AtomicU32, Lock, MapError, Ordering, Rank, Table, Zeroed, modelled};
use std::io;

/// What a goroutine waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mode {
    Read,
    Write,
}

/// Why a wait has ended without readiness.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ended {
    Closed,
    TimedOut,
}

const NIL: *mut G = core::ptr::null_mut();
const READY: *mut G = core::ptr::without_provenance_mut(1);

/// Descriptors that are mapped at once.
const CHUNK: usize = if cfg!(modelled) { 1 } else { 128 };

/// Bits of an address that are zero: the alignment of a `PollDesc`.
const ALIGN_BITS: u32 = 7;
/// Bits of an address of user space that are not.
const ADDRESS_BITS: u32 = 48 - ALIGN_BITS;

/// See the module's text.
#[repr(align(128))]
pub(crate) struct PollDesc {
    /// Next free one. Kept alive by its chunk.
    next: NoBarrierPtr<PollDesc>,
    /// The number of this use; its lower bits go to the kernel.
    seq: AtomicU32,
    closing: AtomicBool,
    /// Kept alive by `allgs`, as all Gs in these words.
    rg: AtomicPtr<G>,
    wg: AtomicPtr<G>,
    readers: Turn,
    writers: Turn,
}

// SAFETY: all zero is free, with nobody waiting (and locks whose rank `take` says).
unsafe impl Zeroed for PollDesc {
    fn zeroed() -> PollDesc {
        PollDesc {
            next: NoBarrierPtr::null(),
            seq: AtomicU32::new(0),
            closing: AtomicBool::new(false),
            rg: AtomicPtr::new(NIL),
            wg: AtomicPtr::new(NIL),
            readers: Turn::new(),
            writers: Turn::new(),
        }
    }
}

// SAFETY: atomics, locks, and a link under the cache's lock.
unsafe impl Sync for PollDesc {}

/// The time limit of a goroutine that waits; on its stack.
#[repr(C)]
struct Limit<'a> {
    timer: Timer,
    word: &'a AtomicPtr<G>,
    expired: AtomicBool,
}

fn expire(timer: &Timer) -> Option<&'static G> {
    // SAFETY: the first field of a `Limit` (repr(C)), whose goroutine stops the timer before it leaves the frame.
    let limit = unsafe { &*core::ptr::from_ref(timer).cast::<Limit<'_>>() };
    modelled("desc::expire");
    limit.expired.store(true, Ordering::SeqCst);
    unblock(limit.word, NIL)
}

/// Takes out who waits, if somebody does, and leaves `to`: READY, or NIL for "in vain". May run without a P.
#[nowritebarrierrec]
fn unblock(word: &AtomicPtr<G>, to: *mut G) -> Option<&'static G> {
    modelled("desc::unblock");
    loop {
        let old = word.load(Ordering::SeqCst);
        if core::ptr::eq(old, READY) || (core::ptr::eq(old, NIL) && core::ptr::eq(to, NIL)) {
            return None;
        }
        let blind = faults::active(Fault::ReadyOverwrites);
        if blind {
            faults::linger(64);
            word.store(to, Ordering::SeqCst);
        }
        if blind || word.compare_exchange(old, to, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
            if core::ptr::eq(old, WAIT) {
                return None;
            }
            // SAFETY: null (NIL), or a G of `allgs`.
            return unsafe { old.as_ref() };
        }
    }
}

impl PollDesc {
    #[nowritebarrierrec]
    fn word(&self, mode: Mode) -> &AtomicPtr<G> {
        match mode {
            Mode::Read => &self.rg,
            Mode::Write => &self.wg,
        }
    }

    /// Where those queue that would wait for the same.
    pub(crate) fn turn(&self, mode: Mode) -> &Turn {
        match mode {
            Mode::Read => &self.readers,
            Mode::Write => &self.writers,
        }
    }

    /// What the kernel is to hand back: where this is, and which use it is.
    pub(super) fn data(&self) -> u64 {
        let address = core::ptr::from_ref(self).expose_provenance() as u64;
        (address >> ALIGN_BITS) | (u64::from(self.seq.load(Ordering::SeqCst)) << ADDRESS_BITS)
    }

    /// The descriptor that `data` was made of, if it is still the same use.
    #[nowritebarrierrec(assoc)]
    pub(super) fn from_data(data: u64) -> Option<&'static PollDesc> {
        let address = (data & ((1 << ADDRESS_BITS) - 1)) << ALIGN_BITS;
        // SAFETY: `data` was made of a descriptor, and those live for ever.
        let desc = unsafe { core::ptr::with_exposed_provenance::<PollDesc>(address as usize).as_ref() };
        let Some(desc) = desc else { return None };
        let seq = u64::from(desc.seq.load(Ordering::SeqCst)) << ADDRESS_BITS >> ADDRESS_BITS;
        if seq == data >> ADDRESS_BITS { Some(desc) } else { None }
    }

    /// The file has become ready: the goroutine to run, if one waits for that. May run without a P.
    #[nowritebarrierrec]
    pub(super) fn ready(&self, mode: Mode) -> Option<&'static G> {
        unblock(self.word(mode), READY)
    }

    /// Parks the goroutine until the file is ready, or may be. It has the [`turn`](PollDesc::turn). Needs a P.
    pub(crate) fn wait(&self, gp: &'static G, mode: Mode, until: Option<u64>) -> Result<(), Ended> {
        modelled("PollDesc::wait");
        let word = self.word(mode);
        let limit = Limit { timer: Timer::new(expire), word, expired: AtomicBool::new(false) };
        if let Some(when) = until {
            // SAFETY: it stays in this frame, and is stopped at its end.
            unsafe { limit.timer.arm(when) }
        }
        let out = loop {
            if word.compare_exchange(READY, NIL, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
                break Ok(());
            }
            if faults::active(Fault::WaitUnchecked) {
                faults::linger(1000);
            }
            if let Err(now) = word.compare_exchange(NIL, WAIT, Ordering::SeqCst, Ordering::SeqCst) {
                if !core::ptr::eq(now, READY) {
                    gc_core::throw!("two goroutines wait for the same end of a file");
                }
                continue;
            }
            let may = !self.closing() && !limit.expired.load(Ordering::SeqCst);
            if may || faults::active(Fault::WaitUnchecked) {
                let waiters = &gp.sched.netpoll.waiters;
                waiters.fetch_add(1, Ordering::SeqCst);
                park_in(gp, word, WaitReason::Io);
                waiters.fetch_sub(1, Ordering::SeqCst);
            }
            if core::ptr::eq(word.swap(NIL, Ordering::SeqCst), READY) {
                break Ok(());
            }
            if self.closing() {
                break Err(Ended::Closed);
            }
            if limit.expired.load(Ordering::SeqCst) {
                break Err(Ended::TimedOut);
            }
        };
        limit.timer.stop();
        out
    }

    /// Whether somebody has closed the file.
    pub(crate) fn closing(&self) -> bool {
        self.closing.load(Ordering::SeqCst)
    }

    /// From now on nobody waits here; who does is woken. Needs no P.
    pub(super) fn close(&self) -> [Option<&'static G>; 2] {
        modelled("PollDesc::close");
        self.closing.store(true, Ordering::SeqCst);
        [unblock(&self.rg, NIL), unblock(&self.wg, NIL)]
    }
}

/// Descriptors that are free (Go's `pollCache`). The lock is innermost.
pub(super) struct Cache {
    first: Lock<Free>,
}

struct Free(*const PollDesc);

// SAFETY: descriptors live for ever.
unsafe impl Send for Free {}

impl Cache {
    pub(super) fn new() -> Cache {
        Cache { first: Lock::new(Rank::PollCache, Free(core::ptr::null())) }
    }

    /// A descriptor for a new use.
    pub(super) fn take(&self) -> io::Result<&'static PollDesc> {
        loop {
            let mut first = self.first.lock();
            // SAFETY: null or a free descriptor.
            if let Some(desc) = unsafe { first.0.as_ref() } {
                first.0 = desc.next.get();
                drop(first);
                desc.closing.store(false, Ordering::SeqCst);
                desc.rg.store(NIL, Ordering::SeqCst);
                desc.wg.store(NIL, Ordering::SeqCst);
                return Ok(desc);
            }
            drop(first);
            let chunk = Table::<PollDesc>::new(CHUNK).map_err(|e: MapError| io::Error::from_raw_os_error(e.errno))?;
            // SAFETY: the table is never dropped.
            let chunk = unsafe { &*core::ptr::from_ref(ManuallyDrop::new(chunk).as_slice()) };
            for desc in chunk {
                desc.readers.set_rank();
                desc.writers.set_rank();
                self.give_back(desc);
            }
        }
    }

    /// The use of `desc` is over; the kernel reports nothing new for it.
    pub(super) fn give_back(&self, desc: &'static PollDesc) {
        // Reports that are under way are for the old use.
        desc.seq.fetch_add(1, Ordering::SeqCst);
        let mut first = self.first.lock();
        // SAFETY: descriptors live for ever.
        unsafe { desc.next.set_no_write_barrier(first.0.cast_mut()) };
        first.0 = desc;
    }
}
