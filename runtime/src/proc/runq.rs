//! The run queue of a P: a ring that its owner fills and everybody empties, and one place `runnext`.
//!
//! The owner writes `runqtail` (Release, after the slot); takers, the owner among them, move `runqhead` by CAS
//! (Release, after they read the slot), so the owner does not overwrite a slot that is still being read (it loads
//! `runqhead` with Acquire). `runnext` is set by its owner and taken by CAS from anywhere.
//!
//! What would break if a thief published its own tail before it had copied the slots, or the owner read `runqhead`
//! without Acquire: a G would run twice or never.

use crate::g::{G, cas_g_no_write_barrier, set_g_no_write_barrier, swap_g_no_write_barrier};
use crate::p::{P, RUNQ, RUNQ_NEXT};
use crate::sched::{Global, Sched};
use barrier_lint::nowritebarrierrec;
use gc_core::faults::{self, Fault};
use gc_core::sync::Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst};
use gc_core::sync::modelled;

const LEN: u32 = RUNQ as u32;

#[nowritebarrierrec]
fn slot(p: &P, i: u32) -> &barrier_lint::NoBarrierPtr<G> {
    &p.runq[(i % LEN) as usize]
}

#[nowritebarrierrec]
fn put_slot(p: &P, i: u32, gp: *mut G) {
    set_g_no_write_barrier(slot(p, i), gp);
}

/// How many goroutines wait on `p`. For the eye.
pub(crate) fn runqlen(p: &P) -> u32 {
    // Relaxed: nothing follows from it.
    let ring = p.runqtail.load(Relaxed).wrapping_sub(p.runqhead.load(Relaxed));
    ring.min(LEN) + u32::from(!p.runnext.get().is_null())
}

/// Puts a runnable G on `p`, which this M holds; `next`: it runs next, and who was to goes into the ring. A ring without room
/// gives half to the global queue.
#[nowritebarrierrec]
pub(crate) fn runqput(sched: &Sched, p: &P, gp: &G, next: bool) {
    modelled("runqput");
    let mut gp = core::ptr::from_ref(gp).cast_mut();
    let room = if next { RUNQ_NEXT } else { LEN };
    if next {
        gp = swap_g_no_write_barrier(&p.runnext, gp);
        if gp.is_null() {
            return;
        }
    }
    loop {
        // Acquire: pairs with the Release CAS of takers: their reads of the slots are done.
        let h = p.runqhead.load(Acquire);
        // Relaxed: only the owner writes the tail.
        let t = p.runqtail.load(Relaxed);
        if t.wrapping_sub(h) < room {
            if faults::active(Fault::RunqTailEarly) {
                p.runqtail.store(t.wrapping_add(1), Release);
                faults::linger(64);
            }
            put_slot(p, t, gp);
            // Release: pairs with the Acquire loads of takers.
            p.runqtail.store(t.wrapping_add(1), Release);
            return;
        }
        if runqputslow(sched, p, gp, h, t) {
            return;
        }
    }
}

/// Moves half of the ring, and `gp`, to the global queue. False: thieves were faster, the ring has room.
#[cold]
#[nowritebarrierrec]
fn runqputslow(sched: &Sched, p: &P, gp: *mut G, h: u32, t: u32) -> bool {
    modelled("runqputslow");
    let n = t.wrapping_sub(h) / 2;
    let mut batch = [core::ptr::null_mut::<G>(); RUNQ / 2 + 1];
    for i in 0..n {
        batch[i as usize] = slot(p, h.wrapping_add(i)).get();
    }
    // Release: the slots are read; pairs with the owner's Acquire. Acquire: pairs with other takers.
    if p.runqhead.compare_exchange(h, h.wrapping_add(n), AcqRel, Relaxed).is_err() {
        return false;
    }
    batch[n as usize] = gp;
    for i in 0..n as usize {
        // SAFETY: Gs of `allgs`; off every queue now, so ours alone.
        set_g_no_write_barrier(unsafe { &(*batch[i]).schedlink }, batch[i + 1]);
    }
    // SAFETY: as above.
    let (head, tail) = unsafe { (&*batch[0], &*gp) };
    sched.globrunqputbatch(&mut sched.lock(), head, tail, n as usize + 1);
    true
}

/// Takes a G off `p`, which this M holds. True: it inherits the time slice.
#[nowritebarrierrec]
pub(crate) fn runqget(p: &P) -> Option<(&'static G, bool)> {
    modelled("runqget");
    let next = p.runnext.get();
    let blind = faults::active(Fault::RunnextBlind) && !next.is_null();
    if blind {
        faults::linger(64);
        set_g_no_write_barrier(&p.runnext, core::ptr::null_mut());
    }
    // If the CAS fails a thief has it: only the owner sets it.
    if blind || !next.is_null() && cas_g_no_write_barrier(&p.runnext, next, core::ptr::null_mut()) {
        // SAFETY: `allgs` keeps every G.
        return Some((unsafe { &*next }, true));
    }
    loop {
        let h = p.runqhead.load(Acquire);
        // Relaxed: only the owner writes the tail.
        let t = p.runqtail.load(Relaxed);
        if t == h {
            return None;
        }
        let gp = slot(p, h).get();
        if p.runqhead.compare_exchange(h, h.wrapping_add(1), AcqRel, Relaxed).is_ok() {
            // SAFETY: `allgs` keeps every G.
            return Some((unsafe { &*gp }, false));
        }
    }
}

/// Puts what would run next at the end of `p`'s queue; this M holds `p`.
#[nowritebarrierrec]
pub(crate) fn demote_next(sched: &Sched, p: &P) {
    let next = swap_g_no_write_barrier(&p.runnext, core::ptr::null_mut());
    // SAFETY: null or a G of `allgs`.
    if let Some(gp) = unsafe { next.as_ref() } {
        runqput(sched, p, gp, false);
    }
}

/// Whether `p` has nothing to run; for anybody, without a wrong "yes" while the owner moves `runnext` to the ring.
#[nowritebarrierrec]
pub(crate) fn runqempty(p: &P) -> bool {
    loop {
        let h = p.runqhead.load(SeqCst);
        let t = p.runqtail.load(SeqCst);
        // Its Acquire keeps the second look at the tail behind it.
        let next = p.runnext.get();
        if t == p.runqtail.load(SeqCst) {
            return h == t && next.is_null();
        }
    }
}

/// Steals half of `victim`'s queue to `p`, which this M holds, and returns one of them.
#[nowritebarrierrec]
pub(crate) fn runqsteal(p: &P, victim: &P, steal_next: bool) -> Option<&'static G> {
    modelled("runqsteal");
    // Relaxed: only the owner writes the tail.
    let t = p.runqtail.load(Relaxed);
    let n = runqgrab(p, victim, t, steal_next);
    if n == 0 {
        return None;
    }
    let last = t.wrapping_add(n - 1);
    // SAFETY: `runqgrab` put `n` Gs of `allgs` at `t`.
    let gp = unsafe { &*slot(p, last).get() };
    if n > 1 {
        // Release: pairs with the Acquire loads of takers.
        p.runqtail.store(last, Release);
    }
    Some(gp)
}

/// Copies half of `victim`'s queue to `p`'s slots from `t` on; returns how many.
#[nowritebarrierrec]
fn runqgrab(p: &P, victim: &P, t: u32, steal_next: bool) -> u32 {
    loop {
        let h = victim.runqhead.load(Acquire);
        let vt = victim.runqtail.load(Acquire);
        let mut n = vt.wrapping_sub(h);
        n -= n / 2;
        if n == 0 {
            if steal_next {
                let next = victim.runnext.get();
                if !next.is_null() {
                    // Its owner is about to run it: that is cheaper there.
                    core::hint::spin_loop();
                    gc_core::sync::yield_now();
                    if !cas_g_no_write_barrier(&victim.runnext, next, core::ptr::null_mut()) {
                        continue;
                    }
                    put_slot(p, t, next);
                    return 1;
                }
            }
            return 0;
        }
        if n > LEN / 2 {
            continue; // head and tail are not of one moment
        }
        if faults::active(Fault::StealHeadFirst)
            && victim.runqhead.compare_exchange(h, h.wrapping_add(n), AcqRel, Relaxed).is_err()
        {
            continue;
        }
        if faults::active(Fault::StealHeadFirst) {
            faults::linger(500);
        }
        for i in 0..n {
            put_slot(p, t.wrapping_add(i), slot(victim, h.wrapping_add(i)).get());
        }
        if faults::active(Fault::StealHeadFirst)
            || victim.runqhead.compare_exchange(h, h.wrapping_add(n), AcqRel, Relaxed).is_ok()
        {
            return n;
        }
    }
}

/// Takes one G of the global queue for `p`, and moves a fair share (at most `max`; 0: half a ring) to its ring.
#[nowritebarrierrec]
pub(crate) fn globrunqget(sched: &Sched, global: &mut Global, p: &P, max: usize) -> Option<&'static G> {
    let size = sched.runqsize.load(SeqCst);
    let mut n = (size / sched.procs() + 1).min(size).min(RUNQ / 2);
    if max > 0 {
        n = n.min(max);
    }
    let first = sched.globrunqpop(global)?;
    for _ in 1..n {
        // There is room: `p`'s ring is empty, or `max` is 1.
        let Some(gp) = sched.globrunqpop(global) else { break };
        let t = p.runqtail.load(Relaxed);
        // One with an M of its own stays where everybody looks, in its place.
        if t.wrapping_sub(p.runqhead.load(Acquire)) >= LEN || gp.lockedm().is_some() {
            sched.globrunqputback(global, gp);
            break;
        }
        put_slot(p, t, core::ptr::from_ref(gp).cast_mut());
        // Release: pairs with the Acquire loads of takers.
        p.runqtail.store(t.wrapping_add(1), Release);
    }
    Some(first)
}
