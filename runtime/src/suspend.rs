//! Suspending in place: a signal stops a thread wherever its goroutine is, std and libc included.
//!
//! ```text
//! who needs the goroutine (a stop, `for_each_p`, a scan)   its thread
//! sets its own word, then the P's preempt flag
//! some us later, still unanswered: SIGURG (`ask`)     ───►  handler, on the signal stack:
//!                                                            in user code?  no: refuses; on its way out of the runtime
//!                                                            the thread sends the signal to itself (`current::refused`)
//!                                                            inside a barriered store: back to its start
//!                                                            Running -> Waiting; scans its stack if that is due
//!                                                            comes by the door (`stw::door`), as at a safepoint
//!                                                            Waiting -> Running; returns to where it was
//! ```
//!
//! So a suspended thread *is at the door*: stops, handshakes and scans know nothing of signals. What is scanned is the
//! stack from 128 bytes below the interrupted sp (the red zone) and the signal frame, which holds all registers,
//! vector state included.
//!
//! **In user code** means: the in-runtime count (`gc_core::sync::current`) is zero, the interrupted sp lies on the
//! goroutine's stack, and the interrupted signal mask is the thread's own. The count is raised by everything whose
//! steps belong to one phase or that others wait for: runtime locks, allocation from the look at the cache to
//! publication, barriers with their store, values on their way through the runtime, everything on g0. And the handler
//! must be on the M's signal stack, which the program can take away: `std::process::exit` switches off that of its thread
//! before the process is gone.
//!
//! What would break:
//! - without the count: a lock of the runtime is held by a thread that its stopper waits for; an object is claimed in one
//!   phase and published in the next;
//! - without the comparison of masks: the thread is in a handler of somebody else, which may have interrupted it
//!   anywhere;
//! - without the look at the signal stack: the handler's frame lies on the goroutine's stack, where the scan does not
//!   look for it and what descheduling pushes overwrites it;
//! - if the stopper, or anyone it waits for, took malloc's lock or std's: the suspended thread may hold it. Hence no
//!   malloc while the world is stopped (I8).

use crate::arch;
use crate::g::{self, G, WaitReason};
use crate::latency::{self, Latency};
use crate::m::{Door, M};
use crate::p::{self, P};
use crate::sched::Sched;
use crate::time::nanotime;
use crate::trace::{self, Kind};
use barrier_lint::{nowritebarrierrec, yeswritebarrierrec};
use gc_core::Scanner;
use gc_core::faults::{self, Fault};
use gc_core::sync::current::{self, Region};
use gc_core::sync::{AtomicU64, Ordering, lower, modelled};

/// The signal, as in Go: nothing is lost if it comes without reason, and debuggers pass it.
pub(crate) const SIGNAL: libc::c_int = libc::SIGURG;

/// The time between two signals to a thread, in nanoseconds.
pub(crate) const PATIENCE: u64 = 100_000;

/// Bytes below the stack pointer that leaf functions use.
pub(crate) const RED_ZONE: usize = if cfg!(modelled) { 0 } else { 128 };

/// What came of signals.
pub(crate) struct Counters {
    pub(crate) sent: AtomicU64,
    pub(crate) suspended: AtomicU64,
    /// Of those: inside a barriered store.
    pub(crate) restarted: AtomicU64,
    /// Refused: inside the runtime (or in no goroutine), on another stack, in another signal handler, without the signal
    /// stack.
    pub(crate) refused: [AtomicU64; 4],
    /// Goroutines that were descheduled, and why others were not, by [`Denied`](crate::preempt::Denied).
    pub(crate) descheduled: AtomicU64,
    pub(crate) denied: [AtomicU64; crate::preempt::Denied::COUNT],
    /// There was nothing to do any more.
    pub(crate) late: AtomicU64,
}

impl Counters {
    pub(crate) fn new() -> Counters {
        let zero = || AtomicU64::new(0);
        Counters {
            sent: zero(),
            suspended: zero(),
            restarted: zero(),
            refused: core::array::from_fn(|_| zero()),
            late: zero(),
            descheduled: zero(),
            denied: core::array::from_fn(|_| zero()),
        }
    }
}

#[nowritebarrierrec]
pub(crate) fn count(n: &AtomicU64) {
    // Relaxed: statistics.
    n.fetch_add(1, Ordering::Relaxed);
}

/// A new thread of the runtime: it takes the signal, and remembers its mask. May run without a P.
#[nowritebarrierrec]
pub(crate) fn start_thread(m: &M) {
    // SAFETY: reads and writes this thread's mask.
    unsafe {
        let mut set: libc::sigset_t = core::mem::zeroed();
        sigaddset(&raw mut set, SIGNAL);
        pthread_sigmask(libc::SIG_UNBLOCK, &raw const set, core::ptr::null_mut());
        pthread_sigmask(libc::SIG_BLOCK, core::ptr::null(), &raw mut set);
        m.sigmask.store(mask_bits(&raw const set), Ordering::SeqCst);
    }
}

/// A thread of the runtime ends, and is soon no M any more: a signal that is still on its way ends with it. Otherwise it
/// would be taken for somebody else's, and passed on. May run without a P.
#[nowritebarrierrec]
pub(crate) fn end_thread() {
    // SAFETY: writes this thread's mask.
    unsafe {
        let mut set: libc::sigset_t = core::mem::zeroed();
        sigaddset(&raw mut set, SIGNAL);
        pthread_sigmask(libc::SIG_BLOCK, &raw const set, core::ptr::null_mut());
    }
}

/// The kernel's part of a signal set.
///
/// # Safety
/// `set` points to at least the kernel's 8 bytes.
#[nowritebarrierrec]
unsafe fn mask_bits(set: *const libc::sigset_t) -> u64 {
    // SAFETY: the caller's contract.
    unsafe { set.cast::<u64>().read_unaligned() }
}

/// Asks whoever runs on `p` to come to the door, by its flag and a signal. To be called again until it has come. May run
/// without a P.
#[nowritebarrierrec]
pub(crate) fn ask(sched: &Sched, p: &P) {
    let now = nanotime();
    p.preempt(now);
    // SAFETY: null or an M, which `allms` keeps.
    let Some(m) = (unsafe { p.m.get().as_ref() }) else { return };
    // Relaxed: who loses a race here asks again.
    let asked = m.asked_at.load(Ordering::Relaxed);
    if now - asked.min(now) >= PATIENCE {
        m.asked_at.store(now, Ordering::Relaxed);
        signal(sched, p);
    }
}

/// Sends the signal to whoever runs on `p`, unless one is under way or suspending is off. May run without a P.
#[nowritebarrierrec]
pub(crate) fn signal(sched: &Sched, p: &P) {
    // SAFETY: null or an M, which `allms` keeps.
    let Some(m) = (unsafe { p.m.get().as_ref() }) else { return };
    if !sched.settings.async_preempt
        || p.status.load(Ordering::SeqCst) != p::RUNNING
        || (m.signal_pending.swap(true, Ordering::SeqCst) && !faults::active(Fault::SignalTwice))
    {
        return;
    }
    modelled("suspend::signal");
    count(&sched.suspensions.sent);
    #[cfg(modelled)]
    crate::model::deliver(m);
    #[cfg(not(modelled))]
    if !gc_core::sync::signal::send(m.tid.load(Ordering::SeqCst), SIGNAL as u32) {
        // The thread has ended.
        m.signal_pending.store(false, Ordering::SeqCst);
    }
}

barrier_lint::certify! {
    use libc::{pthread_sigmask, sigaddset}: "the kernel runs no code of ours";
}

/// The signal has come to the thread of `m`: does what was asked for; whether anything was. In the signal handler.
///
/// # Safety
/// `info` and `context` are what the kernel says of the signal and what it has interrupted on this thread, and will go
/// on with.
#[nowritebarrierrec]
pub(crate) unsafe fn asked(m: &'static M, info: &libc::siginfo_t, context: &mut libc::ucontext_t) -> bool {
    // SAFETY: an M's scheduler lives for ever.
    let sched = unsafe { &*m.sched.load(Ordering::Relaxed) };
    let ours = gc_core::sync::signal::is_marked(info);
    let storm = ours && crate::storm::has_sent(info);
    // Also where this signal is another one: it stands for the one that was sent, which the kernel may have dropped.
    // (If it has yet to be sent, the next one may be sent as well. The kernel drops one of them, and either finds what
    // is wanted.) And first: who finds it under way from now on may come too late for the looks below.
    let late = faults::active(Fault::SignalAnsweredLate);
    if !late {
        lower(&m.signal_pending, Ordering::SeqCst);
    }
    crate::sight::note(m, context);
    if storm {
        crate::storm::strike(sched, m);
    }
    if sched.settings.async_preempt {
        // Also when nobody of the runtime has sent it: whether there is something to do says the P.
        // SAFETY: the caller's contract.
        unsafe { interrupted(sched, m, context) };
    }
    if storm && m.p().is_some() {
        crate::storm::arm(sched, m);
    }
    if late {
        lower(&m.signal_pending, Ordering::SeqCst);
    }
    ours
}

/// What the handler does on an M.
///
/// # Safety
/// `context` is what the kernel has interrupted on this thread, and will go on with.
#[nowritebarrierrec]
unsafe fn interrupted(sched: &'static Sched, m: &'static M, context: &mut libc::ucontext_t) {
    let counters = &sched.suspensions;
    modelled("suspend::interrupted");
    // If it is inside the runtime, whoever leaves that last sends the signal again.
    current::set_refused(if current::locks() != 0 { SIGNAL as u32 } else { 0 });
    let Some((p, gp)) = crate::preempt::can_preempt_m(m) else { return count(&counters.refused[0]) };
    let (pc, sp, _) = arch::interrupted_at(context);
    let Some(stack) = gp.segments.holding(gp.stack, sp).filter(|stack| sp >= stack.lo + RED_ZONE) else {
        trace::declined(sched, m, trace::OTHER_STACK);
        return count(&counters.refused[1]);
    };
    // SAFETY: the kernel fills 8 bytes.
    if unsafe { mask_bits(&raw const context.uc_sigmask) } != m.sigmask.load(Ordering::Relaxed) {
        trace::declined(sched, m, trace::OTHER_HANDLER);
        return count(&counters.refused[2]);
    }
    let frame = core::ptr::from_mut(context).expose_provenance();
    if !on_signal_stack(m, frame) {
        trace::declined(sched, m, trace::NO_SIGNAL_STACK);
        return count(&counters.refused[3]);
    }
    let heap = sched.heap();
    let scan = heap.marking() && gp.stamp.load(Ordering::SeqCst) != heap.cycle();
    let slice_over = p.slice_over.load(Ordering::SeqCst);
    let wanted = scan
        || sched.gcwaiting.load(Ordering::SeqCst)
        || p.safepoint_fn.load(Ordering::SeqCst) != 0
        || (!slice_over && sched.settings.preempt_storm.is_some());
    if !wanted && !slice_over {
        return count(&counters.late);
    }
    if let Some(start) = arch::restart_point(pc) {
        arch::go_on_at(context, start, sp);
        count(&counters.restarted);
    }
    if wanted {
        count(&counters.suspended);
        let _region = Region::enter();
        suspend(sched, m, p, gp, sp, frame);
    }
    if slice_over {
        crate::preempt::inject(sched, m, gp, stack, context);
    }
}

/// Whether the kernel has put `frame` where the handler of `m` belongs. A model's threads take no signals.
#[nowritebarrierrec]
fn on_signal_stack(m: &M, frame: usize) -> bool {
    let altstack = m.altstack.load(Ordering::Relaxed);
    cfg!(modelled) || (altstack..altstack + crate::signal::ALTSTACK).contains(&frame)
}

/// Comes by the door, with the goroutine at rest where it is. On the signal stack of `m`, above which its registers
/// lie from `frame` on. `interrupted` has seen that it holds `p`, and is inside nothing.
#[yeswritebarrierrec]
fn suspend(sched: &'static Sched, m: &'static M, p: &'static P, gp: &'static G, sp: usize, frame: usize) {
    modelled("suspend::suspend");
    gp.sp.store((sp - RED_ZONE) & !7, Ordering::SeqCst);
    let top = m.altstack.load(Ordering::Relaxed) + crate::signal::ALTSTACK;
    gp.frame[0].store(frame & !7, Ordering::SeqCst);
    gp.frame[1].store(top, Ordering::SeqCst);
    m.at(Door::Suspended);
    trace::event(sched, m, Kind::Suspend, 0);
    gp.set_wait(WaitReason::Suspended);
    gp.leave_running(g::WAITING);
    latency::preempted(sched, p, Latency::PreemptSuspended);
    let scanned = crate::proc::schedule::self_scan(sched, p, gp);
    if !scanned || !faults::active(Fault::SuspendedForOne) {
        crate::stw::door(sched, m, true);
    }
    crate::proc::schedule::clear_preempt(sched, m, p);
    gp.casgstatus(g::WAITING, g::RUNNING);
    gp.frame[1].store(0, Ordering::SeqCst);
    gp.frame[0].store(0, Ordering::SeqCst);
}

/// Scans the registers of a goroutine that is suspended in place, if it is.
///
/// # Safety
/// The caller has the SCAN bit of `gp`, or its thread is in `suspend`.
pub(crate) unsafe fn scan_frame(gp: &G, s: &mut Scanner<'_>) {
    let (lo, hi) = (gp.frame[0].load(Ordering::SeqCst), gp.frame[1].load(Ordering::SeqCst));
    if lo != 0 && !gc_core::faults::active(gc_core::faults::Fault::FrameUnscanned) {
        // SAFETY: the signal frame, which lies between the two and which nobody writes while the thread is suspended.
        unsafe { s.conservative(core::ptr::with_exposed_provenance(lo), core::ptr::with_exposed_provenance(hi)) };
    }
}

/// Instruction, stack pointer, and frame pointer of a goroutine that is suspended in place, if it is.
pub(crate) fn interrupted_at(gp: &G) -> Option<(usize, usize, usize)> {
    let frame = gp.frame[0].load(Ordering::SeqCst);
    let context = core::ptr::with_exposed_provenance::<libc::ucontext_t>(frame);
    // SAFETY: null, or the context that the handler noted and in which it waits.
    Some(arch::interrupted_at(unsafe { context.as_ref() }?))
}
