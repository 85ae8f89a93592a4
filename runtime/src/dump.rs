//! Dumps: all goroutines, and where each of them is. Neither locks nor allocates; for a process that is about to end, or
//! hangs.
//!
//! What is at rest is read from its stack; who runs is asked (`sight`). A goroutine that begins to run while it is
//! printed makes its lines wrong, and no more: stacks stay mapped for ever.

use crate::g::{self, G, WaitReason};
use crate::m::{M, getm};
use crate::sched::Sched;
use crate::sight::{self, FRAMES, Seen};
use crate::stw::thread_state;
use crate::symbol::Symbol;
use crate::time::nanotime;
use core::fmt::Write;
use core::time::Duration;
use gc_core::fatal::{Stderr, print_line};
use gc_core::sync::Ordering;

/// How long a thread may take to say where it is.
pub(crate) const PATIENCE: Duration = Duration::from_millis(200);

/// Prints every goroutine that has not ended.
pub(crate) fn goroutines(sched: &Sched) {
    goroutines_from(sched, None);
}

/// As [`goroutines`], in a signal handler: where the thread that it runs on is, if it is one of the runtime, is known.
pub(crate) fn goroutines_from(sched: &Sched, here: Option<&Seen>) {
    let now = nanotime();
    for i in 0..sched.nallgs() {
        let Some(gp) = sched.allg(i) else { continue };
        let status = gp.status();
        if matches!(status, g::IDLE | g::DEAD) || (status == g::WAITING && crate::deadlock::idle(&gp)) {
            continue;
        }
        // SAFETY: null or an M, which lives for ever.
        let m = unsafe { gp.m.get().as_ref() };
        describe(&gp, m, status, now);
        match (status, m) {
            (g::RUNNING, Some(m)) => running(m, here),
            (g::SYSCALL | g::RUNNABLE | g::WAITING, _) => at_rest(&gp, status),
            _ => {}
        }
        if let Some(place) = gp.created_at() {
            print_line(format_args!("\tcreated at {}:{}", place.file(), place.line()));
        }
    }
}

/// Prints the threads that hold a P and run no goroutine: the collector, the scheduler, who has stopped the world.
pub(crate) fn threads(sched: &Sched, here: Option<&Seen>) {
    for p in sched.ps() {
        // SAFETY: null or an M, which lives for ever.
        let Some(m) = (unsafe { p.m.get().as_ref() }) else { continue };
        if m.curg().is_some_and(|gp| gp.status() == g::RUNNING) {
            continue;
        }
        let (m_id, tid) = (m.id.load(Ordering::Relaxed), m.tid.load(Ordering::Relaxed));
        let (p_id, mut letter) = (p.id.load(Ordering::Relaxed), [0; 4]);
        let state = thread_state(tid).encode_utf8(&mut letter);
        print_line(format_args!("\nM{m_id} [P{p_id}, its own stack, thread {tid}, state {state}]:"));
        running(m, here);
    }
}

fn describe(gp: &G, m: Option<&M>, status: u32, now: u64) {
    let id = gp.id.load(Ordering::Relaxed);
    let what = match status {
        g::RUNNABLE => "runnable",
        g::RUNNING => "running",
        g::SYSCALL => "blocking call",
        _ => WaitReason::name(gp.wait_reason.load(Ordering::Relaxed)),
    };
    let since = match (status, m) {
        (g::WAITING, _) => Some(gp.since.load(Ordering::Relaxed)),
        (g::SYSCALL, Some(m)) => Some(m.door_at.load(Ordering::Relaxed)),
        _ => None,
    };
    let _ = write!(Stderr, "\ngoroutine {id} [{what}");
    if let Some(since) = since {
        let _ = write!(Stderr, ", {} ms", now.saturating_sub(since) / 1_000_000);
    }
    if let Some(m) = m {
        let tid = m.tid.load(Ordering::Relaxed);
        let _ = write!(Stderr, ", M{}, thread {tid}", m.id.load(Ordering::Relaxed));
    }
    if gp.lockedm().is_some() {
        let _ = Stderr.write_str(", locked to its thread");
    }
    let _ = Stderr.write_str("]:\n");
}

/// Prints where the running thread of `m` is, and what it did last, if that is kept.
pub(crate) fn running(m: &M, here: Option<&Seen>) {
    let asked;
    let seen = match here {
        Some(here) if getm().is_some_and(|own| core::ptr::eq(own, m)) => Some(here),
        _ => {
            asked = sight::look_at(m, PATIENCE);
            asked.as_ref()
        }
    };
    match seen {
        Some(seen) => {
            for (i, pc) in seen.pcs().iter().enumerate() {
                frame(*pc, i == 0);
            }
            if seen.pcs().len() == FRAMES {
                print_line(format_args!("\t..."));
            }
        }
        None => silent(m),
    }
    // SAFETY: an M's scheduler lives for ever.
    let sched = unsafe { &*m.sched.load(Ordering::Relaxed) };
    crate::trace::last(sched, m, |e| print_line(format_args!("\t{e}")));
}

/// Prints what the kernel knows of a thread that takes no signals.
fn silent(m: &M) {
    let tid = m.tid.load(Ordering::Relaxed);
    let mut letter = [0; 4];
    let state = thread_state(tid).encode_utf8(&mut letter);
    print_line(format_args!("\tthe thread takes no signals now, and is in state {state}"));
}

/// Prints the frames of a goroutine that does not run.
pub(crate) fn at_rest(gp: &G, status: u32) {
    let mut left = FRAMES + 1;
    let all = crate::walk::at_rest(gp, status, |pc, exact| {
        left -= 1;
        if left > 0 {
            frame(pc, exact);
        }
        left > 0
    });
    if !all {
        print_line(format_args!("\t..."));
    }
}

/// Prints a line: the address of an instruction (`exact`), or a return address.
fn frame(pc: usize, exact: bool) {
    let symbol = if exact { Symbol::at(pc) } else { Symbol::behind(pc) };
    print_line(format_args!("\t{pc:#x} {symbol}"));
}
