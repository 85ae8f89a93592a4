//! The scheduler's state in lines: what `TRICOLOR_DEBUG=schedtrace=MS` prints at intervals, with `scheddetail=1` every P,
//! M and G, and what stands at the end of a dump. As Go's `schedtrace`.
//!
//! Read without stopping anybody, so the parts of a line need not fit together. Printed without a lock: a terminal that
//! does not take it must not hold up the scheduler. May run without a P, and in a signal handler.

use crate::g::{self, WaitReason};
use crate::m::M;
use crate::p::{self, P};
use crate::proc::runq::runqlen;
use crate::sched::Sched;
use core::fmt::{self, Display, Write};
use gc_core::fatal::Stderr;
use gc_core::sync::Ordering;

// Relaxed throughout: figures for the eye.
const O: Ordering = Ordering::Relaxed;

/// Collects lines, and writes whole ones to standard error.
struct Lines {
    text: [u8; 4096],
    len: usize,
}

impl Lines {
    fn flush(&mut self) {
        let _ = Stderr.write_str(core::str::from_utf8(&self.text[..self.len]).unwrap_or("?\n"));
        self.len = 0;
    }
}

impl Write for Lines {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        let n = s.len().min(self.text.len());
        if self.len + n > self.text.len() {
            self.flush();
        }
        self.text[self.len..self.len + n].copy_from_slice(&s.as_bytes()[..n]);
        self.len += n;
        if s.ends_with('\n') {
            self.flush();
        }
        Ok(())
    }
}

/// A number, or "nil".
struct OrNil<T>(Option<T>);

impl<T: Display> Display for OrNil<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(value) => value.fmt(f),
            None => f.write_str("nil"),
        }
    }
}

/// Prints a line; `detail`: and one for each P, M and G. `since`: nanoseconds since the runtime started.
pub(crate) fn print(sched: &Sched, since: u64, detail: bool) {
    let mut out = Lines { text: [0; 4096], len: 0 };
    // In a handler the lock may be held below.
    let counts = sched.try_lock().map(|global| (global.mcount, global.nmidle, global.stopwait));
    let _ = write!(
        out,
        "SCHED {}ms: procs={} idleprocs={} threads={} spinningthreads={} idlethreads={} runqueue={}",
        since / 1_000_000,
        sched.procs(),
        sched.npidle.load(O),
        OrNil(counts.map(|c| c.0)),
        sched.nmspinning.load(O),
        OrNil(counts.map(|c| c.1)),
        sched.runqsize.load(O),
    );
    if !detail {
        let _ = out.write_str(" [");
        for (i, p) in sched.ps().take(sched.procs()).enumerate() {
            let _ = write!(out, "{}{}", if i > 0 { " " } else { "" }, runqlen(p));
        }
        let _ = out.write_str("]\n");
        return;
    }
    let (waiting, stopwait) = (sched.gcwaiting.load(O), OrNil(counts.map(|c| c.2)));
    let _ = writeln!(out, " gcwaiting={waiting} stopwait={stopwait} keptthreads={}", sched.nkept.load(O));
    sched.ps().for_each(|p| line_of_p(p, &mut out));
    sched.ms().for_each(|m| line_of_m(m, &mut out));
    lines_of_gs(sched, &mut out);
}

fn line_of_p(p: &P, out: &mut Lines) {
    let status = match p.status.load(O) {
        p::IDLE => "idle",
        p::RUNNING => "running",
        p::SYSCALL => "syscall",
        _ => "gcstop",
    };
    // SAFETY: null or an M, which lives for ever.
    let m = unsafe { p.m.get().as_ref() };
    let _ = writeln!(
        out,
        "  P{}: status={status} schedtick={} syscalltick={} m={} runqsize={} gfreecnt={}",
        p.id.load(O),
        p.schedtick.load(O),
        p.syscalltick.load(O),
        OrNil(m.map(|m| m.id.load(O))),
        runqlen(p),
        p.gfree_len.load(O),
    );
}

fn line_of_m(m: &M, out: &mut Lines) {
    let _ = writeln!(
        out,
        "  M{}: thread={} p={} curg={} spinning={} lockedg={} last={}",
        m.id.load(O),
        m.tid.load(O),
        OrNil(m.p().map(|p| p.id.load(O))),
        OrNil(m.curg().map(|gp| gp.id.load(O))),
        m.spinning.load(O),
        OrNil(m.lockedg().map(|gp| gp.id.load(O))),
        crate::m::Door::name(m.door.load(O)),
    );
}

fn lines_of_gs(sched: &Sched, out: &mut Lines) {
    for i in 0..sched.nallgs() {
        let Some(gp) = sched.allg(i) else { continue };
        let (status, why) = match gp.status() {
            g::IDLE => ("idle", ""),
            g::RUNNABLE => ("runnable", ""),
            g::RUNNING => ("running", ""),
            g::SYSCALL => ("syscall", ""),
            g::DEAD => ("dead", ""),
            _ => ("waiting for: ", WaitReason::name(gp.wait_reason.load(O))),
        };
        // SAFETY: null or an M, which lives for ever.
        let m = unsafe { gp.m.get().as_ref() };
        let _ = writeln!(
            out,
            "  G{}: status={status}{why} m={} lockedm={}",
            gp.id.load(O),
            OrNil(m.map(|m| m.id.load(O))),
            OrNil(gp.lockedm().map(|m| m.id.load(O))),
        );
    }
}
