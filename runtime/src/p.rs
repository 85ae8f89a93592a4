//! P: the permission to run goroutines, as Go's `p`: a run queue, a cache of the heap, a barrier buffer.
//!
//! Ps live in the GC heap and are never freed: `allps` is their root; the first one lies in the `Sched`. A P is made on
//! a P, without a safepoint, and is in `allps` before anything else happens ([`P::make`]).
//!
//! ```text
//! Idle     on the idle list, or handed to an M that has not run yet (`nextp`)
//! Running  held by an M
//! Syscall  left behind by an M in a blocking call; whoever wins the CAS takes it
//! GcStop   stopped, or claimed by who runs a function on it; `stop_from` says what it was
//! ```
//!
//! Every change of hands is a CAS on the status word, so each P is counted once when the world stops. A P that is
//! given up has gone through `Heap::release_p` first; who takes one calls `Heap::acquire_p` after.

use crate::g::G;
use crate::m::M;
use crate::sched::Sched;
use crate::time::timers::Timers;
use crate::xregs::PXRegs;
use barrier_lint::{NoBarrierPtr, nowritebarrierrec};
use gc_core::layout::TypeDesc;
use gc_core::sync::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use gc_core::{Gc, GcP, Trace};

pub(crate) const IDLE: u32 = 0;
pub(crate) const RUNNING: u32 = 1;
pub(crate) const SYSCALL: u32 = 2;
pub(crate) const GCSTOP: u32 = 3;

/// Places of a local run queue. (Go has 256. What does not fit goes through the global queue, from which any P takes it: with
/// more goroutines that yield than places, their stacks and Gs move between the processors' caches all the time.)
#[cfg(not(modelled))]
pub(crate) const RUNQ: usize = 512;
/// Places of a local run queue; few, so that models reach the overflow.
#[cfg(modelled)]
pub(crate) const RUNQ: usize = 4;

/// How full the run queue may get by goroutines that were to run next and gave way to others. Whoever spawns many that
/// spawn many has fewer of them alive at a time if they take turns after one another, not all at once.
pub(crate) const RUNQ_NEXT: u32 = RUNQ as u32 / if cfg!(modelled) { 2 } else { 4 };

/// A processor.
#[repr(align(64))]
pub(crate) struct P {
    pub(crate) id: AtomicU32,
    pub(crate) status: AtomicU32,
    /// The M that holds it. Kept alive by `allms`.
    pub(crate) m: NoBarrierPtr<M>,
    /// Next idle P. Kept alive by `allps`.
    pub(crate) link: NoBarrierPtr<P>,
    /// Its cache, barrier buffer and mark work. Off heap, never freed.
    mcache: NoBarrierPtr<GcP>,

    pub(crate) runqhead: AtomicU32,
    pub(crate) runqtail: AtomicU32,
    /// Kept alive by `allgs`, as all Gs here.
    pub(crate) runq: [NoBarrierPtr<G>; RUNQ],
    /// The goroutine to run next; changed by CAS, since thieves take it too. Kept alive by `allgs`.
    pub(crate) runnext: NoBarrierPtr<G>,
    /// Dead Gs, for spawn; only for the M that holds this P. Kept alive by `allgs`.
    pub(crate) gfree: NoBarrierPtr<G>,
    pub(crate) gfree_len: AtomicU32,

    /// Counts switches to a goroutine that begin a new time slice.
    pub(crate) schedtick: AtomicU32,
    /// `schedtick` when it looked at the global queue first.
    pub(crate) fair_at: AtomicU32,
    /// Counts blocking calls.
    pub(crate) syscalltick: AtomicU32,
    /// Since when its goroutine has been asked for something (`latency`); 0: it has not.
    pub(crate) asked_at: AtomicU64,
    /// The time slice is over.
    pub(crate) slice_over: AtomicBool,
    /// 1: run `safepoint_fn` of the scheduler once.
    pub(crate) safepoint_fn: AtomicU32,

    /// What it was before `GcStop`; under the scheduler lock.
    pub(crate) stop_from: AtomicU32,
    /// When it was moved to `GcStop` last.
    pub(crate) stopped_at: AtomicU64,
    /// The M that sleeps until this P is handed back to it; under the scheduler lock. Kept alive by `allms`.
    pub(crate) stop_waiter: NoBarrierPtr<M>,

    /// Vector registers on their way out of and into a goroutine.
    pub(crate) xregs: PXRegs,

    /// See [`cheaprand_below`].
    rand: AtomicU64,

    /// What its goroutines wait for in time; anybody looks at them.
    pub(crate) timers: Timers,

    /// It is beyond `procs`, and nobody uses it any more (`resize`); under the scheduler lock.
    pub(crate) retired: AtomicBool,
    /// A spare P that may be used for one goroutine.
    pub(crate) lent: AtomicBool,

    /// What sysmon saw last: ticks and when. Its own.
    pub(crate) seen_sched: AtomicU32,
    pub(crate) seen_sched_at: AtomicU64,
    pub(crate) seen_syscall: AtomicU32,
    pub(crate) seen_syscall_at: AtomicU64,
    /// The number of the M that slept, how long its thread had been awake until then, ns, and when that was.
    pub(crate) seen_m: AtomicU32,
    pub(crate) seen_awake: AtomicU64,
    pub(crate) seen_awake_at: AtomicU64,
}

// SAFETY: a P keeps no object alive: numbers, registers that are scanned with the goroutine they belong to, and
// `NoBarrierPtr`s, whose referents `allgs`, `allms` and `allps` keep or which are off heap.
unsafe impl Trace for P {
    const DESC: &'static TypeDesc = &TypeDesc::of_fields::<P>("tricolor::P", &[]);
}

impl P {
    /// P number `id`, idle; its part of the collector comes with [`P::init`].
    pub(crate) fn new(id: u32) -> P {
        P {
            id: AtomicU32::new(id),
            status: AtomicU32::new(IDLE),
            m: NoBarrierPtr::null(),
            link: NoBarrierPtr::null(),
            mcache: NoBarrierPtr::null(),
            runqhead: AtomicU32::new(0),
            runqtail: AtomicU32::new(0),
            runq: core::array::from_fn(|_| NoBarrierPtr::null()),
            runnext: NoBarrierPtr::null(),
            gfree: NoBarrierPtr::null(),
            gfree_len: AtomicU32::new(0),
            schedtick: AtomicU32::new(0),
            fair_at: AtomicU32::new(0),
            syscalltick: AtomicU32::new(0),
            asked_at: AtomicU64::new(0),
            slice_over: AtomicBool::new(false),
            safepoint_fn: AtomicU32::new(0),
            stop_from: AtomicU32::new(0),
            stopped_at: AtomicU64::new(0),
            stop_waiter: NoBarrierPtr::null(),
            xregs: PXRegs::new(),
            rand: AtomicU64::new(u64::from(id)),
            timers: Timers::new(),
            retired: AtomicBool::new(false),
            lent: AtomicBool::new(false),
            // No tick yet, so that the first look notes the time.
            seen_sched: AtomicU32::new(u32::MAX),
            seen_sched_at: AtomicU64::new(0),
            seen_syscall: AtomicU32::new(0),
            seen_syscall_at: AtomicU64::new(0),
            seen_m: AtomicU32::new(0),
            seen_awake: AtomicU64::new(0),
            seen_awake_at: AtomicU64::new(0),
        }
    }

    /// Makes P number `id` in the heap and enters it in `allps`. It is idle and on no list. The caller holds a P, with
    /// nothing of the collector under way. No safepoint.
    pub(crate) fn make(sched: &'static Sched, id: usize) {
        let p = P::new(id as u32);
        p.init(sched.heap().new_p());
        let made = Gc::try_new_no_safepoint(p, |p| {
            // `async_preempt` saves vector registers in its scratch area.
            assert!(Gc::as_ptr(p).cast::<P>().is_aligned(), "P{id} is not aligned");
            sched.allpadd(id, Gc::as_ptr(p));
        });
        if let Err(e) = made {
            gc_core::throw!("no memory for P{id}: {e}");
        }
    }

    /// Gives this P its collector part; once, before anybody holds it.
    pub(crate) fn init(&self, gcp: &'static GcP) {
        set_mcache_no_write_barrier(&self.mcache, core::ptr::from_ref(gcp).cast_mut());
    }

    /// Its part of the collector.
    #[inline]
    #[nowritebarrierrec]
    pub(crate) fn gcp(&self) -> &'static GcP {
        // SAFETY: `init` stored a reference that lives for ever, before the P was reachable.
        unsafe { &*self.mcache.get() }
    }

    /// Asks whoever runs on it to come to a safepoint; `now` is the time. May run without a P.
    #[nowritebarrierrec]
    pub(crate) fn preempt(&self, now: u64) {
        crate::latency::asked(self, now);
        self.gcp().preempt.store(true, Ordering::SeqCst);
        // Whoever runs here by now; one that has just begun to has read the flag after (`clear_preempt`).
        // SAFETY: null or an entry of `allms`.
        if let Some(gp) = unsafe { self.m.get().as_ref() }.and_then(M::curg) {
            crate::stack::poison(gp);
        }
    }

    /// Whether somebody asks something of who holds it: a stop of the world, a function to run, the end of the time slice.
    #[inline]
    #[nowritebarrierrec]
    pub(crate) fn asked(&self) -> bool {
        self.gcp().preempt.load(Ordering::SeqCst)
    }

    /// CAS on the status word.
    #[nowritebarrierrec]
    pub(crate) fn cas(&self, old: u32, new: u32) -> bool {
        self.status.compare_exchange(old, new, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }
}

/// Whether this thread holds a P: what tells a goroutine from one in a blocking call.
///
/// One load. By way of the M it would be two, and a goroutine that is descheduled between them would hear of the thread that
/// it was on, which may hold none by then.
#[nowritebarrierrec]
#[inline(always)]
pub(crate) fn holds_one() -> bool {
    !gc_core::sync::current::p().is_null()
}

/// A random number below `n`, at most 2³², for choices that must be fair and need not be secret (Go's `cheaprandn`). Needs a P.
pub(crate) fn cheaprand_below(n: usize) -> usize {
    let Some(p) = crate::proc::newm::this_m().p() else { gc_core::throw!("a random number is wanted without a P") };
    // Relaxed: where the goroutine changes its P in between, two may get the same number.
    let mut x = p.rand.load(Ordering::Relaxed).wrapping_add(0x9e37_79b9_7f4a_7c15);
    p.rand.store(x, Ordering::Relaxed);
    // SplitMix64 (Steele, Lea and Flood, 2014).
    x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    (((x >> 32) * n as u64) >> 32) as usize
}

/// Sets a link to a P. May run without a P.
#[nowritebarrierrec]
pub(crate) fn set_p_no_write_barrier(field: &NoBarrierPtr<P>, p: *mut P) {
    // SAFETY: `allps` keeps every P alive.
    unsafe { field.set_no_write_barrier(p) }
}

/// Sets the link from a P to its cache. May run without a P.
#[nowritebarrierrec]
pub(crate) fn set_mcache_no_write_barrier(field: &NoBarrierPtr<GcP>, gcp: *mut GcP) {
    // SAFETY: the collector's parts of Ps lie off heap and are never freed.
    unsafe { field.set_no_write_barrier(gcp) }
}
