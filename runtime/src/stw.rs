//! Stopping the world, and running a function on every P.
//!
//! ```text
//! stopper                                   everybody else
//! worldsema <- me                           (a second stopper waits at the door, its P stopped, until it is free)
//! lock; stopwait = Ps; gcwaiting = true
//! preempt flag of every P
//! claim by CAS: own, idle, in syscall       a P's own M comes to a door: release_p, Running -> GcStop,
//! unlock; until stopwait = 0:                  stopwait - 1, the last one wakes the stopper; sleeps on `m.stop`
//!    a signal to whoever is late            interrupted: comes by the door from where it is (`suspend`)
//! ... the world is stopped ...
//! lock; gcwaiting = false                   GcStop -> what it was; its M, if it waits, wakes up holding it
//! ```
//!
//! Each P counts once: whoever moves its status word to `GcStop` by CAS subtracts one. Stopping is *in place*: the P
//! stays with its M and goroutine, so nothing is queued anew. A P claimed while idle or in a syscall has no M; if one
//! comes for it meanwhile (`wait_for_p`, `exitsyscall`) that M enters itself as `stop_waiter` and gets it as Running.
//!
//! Requests cannot be lost: the stopper stores `gcwaiting` before it sets the flags and tries the CAS; who takes a P
//! does its CAS first and looks at the P's flag second (`find_runnable`), and comes by the door if it is set; who answers a
//! flag clears it first and reads `gcwaiting` second (`clear_preempt`). So while the world is to stop every P's flag is set, or
//! about to be.
//!
//! What would break if a stopper that waits for `worldsema` kept its P: two stoppers would wait for each other. If
//! it lost its P to another M: the collector's slice, which it is in the middle of, would go on with a P it no longer
//! holds.

mod longest;
mod report;
mod times;
mod turn;

pub(crate) use longest::Longest;
pub use longest::{LongStop, StoppedP};
pub(crate) use report::{thread_state, time_awake};
pub use times::StopRow;
pub(crate) use times::StopTimes;
pub(crate) use turn::Turn;

use crate::m::{M, cas_m_no_write_barrier, set_m_no_write_barrier};
use crate::p::{self, P};
use crate::proc::newm::wakep;
use crate::sched::{Global, SafepointFn, Sched, unlock};
use crate::time::nanotime;
use crate::trace::{self, Kind};
use barrier_lint::{certify, nowritebarrierrec};
use core::time::Duration;
use gc_core::faults::{self, Fault};
use gc_core::sync::{Note, Ordering, modelled};
use gc_core::{GcP, StopReason};

/// How long who waits for the others stays awake: for those who come by themselves, and for those whom a signal brings.
const AWAKE: [Duration; 2] = [Duration::from_micros(5), Duration::from_micros(20)];
/// How long a stopper sleeps before it looks again at Ps that have changed hands meanwhile.
const AGAIN: Duration = Duration::from_micros(100);

certify! {
    use libc::pause: "a system call";
}

/// Comes by the door: runs a pending function of `for_each_p`, and waits here, its P stopped, while the world is.
/// On g0, holding a P and no running goroutine. False: the world ends, and the P is gone.
///
/// `deep`: there are frames below that need the P back, so at the world's end this does not return.
pub(crate) fn door(sched: &'static Sched, m: &'static M, deep: bool) -> bool {
    loop {
        let Some(p) = m.p() else { return false };
        run_safepoint_fn(sched, p);
        if !sched.gcwaiting.load(Ordering::SeqCst) {
            return true;
        }
        if !stop_here(sched, m, p, deep) {
            return false;
        }
    }
}

/// Waits at the door without the P, unless the stop is over by then. False: the world ends.
#[nowritebarrierrec]
fn stop_here(sched: &'static Sched, m: &'static M, p: &'static P, deep: bool) -> bool {
    modelled("stw::stop_here");
    if has_stopped(sched, m) {
        gc_core::throw!(
            "a safepoint while this thread has stopped the world: an allocation, or a request to the collector"
        );
    }
    sched.heap().release_p(p.gcp());
    let mut global = sched.lock();
    if !sched.gcwaiting.load(Ordering::SeqCst) {
        unlock(global);
        sched.heap().acquire_p(p.gcp());
        return true;
    }
    let exiting = sched.exiting.load(Ordering::SeqCst);
    p.stop_from.store(p::RUNNING, Ordering::SeqCst);
    m.stop.clear();
    let waiter = if exiting { core::ptr::null_mut() } else { core::ptr::from_ref(m).cast_mut() };
    set_m_no_write_barrier(&p.stop_waiter, waiter);
    // Relaxed, here and in `claim`: read by the stopper, once this P counts.
    p.stopped_at.store(nanotime(), Ordering::Relaxed);
    if !p.cas(p::RUNNING, p::GCSTOP) {
        gc_core::throw!("P{} came to the door without running", p.id.load(Ordering::SeqCst));
    }
    if exiting {
        crate::p::set_p_no_write_barrier(&m.p, core::ptr::null_mut());
    }
    stopped_one(sched, &mut global);
    unlock(global);
    if exiting {
        if deep {
            sleep_for_ever();
        }
        return false;
    }
    m.stop.sleep();
    sched.heap().acquire_p(p.gcp());
    true
}

/// The world has ended, and the frames below cannot be left.
#[nowritebarrierrec]
fn sleep_for_ever() -> ! {
    loop {
        // SAFETY: sleeps until a signal has been handled. (std's `park` may allocate.)
        unsafe { pause() };
    }
}

/// One more P is stopped.
#[nowritebarrierrec]
fn stopped_one(sched: &Sched, global: &mut Global) {
    global.stopwait -= 1;
    if global.stopwait == 0 {
        sched.stopnote.wakeup();
    }
}

/// Takes `p` if it is idle or left behind by a blocking call.
#[nowritebarrierrec]
fn claim(p: &P, _global: &mut Global) -> bool {
    modelled("stw::claim");
    for from in [p::IDLE, p::SYSCALL] {
        if p.cas(from, p::GCSTOP) {
            p.stop_from.store(from, Ordering::SeqCst);
            p.stopped_at.store(nanotime(), Ordering::Relaxed);
            set_m_no_write_barrier(&p.stop_waiter, core::ptr::null_mut());
            return true;
        }
    }
    false
}

/// Gives back a P in `GcStop`: to the M that waits for it, else to the state it had.
#[nowritebarrierrec]
fn unclaim(p: &P, _global: &mut Global) {
    let waiter = p.stop_waiter.get();
    set_m_no_write_barrier(&p.stop_waiter, core::ptr::null_mut());
    // SAFETY: null or an M, which `allms` keeps.
    match unsafe { waiter.as_ref() } {
        Some(m) => {
            p.status.store(p::RUNNING, Ordering::SeqCst);
            m.stop.wakeup();
        }
        None => p.status.store(p.stop_from.load(Ordering::SeqCst), Ordering::SeqCst),
    }
}

/// A P that an M has just left behind in a blocking call, or made idle, counts as stopped at once.
#[nowritebarrierrec]
pub(crate) fn stop_left_behind(sched: &Sched, p: &P) {
    modelled("stop_left_behind");
    let mut global = sched.lock();
    let announced = global.stopwait > 0 && sched.gcwaiting.load(Ordering::SeqCst);
    if announced && (claim(p, &mut global) || faults::active(Fault::LeftBehindUnclaimed)) {
        stopped_one(sched, &mut global);
    }
}

/// Waits for the note for a while, awake at first: `looks` is how often that has been in vain.
#[nowritebarrierrec]
fn wait(note: &Note, looks: &mut usize) -> bool {
    let set = match AWAKE.get(*looks) {
        Some(limit) => note.spin_for(*limit),
        None => note.sleep_for(AGAIN),
    };
    *looks += 1;
    set
}

/// What a holder of `worldsema` does; `None`: a function for every P.
type Why = Option<StopReason>;

fn name(why: Why) -> &'static str {
    why.map_or("a function for every P", StopReason::name)
}

/// Becomes the only stopper. The caller holds a P, on g0.
fn acquire_worldsema(sched: &'static Sched, m: &'static M, why: Why) {
    let me = core::ptr::from_ref(m).cast_mut();
    if has_stopped(sched, m) {
        let outer = StopReason::ALL.get(sched.world_why.load(Ordering::SeqCst) as usize).copied();
        gc_core::throw!(
            "{} inside {}, by the same thread: a stop of the world inside a stop of the world would wait for itself",
            name(why),
            name(outer)
        );
    }
    while !cas_m_no_write_barrier(&sched.worldsema, core::ptr::null_mut(), me) {
        if let Some(p) = m.p()
            && !sched.gcwaiting.load(Ordering::SeqCst)
            && p.safepoint_fn.load(Ordering::SeqCst) == 0
        {
            gc_core::sync::yield_now();
        }
        if faults::active(Fault::StopperKeepsP) {
            gc_core::sync::yield_now();
            continue;
        }
        door(sched, m, true);
    }
    sched.world_why.store(why.map_or(u8::MAX, |why| why as u8), Ordering::SeqCst);
}

/// Whether `m` has `worldsema`.
#[nowritebarrierrec]
pub(crate) fn has_stopped(sched: &Sched, m: &M) -> bool {
    sched.worldsema.get() == core::ptr::from_ref(m).cast_mut()
}

fn release_worldsema(sched: &Sched) {
    set_m_no_write_barrier(&sched.worldsema, core::ptr::null_mut());
}

/// Stops the world. On g0, holding a P; returns when every other P is stopped.
pub(crate) fn stop_the_world(sched: &'static Sched, m: &'static M, why: StopReason) {
    acquire_worldsema(sched, m, Some(why));
    stop_with_sema(sched, m, why);
}

/// Stops the world for good: nobody starts it again, and Ms at the door end.
pub(crate) fn stop_for_good(sched: &'static Sched, m: &'static M) {
    stop_the_world(sched, m, StopReason::End);
}

fn stop_with_sema(sched: &'static Sched, m: &'static M, why: StopReason) {
    modelled("stop_the_world");
    let for_good = why == StopReason::End;
    let start = nanotime();
    let Some(own) = m.p() else { gc_core::throw!("stop the world without a P") };
    trace::event(sched, m, Kind::StopRequest, why as u32);
    let mut global = sched.lock();
    if for_good {
        sched.exiting.store(true, Ordering::SeqCst);
    }
    sched.stopnote.clear();
    global.stopwait = sched.p_count() as u32;
    sched.gcwaiting.store(true, Ordering::SeqCst);
    sched.ps().for_each(|p| p.preempt(start));
    if !own.cas(p::RUNNING, p::GCSTOP) {
        gc_core::throw!("the stopper's P{} is not running", own.id.load(Ordering::SeqCst));
    }
    own.stop_from.store(p::RUNNING, Ordering::SeqCst);
    set_m_no_write_barrier(&own.stop_waiter, core::ptr::null_mut());
    global.stopwait -= 1;
    let (mut reported, mut looks) = (false, 0);
    loop {
        for p in sched.ps() {
            if claim(p, &mut global) {
                global.stopwait -= 1;
            }
        }
        if global.stopwait == 0 {
            break;
        }
        unlock(global);
        if !wait(&sched.stopnote, &mut looks) {
            sched.ps().for_each(|p| crate::suspend::ask(sched, p));
        }
        let waited = nanotime() - start;
        let limit = sched.settings.stw_timeout.as_nanos() as u64;
        if !reported && waited > limit {
            reported = true;
            report::late(sched, why.name(), waited);
        }
        global = sched.lock();
        if for_good && waited > 2 * limit {
            break; // what still runs is left to itself, on a heap that nobody frees
        }
    }
    unlock(global);
    let now = nanotime();
    sched.stops.stood(why, now, now - start);
    trace::event(sched, m, Kind::WorldStopped, why as u32);
}

/// Wakes all Ms that sleep, so that they see that the world ends.
pub(crate) fn wake_for_the_end(sched: &'static Sched) {
    let mut global = sched.lock();
    while let Some(m) = sched.mget(&mut global) {
        m.park.wakeup();
    }
    // Those that wait for their own goroutine are on no list.
    for m in sched.ms() {
        if m.lockedg().is_some() {
            m.park.wakeup();
        }
    }
    sched.watch.wake(sched);
    for p in sched.ps() {
        // SAFETY: null or an M, which `allms` keeps.
        if let Some(m) = unsafe { p.stop_waiter.get().as_ref() } {
            m.stop.wakeup();
        }
    }
}

/// Starts the world again.
pub(crate) fn start_the_world(sched: &'static Sched, m: &'static M) {
    modelled("start_the_world");
    let Some(own) = m.p() else { gc_core::throw!("start the world without a P") };
    if !has_stopped(sched, m) {
        gc_core::throw!("start the world by a thread that has not stopped it");
    }
    if let Some(why) = StopReason::ALL.get(sched.world_why.load(Ordering::SeqCst) as usize) {
        let now = nanotime();
        let (asked, to_stop, stopped) = sched.stops.runs(*why, now);
        sched.longest_stops.note(sched, own, *why, asked, to_stop, stopped);
        trace::event(sched, m, Kind::WorldStarted, *why as u32);
    }

    let mut global = sched.lock();
    sched.gcwaiting.store(false, Ordering::SeqCst);
    for p in sched.ps() {
        if core::ptr::eq(p, own) {
            p.status.store(p::RUNNING, Ordering::SeqCst);
        } else if p.status.load(Ordering::SeqCst) == p::GCSTOP {
            unclaim(p, &mut global);
        } else {
            gc_core::throw!("P{} ran while the world was stopped", p.id.load(Ordering::SeqCst));
        }
    }
    sched.sysmon.wake(&mut global);
    unlock(global);
    release_worldsema(sched);
    // Goroutines may have come back from blocking calls to the global queue.
    wakep(sched);
}

/// Runs `f` once for every P: on its own M at a safepoint, or here for those that nobody holds (Go's `forEachP`).
/// On g0, holding a P.
pub(crate) fn for_each_p(sched: &'static Sched, m: &'static M, f: &(dyn Fn(&GcP) + Sync)) {
    modelled("for_each_p");
    acquire_worldsema(sched, m, None);
    let Some(own) = m.p() else { gc_core::throw!("for_each_p without a P") };
    let start = nanotime();
    trace::event(sched, m, Kind::HandshakeRequest, 0);
    // SAFETY: only the lifetime changes; this function waits until every P has run it, and then takes it away.
    let ptr =
        unsafe { core::mem::transmute::<*const (dyn Fn(&GcP) + Sync + '_), *const (dyn Fn(&GcP) + Sync + 'static)>(f) };
    let mut global = sched.lock();
    sched.safepoint_note.clear();
    global.safepoint_fn = Some(SafepointFn(ptr));
    global.safepoint_wait = sched.p_count() as u32 - 1;
    for p in sched.ps().filter(|p| !core::ptr::eq(*p, own)) {
        p.safepoint_fn.store(1, Ordering::SeqCst);
        p.preempt(start);
    }
    unlock(global);
    f(own.gcp());

    let (mut reported, mut looks) = (false, 0);
    loop {
        for p in sched.ps() {
            if p.safepoint_fn.load(Ordering::SeqCst) == 0 {
                continue;
            }
            if faults::active(Fault::HandshakeUnclaimed) && p.status.load(Ordering::SeqCst) == p::SYSCALL {
                // Its M may be back by then.
                faults::linger(500);
                run_safepoint_fn(sched, p);
                continue;
            }
            let mut global = sched.lock();
            if !claim(p, &mut global) {
                continue;
            }
            unlock(global);
            run_safepoint_fn(sched, p);
            unclaim(p, &mut sched.lock());
        }
        if sched.lock().safepoint_wait == 0 {
            break;
        }
        if !wait(&sched.safepoint_note, &mut looks) {
            let late = sched.ps().filter(|p| p.safepoint_fn.load(Ordering::SeqCst) != 0);
            late.for_each(|p| crate::suspend::ask(sched, p));
        }
        let waited = nanotime() - start;
        if !reported && waited > sched.settings.stw_timeout.as_nanos() as u64 {
            reported = true;
            report::late(sched, name(None), waited);
        }
    }
    sched.lock().safepoint_fn = None;
    trace::event(sched, m, Kind::HandshakeDone, 0);
    release_worldsema(sched);
}

/// Runs the pending function of `for_each_p` on `p`, which the caller holds or has claimed.
fn run_safepoint_fn(sched: &Sched, p: &P) {
    modelled("run_safepoint_fn");
    if p.safepoint_fn.load(Ordering::SeqCst) == 0
        || p.safepoint_fn.compare_exchange(1, 0, Ordering::SeqCst, Ordering::SeqCst).is_err()
    {
        return;
    }
    let f = sched.lock().safepoint_fn;
    let Some(f) = f else { gc_core::throw!("a P is to run a function that is gone") };
    // SAFETY: `for_each_p` keeps it until `safepoint_wait`, which counts this P, is 0.
    unsafe { (*f.0)(p.gcp()) };
    let mut global = sched.lock();
    global.safepoint_wait -= 1;
    if global.safepoint_wait == 0 {
        sched.safepoint_note.wakeup();
    }
}
