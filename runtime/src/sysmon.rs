//! The watching thread, as Go's `sysmon`: it has no P.
//!
//! It ends time slices (a flag that the next safepoint sees) and takes Ps from Ms that stay in a blocking call while there
//! is other work (memory to give back is some). It takes a nap of 20 us between looks, and up to 10 ms when it has had
//! nothing to do for a while.
//!
//! **Deep sleep.** Where no P is in use, or the world is stopped, there is nothing to look at: it sleeps until that changes
//! (or until the next line of `schedtrace` is due). Timers and files are no concern of its own then: an M watches them.
//!
//! ```text
//! sysmon, under the scheduler lock           whoever changes it, under the scheduler lock
//! every P is on a list of those without use  takes a P off such a list (`pidleget`, `spareget`),
//! (`all_idle`), or gcwaiting is set;         or ends the stop (`start_the_world`):
//! clears `activity`; asleep = true           if asleep: asleep = false, wakes `activity`
//! then, without the lock, sleeps on `activity`
//! ```
//! The lock makes each of the two one step. So either sysmon sees the P in use, or who took it sees that sysmon sleeps. A P
//! comes into use in no other way: one in a blocking call is on no list, so sysmon naps until it has taken it from there; one
//! on its way to an M has left its list already. The end of the world comes in between as well: `exiting` is set under the
//! lock, and `end` wakes both notes after that.
//!
//! What would break
//! - if the note were cleared after `asleep` is set, or either without the lock: the wake-up in between is lost, and then no
//!   time slice ends until all Ps are idle once more;
//! - if a P in a blocking call counted as without use: what is queued on it would wait for the end of the call.

use crate::p::{self, P, set_p_no_write_barrier};
use crate::proc::newm::{handoffp, wakep};
use crate::proc::runq::runqempty;
use crate::sched::{Global, Sched, unlock};
use crate::time::nanotime;
use crate::time::timers::NEVER;
use crate::trace::{self, Kind};
use barrier_lint::nowritebarrierrec;
use core::time::Duration;
use gc_core::faults::{self, Fault};
use gc_core::sync::{AtomicBool, AtomicU64, Note, Ordering, current, modelled};

/// A time slice, in nanoseconds.
const SLICE: u64 = 10_000_000;
/// A time slice while the collector waits for stacks.
const SLICE_MARKING: u64 = 3_000_000;
/// How long a goroutine may run beyond its slice because too many are kept already, if others wait.
const STARVED: u64 = 1_000_000_000;
/// Most goroutines that are ever kept: each has a thread, and others need some too.
const KEPT_LIMIT: u32 = crate::sched::MAX_MS as u32 / 4 * 3;
/// A P whose goroutine has not changed for so long may be stuck.
const STUCK: u64 = 20_000_000;
/// Two looks at sleeping threads so far apart are taken for one long sleep, if each was awake for a small part of the
/// time between looks.
const LONG_SLEEP: u64 = 5_000_000;
/// One in so many is a small part. Not none: signals wake a sleeping thread, too.
const AWAKE_PART: u64 = 4;
/// A P whose queue is empty is left to its blocked M this long.
const SYSCALL_IDLE: u64 = 10_000_000;

/// What sysmon sleeps on.
pub(crate) struct Sysmon {
    /// Signalled when the world has ended. Its naps are on this one.
    ended: Note,
    /// Where it sleeps deeply.
    activity: Note,
    /// It does. Under the scheduler lock.
    asleep: AtomicBool,
    /// Since when it sees the same threads asleep with all Ps; 0: it does not. Its own.
    stuck_since: AtomicU64,
}

#[nowritebarrierrec]
impl Sysmon {
    pub(crate) fn new() -> Sysmon {
        Sysmon {
            ended: Note::new(),
            activity: Note::new(),
            asleep: AtomicBool::new(false),
            stuck_since: AtomicU64::new(0),
        }
    }

    /// A P comes into use, or a stop has ended. May run without a P.
    pub(crate) fn wake(&self, _global: &mut Global) {
        modelled("Sysmon::wake");
        // Relaxed, here and where it is set: under the lock.
        if self.asleep.load(Ordering::Relaxed) {
            self.asleep.store(false, Ordering::Relaxed);
            self.activity.wakeup();
        }
    }

    /// Ends the thread, whose scheduler is `exiting`.
    pub(crate) fn end(&self) {
        self.ended.wakeup();
        self.activity.wakeup();
    }
}

barrier_lint::certify! {
    use libc::prctl: "a system call";
    trait CStrings { as_ptr } for core::ffi::CStr: "reads a field";
}

/// Its thread.
#[nowritebarrierrec]
pub(crate) extern "C" fn sysmon_thread(sched: *mut libc::c_void) -> *mut libc::c_void {
    // SAFETY: `start_threads` passes the scheduler, which lives for ever.
    let sched = unsafe { &*sched.cast::<Sched>() };
    current::set_locks(1);
    // SAFETY: a name of less than 16 bytes, ended by 0; the slack of this thread's sleeps.
    unsafe {
        prctl(libc::PR_SET_NAME, c"tricolor-sysmon".as_ptr());
        prctl(libc::PR_SET_TIMERSLACK, 1);
    }
    sysmon(sched);
    core::ptr::null_mut()
}

#[nowritebarrierrec]
fn sysmon(sched: &'static Sched) {
    let (mut idle, mut delay) = (0u32, 20u64);
    let trace_every = sched.settings.sched_trace.as_nanos() as u64;
    let mut traced_at = sched.began;
    loop {
        if idle == 0 {
            delay = 20;
        } else if idle > 50 {
            delay = (delay * 2).min(10_000);
        }
        if sched.sysmon.ended.sleep_for(Duration::from_micros(delay)) {
            return;
        }
        let next_trace = if trace_every > 0 { traced_at + trace_every } else { NEVER };
        sleep_while_idle(sched, next_trace);
        crate::time::tick();
        if sched.heap().scavenge_wanted() {
            // The M finds no goroutine, and gives memory back before it sleeps again.
            wakep(sched);
        }
        crate::netpoll::look_if_late(sched, nanotime());
        let now = nanotime();
        if trace_every > 0 && now - traced_at >= trace_every {
            traced_at = now;
            schedtrace(sched, now - sched.began);
        }
        lend_if_stuck(sched, nanotime());
        if retake(sched, nanotime()) > 0 {
            idle = 0;
        } else {
            idle += 1;
        }
    }
}

/// Sleeps deeply, if there is nothing to look at; until `until` at the latest.
#[nowritebarrierrec]
pub(crate) fn sleep_while_idle(sched: &'static Sched, until: u64) {
    modelled("sleep_while_idle");
    let this = &sched.sysmon;
    let global = sched.lock();
    let nothing = sched.gcwaiting.load(Ordering::SeqCst) || sched.all_idle(&global);
    if !nothing || sched.exiting.load(Ordering::SeqCst) {
        return;
    }
    if faults::active(Fault::SysmonAsleepLate) {
        unlock(global);
        faults::linger(30_000);
        this.activity.clear();
        this.asleep.store(true, Ordering::Relaxed);
    } else {
        this.activity.clear();
        this.asleep.store(true, Ordering::Relaxed);
        unlock(global);
    }
    if faults::active(Fault::SysmonClearedLate) {
        faults::linger(30_000);
        this.activity.clear();
    }
    // Whoever comes while it is awake again already wakes it in vain.
    match until {
        NEVER => this.activity.sleep(),
        _ => {
            this.activity.sleep_for(Duration::from_nanos(until.saturating_sub(nanotime())));
        }
    }
}

barrier_lint::certify! {
    fn schedtrace: "prints";
}

fn schedtrace(sched: &Sched, since: u64) {
    crate::schedtrace::print(sched, since, sched.settings.sched_detail);
}

/// Lends a spare P where goroutines wait and every P is held by a thread that sleeps in the kernel, outside a blocking
/// call (for a lock of std, as a rule, whose holder is among those that wait), or is on its way to a thread that cannot
/// be made. In the latter case Ps may be idle, too, since nobody is woken for them while that M is to look for work: they
/// go to goroutines that have their threads.
///
/// A thread may sleep for a moment without being stuck: it waits for a lock of the runtime, or for a page. So one look is not
/// enough, and two may fall into two such moments: the kernel's clock of the thread tells. To wait for a processor, which
/// it also counts, is not to sleep, however long the host lets it wait.
#[nowritebarrierrec]
fn lend_if_stuck(sched: &'static Sched, now: u64) {
    // In any queue: what is in that of a stuck P waits, too.
    // Relaxed, here and below: sysmon's own words.
    let stuck_since = sched.sysmon.stuck_since.swap(0, Ordering::Relaxed);
    let waiting = sched.has_work() || crate::time::timers::earliest(sched) <= now;
    if !waiting {
        return;
    }
    let no_thread = sched.template.late(now, STUCK);
    if sched.npidle.load(Ordering::SeqCst) != 0 {
        if no_thread {
            crate::proc::locked::lend(sched, true);
        }
        return;
    }
    let mut same = stuck_since != 0;
    let mut culprit = None;
    for i in 0..sched.procs() {
        let p = sched.nth_p(i);
        let since = p.seen_sched_at.load(Ordering::Relaxed);
        // SAFETY: null or an M, which `allms` keeps.
        let m = unsafe { p.m.get().as_ref() };
        let Some(m) = m else {
            if p.status.load(Ordering::SeqCst) == p::IDLE && no_thread {
                continue;
            }
            return;
        };
        if p.status.load(Ordering::SeqCst) != p::RUNNING
            || p.seen_sched.load(Ordering::Relaxed) != p.schedtick.load(Ordering::SeqCst)
            || now.saturating_sub(since) < STUCK
            || !matches!(crate::stw::thread_state(m.tid.load(Ordering::SeqCst)), 'S' | 'D')
        {
            return;
        }
        let id = m.id.load(Ordering::Relaxed);
        // The time of the clock is between the two: where sysmon has to wait there itself, the thread passes for awake.
        let before = nanotime();
        let awake = crate::stw::time_awake(m.tid.load(Ordering::SeqCst));
        let between = before.saturating_sub(p.seen_awake_at.swap(nanotime(), Ordering::Relaxed));
        let was_awake = awake.wrapping_sub(p.seen_awake.swap(awake, Ordering::Relaxed));
        same &= p.seen_m.swap(id, Ordering::Relaxed) == id && since <= stuck_since && was_awake <= between / AWAKE_PART;
        culprit = culprit.or(m.curg());
    }
    if !same || now - stuck_since < LONG_SLEEP {
        return sched.sysmon.stuck_since.store(if same { stuck_since } else { now }, Ordering::Relaxed);
    }
    if crate::proc::locked::lend(sched, no_thread) {
        report_stuck(culprit);
    }
}

barrier_lint::certify! {
    fn report_stuck: "prints";
}

/// One goroutine more may be descheduled by a signal: so many are already that others starve behind one that may not, or
/// are held back.
#[nowritebarrierrec]
fn keep_more(sched: &Sched) {
    if sched.most_kept.load(Ordering::SeqCst) < KEPT_LIMIT
        && sched.most_kept.fetch_add(1, Ordering::SeqCst) == crate::preempt::MOST_KEPT
    {
        report_many();
    }
}

barrier_lint::certify! {
    fn report_many: "prints";
}

fn report_many() {
    gc_core::fatal::print_line(format_args!(
        "tricolor: more than {} goroutines compute without coming to a safepoint, and each keeps its thread: \
         `tricolor::poll` in their loops would make them cheap",
        crate::preempt::MOST_KEPT
    ));
}

/// Says once which goroutine is stuck.
fn report_stuck(culprit: Option<&crate::g::G>) {
    static SAID: core::sync::atomic::AtomicBool = core::sync::atomic::AtomicBool::new(false);
    if let Some(gp) = culprit
        && !SAID.swap(true, Ordering::SeqCst)
    {
        gc_core::fatal::print_line(format_args!(
            "tricolor: all Ps are held by goroutines that sleep in the kernel, goroutine {} among them, while others wait: \
             one more is lent. A lock of std that is held for long, or a system call outside `blocking`?",
            gp.id.load(Ordering::Relaxed)
        ));
    }
}

/// One look at all Ps; how many were taken from blocked Ms.
#[nowritebarrierrec]
pub(crate) fn retake(sched: &'static Sched, now: u64) -> u32 {
    modelled("retake");
    let slice = if sched.heap().marking() { SLICE_MARKING } else { SLICE };
    let mut taken = 0;
    let held_since = sched.held_since.load(Ordering::SeqCst);
    if held_since != 0 && now.saturating_sub(held_since) > STARVED && sched.all_kept() {
        sched.held_since.store(now, Ordering::SeqCst);
        keep_more(sched);
    }
    for i in 0..sched.p_count() {
        let p = sched.nth_p(i);
        // Relaxed: these words are sysmon's own.
        let relaxed = Ordering::Relaxed;
        let status = p.status.load(Ordering::SeqCst);
        if status != p::RUNNING && status != p::SYSCALL {
            continue;
        }
        // A goroutine that makes one short call after the other is hardly ever seen Running, but its slice ends too.
        let tick = p.schedtick.load(Ordering::SeqCst);
        if p.seen_sched.swap(tick, relaxed) != tick {
            p.seen_sched_at.store(now, relaxed);
        } else if now - p.seen_sched_at.load(relaxed).min(now) > slice {
            let again = p.slice_over.swap(true, Ordering::SeqCst);
            p.preempt(now);
            if again {
                // Since the last look it has come to no safepoint.
                crate::suspend::signal(sched, p);
                let starves = sched.runqsize.load(Ordering::SeqCst) > 0;
                if sched.all_kept() && starves && now - p.seen_sched_at.load(relaxed).min(now) > STARVED {
                    keep_more(sched);
                }
            } else {
                trace::event_of(sched, None, Kind::PreemptRequest, Some(p), None, 0);
            }
        }
        if status == p::SYSCALL {
            let tick = p.syscalltick.load(Ordering::SeqCst);
            if p.seen_syscall.swap(tick, relaxed) != tick {
                p.seen_syscall_at.store(now, relaxed);
                continue;
            }
            // Without other work, and with somebody looking for some, it may stay a little longer.
            let quiet = runqempty(p)
                && sched.nmspinning.load(Ordering::SeqCst) + sched.npidle.load(Ordering::SeqCst) > 0
                && !sched.heap().marking()
                && !sched.heap().scavenge_wanted();
            if quiet && now - p.seen_syscall_at.load(relaxed).min(now) < SYSCALL_IDLE {
                continue;
            }
            if retake_one(sched, p) {
                taken += 1;
            }
        }
    }
    taken
}

#[nowritebarrierrec]
pub(crate) fn retake_one(sched: &'static Sched, p: &'static P) -> bool {
    modelled("retake_one");
    if sched.gcwaiting.load(Ordering::SeqCst) {
        return false;
    }
    // As if one M more were awake: the one that returns from its call, finds the P gone and falls asleep must not take
    // what is in these hands for lost (`checkdead`).
    let mut global = sched.lock();
    global.nmidlelocked -= 1;
    unlock(global);
    let taken = p.cas(p::SYSCALL, p::IDLE);
    if taken {
        p.syscalltick.fetch_add(1, Ordering::SeqCst);
        trace::event_of(sched, None, Kind::Retake, Some(p), None, 0);
        set_p_no_write_barrier(&p.link, core::ptr::null_mut());
        handoffp(sched, p);
    }
    let mut global = sched.lock();
    global.nmidlelocked += 1;
    crate::deadlock::checkdead(sched, &mut global);
    taken
}
