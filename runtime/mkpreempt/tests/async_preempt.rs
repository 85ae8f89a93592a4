//! The generated assembly in a Rust program: calls injected by signals into a computing function. A backtrace taken in
//! `async_preempt2` passes through the frame of `async_preempt` to the interrupted function and its caller, and the
//! computation does not notice.
//!
//! The C harness (`cargo run -p mkpreempt -- --harness`) checks each register; this is about Rust: `global_asm!` takes
//! the text, std's unwinder takes the frame, the struct `Frame` is what lies there.

#![cfg(all(target_arch = "x86_64", target_os = "linux"))]

#[allow(dead_code)]
#[path = "../../src/arch/async_preempt/other.rs"]
mod other;
#[allow(dead_code)]
#[path = "../../src/arch/async_preempt/x86_64.rs"]
mod x86_64;

use std::arch::{asm, global_asm};
use std::backtrace::Backtrace;
use std::hint::black_box;
use std::mem::offset_of;
use std::ptr::{null, null_mut};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use x86_64::{Frame, XREGS_BYTES};

/// A mock of what the runtime has.
#[repr(C, align(64))]
struct XRegs([u8; XREGS_BYTES]);

#[repr(C)]
struct P {
    scratch: XRegs,
    cache: *const XRegs,
}

#[repr(C)]
struct M {
    p: *const P,
}

const CURRENT_M: usize = 24;
const IN_RUNTIME: usize = 32;
const STOP_PENDING: usize = 36;

global_asm!(
    ".section .tbss.tricolor_current,\"awT\",@nobits",
    ".balign 8",
    ".globl tricolor_current",
    ".type tricolor_current,@object",
    ".size tricolor_current,40",
    "tricolor_current:",
    ".zero 40",
    ".text",
);

static XSAVE_MODE: AtomicU32 = AtomicU32::new(0);

global_asm!(
    include_str!("../../src/arch/async_preempt/x86_64.s"),
    CURRENT_M = const CURRENT_M,
    CURRENT_IN_RUNTIME = const IN_RUNTIME,
    CURRENT_STOP_PENDING = const STOP_PENDING,
    M_P = const offset_of!(M, p),
    P_XREGS_SCRATCH = const offset_of!(P, scratch),
    P_XREGS_CACHE = const offset_of!(P, cache),
    xsave_mode = sym XSAVE_MODE,
    async_preempt2 = sym async_preempt2,
);

unsafe extern "C" {
    fn async_preempt();
    static async_preempt_end: u8;
    #[link_name = "__start_spin_text"]
    static SPIN_START: u8;
    #[link_name = "__stop_spin_text"]
    static SPIN_END: u8;
}

/// The word at this offset of the thread's words.
fn current<T>(offset: usize) -> *mut T {
    let block: usize;
    // SAFETY: computes the address of a thread-local variable.
    unsafe {
        asm!("mov {0}, qword ptr fs:[0]", "lea {0}, [{0} + tricolor_current@TPOFF]", out(reg) block,
            options(nostack, preserves_flags, readonly));
    }
    std::ptr::with_exposed_provenance_mut(block + offset)
}

/// Calls that are injected, at least.
const ENOUGH: usize = 200;
/// The first of them look their frames up by name, which is slow.
const LOOKED_UP: usize = 10;

static INJECTED: AtomicUsize = AtomicUsize::new(0);
static CALLS: AtomicUsize = AtomicUsize::new(0);
static LAST_PC: AtomicUsize = AtomicUsize::new(0);
static WRONG: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// What the injected call ends up in. Its thread computes, so it holds no lock of std or malloc.
extern "C" fn async_preempt2(frame: *mut Frame) {
    // SAFETY: `async_preempt` passes its own frame, which nobody changes meanwhile.
    let frame = unsafe { &*frame };
    let call = CALLS.fetch_add(1, Ordering::Relaxed);
    let mut wrong = WRONG.lock().unwrap();
    if frame.pc() != LAST_PC.load(Ordering::Relaxed) {
        wrong.push(format!("Frame says {:#x} was interrupted", frame.pc()));
    }
    // SAFETY: this thread's own words.
    let in_runtime: u32 = unsafe { current::<u32>(IN_RUNTIME).read() };
    if in_runtime != 1 {
        wrong.push(format!("the in-runtime count is {in_runtime}"));
    }
    if call < LOOKED_UP {
        let trace = Backtrace::force_capture().to_string();
        if let Err(missing) = in_order(&trace, &["::async_preempt2", "async_preempt", "::spin", "::survives"]) {
            wrong.push(format!("no frame `{missing}` in its place in\n{trace}"));
        }
    }
    // Vector registers that nobody saved would now be these.
    black_box([f64::NAN; 32].map(|x| black_box(x) * 2.0));
}

/// Whether frames with names of these endings follow each other, from the innermost out.
fn in_order<'a>(trace: &str, endings: &[&'a str]) -> Result<(), &'a str> {
    let mut names = trace.lines().filter_map(|line| line.trim().split_once(": ")).map(|(_, name)| name);
    for ending in endings {
        if !names.any(|name| name.ends_with(ending)) {
            return Err(ending);
        }
    }
    Ok(())
}

/// Injects a call if the signal interrupted [`spin`]: what the head of `x86_64.s` asks of a handler.
extern "C" fn on_signal(_: libc::c_int, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel passes a ucontext to handlers installed with SA_SIGINFO.
    let registers = unsafe { &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs };
    let pc = registers[libc::REG_RIP as usize] as usize;
    let spin = (&raw const SPIN_START).addr()..(&raw const SPIN_END).addr();
    // At its first instruction std would take the pc for a return address into the function before.
    if !spin.contains(&pc) || pc == spin.start {
        return;
    }
    LAST_PC.store(pc, Ordering::Relaxed);
    let sp = registers[libc::REG_RSP as usize] as usize - 128 - 8;
    // SAFETY: this thread's own word; the goroutine's stack is large, and below the red zone nothing lives.
    unsafe {
        current::<u32>(IN_RUNTIME).write(1);
        std::ptr::with_exposed_provenance_mut::<usize>(sp).write(pc);
    }
    registers[libc::REG_RSP as usize] = sp as i64;
    registers[libc::REG_RIP as usize] = async_preempt as *const () as i64;
    INJECTED.fetch_add(1, Ordering::Relaxed);
}

/// Computes, with integers and vectors of floats, and calls nothing.
#[inline(never)]
#[unsafe(link_section = "spin_text")]
fn spin(seed: u64) -> (u64, f64) {
    let (mut hash, mut sums) = (seed, [seed as f64 + 1.0; 8]);
    let mut i = 0;
    while i < 20_000 {
        hash = (hash ^ i).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(13);
        let mut lane = 0;
        while lane < 8 {
            sums[lane] = sums[lane] * 0.999 + lane as f64;
            lane += 1;
        }
        i += 1;
    }
    (hash, sums[0] + sums[1] + sums[2] + sums[3] + sums[4] + sums[5] + sums[6] + sums[7])
}

#[inline(never)]
fn survives(seed: u64, expected: (u64, f64)) -> bool {
    black_box(spin(black_box(seed)) == expected)
}

#[test]
fn backtraces_pass_through_the_injected_call_and_nothing_is_lost() {
    XSAVE_MODE.store(x86_64::xsave_mode().unwrap(), Ordering::Relaxed);
    let expected = spin(7);

    let p = P { scratch: XRegs([0; XREGS_BYTES]), cache: null() };
    let m = M { p: &raw const p };
    // SAFETY: this thread's own word; `m` outlives all signals.
    unsafe { current::<*const M>(CURRENT_M).write(&raw const m) };

    let alternate = vec![0u8; 256 * 1024];
    // SAFETY: plain calls of libc; the alternate stack outlives the last signal, and the handler is async-signal-safe.
    let me = unsafe {
        let stack =
            libc::stack_t { ss_sp: alternate.as_ptr().cast_mut().cast(), ss_flags: 0, ss_size: alternate.len() };
        assert_eq!(libc::sigaltstack(&raw const stack, null_mut()), 0);
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = on_signal as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESTART;
        assert_eq!(libc::sigaction(libc::SIGUSR1, &raw const action, null_mut()), 0);
        libc::pthread_self()
    };

    let done = AtomicBool::new(false);
    let rounds = AtomicU64::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                // SAFETY: the thread lives: it waits for this one at the end of the scope.
                assert_eq!(unsafe { libc::pthread_kill(me, libc::SIGUSR1) }, 0);
                std::thread::sleep(std::time::Duration::from_micros(200));
            }
        });
        while INJECTED.load(Ordering::Relaxed) < ENOUGH && WRONG.lock().unwrap().is_empty() {
            let good = survives(7, expected);
            if !good {
                WRONG.lock().unwrap().push("the computation came out wrong".to_owned());
            }
            rounds.fetch_add(1, Ordering::Relaxed);
        }
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(*WRONG.lock().unwrap(), Vec::<String>::new());
    assert_eq!(CALLS.load(Ordering::Relaxed), INJECTED.load(Ordering::Relaxed));
    // SAFETY: this thread's own word.
    assert_eq!(unsafe { current::<u32>(IN_RUNTIME).read() }, 0);
}

#[test]
fn the_frame_of_a_backtrace_is_looked_for_in_order() {
    let trace = "   0: app::async_preempt2\n             at ./x.rs:1\n   1: async_preempt\n   2: app::spin\n";
    assert_eq!(in_order(trace, &["::async_preempt2", "async_preempt", "::spin"]), Ok(()));
    assert_eq!(in_order(trace, &["async_preempt", "::async_preempt2"]), Err("::async_preempt2"));
    assert_eq!(in_order(trace, &["::spin", "::main"]), Err("::main"));
}

#[test]
fn the_function_has_an_end_and_other_machines_are_refused() {
    let start = async_preempt as *const () as usize;
    assert!((100..1000).contains(&((&raw const async_preempt_end).addr() - start)));
    assert_eq!(x86_64::REFUSED, None);
    assert!(other::REFUSED.unwrap().contains("aarch64"));
}

/// The mode for this machine is one that it can execute, and its area holds what is saved.
#[test]
fn the_mode_is_one_that_this_machine_has() {
    let mode = x86_64::xsave_mode().unwrap();
    let avx = if std::is_x86_feature_detected!("avx") { x86_64::MODE_AVX } else { 0 };
    assert_eq!(mode & x86_64::MODE_AVX, avx);
    let saves = mode & (x86_64::MODE_XSAVE | x86_64::MODE_XSAVEC);
    let expected = match (std::is_x86_feature_detected!("xsavec"), std::is_x86_feature_detected!("xsave")) {
        (true, _) => x86_64::MODE_XSAVEC,
        (false, true) => x86_64::MODE_XSAVE,
        (false, false) => 0,
    };
    assert_eq!(saves, expected);
}
