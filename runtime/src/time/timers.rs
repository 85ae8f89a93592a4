//! Timers: each P has a heap of them, under its own lock.
//!
//! A timer is a record on the stack of the goroutine that waits with it, so the runtime allocates nothing for it, and the
//! collector sees nothing new: `allgs` keeps the goroutine, the parked stack keeps what else it waits for.
//!
//! ```text
//!          arm: into the heap of the P that the goroutine runs on
//!   out ─────────────────────────────────────────────────────────► in a heap (`owner`)
//!    ▲                                                              │
//!    ├── fire: an M with a P finds it due: takes it out, ◄──────────┤
//!    │         calls `fire` under the lock                          │
//!    └── stop: its own goroutine, before the record ends ◄──────────┘
//! ```
//!
//! - `fire` decides, with whatever else might wake the goroutine, who does (it takes the channel's lock, or does a CAS),
//!   and returns the goroutine if it is this timer. The goroutine is readied after the lock is given back; until then
//!   nobody else can.
//! - `stop` returns when `fire` is not running and will not: `owner` becomes null only after `fire`, under the lock. So the
//!   record may end then. What would break otherwise: the goroutine, woken by a sender, leaves the frame while `fire`
//!   still reads it.
//! - A sleeper parks holding the lock of the heap, so who finds its timer due finds it Waiting.
//! - Lock order: a heap's lock, then a channel's, then the scheduler's.
//!
//! **Who looks.** Timers run only on an M that holds a P, so not while the world is stopped. Each M looks at its own P's
//! heap whenever it looks for a goroutine, and at everybody's when it steals, and now and then before that, so that a P whose
//! goroutine is stuck does not keep its timers. If all Ps are busy, that is as late as a time slice is long.
//!
//! **Who sleeps until then.** `next`, the time of the first timer, is written under the lock and read by anyone. An M that
//! goes idle computes the minimum over all Ps, spare ones as well, and either sleeps until then itself (`netpoll::watch`) or
//! makes sure that who watches does not sleep longer. A timer is only ever armed by a goroutine that goes on to park, or
//! whose P passes by `find_runnable` if it does not get there; so it is enough that an M which has found something to run
//! sees to it that the timers of its P are watched (`ensure_watched`), and whoever makes a P idle. What would break without:
//! a timer armed on a busy P would wait for that P while others are idle. If nobody watches at all, it wakes an M as well: it
//! may have been the one that watched, for others' timers.

use super::clock::nanotime;
use super::heap::{Entry, TimerHeap};
use crate::g::{G, WaitReason};
use crate::p::P;
use crate::proc::glist::{GList, injectglist};
use crate::proc::newm::{this_m, wakep};
use crate::proc::park::park;
use crate::sched::Sched;
use barrier_lint::nowritebarrierrec;
use core::cell::{Cell, UnsafeCell};
use gc_core::faults::{self, Fault};
use gc_core::sync::current::Region;
use gc_core::sync::{AtomicPtr, AtomicU64, Ordering, Rank, RawLock, modelled};

/// A time that does not come.
pub(crate) const NEVER: u64 = u64::MAX;

/// How many timers fire before the lock is given back for a moment.
const BATCH: usize = 64;

/// What a timer does when it is due, under the lock of its heap: returns the goroutine if it is this timer that wakes it.
pub(crate) type Fire = fn(&Timer) -> Option<&'static G>;

/// A timer; see the module's text. From `arm` to its drop it stays where it is.
pub(crate) struct Timer {
    fire: Fire,
    /// Where it is in the heap of `owner`; under that one's lock.
    pub(super) place: Cell<usize>,
    /// In whose heap it is; null: in none. Changed under the lock of the one that it is.
    owner: AtomicPtr<Timers>,
}

/// The timers of a P.
pub(crate) struct Timers {
    lock: RawLock,
    /// When the first one fires; 0: there are none. Written under the lock.
    next: AtomicU64,
    heap: UnsafeCell<TimerHeap>,
}

// SAFETY: the heap is under the lock.
unsafe impl Sync for Timers {}

impl Timers {
    /// None.
    pub(crate) fn new() -> Timers {
        Timers { lock: RawLock::new(Rank::Timers), next: AtomicU64::new(0), heap: UnsafeCell::new(TimerHeap::new()) }
    }

    /// The heap; the caller holds the lock, and has no other reference to it.
    #[allow(clippy::mut_from_ref)]
    unsafe fn heap(&self) -> &mut TimerHeap {
        // SAFETY: the caller's contract.
        unsafe { &mut *self.heap.get() }
    }

    /// Publishes the time of the first one. Under the lock.
    fn publish(&self, heap: &TimerHeap) {
        // SeqCst: `watch` publishes until when it sleeps and then looks here; who has armed a timer has stored this first
        // and looks there second (`ensure_watched`).
        self.next.store(heap.first().map_or(0, |e| e.when), Ordering::SeqCst);
    }

    /// When the first one fires, or [`NEVER`].
    #[nowritebarrierrec]
    fn next(&self) -> u64 {
        match self.next.load(Ordering::SeqCst) {
            0 => NEVER,
            when => when,
        }
    }

    /// Puts `timer` in. Under the lock.
    ///
    /// # Safety
    /// It is in no heap, and stays where it is until it is out again.
    unsafe fn insert(&self, timer: &Timer, when: u64) {
        // SAFETY: under the lock.
        let heap = unsafe { self.heap() };
        timer.owner.store(core::ptr::from_ref(self).cast_mut(), Ordering::Release);
        heap.push(Entry { when: when.clamp(1, NEVER - 1), timer });
        self.publish(heap);
    }
}

impl Timer {
    /// One that is not armed.
    #[inline]
    pub(crate) fn new(fire: Fire) -> Timer {
        Timer { fire, place: Cell::new(0), owner: AtomicPtr::new(core::ptr::null_mut()) }
    }

    /// Makes it fire at `when` (as of [`nanotime`]), once. On a goroutine that holds a P; it will park next, or come to
    /// another safepoint.
    ///
    /// # Safety
    /// It is not armed, stays where it is until its drop, and its drop runs. `fire` may run as soon as it is armed.
    pub(crate) unsafe fn arm(&self, when: u64) {
        modelled("Timer::arm");
        let _region = Region::enter();
        let Some(p) = this_m().p() else { gc_core::throw!("a timer is armed without a P") };
        p.timers.lock.lock();
        // SAFETY: the caller's contract.
        unsafe { p.timers.insert(self, when) };
        p.timers.lock.unlock();
    }

    /// Takes it out, if it has not fired; afterwards it neither fires nor is firing. By its own goroutine.
    #[inline]
    pub(crate) fn stop(&self) {
        modelled("Timer::stop");
        // Acquire: pairs with the Release in `run_due`: `fire` is done.
        // SAFETY: null, or in a P, which lives for ever.
        if let Some(timers) = unsafe { self.owner.load(Ordering::Acquire).as_ref() } {
            self.take_out(timers);
        }
    }

    #[cold]
    fn take_out(&self, timers: &Timers) {
        if faults::active(Fault::TimerStopUnchecked) {
            faults::linger(64);
        }
        timers.lock.lock();
        // If not, it has fired.
        if !self.owner.load(Ordering::Relaxed).is_null() || faults::active(Fault::TimerStopUnchecked) {
            // SAFETY: under the lock.
            let heap = unsafe { timers.heap() };
            heap.remove(self.place.get());
            timers.publish(heap);
            self.owner.store(core::ptr::null_mut(), Ordering::Relaxed);
        }
        timers.lock.unlock();
    }
}

impl Drop for Timer {
    #[inline]
    fn drop(&mut self) {
        self.stop();
    }
}

/// What a sleeping goroutine has on its stack.
#[repr(C)]
struct Sleeper {
    timer: Timer,
    gp: &'static G,
}

fn wake_sleeper(timer: &Timer) -> Option<&'static G> {
    // SAFETY: the first field of a `Sleeper` (repr(C)), which nobody else wakes.
    Some(unsafe { (*core::ptr::from_ref(timer).cast::<Sleeper>()).gp })
}

/// Parks the calling goroutine until `when`. Needs a P.
pub(crate) fn sleep_until(gp: &'static G, when: u64) {
    modelled("sleep_until");
    let sleeper = Sleeper { timer: Timer::new(wake_sleeper), gp };
    let region = Region::enter();
    let Some(p) = this_m().p() else { gc_core::throw!("sleep: no P") };
    p.timers.lock.lock();
    // The lock counts as well.
    drop(region);
    // SAFETY: `sleeper` lies in this frame, which is left after it has fired.
    unsafe { p.timers.insert(&sleeper.timer, when) };
    park(gp, &p.timers.lock, WaitReason::Sleep);
}

/// Runs what is due in the heap of `of`; whether something was. On g0, holding a P, which the goroutines are put on.
#[inline]
pub(crate) fn run_due(sched: &'static Sched, of: &P) -> bool {
    of.timers.next() != NEVER && run_those_due(sched, of)
}

// Apart, as its frame would otherwise be made on every way through the scheduler's loop.
#[inline(never)]
fn run_those_due(sched: &'static Sched, of: &P) -> bool {
    let timers = &of.timers;
    modelled("timers::run_due");
    let now = nanotime();
    let mut any = false;
    while timers.next() <= now {
        let mut list = GList::new();
        timers.lock.lock();
        // SAFETY: under the lock, which `fire` does not take.
        let heap = unsafe { timers.heap() };
        for _ in 0..BATCH {
            let Some(first) = heap.first().filter(|e| e.when <= now) else { break };
            heap.remove(0);
            // SAFETY: it was in the heap, so its goroutine has not left it.
            let timer = unsafe { &*first.timer };
            if faults::active(Fault::TimerOutEarly) {
                timer.owner.store(core::ptr::null_mut(), Ordering::Release);
                faults::linger(64);
            }
            let gp = (timer.fire)(timer);
            // Release: pairs with the Acquire in `stop`. The record may end from here on.
            timer.owner.store(core::ptr::null_mut(), Ordering::Release);
            if let Some(gp) = gp {
                list.push(gp);
            }
            any = true;
        }
        timers.publish(heap);
        timers.lock.unlock();
        injectglist(sched, list);
    }
    any
}

/// As [`run_due`], for all Ps.
pub(crate) fn run_all_due(sched: &'static Sched) -> bool {
    let mut any = false;
    for p in sched.ps() {
        any |= run_due(sched, p);
    }
    any
}

/// When the first timer of all Ps fires, or [`NEVER`]. May run without a P.
#[nowritebarrierrec]
pub(crate) fn earliest(sched: &Sched) -> u64 {
    let mut first = NEVER;
    for i in 0..sched.p_count() {
        first = first.min(sched.nth_p(i).timers.next());
    }
    first
}

/// How many there are on all Ps.
pub(super) fn count(sched: &Sched) -> usize {
    let len = |p: &P| {
        p.timers.lock.lock();
        // SAFETY: under the lock.
        let n = unsafe { p.timers.heap() }.len();
        p.timers.lock.unlock();
        n
    };
    sched.ps().map(len).sum()
}

/// Sees to it that somebody wakes in time for the timers of `p`, which this M is about to leave to themselves; and for those
/// of the others, which this M may have watched before it found something to run. May run without a P.
#[nowritebarrierrec]
#[inline]
pub(crate) fn ensure_watched(sched: &'static Sched, p: &P) {
    let next = p.timers.next();
    if next != NEVER || sched.npidle.load(Ordering::SeqCst) != 0 {
        watch_from(sched, next);
    }
}

/// As [`ensure_watched`], with the next timer of the P; another P is idle, or it has one.
#[nowritebarrierrec]
fn watch_from(sched: &'static Sched, next: u64) {
    if next != NEVER {
        sched.watch.no_later_than(sched, next);
    } else if !sched.watch.watched() && (sched.netpoll.any_waiters() || earliest(sched) != NEVER) {
        wakep(sched);
    }
}
