//! Threads: finding or allocating an M, its first and last steps, waking and parking it.
//!
//! `startm` takes an idle P and finds an M for it: one from the idle list, woken through its note with `nextp` set,
//! or a new one, whose thread the template thread makes (`template`). From the moment the P leaves the idle list until the
//! M takes it the P is `Idle` and belongs to that M; a stop may still claim it (`acquirep` then waits).
//!
//! **`allocm(pp)`** is the only function here that allocates: an M is an object of the heap, and allocation needs a P.
//! Who calls `startm` may have none (an M in `handoffp`), and may be no M at all (sysmon, a thread that the runtime does
//! not know). So it borrows the one that the new M is to have:
//!
//! ```text
//! startm, under the lock    takes the next number, which counts as an M from now on (`checkdead`)
//! allocm                    has a P already: uses that. Else
//!   borrow                  Idle -> Running by CAS; while a stop or handshake has claimed the P it waits; acquire_p
//!   one region              claim, write, mark black while marking, publish, enter in `allms`; no safepoint
//!   give_back               release_p; Running -> Idle; if a stop was announced meanwhile, the P counts at once
//! newm                      a thread for it, which takes the P as any other does (`acquirep`)
//! ```
//! While it is borrowed a stop counts the P as running and waits for it: no phase can change between the claim of the
//! slot and the entry in `allms`. Whoever waits in `borrow` holds no P and no lock, so no stop waits for him.
//!
//! What would break
//! - if `nextp` were set after the wake-up: the M would run without a P;
//! - if the P were given back before the M is in `allms`: a whole cycle could pass by it, and sweep it;
//! - if the number were taken after the allocation: all other Ms could fall asleep meanwhile, and that look like a
//!   deadlock.

use super::template::newm;
use crate::m::{Door, M, getm, set_m_no_write_barrier};
use crate::p::{self, P, set_p_no_write_barrier};
use crate::sched::{MAX_MS, Sched, unlock};
use crate::signal::{ALTSTACK, install_altstack};
use crate::trace::{self, Kind};
use barrier_lint::{nowritebarrierrec, yeswritebarrierrec};
use core::sync::atomic::compiler_fence;
use core::time::Duration;
use gc_core::Gc;
use gc_core::faults::{self, Fault};
use gc_core::sync::{Note, Ordering, current, fence, modelled};

barrier_lint::certify! {
    use libc::{gettid, prctl}: "system calls";
    trait CStrings { as_ptr } for core::ffi::CStr: "reads a field";
}

/// How long who borrows a P sleeps while a stop or handshake has it.
const CLAIMED: Duration = Duration::from_micros(20);

/// Bytes of an M's own stack.
pub(crate) const G0_STACK: usize = 1 << 20;

/// Hands `p`, which is idle and off the idle list, to an idle or new M. May run without a P.
#[nowritebarrierrec]
pub(crate) fn startm(sched: &'static Sched, p: &'static P, spinning: bool) {
    modelled("startm");
    let mut global = sched.lock();
    if let Some(m) = sched.mget(&mut global) {
        unlock(global);
        m.spinning.store(spinning, Ordering::SeqCst);
        set_p_no_write_barrier(&m.nextp, core::ptr::from_ref(p).cast_mut());
        m.park.wakeup();
        return;
    }
    let id = global.mcount as usize;
    if id >= MAX_MS {
        gc_core::throw!("more than {MAX_MS} threads: {}", why_so_many(sched));
    }
    global.mcount += 1;
    unlock(global);
    if let Some(m) = allocm(sched, p, id) {
        m.spinning.store(spinning, Ordering::SeqCst);
        set_p_no_write_barrier(&m.nextp, core::ptr::from_ref(p).cast_mut());
        newm(sched, m);
    }
}

/// What has taken the threads, where there are no more.
#[nowritebarrierrec]
pub(crate) fn why_so_many(sched: &Sched) -> &'static str {
    if sched.settings.pinned {
        "each living goroutine has one, since all are `pinned`"
    } else {
        "too many goroutines in blocking calls at once"
    }
}

/// Starts the thread of the first M, with the first P.
pub(crate) fn start_first(sched: &'static Sched, m: &'static M, p: &'static P) {
    set_p_no_write_barrier(&m.nextp, core::ptr::from_ref(p).cast_mut());
    newm(sched, m);
}

/// M number `id`, without a thread: the one gate through which the code here allocates, on `pp` if this thread has no P.
/// `None`: the world ends.
#[yeswritebarrierrec]
fn allocm(sched: &'static Sched, pp: &'static P, id: usize) -> Option<&'static M> {
    modelled("allocm");
    let borrowed = current::p().is_null() && !faults::active(Fault::AllocmUnborrowed);
    if borrowed && !borrow(sched, pp) {
        return None;
    }
    let m = M::new(id as u32);
    m.sched.store(core::ptr::from_ref(sched).cast_mut(), Ordering::SeqCst);
    let made = Gc::try_new_no_safepoint(m, |m| sched.allmadd(id, Gc::as_ptr(m)));
    if borrowed {
        give_back(sched, pp);
    }
    if let Err(e) = made {
        gc_core::throw!("no memory for thread number {id}: {e}");
    }
    sched.m(id)
}

/// Takes `pp`, which is idle and the caller's to hand on, for this thread, which need not be an M. Waits while it is
/// claimed. False: the world ends. May run without a P.
#[nowritebarrierrec]
fn borrow(sched: &'static Sched, pp: &'static P) -> bool {
    let never = Note::new();
    while !pp.cas(p::IDLE, p::RUNNING) {
        if sched.exiting.load(Ordering::SeqCst) {
            return false;
        }
        never.sleep_for(CLAIMED);
    }
    sched.heap().acquire_p(pp.gcp());
    true
}

/// Ends `borrow`. May run without a P afterwards.
#[nowritebarrierrec]
fn give_back(sched: &'static Sched, pp: &'static P) {
    sched.heap().release_p(pp.gcp());
    pp.status.store(p::IDLE, Ordering::SeqCst);
    if sched.gcwaiting.load(Ordering::SeqCst) {
        crate::stw::stop_left_behind(sched, pp);
    }
}

/// The thread of an M. Runs without a P until `acquirep`, and after the scheduler's loop.
#[nowritebarrierrec]
pub(crate) extern "C" fn mstart(arg: *mut libc::c_void) -> *mut libc::c_void {
    let m = arg.cast::<M>();
    // SAFETY: `newm` passed an M, which `allms` keeps and whose `sched` is set.
    let (sched, m) = unsafe { (&*(*m).sched.load(Ordering::SeqCst), &*m) };
    current::set_locks(1);
    current::set_m(core::ptr::from_ref(m).cast_mut().cast());
    current::set_g(core::ptr::null_mut());
    crate::suspend::start_thread(m);
    // SAFETY: asks for this thread's number.
    m.tid.store(unsafe { gettid() } as u32, Ordering::SeqCst);
    crate::storm::start_thread(sched, m);
    // SAFETY: a name of less than 16 bytes, ended by 0.
    unsafe { prctl(libc::PR_SET_NAME, c"tricolor-m".as_ptr()) };
    crate::time::tick();
    // The C library's frames, and its own data, lie above.
    m.g0_hi.store((&raw const m).expose_provenance() + 256, Ordering::SeqCst);
    let Some(altstack) = install_altstack() else {
        // Without one the handler, which may wait at the door, would run on a goroutine's stack.
        let id = m.id.load(Ordering::Relaxed);
        gc_core::throw!("no memory for the signal stack of thread number {id} ({ALTSTACK} bytes)");
    };
    m.altstack.store(altstack.lo.expose_provenance(), Ordering::SeqCst);
    trace::event(sched, m, Kind::MStart, 0);
    if acquire_nextp(sched, m) {
        mstart1(sched, m);
    }
    crate::suspend::end_thread();
    crate::storm::end_thread(m);
    current::set_m(core::ptr::null_mut());
    altstack.remove();
    // What is left to run is no part of the runtime: destructors of thread-locals that goroutines have used.
    current::set_locks(0);
    core::ptr::null_mut()
}

/// What an M does with its first P.
#[yeswritebarrierrec]
fn mstart1(sched: &'static Sched, m: &'static M) {
    let boot = sched.boot.lock().take();
    if let Some(boot) = boot {
        crate::runtime::bootstrap(sched, m, boot);
    }
    super::schedule::schedule(sched, m);
}

/// Takes `p`, which is idle and this M's to take, waiting while a stop or a handshake has it. False: the world ends.
/// May run without a P.
#[nowritebarrierrec]
pub(crate) fn acquirep(sched: &'static Sched, m: &'static M, p: &'static P) -> bool {
    modelled("acquirep");
    let plain = faults::active(Fault::AcquirePlain);
    if plain {
        faults::linger(64);
        p.status.store(p::RUNNING, Ordering::SeqCst);
    }
    if !plain && !p.cas(p::IDLE, p::RUNNING) && !wait_for_p(sched, m, p) {
        return false;
    }
    wirep(sched, m, p);
    true
}

/// Takes the P that this M was given. False: the world ends. May run without a P.
#[nowritebarrierrec]
fn acquire_nextp(sched: &'static Sched, m: &'static M) -> bool {
    let p = m.nextp.get();
    set_p_no_write_barrier(&m.nextp, core::ptr::null_mut());
    // SAFETY: set before the M was started or woken, to a P, which `allps` keeps.
    acquirep(sched, m, unsafe { &*p })
}

/// Sleeps until this M, which others can find by now, is given a P, and takes it. False: the world ends. May run without a P.
#[nowritebarrierrec]
pub(crate) fn sleep_for_p(sched: &'static Sched, m: &'static M) -> bool {
    m.park.sleep();
    crate::time::tick();
    !sched.exiting.load(Ordering::SeqCst) && acquire_nextp(sched, m)
}

/// Notes that `m` holds `p`, whose status is already `Running`. May run without a P.
#[nowritebarrierrec]
pub(crate) fn wirep(sched: &'static Sched, m: &'static M, p: &'static P) {
    set_m_no_write_barrier(&p.m, core::ptr::from_ref(m).cast_mut());
    set_p_no_write_barrier(&m.p, core::ptr::from_ref(p).cast_mut());
    sched.heap().acquire_p(p.gcp());
    trace::event(sched, m, Kind::AcquireP, 0);
    crate::storm::arm(sched, m);
}

/// Waits until the claimed `p` is handed to this M, as `Running`. False: the world ends.
#[nowritebarrierrec]
pub(crate) fn wait_for_p(sched: &'static Sched, m: &'static M, p: &'static P) -> bool {
    modelled("wait_for_p");
    let global = sched.lock();
    if sched.exiting.load(Ordering::SeqCst) {
        return false;
    }
    if p.cas(p::IDLE, p::RUNNING) {
        return true;
    }
    // Claims begin and end under the lock, so it is claimed until this M is entered.
    if p.status.load(Ordering::SeqCst) != p::GCSTOP {
        gc_core::throw!("P{} was taken twice", p.id.load(Ordering::SeqCst));
    }
    m.stop.clear();
    set_m_no_write_barrier(&p.stop_waiter, core::ptr::from_ref(m).cast_mut());
    unlock(global);
    m.stop.sleep();
    !sched.exiting.load(Ordering::SeqCst)
}

/// Gives up the P of this M, which becomes idle; the caller puts it somewhere. May run without a P afterwards.
#[nowritebarrierrec]
pub(crate) fn releasep(sched: &'static Sched, m: &'static M) -> &'static P {
    let Some(p) = m.p() else { gc_core::throw!("releasep: no P") };
    trace::event(sched, m, Kind::ReleaseP, 0);
    sched.heap().release_p(p.gcp());
    set_p_no_write_barrier(&m.p, core::ptr::null_mut());
    set_m_no_write_barrier(&p.m, core::ptr::null_mut());
    p.status.store(p::IDLE, Ordering::SeqCst);
    p
}

/// Parks this M, which has no P, until `startm` hands it one. False: the world ends. May run without a P.
#[nowritebarrierrec]
pub(crate) fn stopm(sched: &'static Sched, m: &'static M) -> bool {
    modelled("stopm");
    let mut global = sched.lock();
    if sched.exiting.load(Ordering::SeqCst) {
        return false;
    }
    m.at(Door::Idle);
    m.park.clear();
    sched.mput(&mut global, m);
    crate::deadlock::checkdead(sched, &mut global);
    unlock(global);
    sleep_for_p(sched, m)
}

/// Wakes an M for new work, if a P is idle and nobody is already looking. May run without a P.
///
/// No wake-up is lost: who submits work stores it and then reads `nmspinning`; who stops spinning subtracts from
/// `nmspinning` and then reads all queues. Each has a SeqCst fence in between, so one of the two sees the other.
#[nowritebarrierrec]
pub(crate) fn wakep(sched: &'static Sched) {
    modelled("wakep");
    // Pairs with the fence in `find_runnable` after it stops spinning.
    if !faults::active(Fault::WakeUnfenced) {
        fence(Ordering::SeqCst);
    }
    wakep_fenced(sched);
}

/// As [`wakep`], for who has just put the work where an exchange is (`runnext`): what it replaced there, and only that, may
/// have gone to another place since, and was known before. May run without a P.
#[nowritebarrierrec]
pub(crate) fn wakep_exchanged(sched: &'static Sched) {
    modelled("wakep");
    // On x86-64 the exchange has done what the fence is for.
    if cfg!(any(modelled, not(target_arch = "x86_64"))) && !faults::active(Fault::WakeUnfenced) {
        fence(Ordering::SeqCst);
    }
    compiler_fence(Ordering::SeqCst);
    wakep_fenced(sched);
}

#[nowritebarrierrec]
fn wakep_fenced(sched: &'static Sched) {
    if sched.npidle.load(Ordering::SeqCst) == 0 || sched.nmspinning.load(Ordering::SeqCst) != 0 {
        return;
    }
    if sched.nmspinning.compare_exchange(0, 1, Ordering::SeqCst, Ordering::SeqCst).is_err() {
        return;
    }
    let mut global = sched.lock();
    let p = if sched.exiting.load(Ordering::SeqCst) { None } else { sched.pidleget(&mut global) };
    unlock(global);
    match p {
        Some(p) => startm(sched, p, true),
        None => {
            sched.nmspinning.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

/// Finds work for `p`, just taken from an M in a blocking call, or makes it idle. On an M or sysmon; may run without a P.
#[nowritebarrierrec]
pub(crate) fn handoffp(sched: &'static Sched, p: &'static P) {
    modelled("handoffp");
    trace::event_of(sched, getm(), Kind::HandoffP, Some(p), None, 0);
    let work = !super::runq::runqempty(p) || sched.runqsize.load(Ordering::SeqCst) != 0;
    // An extra one is emptied by the M that gets it.
    if work || sched.heap().marking() || sched.is_extra(p) {
        startm(sched, p, false);
        return;
    }
    // Nobody spins and no P is idle: perhaps everyone else is busy, so this one had better look.
    if sched.nmspinning.load(Ordering::SeqCst) + sched.npidle.load(Ordering::SeqCst) == 0
        && sched.nmspinning.compare_exchange(0, 1, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    {
        startm(sched, p, true);
        return;
    }
    let mut global = sched.lock();
    if sched.runqsize.load(Ordering::SeqCst) != 0 {
        unlock(global);
        startm(sched, p, false);
        return;
    }
    sched.pidleput(&mut global, p);
    unlock(global);
    crate::time::timers::ensure_watched(sched, p);
}

/// The M of this thread.
#[nowritebarrierrec]
pub(crate) fn this_m() -> &'static M {
    match getm() {
        Some(m) => m,
        None => gc_core::throw!("this thread is not part of the runtime"),
    }
}
