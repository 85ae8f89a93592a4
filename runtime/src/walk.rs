//! Where a goroutine is: the return addresses on its stack, along the frame pointers. Neither locks nor allocates.
//!
//! What is read lies on the goroutine's own stack, whose segments the caller keeps from changing (it is at rest, or the
//! caller's own); a frame pointer that leads elsewhere, as code without frame pointers may leave one, ends the walk.
//!
//! A signal may find a function before it has made its frame, or after it has taken it down: the frame pointer is its
//! caller's, and the way back lies at sp. The instruction says so (`arch::way_back`). What would break without: the caller
//! is missing, and the caller's caller seems to have made the call.

use crate::arch;
use crate::g::{self, G};
use crate::suspend::RED_ZONE;
use gc_core::sync::Ordering;

/// Calls `f` for each return address from the frame at `at` on, the innermost first, while it says so. `false`: it has
/// said no. What is behind `async_preempt` is no return address but the instruction that was interrupted: `f` is told so.
pub(crate) fn frames(gp: &G, mut at: usize, mut f: impl FnMut(usize, bool) -> bool) -> bool {
    let mut interrupted = false;
    loop {
        let Some(stack) = gp.segments.holding(gp.stack, at).filter(|s| at.is_multiple_of(8) && at + 16 <= s.hi) else {
            return true;
        };
        let words = core::ptr::with_exposed_provenance::<usize>(at);
        // SAFETY: two words inside a stack, which is mapped for ever.
        let (next, pc) = unsafe { (words.read(), words.add(1).read()) };
        if pc == 0 {
            return true;
        }
        if !f(pc, interrupted) {
            return false;
        }
        // `inject` has put the address below the red zone.
        if interrupted && !frameless(gp, pc, at + 16 + RED_ZONE, &mut f) {
            return false;
        }
        interrupted = crate::preempt::own_text().contains(&pc);
        if stack.contains(next) && next <= at {
            return true;
        }
        at = next;
    }
}

/// Calls `f` for the return address of a function that is interrupted at `pc` and has no frame there.
fn frameless(gp: &G, pc: usize, sp: usize, mut f: impl FnMut(usize, bool) -> bool) -> bool {
    // SAFETY: the address of an instruction that is about to be executed.
    let Some(at) = (unsafe { arch::way_back(pc, sp) }) else { return true };
    let there = gp.segments.holding(gp.stack, at).is_some_and(|s| at.is_multiple_of(8) && at + 8 <= s.hi);
    // SAFETY: a word inside a stack, which is mapped for ever.
    let pc = if there { unsafe { core::ptr::with_exposed_provenance::<usize>(at).read() } } else { 0 };
    !crate::sight::in_program(pc) || f(pc, false)
}

/// As [`frames`], for a goroutine that does not run, or is in a blocking call. A goroutine that was interrupted is at the
/// address of an instruction: `f` is told so.
pub(crate) fn at_rest(gp: &G, status: u32, mut f: impl FnMut(usize, bool) -> bool) -> bool {
    let start = match (status, crate::suspend::interrupted_at(gp)) {
        (g::SYSCALL, _) => arch::spilled_frame_pointer(gp.sp.load(Ordering::SeqCst)),
        (_, Some((pc, sp, start))) => {
            if !f(pc, true) || !frameless(gp, pc, sp, &mut f) {
                return false;
            }
            start
        }
        (_, None) => arch::frame_pointer(gp.sp.load(Ordering::SeqCst)),
    };
    frames(gp, start, f)
}

/// Fills `into` with the return addresses on the stack of `gp`, on which this runs; how many there are. Nothing where the
/// program has no frame pointers.
#[inline(never)]
pub(crate) fn callers(gp: &G, into: &mut [usize]) -> usize {
    if !gp.sched.settings.frame_pointers {
        return 0;
    }
    let mut n = 0;
    frames(gp, arch::own_frame_pointer(), |pc, _| {
        // What is not in the program's text is no return address of it.
        if n == into.len() || !crate::sight::in_program(pc) {
            return false;
        }
        into[n] = pc;
        n += 1;
        true
    });
    n
}

#[cfg(all(test, target_arch = "x86_64", target_os = "linux", not(modelled)))]
mod tests {
    use crate::g::{self, G, getg};
    use crate::suspend::SIGNAL;
    use core::arch::naked_asm;
    use core::time::Duration;
    use gc_core::sync::{AtomicBool, AtomicPtr, AtomicUsize, Ordering::SeqCst};
    use gc_core::{StopReason, World};
    use std::time::Instant;

    /// Instructions of `called`.
    const INSTRUCTIONS: usize = 5;

    /// Before which of them the runtime's signal comes.
    static WANTED: AtomicUsize = AtomicUsize::new(0);
    /// Instructions so far.
    static STEPS: AtomicUsize = AtomicUsize::new(0);
    /// There it waits for the signal.
    static WAITS: AtomicBool = AtomicBool::new(false);
    /// It has returned.
    static OVER: AtomicBool = AtomicBool::new(false);
    static WHO: AtomicPtr<G> = AtomicPtr::new(core::ptr::null_mut());

    #[unsafe(naked)]
    extern "C" fn called() {
        naked_asm!("push rbp", "mov rbp, rsp", "nop", "pop rbp", "ret")
    }

    /// Calls it with the trap flag set: a SIGTRAP comes before each of its instructions.
    #[unsafe(naked)]
    extern "C" fn calls() {
        naked_asm!(
            "push rbp",
            "mov rbp, rsp",
            "pushfq",
            "or qword ptr [rsp], 0x100",
            "popfq",
            "call {called}",
            "pop rbp",
            "ret",
            called = sym called,
        )
    }

    /// Before the instruction that is wanted it waits until the runtime's signal, which is blocked here, is on its way; that
    /// comes as soon as this handler has returned, before that instruction.
    extern "C" fn step(_: libc::c_int, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
        if STEPS.fetch_add(1, SeqCst) < WANTED.load(SeqCst) {
            return;
        }
        // SAFETY: the handler's own context; a set of its own.
        unsafe {
            (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs[libc::REG_EFL as usize] &= !0x100;
            WAITS.store(true, SeqCst);
            let mut pending: libc::sigset_t = core::mem::zeroed();
            while libc::sigpending(&raw mut pending) == 0 && libc::sigismember(&raw const pending, SIGNAL) == 0 {
                libc::sched_yield();
            }
        }
    }

    fn trap() {
        // SAFETY: a handler that calls nothing but the system.
        unsafe {
            let mut action: libc::sigaction = core::mem::zeroed();
            action.sa_sigaction = step as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO;
            libc::sigfillset(&raw mut action.sa_mask);
            assert_eq!(libc::sigaction(libc::SIGTRAP, &raw const action, core::ptr::null_mut()), 0);
        }
    }

    /// Has a goroutine interrupted before each instruction of `called`, on so many Ps, and looks at it there by `look`, which
    /// gives addresses and whether each is that of an instruction; until it was there.
    fn at_each_instruction(procs: usize, look: impl Fn(&G) -> Vec<(usize, bool)> + Sync) {
        let _turn = crate::runtime::turn();
        trap();
        let sizes = [1, 3, 1, 1, 1];
        assert_eq!(sizes.len(), INSTRUCTIONS);
        // SAFETY: uses no heap, nor thread-locals, nor locks of std.
        unsafe {
            crate::Runtime::builder().procs(procs).run(|| {
                for wanted in 0..INSTRUCTIONS {
                    let pc = called as *const () as usize + sizes[..wanted].iter().sum::<usize>();
                    let begin = Instant::now();
                    while !callers_are_seen(wanted, pc, &look) {
                        assert!(begin.elapsed() < Duration::from_secs(60), "never seen before instruction {wanted}");
                    }
                }
            });
        }
    }

    /// `false`: when it was looked at it was elsewhere.
    fn callers_are_seen(wanted: usize, pc: usize, look: impl Fn(&G) -> Vec<(usize, bool)>) -> bool {
        WANTED.store(wanted, SeqCst);
        STEPS.store(0, SeqCst);
        WAITS.store(false, SeqCst);
        OVER.store(false, SeqCst);
        let h = crate::spawn(|| {
            WHO.store(core::ptr::from_ref(getg().expect("a goroutine")).cast_mut(), SeqCst);
            calls();
            OVER.store(true, SeqCst);
        });
        while !WAITS.load(SeqCst) {
            crate::yield_now();
        }
        // SAFETY: a G, which lives for ever.
        let seen = look(unsafe { &*WHO.load(SeqCst) });
        h.join().expect("no panic");
        let Some(at) = seen.iter().position(|(at, _)| *at == pc) else { return false };
        let (_, exact) = seen[at];
        assert!(exact, "an instruction, no way back: {seen:x?}");
        let caller = calls as *const () as usize;
        let back = seen.get(at + 1).map_or(0, |(back, _)| *back);
        assert!((caller..caller + 64).contains(&back), "before instruction {wanted}, {pc:#x}, its caller: {seen:x?}");
        let further = seen.get(at + 2).map_or(0, |(back, _)| *back);
        assert!(crate::sight::in_program(further) && !(caller..caller + 64).contains(&further), "{seen:x?}");
        true
    }

    /// While the world is stopped. (With malloc, whose lock nobody has who is in `called`.)
    fn at_rest(gp: &G) -> Vec<(usize, bool)> {
        let own = getg().expect("a goroutine");
        let mut seen = Vec::with_capacity(64);
        World::at_safepoint(own.sched, &mut || {
            own.sched.heap().stop_the_world(StopReason::User);
            if !OVER.load(SeqCst) {
                super::at_rest(gp, gp.status(), |pc, exact| {
                    seen.push((pc, exact));
                    seen.len() < 64
                });
            }
            own.sched.heap().start_the_world();
        });
        seen
    }

    #[test]
    fn who_is_suspended_before_any_instruction_has_a_caller() {
        at_each_instruction(2, at_rest);
    }

    #[test]
    fn who_is_descheduled_before_any_instruction_has_a_caller() {
        at_each_instruction(1, |gp| if gp.status() == g::RUNNABLE { at_rest(gp) } else { Vec::new() });
    }

    #[test]
    fn who_says_itself_where_it_is_has_a_caller_before_any_instruction() {
        at_each_instruction(2, |gp| {
            // SAFETY: an M, which lives for ever.
            let m = unsafe { gp.m.get().as_ref() };
            let seen = m.and_then(|m| crate::sight::look_at(m, Duration::from_secs(1)));
            let pcs = seen.iter().flat_map(|seen| seen.pcs()).enumerate();
            pcs.map(|(i, pc)| (*pc, i == 0)).collect()
        });
    }
}
