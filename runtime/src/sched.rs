//! The scheduler's state, as Go's `sched`: what all Ms share. No statics: everything hangs off this struct.
//!
//! `lock` guards [`Global`]: the global run queue, the lists of idle Ms and Ps and of dead Gs, the count of a stop.
//! Lock order: a channel's, join's or mutex's own lock, then this one, then gc-core's. Nothing here allocates: lists
//! are intrusive, tables are reservations.

use crate::config::Settings;
use crate::g::{G, set_g_no_write_barrier};
use crate::m::{M, set_m_no_write_barrier};
use crate::p::{P, set_p_no_write_barrier};
use crate::proc::globrunq::Queue;
#[cfg(debug_assertions)]
use crate::stack::Hit;
use crate::stack::StackArena;
use barrier_lint::{NoBarrierPtr, nowritebarrierrec};
use gc_core::faults::{self, Fault};
use gc_core::sync::{
    AtomicBool, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Guard, Lock, MapError, Note, Ordering, Rank,
    Table,
};
use gc_core::{Gc, GcP, Heap, Scanner};

/// Most Ms, as Go's default.
pub(crate) const MAX_MS: usize = if cfg!(modelled) { 8 } else { 10_000 };
/// Most Ps.
pub(crate) const MAX_PS: usize = if cfg!(modelled) { 4 } else { 256 };
/// Ps beside those that were asked for, which are lent where all others are stuck in the kernel. Each may get stuck as
/// well: if so many have, nothing more can be done.
pub(crate) const SPARES: usize = 8;
/// Most Gs that a program can have had alive at once.
const MAX_GS: usize = if cfg!(modelled) { 8 } else { 16 << 20 };

/// A function that `for_each_p` runs; its referent outlives the call that set it.
#[derive(Clone, Copy)]
pub(crate) struct SafepointFn(pub(crate) *const (dyn Fn(&GcP) + Sync));

/// What the scheduler lock guards.
pub(crate) struct Global {
    /// The global run queue, and goroutines that have never run and are held back (`proc::globrunq`).
    pub(crate) runq: Queue,
    pub(crate) held: Queue,
    /// Kept alive by `allgs`.
    gfree: NoBarrierPtr<G>,
    /// Kept alive by `allps`.
    pidle: NoBarrierPtr<P>,
    /// Spare Ps that are not lent. Kept alive by `allps`.
    spare: NoBarrierPtr<P>,
    /// Kept alive by `allms`.
    midle: NoBarrierPtr<M>,
    /// Ms on the idle list.
    pub(crate) nmidle: u32,
    /// Ms that wait for their own goroutine to become runnable.
    pub(crate) nmidlelocked: i32,
    /// Ms that exist or are being made: places of `allms` that are taken.
    pub(crate) mcount: u32,
    /// Ps that a stop still waits for.
    pub(crate) stopwait: u32,
    pub(crate) safepoint_fn: Option<SafepointFn>,
    /// Ps that have not run `safepoint_fn` yet.
    pub(crate) safepoint_wait: u32,
}

/// The scheduler.
pub(crate) struct Sched {
    heap: AtomicPtr<Heap>,
    global: Lock<Global>,
    pub(crate) stacks: StackArena,
    pub(crate) settings: Settings,

    allgs: Table<AtomicUsize>,
    nallgs: AtomicUsize,
    /// All Ms ever made, by number: a root. Null while one is being made.
    allms: Table<AtomicPtr<M>>,
    /// The largest number of an M, plus 1.
    nallms: AtomicUsize,
    /// All Ps ever made, by number: a root. Those that goroutines run on come first, behind them those that have retired
    /// (`resize`); the spare ones lie from `MAX_PS` on.
    allps: Table<AtomicPtr<P>>,
    /// How many Ps of each kind take part in stops; changes under one.
    pub(crate) nps: AtomicUsize,
    nspares: AtomicUsize,
    /// The first M and the first P, which make the others: those lie in the heap.
    m0: M,
    p0: P,
    /// Ps that run goroutines; changes under a stop.
    pub(crate) procs: AtomicUsize,
    goid: AtomicU64,

    /// Length of the global run queue, with what is held back; written under the lock.
    pub(crate) runqsize: AtomicUsize,
    /// Idle Ps; written under the lock.
    pub(crate) npidle: AtomicU32,
    /// Ms that look for work.
    pub(crate) nmspinning: AtomicU32,

    /// The M that sleeps until the next timer, or until a file is ready.
    pub(crate) watch: crate::netpoll::watch::Watch,

    /// What the kernel tells of files.
    pub(crate) netpoll: crate::netpoll::Netpoll,

    /// Where their vector registers are.
    pub(crate) xregs: crate::xregs::Areas,
    /// Goroutines that are descheduled by a signal and keep their Ms.
    pub(crate) nkept: AtomicU32,
    /// How many may be; grows where that starves others.
    pub(crate) most_kept: AtomicU32,

    /// Since when goroutines are held back; 0: none is. Written under the lock, and by sysmon when it lets one more go.
    pub(crate) held_since: AtomicU64,

    /// A stop is wanted or under way.
    pub(crate) gcwaiting: AtomicBool,
    /// Signalled when the last P has stopped.
    pub(crate) stopnote: Note,
    /// Signalled when the last P has run `safepoint_fn`.
    pub(crate) safepoint_note: Note,
    /// The M that stops the world or runs a handshake (Go's `worldsema`). Kept alive by `allms`.
    pub(crate) worldsema: NoBarrierPtr<M>,
    /// What it does: the number of a `StopReason`, or another one for a handshake.
    pub(crate) world_why: AtomicU8,
    /// Which goroutine may want to stop it.
    pub(crate) stop_turn: crate::stw::Turn,
    pub(crate) stops: crate::stw::StopTimes,
    pub(crate) longest_stops: crate::stw::Longest,
    pub(crate) latencies: crate::latency::Latencies,

    /// Where Ms get their threads.
    pub(crate) template: crate::proc::template::Template,
    /// What the first M makes the main goroutine of.
    pub(crate) boot: Lock<Option<crate::runtime::Boot>>,
    /// The main goroutine has ended.
    pub(crate) exiting: AtomicBool,
    /// Signalled when the world is stopped for good.
    pub(crate) done: Note,
    /// When the runtime was made ([`nanotime`](crate::time::nanotime)).
    pub(crate) began: u64,
    pub(crate) sysmon: crate::sysmon::Sysmon,
    /// Where the goroutine that runs drops and cleanups waits.
    pub(crate) afterlife: crate::afterlife::Afterlife,
    /// What came of the signals that ask threads to stop where they are.
    pub(crate) suspensions: crate::suspend::Counters,
    /// What each thread did last.
    pub(crate) trace: crate::trace::Trace,
    /// The current cycle, as `begin_mark` was told.
    pub(crate) cycle: AtomicU32,
}

/// Whether this thread's stack pointer is outside all goroutines' stacks: what `#[systemstack]` functions ask at entry.
#[cfg(debug_assertions)]
fn on_system_stack() -> bool {
    let here = 0u8;
    let sp = core::ptr::from_ref(core::hint::black_box(&here)).addr();
    let Some(m) = crate::m::getm() else { return true };
    // SAFETY: set before the M's thread is made; a `Sched` is never freed while one of its Ms runs.
    let sched = unsafe { m.sched.load(Ordering::Relaxed).as_ref() };
    let on_segment = m.curg().is_some_and(|gp| gp.segments.holding(gp.stack, sp).is_some());
    !on_segment && sched.is_none_or(|sched| matches!(sched.stacks.hit(sp), Hit::Outside))
}

// SAFETY: shared fields are atomics, locks, notes and tables of such.
unsafe impl Sync for Sched {}
// SAFETY: as above.
unsafe impl Send for Sched {}

impl Sched {
    /// A scheduler without Ms, whose Ps are not made yet.
    pub(crate) fn new(settings: Settings) -> Result<Sched, SchedError> {
        let stacks = StackArena::new(settings.stack, settings.main_stack).map_err(SchedError::Stacks)?;
        #[cfg(debug_assertions)]
        barrier_lint::on_system_stack(on_system_stack);
        let procs = settings.procs;
        // Each G has a stack.
        let allgs = Table::new(MAX_GS.min(1 + stacks.slots()))?;
        Ok(Sched {
            heap: AtomicPtr::new(core::ptr::null_mut()),
            global: Lock::new(
                Rank::Sched,
                Global {
                    runq: Queue::new(),
                    held: Queue::new(),
                    gfree: NoBarrierPtr::null(),
                    pidle: NoBarrierPtr::null(),
                    spare: NoBarrierPtr::null(),
                    midle: NoBarrierPtr::null(),
                    nmidle: 0,
                    nmidlelocked: 0,
                    mcount: 0,
                    stopwait: 0,
                    safepoint_fn: None,
                    safepoint_wait: 0,
                },
            ),
            stacks,
            trace: crate::trace::Trace::new(settings.trace)?,
            settings,
            allgs,
            nallgs: AtomicUsize::new(0),
            allms: Table::new(MAX_MS)?,
            nallms: AtomicUsize::new(0),
            allps: Table::new(MAX_PS + SPARES)?,
            nps: AtomicUsize::new(1),
            nspares: AtomicUsize::new(0),
            m0: M::new(0),
            p0: P::new(0),
            procs: AtomicUsize::new(procs),
            goid: AtomicU64::new(0),
            runqsize: AtomicUsize::new(0),
            npidle: AtomicU32::new(0),
            nmspinning: AtomicU32::new(0),
            watch: crate::netpoll::watch::Watch::new(),
            netpoll: crate::netpoll::Netpoll::new(),
            xregs: crate::xregs::Areas::new(MAX_MS, MAX_PS + SPARES)?,
            nkept: AtomicU32::new(0),
            most_kept: AtomicU32::new(crate::preempt::MOST_KEPT),
            held_since: AtomicU64::new(0),
            gcwaiting: AtomicBool::new(false),
            stopnote: Note::new(),
            safepoint_note: Note::new(),
            worldsema: NoBarrierPtr::null(),
            world_why: AtomicU8::new(u8::MAX),
            stop_turn: crate::stw::Turn::new(),
            stops: crate::stw::StopTimes::new()?,
            longest_stops: crate::stw::Longest::new(),
            latencies: crate::latency::Latencies::new()?,
            template: crate::proc::template::Template::new(),
            boot: Lock::new(Rank::Boot, None),
            exiting: AtomicBool::new(false),
            done: Note::new(),
            began: crate::time::nanotime(),
            sysmon: crate::sysmon::Sysmon::new(),
            afterlife: crate::afterlife::Afterlife::new(),
            suspensions: crate::suspend::Counters::new(),
            cycle: AtomicU32::new(0),
        })
    }

    /// Ties the heap to its world. Returns the first M and the first P, which is idle: they are for each other.
    pub(crate) fn set_heap(&'static self, heap: &'static Heap) -> (&'static M, &'static P) {
        self.heap.store(core::ptr::from_ref(heap).cast_mut(), Ordering::SeqCst);
        self.p0.init(heap.new_p());
        self.allpadd(0, core::ptr::from_ref(&self.p0).cast_mut().cast());
        self.lock().mcount = 1;
        self.m0.sched.store(core::ptr::from_ref(self).cast_mut(), Ordering::SeqCst);
        self.allmadd(0, core::ptr::from_ref(&self.m0).cast_mut().cast());
        (&self.m0, &self.p0)
    }

    /// Makes the other Ps. On the first M, which holds the first P; nobody else does anything yet.
    pub(crate) fn make_ps(&'static self) {
        (1..self.procs()).chain(MAX_PS..MAX_PS + SPARES).for_each(|i| P::make(self, i));
        self.nps.store(self.procs(), Ordering::SeqCst);
        self.nspares.store(SPARES, Ordering::SeqCst);
        let mut global = self.lock();
        self.ps().skip(1).for_each(|p| self.pidleput(&mut global, p));
    }

    /// Enters an M, the base of an object or the first one. What it holds is there.
    pub(crate) fn allmadd(&self, id: usize, m: *mut ()) {
        // Release: pairs with the Acquire of whoever reads the table.
        self.allms[id].store(m.cast(), Ordering::Release);
        // Release: pairs with the Acquire in `ms`.
        self.nallms.fetch_max(id + 1, Ordering::Release);
    }

    /// As `allmadd`, for a P.
    pub(crate) fn allpadd(&self, id: usize, p: *mut ()) {
        // Release: as in `allmadd`.
        self.allps[id].store(p.cast(), Ordering::Release);
    }

    /// Hands the Ms and Ps to the collector.
    pub(crate) fn scan_tables(&self, s: &mut Scanner<'_>) {
        // One that is entered behind this scan was made while marking, so it is black. The verifier sees all of them.
        if s.verifying() || !faults::active(Fault::AllmsUnscanned) {
            self.ms().for_each(|m| s.object(m));
        }
        if s.verifying() || !faults::active(Fault::AllpsUnscanned) {
            self.allps.as_slice().iter().for_each(|p| s.object(p.load(Ordering::Acquire)));
        }
    }

    /// The heap.
    #[inline]
    #[nowritebarrierrec]
    pub(crate) fn heap(&self) -> &'static Heap {
        // SAFETY: set once, before the first M, to a heap that lives for ever.
        // Relaxed: never written again.
        unsafe { &*self.heap.load(Ordering::Relaxed) }
    }

    /// Takes the scheduler lock. May run without a P.
    #[nowritebarrierrec]
    pub(crate) fn lock(&self) -> Guard<'_, Global> {
        self.global.lock()
    }

    /// Bytes of `allgs`, `allms` and `allps` that are in use.
    pub(crate) fn table_bytes(&self) -> usize {
        (self.nallgs() + self.ms().count() + self.p_count()) * size_of::<AtomicUsize>()
    }

    /// Takes the scheduler lock if nobody has it. May run without a P.
    pub(crate) fn try_lock(&self) -> Option<Guard<'_, Global>> {
        self.global.try_lock()
    }

    /// The P of this number, if it has been made. May run without a P.
    #[nowritebarrierrec]
    pub(crate) fn p(&self, id: usize) -> Option<&'static P> {
        // SAFETY: null, or a P that `allps` keeps.
        unsafe { self.allps[id].load(Ordering::Acquire).as_ref() }
    }

    /// How many Ps run goroutines. May run without a P.
    #[nowritebarrierrec]
    pub(crate) fn procs(&self) -> usize {
        self.procs.load(Ordering::SeqCst)
    }

    /// How many Ps there are, those that have retired and the spare ones as well. May run without a P.
    #[nowritebarrierrec]
    pub(crate) fn p_count(&self) -> usize {
        self.nps.load(Ordering::SeqCst) + self.nspares.load(Ordering::SeqCst)
    }

    /// One of these, below `p_count`. May run without a P.
    #[nowritebarrierrec]
    pub(crate) fn nth_p(&self, i: usize) -> &'static P {
        let nps = self.nps.load(Ordering::SeqCst);
        match self.p(if i < nps { i } else { MAX_PS + i - nps }) {
            Some(p) => p,
            None => gc_core::throw!("there is no P number {i}"),
        }
    }

    /// The Ps, those that have retired and the spare ones as well.
    pub(crate) fn ps(&self) -> impl Iterator<Item = &'static P> {
        (0..self.p_count()).map(|i| self.nth_p(i))
    }

    /// The Ms, except those that are being made. May run without a P.
    pub(crate) fn ms(&self) -> impl Iterator<Item = &'static M> {
        // SAFETY: null, or an M that `allms` keeps.
        self.allms.as_slice()[..self.nallms.load(Ordering::Acquire)]
            .iter()
            .filter_map(|m| unsafe { m.load(Ordering::Acquire).as_ref() })
    }

    /// The M of this number, if it has been made. May run without a P.
    #[nowritebarrierrec]
    pub(crate) fn m(&self, id: usize) -> Option<&'static M> {
        // SAFETY: null, or an M that `allms` keeps.
        unsafe { self.allms[id].load(Ordering::Acquire).as_ref() }
    }

    /// Whether it is one that is only lent, or that is to retire: it is not for whatever comes. May run without a P.
    #[nowritebarrierrec]
    pub(crate) fn is_extra(&self, p: &P) -> bool {
        // Relaxed: never written again.
        p.id.load(Ordering::Relaxed) as usize >= self.procs()
    }

    /// Whether every P is on the idle list, or retired, or a spare one that is not lent. May run without a P.
    #[nowritebarrierrec]
    pub(crate) fn all_idle(&self, global: &Global) -> bool {
        let mut unused = self.npidle.load(Ordering::SeqCst) as usize;
        for id in self.procs()..self.nps.load(Ordering::SeqCst) {
            unused += usize::from(self.p(id).is_some_and(|p| p.retired.load(Ordering::SeqCst)));
        }
        let mut spare = global.spare.get();
        // SAFETY: null or a P, which `allps` keeps.
        while let Some(p) = unsafe { spare.as_ref() } {
            unused += 1;
            spare = p.link.get();
        }
        unused == self.p_count()
    }

    /// Takes a spare P that is not lent. May run without a P.
    #[nowritebarrierrec]
    pub(crate) fn spareget(&self, global: &mut Global) -> Option<&'static P> {
        // SAFETY: null or a P, which `allps` keeps.
        let p = unsafe { global.spare.get().as_ref() }?;
        set_p_no_write_barrier(&global.spare, p.link.get());
        set_p_no_write_barrier(&p.link, core::ptr::null_mut());
        self.sysmon.wake(global);
        Some(p)
    }

    /// Whether a goroutine waits in any queue. May run without a P.
    #[nowritebarrierrec]
    pub(crate) fn has_work(&self) -> bool {
        let mut work = self.runqsize.load(Ordering::SeqCst) != 0;
        for i in 0..self.p_count() {
            work |= !crate::proc::runq::runqempty(self.nth_p(i));
        }
        work
    }

    /// A fresh goroutine number.
    pub(crate) fn next_goid(&self) -> u64 {
        // Relaxed: a ticket.
        self.goid.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Number of Gs ever made.
    pub(crate) fn nallgs(&self) -> usize {
        // Acquire: pairs with the Release in `allgadd`: the entries below are there.
        self.nallgs.load(Ordering::Acquire)
    }

    /// Reserves a place in `allgs`; `allgs_publish` makes it count.
    pub(crate) fn allgadd(&self, make: impl FnOnce(usize) -> Gc<G>) -> Gc<G> {
        // The place is taken before the G is made (which may be a safepoint) so no lock is held then. Until it is
        // filled the entry is 0, which scanners skip.
        let index = self.nallgs.fetch_add(1, Ordering::AcqRel);
        if index >= self.allgs.len() {
            gc_core::throw!("more than {} goroutines alive at once", self.allgs.len());
        }
        let g = make(index);
        // Release: pairs with the Acquire in `allg`: the G's fields are there.
        self.allgs[index].store(Gc::as_ptr(g).expose_provenance(), Ordering::Release);
        g
    }

    /// The G at a place of `allgs`; `None` while it is being made.
    pub(crate) fn allg(&self, index: usize) -> Option<Gc<G>> {
        let p = self.allgs[index].load(Ordering::Acquire);
        // SAFETY: `allgadd` stored a live G, which `allgs` keeps alive.
        (p != 0).then(|| unsafe { Gc::from_ptr(core::ptr::with_exposed_provenance_mut(p)) })
    }

    /// Puts a dead G where `spawn` finds it.
    pub(crate) fn gfput_global(&self, global: &mut Global, gp: &G) {
        set_g_no_write_barrier(&gp.schedlink, global.gfree.get());
        set_g_no_write_barrier(&global.gfree, core::ptr::from_ref(gp).cast_mut());
    }

    /// A dead G, if there is one.
    pub(crate) fn gfget_global(&self, global: &mut Global) -> Option<&'static G> {
        // SAFETY: on the list are Gs of `allgs` only, never freed.
        let gp = unsafe { global.gfree.get().as_ref() }?;
        set_g_no_write_barrier(&global.gfree, gp.schedlink.get());
        set_g_no_write_barrier(&gp.schedlink, core::ptr::null_mut());
        Some(gp)
    }

    /// Puts a P with an empty run queue on the idle list, or where it belongs if it is extra. May run without a P.
    #[nowritebarrierrec]
    pub(crate) fn pidleput(&self, global: &mut Global, p: &P) {
        if self.is_extra(p) {
            // Relaxed: never written again.
            if p.id.load(Ordering::Relaxed) as usize >= MAX_PS {
                set_p_no_write_barrier(&p.link, global.spare.get());
                set_p_no_write_barrier(&global.spare, core::ptr::from_ref(p).cast_mut());
            } else {
                p.retired.store(true, Ordering::SeqCst);
            }
            return;
        }
        set_p_no_write_barrier(&p.link, global.pidle.get());
        set_p_no_write_barrier(&global.pidle, core::ptr::from_ref(p).cast_mut());
        self.npidle.fetch_add(1, Ordering::SeqCst);
    }

    /// Takes a P off the idle list. May run without a P.
    #[nowritebarrierrec]
    pub(crate) fn pidleget(&self, global: &mut Global) -> Option<&'static P> {
        // SAFETY: null or a P, which `allps` keeps.
        let p = unsafe { global.pidle.get().as_ref() }?;
        set_p_no_write_barrier(&global.pidle, p.link.get());
        set_p_no_write_barrier(&p.link, core::ptr::null_mut());
        self.npidle.fetch_sub(1, Ordering::SeqCst);
        self.sysmon.wake(global);
        Some(p)
    }

    /// Puts an M on the idle list. May run without a P.
    #[nowritebarrierrec]
    pub(crate) fn mput(&self, global: &mut Global, m: &M) {
        set_m_no_write_barrier(&m.schedlink, global.midle.get());
        set_m_no_write_barrier(&global.midle, core::ptr::from_ref(m).cast_mut());
        global.nmidle += 1;
    }

    /// Takes an M off the idle list. May run without a P.
    #[nowritebarrierrec]
    pub(crate) fn mget(&self, global: &mut Global) -> Option<&'static M> {
        // SAFETY: null or an M, which `allms` keeps.
        let m = unsafe { global.midle.get().as_ref() }?;
        set_m_no_write_barrier(&global.midle, m.schedlink.get());
        set_m_no_write_barrier(&m.schedlink, core::ptr::null_mut());
        global.nmidle -= 1;
        Some(m)
    }
}

/// Gives the scheduler lock back before the end of the block. May run without a P.
#[nowritebarrierrec]
pub(crate) fn unlock(global: Guard<'_, Global>) {
    let _ended = global;
}

/// A scheduler could not be made.
#[derive(Debug)]
pub(crate) enum SchedError {
    Stacks(std::io::Error),
    Map(MapError),
}

impl From<MapError> for SchedError {
    fn from(e: MapError) -> Self {
        SchedError::Map(e)
    }
}

impl core::fmt::Display for SchedError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            SchedError::Stacks(e) => write!(f, "cannot reserve goroutine stacks: {e}"),
            SchedError::Map(e) => e.fmt(f),
        }
    }
}
