//! "All goroutines are asleep": as Go's `checkdead`, and the dump of all goroutines.
//!
//! Called under the scheduler lock by an M that is about to sleep: if every M sleeps, none is in a blocking call and
//! nobody is about to be woken (an M leaves the idle list under this lock), so no goroutine can ever run again.
//! A timer in a heap is somebody who will be woken, and so is who waits for a file. The M that watches over them sleeps as
//! well, and if there are none any more it may do so for long: then it counts as asleep.
//! Threads that the runtime does not know could still send; as in Go they do not count.

use crate::arch;
use crate::g::{self, G, WaitReason};
use crate::sched::{Global, Sched};
use crate::time::nanotime;
use crate::time::timers::{NEVER, earliest};
use barrier_lint::nowritebarrierrec;
use core::fmt::{self, Write};
use gc_core::fatal::Stderr;
use gc_core::sync::Ordering;

/// Frames of a dump.
const FRAMES: usize = 24;

/// Ends the process if no goroutine can ever run again. May run without a P.
#[nowritebarrierrec]
pub(crate) fn checkdead(sched: &Sched, global: &mut Global) {
    let watcher = i64::from(sched.watch.watched());
    if i64::from(global.nmidle) + i64::from(global.nmidlelocked) + watcher < i64::from(global.mcount)
        || sched.exiting.load(Ordering::SeqCst)
        || earliest(sched) != NEVER
        || sched.netpoll.any_waiters()
    {
        return;
    }
    look_for_the_living(sched);
}

barrier_lint::certify! {
    fn look_for_the_living: "reads status words, or prints and ends the process";
}

fn look_for_the_living(sched: &Sched) {
    let mut asleep = 0;
    for i in 0..sched.nallgs() {
        let Some(gp) = sched.allg(i) else { continue };
        match gp.status() {
            g::WAITING if idle(&gp) => {}
            g::WAITING => asleep += 1,
            g::IDLE | g::DEAD => {}
            status => gc_core::throw!(
                "every thread sleeps, but goroutine {} has status {status}: a wake-up was lost",
                gp.id.load(Ordering::Relaxed)
            ),
        }
    }
    if asleep == 0 {
        return; // the world ends
    }
    let _ = Stderr.write_str("fatal error: all goroutines are asleep - deadlock!\n");
    dump(sched, &mut Stderr);
    // SAFETY: ends the process.
    unsafe { libc::_exit(2) }
}

/// Whether a waiting goroutine is the runtime's own and has nothing to do.
fn idle(gp: &G) -> bool {
    gp.wait_reason.load(Ordering::Relaxed) == WaitReason::Afterlife as u8
}

/// Prints every goroutine that has not ended. Their stacks are at rest, or what is printed of them may be wrong.
pub(crate) fn dump(sched: &Sched, out: &mut dyn Write) {
    let now = nanotime();
    for i in 0..sched.nallgs() {
        let Some(gp) = sched.allg(i) else { continue };
        let status = gp.status();
        if matches!(status, g::IDLE | g::DEAD) || (status == g::WAITING && idle(&gp)) {
            continue;
        }
        describe(&gp, status, now, out);
        if matches!(status, g::RUNNABLE | g::WAITING | g::SYSCALL) {
            walk(&gp, out);
        }
    }
}

fn describe(gp: &G, status: u32, now: u64, out: &mut dyn Write) {
    let id = gp.id.load(Ordering::Relaxed);
    let what = match status {
        g::RUNNABLE => "runnable",
        g::RUNNING => "running",
        g::SYSCALL => "blocking call",
        _ => WaitReason::name(gp.wait_reason.load(Ordering::Relaxed)),
    };
    let _ = write!(out, "\ngoroutine {id} [{what}");
    if status == g::WAITING {
        let since = now.saturating_sub(gp.wait_since.load(Ordering::Relaxed));
        let _ = write!(out, ", {} ms", since / 1_000_000);
    }
    let _ = out.write_str("]:\n");
}

/// Prints the frames of a goroutine at rest, along its frame pointers.
fn walk(gp: &G, out: &mut dyn Write) {
    let (lo, hi) = (gp.stack.lo, gp.stack.hi);
    let sp = gp.sp.load(Ordering::SeqCst);
    let inside = |a: usize| a >= lo && a.is_multiple_of(8) && a + 16 <= hi;
    let mut frame = match crate::suspend::interrupted_at(gp) {
        Some((pc, frame)) => {
            let _ = writeln!(out, "\t{pc:#x} {}", Symbol(pc));
            frame
        }
        None => arch::frame_pointer(sp),
    };
    for _ in 0..FRAMES {
        if !inside(frame) {
            return;
        }
        let at = core::ptr::with_exposed_provenance::<usize>(frame);
        // SAFETY: two words inside a stack that is at rest.
        let (next, pc) = unsafe { (at.read(), at.add(1).read()) };
        if pc == 0 {
            return;
        }
        let _ = writeln!(out, "\t{pc:#x} {}", Symbol(pc));
        if next <= frame {
            return;
        }
        frame = next;
    }
    let _ = out.write_str("\t...\n");
}

/// Describes the failing goroutine, for `throw!`. May run without a P, on any stack.
pub(crate) fn describe_current(out: &mut dyn Write) {
    match crate::g::getg() {
        Some(gp) => {
            let _ = writeln!(out, "on goroutine {}", gp.id.load(Ordering::Relaxed));
        }
        None => {
            if let Some(m) = crate::m::getm() {
                let _ = writeln!(out, "on the system stack of M{}", m.id.load(Ordering::Relaxed));
            }
        }
    }
}

/// The function of an address, from the dynamic symbol table: names in executables only if they are exported.
pub(crate) struct Symbol(pub(crate) usize);

impl fmt::Display for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // SAFETY: all zero is a valid Dl_info; dladdr only looks the address up.
        unsafe {
            let mut info: libc::Dl_info = core::mem::zeroed();
            if libc::dladdr(core::ptr::without_provenance(self.0), &raw mut info) == 0 {
                return f.write_str("?");
            }
            if info.dli_sname.is_null() {
                let file = core::ffi::CStr::from_ptr(info.dli_fname).to_str().unwrap_or("?");
                return write!(f, "({file}+{:#x})", self.0 - info.dli_fbase.addr());
            }
            let name = core::ffi::CStr::from_ptr(info.dli_sname).to_str().unwrap_or("?");
            write!(f, "{name}+{:#x}", self.0 - info.dli_saddr.addr())
        }
    }
}
