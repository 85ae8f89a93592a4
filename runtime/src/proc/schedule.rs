//! The scheduler's loop: one per M, on the M's own stack (g0).
//!
//! ```text
//! schedule: find_runnable -> execute: switch to the goroutine ... it calls mcall(f): switch back -> f(gp) on g0 -> ...
//! ```
//!
//! A goroutine never changes its own status from Running: it switches to g0 with a function that does, so its stack
//! is at rest before anybody may scan or run it. That function returns the goroutine to continue at once, already
//! Running, or null for "find another".
//!
//! Looking for work (Go's protocol): at most half of the busy Ps' number of Ms *spin*. Whoever submits work wakes an M
//! only if none spins; an M that finds work while spinning wakes another one; an M that stops spinning looks at all
//! queues once more, after it has said so. What would break without that second look: work submitted between the
//! first look and the decrement would wait for nobody.

use super::glist::injectglist;
use super::locked::{startlockedm, stoplockedm};
use super::newm::{acquirep, releasep, startm, stopm, wakep};
use super::runq::{demote_next, globrunqget, runqget, runqlen, runqput, runqsteal};
#[cfg(not(modelled))]
use crate::arch;
use crate::g::{self, G, WaitReason, set_g_no_write_barrier};
use crate::latency::{self, Latency};
use crate::m::{Door, M, set_m_no_write_barrier};
use crate::p::P;
use crate::sched::{Sched, unlock};
use crate::time::timers;
use barrier_lint::{certify, nowritebarrierrec};
use gc_core::WorkKind;
use gc_core::faults::{self, Fault};
use gc_core::sync::{AtomicBool, Ordering, current, fence, modelled};

/// What `mcall` runs on g0: changes the status of the goroutine that called, and says who continues (null: look).
/// The last argument is the context that `morestack` passes.
pub(crate) type Mcall = unsafe extern "C" fn(&'static Sched, &'static M, &'static G, usize) -> *const G;

certify! {
    pub(crate) fn mcall: "a switch: what continues on either side answers for itself";
    pub(crate) fn mcall_at: "as `mcall`";
}

/// The loop of an M that holds a P. Returns when the world ends.
pub(crate) fn schedule(sched: &'static Sched, m: &'static M) {
    let mut next: *const G = core::ptr::null();
    loop {
        // SAFETY: null or a G of `allgs`.
        let gp = match unsafe { next.as_ref() } {
            Some(gp) => gp,
            None => {
                let Some((gp, inherit)) = pick(sched, m) else { return };
                prepare(sched, m, gp, inherit);
                gp
            }
        };
        current::set_g(core::ptr::from_ref(gp).cast_mut().cast());
        #[cfg(not(modelled))]
        // SAFETY: `gp` is Running, so its saved sp is a suspended context that only this M continues.
        let handed = unsafe { arch::switch(m.g0_sp.as_ptr(), gp.sp.load(Ordering::Acquire), 0, 0) };
        #[cfg(modelled)]
        let handed = crate::model::switch(gp);
        current::set_g(core::ptr::null_mut());
        // SAFETY: `mcall` and `morestack` pass functions of this type.
        let f = unsafe { core::mem::transmute::<usize, Mcall>(handed.value) };
        // SAFETY: on g0, with the goroutine that switched here, as such functions expect.
        next = unsafe { f(sched, m, gp, handed.ctxt) };
    }
}

/// The goroutine to run next: its own, for an M that has one; else what is found, unless another M must run it.
fn pick(sched: &'static Sched, m: &'static M) -> Option<(&'static G, bool)> {
    loop {
        if let Some(gp) = m.lockedg() {
            if !stoplockedm(sched, m) || !crate::stw::door(sched, m, false) {
                return None;
            }
            // Relaxed: written before this M was woken.
            return Some((gp, m.inherits.load(Ordering::Relaxed)));
        }
        let (gp, inherit) = find_runnable(sched, m)?;
        match gp.lockedm() {
            Some(other) if !core::ptr::eq(other, m) => {
                if !startlockedm(sched, m, other, inherit) {
                    return None;
                }
            }
            _ => return Some((gp, inherit)),
        }
    }
}

/// Leaves the goroutine: stores its context, runs `f` on g0. Returns when somebody continues it, perhaps elsewhere.
///
/// # Safety
/// The caller is a goroutine, and `f` hands it to nobody before it is at rest.
#[inline]
pub(crate) unsafe fn mcall(gp: &'static G, f: Mcall) {
    let depth = current::locks();
    // SAFETY: the caller's contract.
    unsafe { mcall_at(gp, f, depth) }
}

/// [`mcall`] for a caller whose in-runtime count is to be `depth` when it continues. The count is a word of the thread,
/// so a goroutine takes its own along; on g0 it is at least 1.
///
/// # Safety
/// As `mcall`.
#[inline(never)]
pub(crate) unsafe fn mcall_at(gp: &'static G, f: Mcall, depth: u32) {
    current::lock();
    // What runs until this goroutine continues is not inside its no-barrier functions; afterwards it is again.
    #[cfg(all(debug_assertions, not(any(modelled, barrier_lint))))]
    let elsewhere = barrier_lint::Inside::enter(None);
    let m = super::newm::this_m();
    #[cfg(modelled)]
    crate::model::on_g0(m, gp, f, 0);
    // SAFETY: this M's g0 waits in `schedule`; `m` is not used after the switch, when this may be another thread.
    #[cfg(not(modelled))]
    unsafe {
        arch::switch(gp.sp.as_ptr(), m.g0_sp.load(Ordering::Relaxed), f as *const () as usize, 0)
    };
    #[cfg(all(debug_assertions, not(any(modelled, barrier_lint))))]
    drop(elsewhere);
    current::set_locks(depth);
}

/// Makes `gp` the goroutine of `m`, with a fresh time slice unless it inherits one (Go's `execute`).
pub(crate) fn prepare(sched: &'static Sched, m: &'static M, gp: &'static G, inherit: bool) {
    modelled("prepare");
    let Some(p) = m.p() else { gc_core::throw!("a goroutine is to run without a P") };
    gp.casgstatus(g::RUNNABLE, g::RUNNING);
    latency::runs(sched, gp);
    // Relaxed: written before it was queued, which the queue orders.
    if gp.fresh.load(Ordering::Relaxed) && sched.settings.pinned {
        super::locked::pin(m, gp);
    }
    gp.fresh.store(false, Ordering::Relaxed);
    crate::stack::begins_to_run(gp);
    run_on(m, gp, false);
    if !inherit {
        // Relaxed: only this M writes it; sysmon looks whether it has changed.
        p.schedtick.store(p.schedtick.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
        if !faults::active(Fault::SliceInherited) {
            take(&p.slice_over);
        }
    }
    m.at(Door::Execute);
    clear_preempt(sched, m, p);
}

/// Clears a word that others set, and says whether it was set. It seldom is, and a load costs a twentieth of an exchange.
#[nowritebarrierrec]
fn take(word: &AtomicBool) -> bool {
    word.load(Ordering::SeqCst) && word.swap(false, Ordering::SeqCst)
}

/// Ties `gp` and `m`; `again`: `gp` had not become runnable meanwhile.
pub(crate) fn run_on(m: &'static M, gp: &'static G, again: bool) {
    set_g_no_write_barrier(&m.curg, core::ptr::from_ref(gp).cast_mut());
    set_m_no_write_barrier(&gp.m, core::ptr::from_ref(m).cast_mut());
    crate::trace::go_start(m, gp, again);
}

/// Unties `gp` and `m`, which may go on being locked to each other.
#[nowritebarrierrec]
#[inline(always)]
pub(crate) fn run_nowhere(m: &M, gp: &G) {
    if let Some(p) = m.p() {
        latency::preempted(gp.sched, p, Latency::PreemptLeft);
    }
    crate::trace::go_stop(m, gp);
    set_g_no_write_barrier(&m.curg, core::ptr::null_mut());
    set_m_no_write_barrier(&gp.m, core::ptr::null_mut());
}

/// Unties the goroutine of `m` (Go's `dropg`).
#[nowritebarrierrec]
pub(crate) fn dropg(m: &M, gp: &G) {
    run_nowhere(m, gp);
    if gp.lockedm.get().is_null() {
        return;
    }
    if gp.lockedext.load(Ordering::Relaxed) == 0 {
        // It was kept since a signal descheduled it, and has come to a safepoint of its own.
        super::locked::unkeep(m, gp);
    } else {
        // Before anybody can ready it.
        m.park.clear();
    }
}

/// Takes the request off `p` that this M has answered, if there was one.
#[inline]
pub(crate) fn clear_preempt(sched: &Sched, m: &M, p: &P) {
    current::set_refused(0);
    // Before the look at the flag: who asks poisons after he has set it.
    m.curg().inspect(|gp| crate::stack::unpoison(gp));
    if p.asked() {
        clear_request(sched, m, p);
    }
}

/// There was one. One that comes in between is not lost.
#[cold]
fn clear_request(sched: &Sched, m: &M, p: &P) {
    modelled("clear_preempt");
    // A requester stores its own word first and the flag (and then a signal) second; here it is these first and the words
    // second. (A flag that is set after the look at it stays.)
    let wanted = || {
        sched.gcwaiting.load(Ordering::SeqCst)
            || p.safepoint_fn.load(Ordering::SeqCst) != 0
            || p.slice_over.load(Ordering::SeqCst)
    };
    let too_early = faults::active(Fault::ClearPreemptLast).then(wanted);
    if too_early.is_some() {
        faults::linger(64);
    }
    take(&p.gcp().preempt);
    latency::forget_request(p);
    m.curg().inspect(|gp| crate::stack::unpoison(gp));
    if too_early.unwrap_or_else(wanted) {
        p.preempt(crate::time::nanotime());
    }
}

/// Looks until it finds a goroutine; `true`: it inherits the time slice. `None`: the world ends.
fn find_runnable(sched: &'static Sched, m: &'static M) -> Option<(&'static G, bool)> {
    loop {
        // Without one the world has ended.
        let p = m.p()?;
        // Whoever asks for something sets the flag after his own word.
        if p.asked() && !crate::stw::door(sched, m, false) {
            return None;
        }
        if sched.is_extra(p) && !p.lent.swap(false, Ordering::SeqCst) {
            // First, since `retire` wakes somebody for what it gives back.
            stop_spinning(sched, m);
            super::locked::retire(sched, m, p);
            if !stopm(sched, m) {
                return None;
            }
            continue;
        }
        let heap = sched.heap();
        // No goroutine runs, so there is no slice to end; marking below looks at the flag. If it was goroutines that
        // hand the slice to each other through `runnext`, the next one queues behind the others.
        let slice_over = take(&p.slice_over);
        if slice_over {
            demote_next(sched, p);
        }
        if p.asked() {
            clear_request(sched, m, p);
        }
        if heap.worker_due(p.gcp()) {
            m.at(Door::Mark);
            // It may have found nothing, or be told to come to a safepoint: in both cases run goroutines.
            heap.mark_slice(p.gcp(), WorkKind::Dedicated);
            if !crate::stw::door(sched, m, false) {
                return None;
            }
        }
        heap.scavenge_share();
        crate::afterlife::wake(sched);
        timers::run_due(sched, p);
        while let Some(found) = look(sched, m, p, slice_over) {
            if sched.held_back(found.0) {
                // Whoever is idle may run it.
                wakep(sched);
                continue;
            }
            reset_spinning(sched, m);
            timers::ensure_watched(sched, p);
            return Some(found);
        }
        // Nothing to run: help the collector, then sweep, then see to fresh memory, one slice at a time. Meanwhile it does not
        // count as looking for work, so that new work wakes somebody; afterwards it looks again from the start.
        if heap.marking() {
            stop_spinning(sched, m);
        }
        if heap.marking() {
            m.at(Door::Mark);
            if heap.mark_slice(p.gcp(), WorkKind::Idle) {
                continue;
            }
        } else if heap.sweep_slice(p.gcp()) || heap.scavenge_slice(p.gcp()) || crate::afterlife::wake(sched) {
            continue;
        }
        if heap.pretouch_slice() {
            continue;
        }

        let mut global = sched.lock();
        if sched.gcwaiting.load(Ordering::SeqCst)
            || p.safepoint_fn.load(Ordering::SeqCst) != 0
            || sched.exiting.load(Ordering::SeqCst)
        {
            unlock(global);
            // He may not have come to the flag yet.
            if !crate::stw::door(sched, m, false) {
                return None;
            }
            continue;
        }
        if let Some(gp) = globrunqget(sched, &mut global, p, 0) {
            unlock(global);
            reset_spinning(sched, m);
            timers::ensure_watched(sched, p);
            return Some((gp, false));
        }
        unlock(global);
        if !rest(sched, m) {
            return None;
        }
    }
}

/// Gives up the P, looks once more, and parks until there is one again. False: the world ends.
#[nowritebarrierrec]
pub(crate) fn rest(sched: &'static Sched, m: &'static M) -> bool {
    modelled("rest");
    if m.p().is_some_and(|p| sched.is_extra(p)) {
        return true; // to be retired
    }
    // Outside the lock: the heap flushes its buffers. Until it is on the idle list the P is `Idle` and nobody's, which
    // a stop may claim.
    let p = releasep(sched, m);
    let mut global = sched.lock();
    sched.pidleput(&mut global, p);
    unlock(global);

    if faults::active(Fault::RestUnchecked) {
        faults::linger(500);
    }
    stop_spinning(sched, m);
    // Pairs with the fence in `wakep`: either it sees that nobody spins any more, or the looks below see its work.
    fence(Ordering::SeqCst);
    if sched.has_work() && !faults::active(Fault::RestUnchecked) && !sched.gcwaiting.load(Ordering::SeqCst) {
        let mut global = sched.lock();
        let p = sched.pidleget(&mut global);
        unlock(global);
        if let Some(p) = p {
            return come_back(sched, m, p);
        }
    }
    let Some(list) = crate::netpoll::watch::watch(sched) else { return stopm(sched, m) };
    if sched.exiting.load(Ordering::SeqCst) {
        return false;
    }
    let mut global = sched.lock();
    let p = sched.pidleget(&mut global);
    unlock(global);
    match p {
        Some(p) => {
            if !come_back(sched, m, p) {
                return false;
            }
            injectglist(sched, list);
            true
        }
        None => {
            if faults::active(Fault::RestUnchecked) {
                faults::linger(500);
            }
            injectglist(sched, list);
            stopm(sched, m)
        }
    }
}

/// Takes the idle `p` again and goes on looking for work. False: the world ends.
#[nowritebarrierrec]
fn come_back(sched: &'static Sched, m: &'static M, p: &'static P) -> bool {
    if !acquirep(sched, m, p) {
        return false;
    }
    m.spinning.store(true, Ordering::SeqCst);
    sched.nmspinning.fetch_add(1, Ordering::SeqCst);
    true
}

/// After so many time slices a P looks at the global queue first: once, however many goroutines share the slice.
const FAIR: u32 = 61;

/// One look at all queues: now and then the global one first, so that it is not starved, and everybody's timers; own;
/// global; the others'.
fn look(sched: &'static Sched, m: &'static M, p: &'static P, fair: bool) -> Option<(&'static G, bool)> {
    // Relaxed, both: only this M writes them.
    let tick = p.schedtick.load(Ordering::Relaxed);
    if fair || tick.is_multiple_of(FAIR) && p.fair_at.load(Ordering::Relaxed) != tick {
        p.fair_at.store(tick, Ordering::Relaxed);
        timers::run_all_due(sched);
        if sched.runqsize.load(Ordering::SeqCst) > 0 {
            let mut global = sched.lock();
            // As many as the P can run until it looks here again: its own queue may never be empty, where all yield.
            if let Some(gp) = globrunqget(sched, &mut global, p, FAIR as usize) {
                return Some((gp, false));
            }
        }
    }
    if let Some(found) = runqget(p) {
        return Some(found);
    }
    if sched.runqsize.load(Ordering::SeqCst) > 0 {
        let mut global = sched.lock();
        if let Some(gp) = globrunqget(sched, &mut global, p, 0) {
            return Some((gp, false));
        }
    }
    if crate::netpoll::look(sched)
        && let Some((gp, _)) = runqget(p)
    {
        return Some((gp, false));
    }
    let procs = sched.procs() as u32;
    let busy = procs - sched.npidle.load(Ordering::SeqCst).min(procs);
    if m.spinning.load(Ordering::Relaxed) || 2 * sched.nmspinning.load(Ordering::SeqCst) < busy {
        if !m.spinning.swap(true, Ordering::SeqCst) {
            sched.nmspinning.fetch_add(1, Ordering::SeqCst);
        }
        if let Some(gp) = steal(sched, p) {
            return Some((gp, false));
        }
    }
    None
}

/// Four rounds over all Ps from a changing start; in the last one also their timers, and what a P would run next.
pub(crate) fn steal(sched: &'static Sched, p: &'static P) -> Option<&'static G> {
    modelled("steal");
    let n = sched.p_count();
    let start = crate::time::nanotime() as usize / 64 % n;
    for round in 0..4 {
        for i in 0..n {
            let victim = sched.nth_p((start + i) % n);
            if sched.gcwaiting.load(Ordering::SeqCst) {
                return None;
            }
            // Idle ones, too: those on the list may have timers, and one that is being handed over has goroutines. (They
            // count as work, so who passed them over would look again and again until somebody has that P.)
            if round == 3
                && timers::run_due(sched, victim)
                && let Some((gp, _)) = runqget(p)
            {
                return Some(gp);
            }
            if core::ptr::eq(victim, p)
                || faults::active(Fault::IdlePassedOver) && victim.status.load(Ordering::SeqCst) == crate::p::IDLE
            {
                continue;
            }
            if let Some(gp) = runqsteal(p, victim, round == 3) {
                return Some(gp);
            }
        }
    }
    None
}

/// This M no longer looks for work; whether it did.
#[nowritebarrierrec]
fn stop_spinning(sched: &'static Sched, m: &'static M) -> bool {
    let was = take(&m.spinning);
    if was {
        sched.nmspinning.fetch_sub(1, Ordering::SeqCst);
    }
    was
}

/// A spinning M has found work: it no longer spins, and another one may have to.
pub(crate) fn reset_spinning(sched: &'static Sched, m: &'static M) {
    if stop_spinning(sched, m) {
        wakep(sched);
    }
}

/// Wakes every idle P, for marking.
pub(crate) fn wake_all(sched: &'static Sched) {
    for _ in 0..sched.procs() {
        let mut global = sched.lock();
        if sched.exiting.load(Ordering::SeqCst) {
            return;
        }
        let Some(p) = sched.pidleget(&mut global) else { return };
        unlock(global);
        startm(sched, p, false);
    }
}

/// Scans the stack of `gp`, which is at rest and belongs to this M, unless this cycle has done so. Whether it was due.
pub(crate) fn self_scan(sched: &'static Sched, p: &P, gp: &G) -> bool {
    let heap = sched.heap();
    // Relaxed: written by this M's earlier scans, or by others under SCAN, which `scan_stack` looks at again.
    let due = heap.marking() && gp.stamp.load(Ordering::Relaxed) != heap.cycle();
    if due {
        // SAFETY: this M holds `p`, marking is on (it cannot end before this stack is scanned), and no other scanner
        // of this P is alive: this is g0, before any work.
        crate::world::scan_g(gp, &mut unsafe { heap.scanner(p.gcp()) });
    }
    due
}

/// The end of every visit that keeps its goroutine: doors, then continue or queue it. `gp` is Waiting. One that is
/// unwinding (`noyield`) is never queued: std counts panics by thread, so it must neither move nor share its M.
pub(crate) fn leave_safepoint(sched: &'static Sched, m: &'static M, gp: &'static G) -> *const G {
    let Some(p) = m.p() else { gc_core::throw!("a safepoint without a P") };
    if !crate::stw::door(sched, m, false) {
        return core::ptr::null();
    }
    if p.slice_over.load(Ordering::SeqCst) && !gp.noyield.load(Ordering::Relaxed) {
        gp.casgstatus(g::WAITING, g::RUNNABLE);
        dropg(m, gp);
        sched.globrunqput(&mut sched.lock(), gp);
        // It has left the P's own queue to the others, so that comes first: a look at the global one would find `gp`
        // again, slice after slice.
        p.slice_over.store(false, Ordering::SeqCst);
        demote_next(sched, p);
        return core::ptr::null();
    }
    if gp.noyield.load(Ordering::Relaxed) {
        p.slice_over.store(false, Ordering::SeqCst);
    }
    clear_preempt(sched, m, p);
    if gp.lockedm().is_some() && gp.lockedext.load(Ordering::Relaxed) == 0 {
        super::locked::unkeep(m, gp);
    }
    gp.casgstatus(g::WAITING, g::RUNNING);
    gp
}

/// g0 part of a poll that found a request.
///
/// # Safety
/// As [`Mcall`].
pub(crate) unsafe extern "C" fn preempt_m(sched: &'static Sched, m: &'static M, gp: &'static G, _: usize) -> *const G {
    m.at(Door::Poll);
    gp.set_wait(WaitReason::Safepoint);
    gp.leave_running(g::WAITING);
    if let Some(p) = m.p() {
        latency::preempted(sched, p, Latency::PreemptSafepoint);
        self_scan(sched, p, gp);
    }
    leave_safepoint(sched, m, gp)
}

/// g0 part of `at_safepoint`: the goroutine is at rest, then its work is done, then requests are honoured.
///
/// # Safety
/// As [`Mcall`]; `gp.wanted` points to the caller's `&mut dyn FnMut()`.
pub(crate) unsafe extern "C" fn safepoint_m(
    sched: &'static Sched,
    m: &'static M,
    gp: &'static G,
    _: usize,
) -> *const G {
    m.at(Door::Allocation);
    gp.set_wait(WaitReason::Allocation);
    gp.leave_running(g::WAITING);
    if let Some(p) = m.p() {
        latency::preempted(sched, p, Latency::PreemptSafepoint);
        self_scan(sched, p, gp);
    }
    let work = gp.wanted.load(Ordering::Relaxed).cast::<&mut dyn FnMut()>();
    // SAFETY: it lives in the frame of `at_safepoint` on the goroutine's stack, which is at rest until this returns.
    unsafe { (*work)() };
    leave_safepoint(sched, m, gp)
}

/// g0 part of `yield_now`: to the end of the P's own queue, from which others go to the global one when it is full, and come
/// back in turn (`look`); if it is alone there, of the global one.
///
/// # Safety
/// As [`Mcall`].
pub(crate) unsafe extern "C" fn gosched_m(sched: &'static Sched, m: &'static M, gp: &'static G, _: usize) -> *const G {
    // Its last door stays that of its execution: the next one is as good as there.
    gp.leave_running(g::RUNNABLE);
    if let Some(p) = m.p() {
        self_scan(sched, p, gp);
    }
    dropg(m, gp);
    match m.p() {
        Some(p) if runqlen(p) > 0 || sched.runqsize.load(Ordering::SeqCst) == 0 => runqput(sched, p, gp, false),
        _ => sched.globrunqput(&mut sched.lock(), gp),
    }
    core::ptr::null()
}

/// g0 part of `World::pause`: helps the collector before it yields.
///
/// # Safety
/// As [`Mcall`].
pub(crate) unsafe extern "C" fn pause_m(sched: &'static Sched, m: &'static M, gp: &'static G, _: usize) -> *const G {
    m.at(Door::Poll);
    gp.set_wait(WaitReason::Collection);
    gp.leave_running(g::WAITING);
    if let Some(p) = m.p() {
        self_scan(sched, p, gp);
        let heap = sched.heap();
        let busy = if heap.marking() { heap.mark_slice(p.gcp(), WorkKind::Idle) } else { heap.sweep_slice(p.gcp()) };
        if !busy {
            gc_core::sync::yield_now();
        }
    }
    if gp.noyield.load(Ordering::Relaxed) {
        return leave_safepoint(sched, m, gp);
    }
    gp.casgstatus(g::WAITING, g::RUNNABLE);
    dropg(m, gp);
    // In this P's own queue: the end of the global one may be far, and a collection waits for this goroutine.
    match m.p() {
        Some(p) => runqput(sched, p, gp, false),
        None => sched.globrunqput(&mut sched.lock(), gp),
    }
    core::ptr::null()
}
