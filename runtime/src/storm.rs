//! `preemptstorm`: signals without reason to whoever runs a goroutine, so that every instruction is interrupted some
//! time.
//!
//! ```text
//! an M starts           a timer of the kernel's, whose signal goes to this thread
//! it gets a P           `arm`: once, after about the interval
//! the timer fires       handler: `strike` ends the time slice every second time; otherwise the goroutine is suspended
//! ... handler ends      `arm` again, while the M holds a P
//! ```
//! The signal comes where the timer's interrupt hits the thread. A thread that sent them would first have to be run
//! itself, which on a busy machine is milliseconds later, at the end of somebody's turn.
//!
//! What would break if the timer were armed once for all: an M that sleeps would be woken for each signal, and one whose
//! handler takes as long as the interval would do nothing else. From the end of a handler to the next signal there is
//! at least half of [`LEAST`].

use crate::m::M;
use crate::sched::Sched;
use crate::suspend::{SIGNAL, count};
use crate::time::nanotime;
use barrier_lint::{certify, nowritebarrierrec};
use core::time::Duration;
use gc_core::sync::{AtomicU32, Ordering, current, signal};

/// The smallest interval.
pub(crate) const LEAST: Duration = Duration::from_micros(10);

certify! {
    use libc::{__errno_location, gettid, syscall}: "system calls, and an address";
}

/// The storm over an M.
pub(crate) struct Storm {
    /// The number of its timer, plus 1; 0: none.
    timer: AtomicU32,
    strikes: AtomicU32,
}

// Relaxed throughout: an M's own thread, and handlers on it.
const O: Ordering = Ordering::Relaxed;

impl Storm {
    pub(crate) fn new() -> Storm {
        Storm { timer: AtomicU32::new(0), strikes: AtomicU32::new(0) }
    }
}

/// A new thread of the runtime gets its timer, if there is a storm. May run without a P.
#[nowritebarrierrec]
pub(crate) fn start_thread(sched: &Sched, m: &M) {
    if !sched.settings.async_preempt || sched.settings.preempt_storm.is_none() {
        return;
    }
    // SAFETY: makes a timer from live structures, for which all zero is valid.
    unsafe {
        let mut event: libc::sigevent = core::mem::zeroed();
        event.sigev_notify = libc::SIGEV_THREAD_ID;
        event.sigev_notify_thread_id = gettid();
        event.sigev_signo = SIGNAL;
        event.sigev_value = signal::mark();
        let mut timer: libc::c_int = 0;
        // Not by libc, whose numbers of timers are others.
        if syscall(libc::SYS_timer_create, libc::CLOCK_MONOTONIC, &raw mut event, &raw mut timer) != 0 {
            gc_core::throw!(
                "preemptstorm wants a timer for each thread: error {} of timer_create",
                *__errno_location()
            );
        }
        m.storm.timer.store(timer as u32 + 1, O);
    }
}

/// A thread of the runtime ends. May run without a P.
#[nowritebarrierrec]
pub(crate) fn end_thread(m: &M) {
    let timer = m.storm.timer.swap(0, O);
    if timer != 0 {
        // SAFETY: this thread's own timer, which nobody arms any more.
        unsafe { syscall(libc::SYS_timer_delete, timer - 1) };
    }
}

/// The thread of `m`, which calls this, holds a P: there will be a signal. May run without a P.
#[inline]
#[nowritebarrierrec]
pub(crate) fn arm(sched: &Sched, m: &M) {
    if let Some(interval) = sched.settings.preempt_storm {
        set_timer(m, interval);
    }
}

#[cold]
#[inline(never)]
#[nowritebarrierrec]
fn set_timer(m: &M, interval: Duration) {
    let timer = m.storm.timer.load(O);
    if timer == 0 {
        return;
    }
    let interval = interval.as_nanos() as u64;
    let delay = interval / 2 + nanotime() % interval;
    let once = libc::itimerspec {
        it_interval: libc::timespec { tv_sec: 0, tv_nsec: 0 },
        it_value: libc::timespec {
            tv_sec: (delay / 1_000_000_000) as libc::time_t,
            tv_nsec: (delay % 1_000_000_000) as libc::c_long,
        },
    };
    // SAFETY: sets this thread's own timer from a live structure.
    unsafe {
        syscall(libc::SYS_timer_settime, timer - 1, 0, &raw const once, core::ptr::null_mut::<libc::itimerspec>())
    };
}

/// Whether this signal, which is [marked](signal::is_marked), is that of the timer. In the signal handler.
#[nowritebarrierrec]
pub(crate) fn has_sent(info: &libc::siginfo_t) -> bool {
    info.si_code == libc::SI_TIMER
}

/// The timer of `m` has fired. Every second time that it finds the goroutine in its own code, its slice is over. In the
/// signal handler.
#[nowritebarrierrec]
pub(crate) fn strike(sched: &Sched, m: &M) {
    count(&sched.suspensions.sent);
    // Others are refused. If they counted, too, it could be every second one, as the first after a switch is as a rule.
    let in_user_code = current::locks() == 0 && m.curg().is_some();
    if in_user_code
        && m.storm.strikes.fetch_add(1, O) % 2 == 1
        && let Some(p) = m.p()
        && p.slice_over.swap(true, Ordering::SeqCst)
    {
        // It was not to be descheduled where the last signal found it: at a safepoint, then.
        p.preempt(nanotime());
    }
}
