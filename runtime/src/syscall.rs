//! Blocking calls: the goroutine keeps its M and gives its P away.
//!
//! ```text
//! blocking(args, f): spill_and_call pushes the callee-saved registers; sp; then, below sp:
//!   copy the arguments out; entersyscall: sp recorded, status Syscall, release_p, P left behind as Syscall
//!   f(args) under catch_unwind, its result kept in a frame below sp
//!   exitsyscall: take the P back by CAS (fast), or another idle one, or queue the goroutine and park the M
//!   only now the result moves into the caller's frame; unspill: back to it, past the frames in between
//! ```
//!
//! From `entersyscall` to the end of `exitsyscall` nothing at or above `sp` is written, so anybody may scan
//! `[sp, top)` meanwhile. What would break if `f` ran in the caller's frame: the compiler could spill over a slot
//! while it is scanned, and move a pointer from an unread to a read place.
//!
//! The P left behind belongs to whoever wins the CAS on its status: its old M, sysmon (after a while, if there is
//! other work), a stopper.

use crate::arch;
use crate::g::{self, G, getg};
use crate::latency::{self, Latency};
use crate::m::{Door, M, set_m_no_write_barrier};
use crate::p::{self, P, set_p_no_write_barrier};
use crate::proc::newm::{this_m, wakep, wirep};
use crate::proc::schedule::{dropg, mcall};
use crate::sched::{Sched, unlock};
use crate::time::nanotime;
use crate::trace::{self, Kind};
use barrier_lint::nowritebarrierrec;
use core::mem::{ManuallyDrop, MaybeUninit};
use gc_core::NoGc;
use gc_core::faults::{self, Fault};
use gc_core::sync::current::{self, Region};
use gc_core::sync::{Ordering, modelled};
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// Runs `f(args)`, which may block in the operating system, while other goroutines use this one's P.
///
/// `f` is a function or a closure that captures nothing (checked at compile time); what it needs comes in `args` and
/// what it finds goes out as its result, both free of heap pointers. Inside it the thread holds no P: allocating in
/// the collected heap, storing to a `GcCell`, channels, locks of the runtime are a fatal error; `spawn` too. Outside
/// a goroutine, and inside another blocking call, it simply calls `f`.
///
/// A system call inside it, as on any goroutine, may end with EINTR, since a signal of the runtime (SIGURG) may be on its
/// way: its handler has SA_RESTART, so `read`, `write`, `accept`, `wait` and waits without a time limit go on by
/// themselves, but `nanosleep`, `poll`, `select`, `epoll_wait` and timed futexes do not (signal(7) has the list). std calls
/// them again; who calls libc does that himself.
///
/// Does not need a P; a safepoint of the collector throughout. Source: Go's `entersyscall`/`exitsyscall`.
///
/// ```
/// # unsafe { tricolor::Runtime::builder().run(|| {
/// let text = tricolor::blocking((String::from("/proc/version"),), |(path,)| std::fs::read_to_string(path));
/// assert!(text.is_ok());
/// # }) }
/// ```
///
/// # Panics
/// If `f` does: with its payload, in the caller's frame.
pub fn blocking<A: NoGc, R: NoGc, F: FnOnce(A) -> R + Copy>(args: A, f: F) -> R {
    const { assert!(size_of::<F>() == 0, "`blocking` takes a function that captures nothing: pass values in `args`") };
    // SAFETY: `f` captures nothing and its argument and result are `NoGc`, so no heap pointer is used or moved by it.
    unsafe { blocking_with(move || f(args)) }
}

struct Call<F, R> {
    f: ManuallyDrop<F>,
    out: MaybeUninit<Result<R, Box<dyn Any + Send>>>,
}

/// As [`blocking`], for a closure with captures.
///
/// # Safety
/// While it runs, the closure touches no memory of the collected heap and uses nothing of the runtime: it holds no P,
/// and what it captured is scanned as it was when the call began. Its result holds no heap pointer that is not also
/// kept elsewhere.
///
/// # Panics
/// If the closure does: with its payload, in the caller's frame.
pub unsafe fn blocking_with<R, F: FnOnce() -> R>(f: F) -> R {
    let inside = getg().is_some() && p::holds_one();
    // While a panic unwinds the goroutine must keep its M (std counts panics by thread), so it keeps its P as well.
    if !inside || std::thread::panicking() {
        return f();
    }
    let mut call = Call { f: ManuallyDrop::new(f), out: MaybeUninit::uninit() };
    // SAFETY: `trampoline::<F, R>` gets the `Call` it expects, catches every panic, and fills `out`.
    unsafe { arch::spill_and_call((&raw mut call).cast(), trampoline::<F, R>) };
    // The region that the trampoline has entered.
    current::unlock();
    crate::proc::park::poll();
    // SAFETY: the trampoline wrote it.
    match unsafe { call.out.assume_init() } {
        Ok(value) => value,
        Err(payload) => resume_unwind(payload),
    }
}

/// Below the recorded sp.
///
/// # Safety
/// `arg` points to a `Call<F, R>`; the caller is a goroutine with a P.
unsafe extern "C" fn trampoline<F: FnOnce() -> R, R>(arg: *mut (), sp: usize) -> ! {
    let call = arg.cast::<Call<F, R>>();
    let Some(gp) = getg() else { gc_core::throw!("a blocking call outside a goroutine") };
    let region = Region::enter();
    // SAFETY: `f` is taken once, here; the bits left behind stay scannable.
    let f = unsafe { ManuallyDrop::take(&mut (*call).f) };
    entersyscall(gp, sp);
    drop(region);
    let out = catch_unwind(AssertUnwindSafe(f));
    let region = Region::enter();
    exitsyscall(gp);
    // SAFETY: the caller's `Call`; the goroutine is Running again, so its frames may change.
    unsafe { (*call).out.write(out) };
    // It ends in `blocking_with`.
    core::mem::forget(region);
    // SAFETY: as `arch` asks for; all that is here has been moved, and the region lasts.
    unsafe { arch::unspill(sp) }
}

/// Leaves the P behind. On the goroutine's stack, below `sp`.
#[nowritebarrierrec]
pub(crate) fn entersyscall(gp: &'static G, sp: usize) {
    modelled("entersyscall");
    let m = this_m();
    let sched = gp.sched;
    let Some(p) = m.p() else { gc_core::throw!("entersyscall: no P") };
    m.at(Door::Syscall);
    trace::event(sched, m, Kind::SyscallEnter, 0);
    latency::preempted(sched, p, Latency::PreemptSyscall);
    // Release: pairs with the Acquire of who scans; the status orders it besides.
    gp.sp.store(sp, Ordering::Release);
    gp.leave_running(g::SYSCALL);
    sched.heap().release_p(p.gcp());
    set_p_no_write_barrier(&m.oldp, core::ptr::from_ref(p).cast_mut());
    set_p_no_write_barrier(&m.p, core::ptr::null_mut());
    set_m_no_write_barrier(&p.m, core::ptr::null_mut());
    p.status.store(p::SYSCALL, Ordering::SeqCst);
    if sched.gcwaiting.load(Ordering::SeqCst) {
        crate::stw::stop_left_behind(sched, p);
    }
}

/// Gets a P again. On the goroutine's stack; perhaps on another M afterwards.
#[nowritebarrierrec]
pub(crate) fn exitsyscall(gp: &'static G) {
    modelled("exitsyscall");
    let m = this_m();
    // SAFETY: `entersyscall` set it, to a P, which `allps` keeps.
    let oldp = unsafe { &*m.oldp.get() };
    let back = latency::sample(oldp.syscalltick.load(Ordering::Relaxed));
    let plain = faults::active(Fault::SyscallExitPlain);
    if plain {
        oldp.status.store(p::RUNNING, Ordering::SeqCst);
    }
    if plain || oldp.cas(p::SYSCALL, p::RUNNING) {
        wirep(gp.sched, m, oldp);
        goes_on(gp, m, oldp, Kind::SyscallExit, back);
    } else {
        without_old_p(gp, m, oldp, back);
    }
}

/// It runs again: this M has got `p`. `back`: since when it has been back, if that is measured.
#[inline(always)]
#[nowritebarrierrec]
fn goes_on(gp: &'static G, m: &'static M, p: &'static P, how: Kind, back: u64) {
    // Relaxed: only who holds or has claimed the P writes it; sysmon looks whether it has changed.
    p.syscalltick.store(p.syscalltick.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
    m.passes(Door::SyscallEnd);
    trace::event(gp.sched, m, how, 0);
    gp.casgstatus(g::SYSCALL, g::RUNNING);
    if back != 0 {
        let row = match how {
            Kind::SyscallExitStopped => Latency::SyscallExitStopped,
            Kind::SyscallExitOtherP => Latency::SyscallExitOtherP,
            _ => Latency::SyscallExit,
        };
        latency::record(gp.sched, row, back);
    }
}

/// Somebody has taken the P that this M left behind.
#[cold]
#[inline(never)]
#[nowritebarrierrec]
fn without_old_p(gp: &'static G, m: &'static M, oldp: &'static P, back: u64) {
    let sched = gp.sched;
    let back = if back == 0 { nanotime() } else { back };
    if let Some(how) = exitsyscall_slow(sched, m, oldp) {
        if m.p().is_none() {
            wirep(sched, m, oldp);
        }
        return goes_on(gp, m, m.p().unwrap_or(oldp), how, back);
    }
    // SAFETY: a goroutine whose stack at and above the recorded sp has not changed; `exitsyscall_m` queues it only
    // once it is at rest.
    unsafe { mcall(gp, exitsyscall_m) }
    latency::record(sched, Latency::SyscallExitQueued, back);
}

/// The old P is gone: waits for it if it is merely stopped, or takes an idle one. How it has got one, if it has.
#[nowritebarrierrec]
fn exitsyscall_slow(sched: &'static Sched, m: &'static M, oldp: &'static P) -> Option<Kind> {
    modelled("exitsyscall_slow");
    let mut global = sched.lock();
    if sched.exiting.load(Ordering::SeqCst) {
        return None;
    }
    if oldp.cas(p::SYSCALL, p::RUNNING) {
        return Some(Kind::SyscallExit);
    }
    let stopped = oldp.status.load(Ordering::SeqCst) == p::GCSTOP
        && oldp.stop_from.load(Ordering::SeqCst) == p::SYSCALL
        && oldp.stop_waiter.get().is_null();
    if stopped {
        m.stop.clear();
        set_m_no_write_barrier(&oldp.stop_waiter, core::ptr::from_ref(m).cast_mut());
        unlock(global);
        m.stop.sleep();
        return if sched.exiting.load(Ordering::SeqCst) { None } else { Some(Kind::SyscallExitStopped) };
    }
    if sched.gcwaiting.load(Ordering::SeqCst) {
        return None;
    }
    let p = sched.pidleget(&mut global);
    unlock(global);
    match p {
        Some(p) if crate::proc::newm::acquirep(sched, m, p) => Some(Kind::SyscallExitOtherP),
        _ => None,
    }
}

/// g0 part of `exitsyscall` without a P: queues the goroutine and parks the M.
#[nowritebarrierrec]
unsafe extern "C" fn exitsyscall_m(sched: &'static Sched, m: &'static M, gp: &'static G, _: usize) -> *const G {
    modelled("exitsyscall_m");
    gp.casgstatus(g::SYSCALL, g::RUNNABLE);
    trace::event(sched, m, Kind::SyscallExitQueued, 0);
    dropg(m, gp);
    sched.globrunqput(&mut sched.lock(), gp);
    // If a P has become idle meanwhile somebody must see the queue.
    wakep(sched);
    // One with a goroutine of its own waits for that (`stoplockedm`).
    if !sched.exiting.load(Ordering::SeqCst) && m.lockedg().is_none() {
        crate::proc::newm::stopm(sched, m);
    }
    core::ptr::null()
}
