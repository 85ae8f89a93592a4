//! G: a goroutine, as Go's `g`.
//!
//! The status word says who may do what with a G and its stack:
//!
//! ```text
//! Idle     being made                          its maker
//! Runnable on a run queue; stack at rest       whoever takes it off the queue -> Running
//! Running  on an M with a P                    that M alone (leave_running) -> Runnable, Waiting, Syscall, Dead
//! Syscall  in the kernel, without a P          its M -> Running, Runnable; at and above `sp` nothing changes
//! Waiting  parked; stack at rest               who readies it -> Runnable; its M at a safepoint -> Running
//! Dead     ended, on a free list, or never run spawn -> Runnable
//! | SCAN   Runnable, Syscall, Waiting: somebody scans the stack; every change of status waits (casgstatus)
//! ```
//!
//! What would break if a status changed under SCAN: the goroutine would run while its stack is read, and a pointer
//! that it moves from an unread to a read part would be lost (I4). Whoever holds SCAN reaches no door before letting
//! go, so the wait is short.

use crate::chan::{Cases, SudogHead};
use crate::m::M;
use crate::panic::Snapshot;
use crate::proc::spawn::Start;
use crate::sched::Sched;
use crate::stack::{Segments, Stack};
use crate::xregs::XRegs;
use barrier_lint::{NoBarrierPtr, nowritebarrierrec};
use core::panic::Location;
use gc_core::faults::{self, Fault};
use gc_core::layout::{Field, TypeDesc};
use gc_core::sync::{
    AtomicBool, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering, RawLock, current, modelled,
};
use gc_core::{Conservative, Entered, Gc, GcCell, Trace};

pub(crate) const IDLE: u32 = 0;
pub(crate) const RUNNABLE: u32 = 1;
pub(crate) const RUNNING: u32 = 2;
pub(crate) const SYSCALL: u32 = 3;
pub(crate) const WAITING: u32 = 4;
pub(crate) const DEAD: u32 = 6;
/// Somebody scans the stack.
pub(crate) const SCAN: u32 = 0x1000;

/// What a goroutine waits for.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum WaitReason {
    None,
    Join,
    ChanSend,
    ChanRecv,
    Select,
    Mutex,
    WaitGroup,
    Safepoint,
    Allocation,
    Collection,
    /// Nothing to drop or clean up.
    Afterlife,
    Suspended,
    Sleep,
    Io,
    /// Its turn to stop the world.
    Stop,
}

impl WaitReason {
    const NAMES: [&'static str; 15] = [
        "",
        "join",
        "chan send",
        "chan receive",
        "select",
        "mutex lock",
        "wait group",
        "safepoint",
        "allocation",
        "waiting for a collection",
        "nothing to drop",
        "suspended",
        "sleep",
        "IO wait",
        "stop of the world",
    ];

    pub(crate) fn name(byte: u8) -> &'static str {
        Self::NAMES.get(byte as usize).copied().unwrap_or("?")
    }
}

/// A goroutine. Lives in the GC heap, is never freed, is kept alive by `allgs`.
pub(crate) struct G {
    pub(crate) status: AtomicU32,
    /// The cycle that has scanned this stack; another number: not yet in this one.
    pub(crate) stamp: AtomicU32,
    /// Saved stack pointer while not `Running`.
    pub(crate) sp: AtomicUsize,
    /// Where it begins to run.
    pub(crate) stack: Stack,
    /// What its stack has grown by.
    pub(crate) segments: Segments,
    /// Where the newest segment ends, or poison: see `stack::grow`.
    pub(crate) stackguard0: AtomicUsize,
    /// The context of the call that continues after `newstack` (Go's `gobuf.ctxt`).
    pub(crate) ctxt: GcCell<Option<Gc<()>>>,
    /// What the function on g0 that it calls is asked for: in a frame of this stack (`newstack`, `safepoint_m`).
    pub(crate) wanted: AtomicPtr<()>,
    /// The first cycle that has scanned this stack since it ran last, or that its pages have been given back.
    pub(crate) quiet: AtomicU32,
    /// While it is suspended in place: the interrupted registers, vector state included, on the signal stack of its M.
    /// Scanned with its stack. Else zeros.
    pub(crate) frame: [AtomicUsize; 2],
    pub(crate) id: AtomicU64,
    /// Place in `allgs`.
    pub(crate) index: usize,
    pub(crate) sched: &'static Sched,
    /// Where it runs. Kept alive by `allms`.
    pub(crate) m: NoBarrierPtr<M>,
    /// The only M that may run it: it was descheduled by a signal, until its next safepoint, or `lock_os_thread` or `pinned`
    /// says so.
    /// Kept alive by `allms`.
    pub(crate) lockedm: NoBarrierPtr<M>,
    /// Calls of `lock_os_thread` without their `unlock_os_thread`, and one more with `pinned`; only its own.
    pub(crate) lockedext: AtomicU32,
    /// It was spawned and has not run yet.
    pub(crate) fresh: AtomicBool,
    /// Its vector registers while it is descheduled by a signal; off heap, scanned with its stack.
    pub(crate) xregs: AtomicPtr<XRegs>,
    /// What it waits with in channels, one after the other; scanned with its stack. Only its own.
    pub(crate) sudog: AtomicPtr<SudogHead>,
    /// Next on a run queue or free list. Kept alive by `allgs`.
    pub(crate) schedlink: NoBarrierPtr<G>,
    /// What it will run; `None` once it has started.
    pub(crate) start: GcCell<Option<Gc<Conservative<Start>>>>,
    /// Copies of panic payloads on their way up this stack.
    pub(crate) panics: GcCell<Option<Gc<Conservative<Snapshot>>>>,
    /// Lock to give back once this G is parked; inside an object that the parked frame points to.
    pub(crate) wait_lock: AtomicPtr<RawLock>,
    /// Word to go into once this G is parked (`park_in`).
    pub(crate) wait_word: AtomicPtr<AtomicPtr<G>>,
    pub(crate) wait_reason: AtomicU8,
    /// Since when it is Waiting, by the coarse clock; or Runnable, where that is measured (`latency`).
    pub(crate) since: AtomicU64,
    /// How often it has become Runnable; the first time it counts from its place.
    pub(crate) readied: AtomicU32,
    /// Where in the heap object is for which it waits, and without a time limit, inverted, so that it is no pointer to it; with
    /// bit 0, where its [`Cases`] are; 0: none. Written under that object's lock (to wait: under those of all), so in a stop it
    /// says that nobody has come to wake it.
    awaits: AtomicUsize,
    /// It is unwinding: it keeps its M.
    pub(crate) noyield: AtomicBool,
    /// What it has mutable access to; scanned with its stack.
    pub(crate) entered: Entered,
}

// SAFETY: names the fields through which a G keeps objects alive. The others are numbers, off-heap addresses, stack
// addresses, or `NoBarrierPtr`s, whose referents `allgs` and `allms` keep.
unsafe impl Trace for G {
    const DESC: &'static TypeDesc = &TypeDesc::of_fields::<G>(
        "tricolor::G",
        &[
            Field { offset: core::mem::offset_of!(G, start), desc: <GcCell<Option<Gc<()>>>>::DESC, count: 1 },
            Field { offset: core::mem::offset_of!(G, ctxt), desc: <GcCell<Option<Gc<()>>>>::DESC, count: 1 },
            Field { offset: core::mem::offset_of!(G, panics), desc: <GcCell<Option<Gc<()>>>>::DESC, count: 1 },
        ],
    );
}

// SAFETY: shared fields are atomics or barriered cells; `stack` and `index` never change.
unsafe impl Send for G {}
// SAFETY: as above.
unsafe impl Sync for G {}

impl G {
    pub(crate) fn new(sched: &'static Sched, stack: Stack, index: usize) -> G {
        G {
            status: AtomicU32::new(IDLE),
            stamp: AtomicU32::new(0),
            sp: AtomicUsize::new(stack.hi),
            stack,
            segments: Segments::new(),
            stackguard0: AtomicUsize::new(stack.lo),
            ctxt: GcCell::new(None),
            wanted: AtomicPtr::new(core::ptr::null_mut()),
            quiet: AtomicU32::new(0),
            frame: [AtomicUsize::new(0), AtomicUsize::new(0)],
            id: AtomicU64::new(0),
            index,
            sched,
            m: NoBarrierPtr::null(),
            lockedm: NoBarrierPtr::null(),
            lockedext: AtomicU32::new(0),
            fresh: AtomicBool::new(false),
            xregs: AtomicPtr::new(core::ptr::null_mut()),
            sudog: AtomicPtr::new(core::ptr::null_mut()),
            schedlink: NoBarrierPtr::null(),
            start: GcCell::new(None),
            panics: GcCell::new(None),
            wait_lock: AtomicPtr::new(core::ptr::null_mut()),
            wait_word: AtomicPtr::new(core::ptr::null_mut()),
            wait_reason: AtomicU8::new(WaitReason::None as u8),
            since: AtomicU64::new(0),
            readied: AtomicU32::new(index as u32),
            awaits: AtomicUsize::new(0),
            noyield: AtomicBool::new(false),
            entered: Entered::new(),
        }
    }

    /// The only M that may run it, if there is one.
    #[nowritebarrierrec]
    pub(crate) fn lockedm(&self) -> Option<&'static M> {
        // SAFETY: `allms` keeps every M.
        unsafe { self.lockedm.get().as_ref() }
    }

    /// The status without SCAN.
    #[nowritebarrierrec]
    pub(crate) fn status(&self) -> u32 {
        self.status.load(Ordering::SeqCst) & !SCAN
    }

    /// Moves the status from `old` to `new`, as soon as nobody scans the stack (Go's `casgstatus`).
    #[nowritebarrierrec]
    pub(crate) fn casgstatus(&self, old: u32, new: u32) {
        modelled("casgstatus");
        if new == RUNNABLE {
            crate::latency::readied(self);
        }
        let mut spins = 0u32;
        loop {
            match self.status.compare_exchange(old, new, Ordering::SeqCst, Ordering::SeqCst) {
                Ok(_) => return,
                Err(now) if now == old | SCAN => {
                    spins += 1;
                    if faults::active(Fault::StatusIgnoresScan) {
                        return self.status.store(new, Ordering::SeqCst);
                    }
                    if cfg!(modelled) || spins.is_multiple_of(128) {
                        gc_core::sync::yield_now();
                    } else {
                        core::hint::spin_loop();
                    }
                }
                Err(now) => self.bad_status(now, old, new),
            }
        }
    }

    /// Moves the status from Running to `new`, on the thread that it runs on. A plain store: nobody else writes it then, since
    /// who scans waits until the stack is at rest.
    #[nowritebarrierrec]
    pub(crate) fn leave_running(&self, new: u32) {
        modelled("leave_running");
        if new == RUNNABLE {
            crate::latency::readied(self);
        }
        // Relaxed: as just said.
        let old = self.status.load(Ordering::Relaxed);
        if old != RUNNING {
            self.bad_status(old, RUNNING, new);
        }
        // Release: pairs with the CAS of who scans, runs or readies it next: its sp, and what is on its stack.
        self.status.store(new, Ordering::Release);
    }

    /// The status of a dead one that nobody has yet: Runnable. Nobody else writes it, since there is no stack to scan.
    pub(crate) fn revive(&self) {
        modelled("revive");
        crate::latency::readied(self);
        let old = self.status.load(Ordering::Relaxed);
        if old != DEAD {
            self.bad_status(old, DEAD, RUNNABLE);
        }
        // Release: pairs with the SeqCst load of who looks at all Gs; who runs it finds it by a queue, which orders it.
        self.status.store(RUNNABLE, Ordering::Release);
    }

    #[cold]
    #[nowritebarrierrec]
    fn bad_status(&self, now: u32, old: u32, new: u32) -> ! {
        gc_core::throw!(
            "goroutine {} has status {now:#x}, not {old:#x}, on its way to {new:#x}",
            self.id.load(Ordering::SeqCst)
        )
    }

    /// It is about to wait, for nothing else than what comes by way of the heap object with this lock, which the caller holds.
    #[inline]
    pub(crate) fn set_awaits(&self, lock: &RawLock) {
        // Relaxed: read while the world is stopped.
        self.awaits.store(!core::ptr::from_ref(lock).addr(), Ordering::Relaxed);
    }

    /// As [`set_awaits`](G::set_awaits), for what comes by way of any of these cases, which stay where they are until it is
    /// woken. The caller holds the locks of all.
    pub(crate) fn set_awaits_any(&self, cases: &Cases<'_>) {
        // Relaxed: as above.
        self.awaits.store(!(core::ptr::from_ref(cases).expose_provenance() | 1), Ordering::Relaxed);
    }

    /// It is about to be woken, by a thread that holds that lock.
    #[inline]
    pub(crate) fn clear_awaits(&self) {
        self.awaits.store(0, Ordering::Relaxed);
    }

    /// If it waits for nothing else than objects of the heap: whether `this` is so of an address in one of them. While the world
    /// is stopped.
    #[cfg(feature = "profile")]
    pub(crate) fn awaits(&self, this: impl Fn(usize) -> bool) -> Option<bool> {
        let awaits = self.awaits.load(Ordering::Relaxed);
        if awaits == 0 || self.status() != WAITING {
            return None;
        }
        let at = !awaits;
        if at & 1 == 0 {
            return Some(this(at));
        }
        // SAFETY: it waits, and who wakes it clears the word first: they are in a frame of its stack (`set_awaits_any`).
        let cases = unsafe { &*core::ptr::with_exposed_provenance::<Cases<'_>>(at & !1) };
        Some(cases.locks().any(|lock| this(core::ptr::from_ref(lock).addr())))
    }

    /// The word at the top of its stack, above all frames: where it was created. Other than one more word of the G it costs
    /// nothing: its first frames need that page anyway.
    fn birth(&self) -> &AtomicPtr<Location<'static>> {
        let at = core::ptr::with_exposed_provenance::<AtomicPtr<Location<'static>>>(self.stack.hi - size_of::<usize>());
        // SAFETY: a word above its first frame, for nothing else, which is mapped for ever; zero before it is written.
        unsafe { &*at }
    }

    /// Notes which call of `spawn` makes it; `None`: the runtime does. It is dead.
    pub(crate) fn set_created_at(&self, place: Option<&'static Location<'static>>) {
        if !cfg!(modelled) {
            let place = place.map_or(core::ptr::null(), core::ptr::from_ref);
            // Relaxed: what it points to is a constant of the program.
            self.birth().store(place.cast_mut(), Ordering::Relaxed);
        }
    }

    /// The call of `spawn` that has made it; `None`: the runtime has. Of a goroutine that has not ended. Neither locks nor
    /// allocates.
    pub(crate) fn created_at(&self) -> Option<&'static Location<'static>> {
        if cfg!(modelled) {
            return None;
        }
        // SAFETY: null, or what `set_created_at` was given, which lives for ever.
        unsafe { self.birth().load(Ordering::Relaxed).as_ref() }
    }

    /// Notes why it waits, for dumps.
    pub(crate) fn set_wait(&self, reason: WaitReason) {
        // Relaxed: read by dumps only.
        self.wait_reason.store(reason as u8, Ordering::Relaxed);
        self.since.store(crate::time::coarse(), Ordering::Relaxed);
    }
}

/// The goroutine that runs on this thread; `None` on a system stack or a foreign thread. May run without a P.
///
/// The reference stays right when the goroutine changes threads: its G never changes.
#[inline(always)]
#[nowritebarrierrec]
pub(crate) fn getg() -> Option<&'static G> {
    // SAFETY: `execute` sets the word to a G of `allgs`, or null; Gs are never freed.
    unsafe { current::g().cast::<G>().as_ref() }
}

/// Sets a link to a G. May run without a P.
#[nowritebarrierrec]
pub(crate) fn set_g_no_write_barrier(field: &NoBarrierPtr<G>, gp: *mut G) {
    // SAFETY: `allgs` keeps every G alive.
    unsafe { field.set_no_write_barrier(gp) }
}

/// Sets a link to a G and returns the one before. May run without a P.
#[nowritebarrierrec]
pub(crate) fn swap_g_no_write_barrier(field: &NoBarrierPtr<G>, gp: *mut G) -> *mut G {
    // SAFETY: `allgs` keeps every G alive.
    unsafe { field.swap_no_write_barrier(gp) }
}

/// Sets a link to a G if it is `old`; whether it was. May run without a P.
#[nowritebarrierrec]
pub(crate) fn cas_g_no_write_barrier(field: &NoBarrierPtr<G>, old: *mut G, gp: *mut G) -> bool {
    // SAFETY: `allgs` keeps every G alive.
    unsafe { field.cas_no_write_barrier(old, gp) }
}
