//! Descheduling by signal: the end of a time slice for a goroutine that comes to no safepoint (Go's asynchronous
//! preemption).
//!
//! ```text
//! handler (`suspend`)        the time slice is over, and the goroutine is in its own code: `inject`
//! async_preempt (assembly)   saves all registers: general ones on the goroutine's stack, vector ones in p.xregs
//! async_preempt2             leaves for g0
//!   deschedule (g0)          vector registers to the G's own area; Running -> Runnable, at the end of the global
//!                            queue; the M is kept, its P goes on
//!   ... another M finds it: `startlockedm` ...
//! async_preempt2             puts the area where async_preempt restores from
//! async_preempt              restores, leaves the runtime, continues at the interrupted instruction
//! ```
//! The compiler may hold the address of a thread-local, or anything else of the thread, across any instruction; so the
//! goroutine continues on the same M, and nobody else runs there meanwhile (`proc::locked`). At most [`MOST_KEPT`] may be
//! descheduled so; others go on running beyond their slice. Where one has done so for a second while others waited, the
//! number grows (`sysmon`).
//!
//! **Where** (`deny`): by default nowhere. The interrupted instruction and all return addresses on the stack, by frame
//! pointers, lie in the program's own text; libc is no part of it, nor is any other library: they have locks, and what
//! the runtime needs of them (making a thread) would wait for a goroutine that waits for a P. Not while a panic unwinds,
//! since std counts panics by thread. And not with little stack left.
//!
//! What would break if the count were not raised by the handler but by `async_preempt`: a second signal in between would
//! suspend, or inject, in the middle of the first.

use crate::arch::async_preempt::{Frame, STACK_BYTES};
use crate::arch::{self, FIRST_FRAME};
use crate::conditions::{Known, Objects};
use crate::g::{self, G};
use crate::latency::{self, Latency};
use crate::m::M;
use crate::p::{self, P};
use crate::proc::locked::keep;
use crate::proc::newm::this_m;
use crate::proc::schedule::{clear_preempt, mcall_at, run_nowhere, self_scan};
use crate::sched::Sched;
use crate::stack::Stack;
use crate::suspend::count;
use crate::trace::{self, Kind};
use barrier_lint::{SystemStack, nosplit, nowritebarrierrec, yeswritebarrierrec};
#[cfg(all(target_arch = "x86_64", not(modelled)))]
use core::mem::offset_of;
use core::sync::atomic::{AtomicU32, AtomicUsize};
use gc_core::sync::{Ordering, current};

barrier_lint::certify! {
    use std::thread::panicking: "reads two counters";
}

/// Most goroutines that are descheduled by signals at once, at first.
pub(crate) const MOST_KEPT: u32 = 64;

/// Bytes that must be left of a stack: what `async_preempt` pushes, and the frames below it. Those of a program that is
/// shipped fit into a thirtieth (`async_preempt2`'s budget, which `cargo lint-barriers --stack` checks); without
/// optimisation they are larger.
const ROOM: usize = STACK_BYTES + (16 << 10);

/// How the processor saves vector registers; written once, at start.
static XSAVE_MODE: AtomicU32 = AtomicU32::new(0);

/// The program's own text; zeros while nothing may be descheduled (`conditions`).
static TEXT: [AtomicUsize; 2] = [AtomicUsize::new(0), AtomicUsize::new(0)];

/// `async_preempt`, from its first instruction to its end.
static OWN: [AtomicUsize; 2] = [AtomicUsize::new(0), AtomicUsize::new(0)];

/// Some address in the text of libc.
static LIBC: AtomicUsize = AtomicUsize::new(0);

/// Why a goroutine was not descheduled where a signal found it.
#[derive(Clone, Copy)]
pub(crate) enum Denied {
    Off,
    Stack,
    Unwinding,
    Text,
    TooMany,
}

impl Denied {
    pub(crate) const COUNT: usize = 5;
}

#[cfg(all(target_arch = "x86_64", not(modelled)))]
core::arch::global_asm!(
    include_str!("arch/async_preempt/x86_64.s"),
    CURRENT_M = const current::M_OFFSET,
    CURRENT_IN_RUNTIME = const current::IN_RUNTIME_OFFSET,
    CURRENT_STOP_PENDING = const current::STOP_PENDING_OFFSET,
    M_P = const offset_of!(M, p),
    P_XREGS_SCRATCH = const offset_of!(P, xregs) + offset_of!(crate::xregs::PXRegs, scratch),
    P_XREGS_CACHE = const offset_of!(P, xregs) + offset_of!(crate::xregs::PXRegs, cache),
    xsave_mode = sym XSAVE_MODE,
    async_preempt2 = sym async_preempt2,
);

#[cfg(all(target_arch = "x86_64", not(modelled)))]
unsafe extern "C" {
    fn async_preempt();
    static async_preempt_end: u8;
}

/// `async_preempt`, from its first instruction to its end.
#[cfg(all(target_arch = "x86_64", not(modelled)))]
pub(crate) fn own_text() -> core::ops::Range<usize> {
    async_preempt as *const () as usize..(&raw const async_preempt_end).addr()
}

/// There is none.
#[cfg(not(all(target_arch = "x86_64", not(modelled))))]
pub(crate) fn own_text() -> core::ops::Range<usize> {
    0..0
}

/// Before the first M starts: what the handler must know, or that nobody is descheduled.
pub(crate) fn init(known: Option<Known>) {
    let set = |range: &[AtomicUsize; 2], [lo, hi]: [usize; 2]| {
        range[0].store(lo, Ordering::SeqCst);
        range[1].store(hi, Ordering::SeqCst);
    };
    match known {
        Some(Known { xsave_mode, objects: Objects { text: Some(text), libc: Some(libc) } }) => {
            XSAVE_MODE.store(xsave_mode, Ordering::SeqCst);
            set(&OWN, [own_text().start, own_text().end]);
            LIBC.store(libc, Ordering::SeqCst);
            set(&TEXT, text);
        }
        _ => set(&TEXT, [0, 0]),
    }
}

/// This thread's P and goroutine, if the thread may be stopped in the middle of its code (Go's `canPreemptM`). Not while
/// it holds a lock of the runtime, allocates, or has preemption off otherwise, all of which raise the in-runtime count;
/// nor if its P is not running. In the signal handler of the thread of `m`; may run without a P.
#[nowritebarrierrec]
pub(crate) fn can_preempt_m(m: &M) -> Option<(&'static P, &'static G)> {
    if current::locks() != 0 {
        return None;
    }
    let (p, gp) = (m.p()?, m.curg()?);
    let running = p.status.load(Ordering::SeqCst) == p::RUNNING && gp.status.load(Ordering::SeqCst) == g::RUNNING;
    running.then_some((p, gp))
}

#[nowritebarrierrec]
fn in_text(pc: usize) -> bool {
    // Relaxed: written before the first M started.
    (TEXT[0].load(Ordering::Relaxed)..TEXT[1].load(Ordering::Relaxed)).contains(&pc)
}

/// Makes the interrupted goroutine call `async_preempt` as if by itself, if it may be descheduled where it is. In the
/// signal handler of its thread, which found it in user code.
#[nowritebarrierrec]
pub(crate) fn inject(sched: &Sched, m: &M, gp: &G, stack: Stack, context: &mut libc::ucontext_t) {
    let counters = &sched.suspensions;
    if let Some(why) = deny(sched, gp, stack, context) {
        trace::declined(sched, m, why as u32);
        return count(&counters.denied[why as usize]);
    }
    count(&counters.descheduled);
    let (pc, sp, _) = arch::interrupted_at(context);
    let sp = sp - crate::suspend::RED_ZONE - size_of::<usize>();
    current::set_locks(1);
    trace::event(sched, m, Kind::PreemptInject, 0);
    // SAFETY: below the red zone of the goroutine's stack, which has room (`deny`).
    unsafe { core::ptr::with_exposed_provenance_mut::<usize>(sp).write(pc) };
    arch::go_on_at(context, OWN[0].load(Ordering::Relaxed), sp);
}

/// Why the goroutine may not be descheduled here; `None`: it may.
#[nowritebarrierrec]
fn deny(sched: &Sched, gp: &G, stack: Stack, context: &libc::ucontext_t) -> Option<Denied> {
    let (pc, sp, bp) = arch::interrupted_at(context);
    if TEXT[1].load(Ordering::Relaxed) == 0 {
        return Some(Denied::Off);
    }
    if sp < stack.lo + ROOM {
        return Some(Denied::Stack);
    }
    if panicking() {
        return Some(Denied::Unwinding);
    }
    // `async_preempt` is entered once at a time.
    let own = pc >= OWN[0].load(Ordering::Relaxed) && pc < OWN[1].load(Ordering::Relaxed);
    if !in_text(pc) || own || !frames_in_text(gp, stack, sp, bp) {
        return Some(Denied::Text);
    }
    // One that is kept already keeps its place.
    if gp.lockedm().is_none() && sched.nkept.load(Ordering::SeqCst) >= sched.most_kept.load(Ordering::SeqCst) {
        return Some(Denied::TooMany);
    }
    None
}

/// # Safety
/// A word of a stack that nobody else writes.
#[nowritebarrierrec]
unsafe fn stack_word(at: usize) -> usize {
    // SAFETY: the caller's contract.
    unsafe { core::ptr::with_exposed_provenance::<usize>(at).read() }
}

/// Whether all return addresses on the stack lie in the program's own text.
#[nowritebarrierrec]
fn frames_in_text(gp: &G, mut stack: Stack, mut sp: usize, mut frame: usize) -> bool {
    // Where a function has just been called, or is about to return, the frame pointer is its caller's, and its return
    // address one of the first two words.
    for at in [sp, sp + 8] {
        // SAFETY: a word of this goroutine's stack, on whose thread this is, not below its sp.
        if at.is_multiple_of(8) && at + 8 <= stack.hi && in_other_library(unsafe { stack_word(at) }) {
            return false;
        }
    }
    // Up to the frame of the goroutine's first function: a chain that does not come there is none.
    loop {
        if !stack.contains(frame) {
            // The frame below a segment's first one lies on an older segment.
            let Some(older) = gp.segments.older(gp.stack, stack, frame) else { return false };
            (stack, sp) = (older, frame);
        }
        if frame < sp || !frame.is_multiple_of(8) || frame + 16 > stack.hi {
            return false;
        }
        // SAFETY: as above.
        let (next, back) = unsafe { (stack_word(frame), stack_word(frame + 8)) };
        if !in_text(back) {
            return false;
        }
        if frame == gp.stack.hi - FIRST_FRAME {
            return true;
        }
        if stack.contains(next) && next <= frame {
            return false;
        }
        frame = next;
    }
}

/// Whether a word may be an address in another library's text: near the libc that this program uses.
#[nowritebarrierrec]
fn in_other_library(word: usize) -> bool {
    /// More than the text of any library.
    const NEAR: usize = 64 << 20;
    word.abs_diff(LIBC.load(Ordering::Relaxed)) < NEAR && !in_text(word)
}

/// On the goroutine's stack, called by `async_preempt`, which has saved the vector registers in the P's scratch. The
/// in-runtime count is 1.
///
/// Its budget covers the switch, which pushes seven words, and the message of a fatal error that never comes; nothing here
/// waits, nor calls what is not the program's own. `deny` has made sure of [`ROOM`], thirty times as much.
#[nosplit(budget = 512)]
#[nowritebarrierrec]
extern "C" fn async_preempt2(_frame: *mut Frame) {
    let Some(gp) = this_m().curg() else { gc_core::throw!("async_preempt2 without a goroutine") };
    current::set_refused(0);
    // SAFETY: a goroutine; `deschedule` queues it only once it is at rest.
    unsafe { mcall_at(gp, deschedule, 1) };
    // The same M, perhaps another P.
    let Some(p) = this_m().p() else { gc_core::throw!("async_preempt2: no P") };
    crate::xregs::xreg_restore(gp, p);
}

/// g0 part of `async_preempt2`: holds a P, as every goroutine's M does that comes here, until it has queued the goroutine.
///
/// # Safety
/// As [`Mcall`](crate::proc::schedule::Mcall).
#[yeswritebarrierrec]
unsafe extern "C" fn deschedule(sched: &'static Sched, m: &'static M, gp: &'static G, _: usize) -> *const G {
    let Some(p) = m.p() else { gc_core::throw!("async_preempt2 without a P") };
    // SAFETY: `mcall_at` has left the goroutine's stack.
    let on = unsafe { SystemStack::conjure() };
    // Before the scan below, which reads the area.
    crate::xregs::xreg_save(&on, gp, p);
    gp.set_wait(crate::g::WaitReason::Suspended);
    gp.leave_running(g::WAITING);
    self_scan(sched, p, gp);
    if !crate::stw::door(sched, m, false) {
        return core::ptr::null();
    }
    if !p.slice_over.swap(false, Ordering::SeqCst) {
        // It was for a stop, which is over.
        clear_preempt(sched, m, p);
        gp.casgstatus(g::WAITING, g::RUNNING);
        return gp;
    }
    latency::preempted(sched, p, Latency::PreemptDescheduled);
    keep(m, gp);
    gp.casgstatus(g::WAITING, g::RUNNABLE);
    // Not `dropg`: that would give the M back.
    run_nowhere(m, gp);
    sched.globrunqput(&mut sched.lock(), gp);
    core::ptr::null()
}

#[cfg(test)]
mod tests {
    use super::can_preempt_m;
    use crate::proc::newm::this_m;
    use crate::{g, p};
    use gc_core::sync::{Ordering, current::Region};

    #[test]
    fn a_thread_may_be_stopped_in_its_own_code_alone() {
        let _turn = crate::runtime::turn();
        let may = || can_preempt_m(this_m()).is_some();
        // SAFETY: uses neither the heap nor thread-locals nor locks of std.
        unsafe {
            crate::Runtime::builder().procs(1).async_preempt(false).run(|| {
                assert!(may());
                let region = Region::enter();
                assert!(!may(), "in a region");
                drop(region);
                let (Some(held), Some(gp)) = (this_m().p(), this_m().curg()) else { panic!("a goroutine has a P") };
                let lock = gp.sched.lock();
                assert!(!may(), "with a lock of the runtime");
                drop(lock);
                // Neither is for anybody to take.
                held.status.store(p::GCSTOP, Ordering::SeqCst);
                let stopped = may();
                held.status.store(p::RUNNING, Ordering::SeqCst);
                gp.status.store(g::IDLE, Ordering::SeqCst);
                let idle = may();
                gp.status.store(g::RUNNING, Ordering::SeqCst);
                assert!(!stopped && !idle, "its P, and it itself, must be running");
                assert!(may());
                crate::blocking((), |()| assert!(can_preempt_m(this_m()).is_none(), "in a blocking call"));
                assert!(may());
            });
        }
    }
}
