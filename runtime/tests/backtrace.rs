//! Backtraces end where a goroutine begins, and go through the call of `async_preempt` that a signal has injected.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod common;

use common::{needs, run, with_procs};
use std::backtrace::Backtrace;
use std::hint::black_box;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use tricolor::{gc, spawn, yield_now};

/// The names in a backtrace, innermost first.
fn names(backtrace: &Backtrace) -> Vec<String> {
    let text = backtrace.to_string();
    let frames = text.lines().filter_map(|line| line.trim_start().split_once(": "));
    frames.filter(|(n, _)| n.bytes().all(|b| b.is_ascii_digit())).map(|(_, name)| name.to_owned()).collect()
}

/// Asserts that these names are in a backtrace in this order, and that it ends where goroutines begin.
#[track_caller]
fn goes_through(backtrace: &Backtrace, wanted: &[&str]) {
    let names = names(backtrace);
    let mut left = names.iter();
    for name in wanted {
        assert!(left.any(|n| n.ends_with(name)), "no `{name}` where it should be: {names:#?}");
    }
    assert!(names.last().is_some_and(|n| n.ends_with("::gostart")), "it does not end at the start: {names:#?}");
}

#[inline(never)]
fn inner() -> Backtrace {
    black_box(Backtrace::force_capture())
}

#[inline(never)]
fn outer() -> Backtrace {
    black_box(inner())
}

#[test]
fn a_backtrace_ends_where_the_goroutine_begins() {
    let (main, other) = run(with_procs(1), || (outer(), spawn(|| Mutex::new(outer())).join().expect("no panic")));
    for backtrace in [main, other.into_inner().expect("no panic")] {
        goes_through(&backtrace, &["::inner", "::outer", "::goroutine_main", "::gostart"]);
    }
}

static DONE: AtomicBool = AtomicBool::new(false);
static END: AtomicBool = AtomicBool::new(false);
/// Where the thread was, and the way there.
static SEEN: Mutex<Vec<(usize, Backtrace)>> = Mutex::new(Vec::new());

unsafe extern "C" {
    fn async_preempt();
    static async_preempt_end: u8;
}

/// Bit of the flags register: a trap after every instruction.
const TRAP: i64 = 0x100;

/// After an instruction of `trapped`, and of what is injected there.
extern "C" fn trap(_: libc::c_int, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel passes the interrupted registers.
    let registers = unsafe { &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs };
    let pc = registers[libc::REG_RIP as usize] as usize;
    let inside = |pc: &usize| (async_preempt as *const () as usize..(&raw const async_preempt_end).addr()).contains(pc);
    let mut seen = SEEN.lock().expect("nobody panics");
    if !DONE.load(Ordering::Relaxed) && (inside(&pc) || !seen.is_empty()) {
        // In `async_preempt2`, and not at its first instruction: std looks for names just before where a frame is.
        DONE.store(seen.last().is_some_and(|(before, _)| !inside(before)), Ordering::Relaxed);
        seen.push((pc, Backtrace::force_capture()));
    }
    if DONE.load(Ordering::Relaxed) {
        registers[libc::REG_EFL as usize] &= !TRAP;
    }
}

#[inline(never)]
fn trapped() {
    // SAFETY: sets a flag, which has `trap` called from here on.
    unsafe { std::arch::asm!("pushfq", "or qword ptr [rsp], 0x100", "popfq") };
    while !END.load(Ordering::Relaxed) {
        std::hint::spin_loop();
    }
}

/// Step by step, from the first instruction of `async_preempt` into `async_preempt2`.
#[test]
fn a_backtrace_goes_through_async_preempt() {
    needs!(Signals);
    // SAFETY: a handler that fits; on a thread of the runtime it runs in the loop below or in `async_preempt`, which hold
    // no lock.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = trap as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESTART;
        libc::sigfillset(&raw mut action.sa_mask);
        assert_eq!(libc::sigaction(libc::SIGTRAP, &raw const action, std::ptr::null_mut()), 0);
    }
    run(with_procs(1), || {
        let looping = spawn(trapped);
        while !DONE.load(Ordering::Relaxed) {
            yield_now();
        }
        END.store(true, Ordering::Relaxed);
        looping.join().expect("no panic");
        assert!(gc::suspensions().descheduled > 0);
    });
    let seen = SEEN.lock().expect("nobody panics");
    let [steps @ .., _, last] = &seen[..] else { panic!("no steps") };
    assert!(steps.len() > 30, "only {} steps", steps.len());
    for (_, backtrace) in steps {
        goes_through(backtrace, &["::trap", "async_preempt", "::trapped", "::goroutine_main", "::gostart"]);
    }
    let through = ["::trap", "::async_preempt2", "async_preempt", "::trapped", "::goroutine_main", "::gostart"];
    goes_through(&last.1, &through);
}
