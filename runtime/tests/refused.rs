//! Where signals do not stop a goroutine: in handlers of others, without a signal stack, and, for the end of a time slice,
//! near the end of its stack, while a panic unwinds, and where libc is among those who called.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod common;

use common::{needs, run, with_procs};
use std::hint::{black_box, spin_loop};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::time::{Duration, Instant};
use tricolor::gc::{self, SuspendStats};
use tricolor::spawn;

static IN_HANDLER: AtomicBool = AtomicBool::new(false);
static LEAVE: AtomicBool = AtomicBool::new(false);
static HAS_LEFT: AtomicBool = AtomicBool::new(false);

/// Somebody else's handler, which lasts. Who is stopped in it may have been interrupted anywhere.
extern "C" fn lasting(_: libc::c_int) {
    IN_HANDLER.store(true, Ordering::SeqCst);
    while !LEAVE.load(Ordering::SeqCst) {
        spin_loop();
    }
    HAS_LEFT.store(true, Ordering::SeqCst);
}

/// Stops the world while a goroutine's thread is in `lasting`; gives what came of the signals when the world stood. Where
/// the time slice of that goroutine was over just then, its thread has no P and holds nobody up: then once more.
fn stop_waits_for_a_handler(flags: libc::c_int) -> SuspendStats {
    let tries: Vec<_> = (0..3).map(|_| stop_during_a_handler(flags)).collect();
    let waited = tries.iter().find(|(had_left, _)| *had_left);
    let Some((_, stats)) = waited else { panic!("the world stood while a thread was in a handler: {tries:?}") };
    *stats
}

fn stop_during_a_handler(flags: libc::c_int) -> (bool, SuspendStats) {
    run(with_procs(2), || {
        for flag in [&IN_HANDLER, &LEAVE, &HAS_LEFT] {
            flag.store(false, Ordering::SeqCst);
        }
        // SAFETY: a handler that fits, for a signal that nobody else uses.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = lasting as *const () as usize;
            action.sa_flags = flags;
            libc::sigaction(libc::SIGUSR1, &raw const action, std::ptr::null_mut());
        }
        let (thread, end) = (Arc::new(AtomicI32::new(0)), Arc::new(AtomicBool::new(false)));
        let (here, over) = (thread.clone(), end.clone());
        let looping = spawn(move || {
            // SAFETY: asks for this thread's number.
            here.store(unsafe { libc::gettid() }, Ordering::SeqCst);
            while !over.load(Ordering::SeqCst) {}
        });
        while thread.load(Ordering::SeqCst) == 0 {
            spin_loop();
        }
        // SAFETY: a signal whose handler was installed above.
        unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), thread.load(Ordering::SeqCst), libc::SIGUSR1) };
        while !IN_HANDLER.load(Ordering::SeqCst) {
            spin_loop();
        }
        let timer = std::thread::spawn(|| {
            std::thread::sleep(Duration::from_millis(200));
            LEAVE.store(true, Ordering::SeqCst);
        });
        let mut had_left = false;
        gc::with_stopped_world(&mut || had_left = HAS_LEFT.load(Ordering::SeqCst));
        let stats = gc::suspensions();
        // All of them end, whatever was found.
        LEAVE.store(true, Ordering::SeqCst);
        timer.join().expect("no panic");
        end.store(true, Ordering::SeqCst);
        looping.join().expect("no panic");
        (had_left, stats)
    })
}

#[test]
fn a_thread_in_a_handler_on_its_goroutines_stack_is_not_stopped() {
    needs!(Signals);
    needs!(Procs(2..=256));
    let stats = stop_waits_for_a_handler(0);
    assert!(stats.in_handler > 0, "{stats:?}");
}

#[test]
fn a_thread_in_a_handler_on_the_signal_stack_is_not_stopped() {
    needs!(Signals);
    needs!(Procs(2..=256));
    let stats = stop_waits_for_a_handler(libc::SA_ONSTACK);
    assert!(stats.on_other_stack > 0, "{stats:?}");
}

/// Switches this thread's signal stack on or off, as `std::process::exit` does; gives what it was.
fn signal_stack(to: Option<&libc::stack_t>) -> libc::stack_t {
    // SAFETY: the stack that was there, or none; who calls is on neither.
    unsafe {
        let off = libc::stack_t { ss_sp: std::ptr::null_mut(), ss_flags: libc::SS_DISABLE, ss_size: 0 };
        let mut before = off;
        assert_eq!(libc::sigaltstack(to.unwrap_or(&off), &raw mut before), 0);
        before
    }
}

/// The handler then runs on the goroutine's own stack, where its frame is neither found by a scan nor safe from what
/// descheduling pushes.
#[test]
fn a_thread_without_its_signal_stack_is_not_stopped() {
    needs!(Signals);
    needs!(Procs(2..=256));
    let (had_left, stats) = run(with_procs(2), || {
        let (off, over) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (is_off, is_over) = (off.clone(), over.clone());
        let exiting = spawn(move || {
            let stack = signal_stack(None);
            is_off.store(true, Ordering::SeqCst);
            // No safepoint: it stays on this thread.
            let begin = Instant::now();
            while begin.elapsed() < Duration::from_millis(200) {
                spin_loop();
            }
            is_over.store(true, Ordering::SeqCst);
            signal_stack(Some(&stack));
        });
        while !off.load(Ordering::SeqCst) {
            spin_loop();
        }
        gc::collect();
        let had_left = over.load(Ordering::SeqCst);
        exiting.join().expect("no panic");
        (had_left, gc::suspensions())
    });
    assert!(had_left, "a thread without a signal stack was stopped: {stats:?}");
    assert!(stats.no_signal_stack > 0, "{stats:?}");
}

/// Computes until a time slice should have ended here, and asserts that it has not.
#[inline(never)]
fn not_descheduled_here() {
    let (before, begin) = (gc::suspensions(), Instant::now());
    loop {
        for _ in 0..10_000 {
            spin_loop();
        }
        let now = gc::suspensions();
        assert_eq!(now.descheduled, before.descheduled, "descheduled where nobody may be: {now:?}");
        if now.not_descheduled > before.not_descheduled {
            return;
        }
        assert!(begin.elapsed() < Duration::from_secs(120), "no signal: {now:?}");
    }
}

/// Calls itself until its frame is `bytes` below `top`.
#[inline(never)]
fn down(top: usize, bytes: usize) -> usize {
    let block = [1_u8; 256];
    if black_box(&block).as_ptr().addr() + bytes < top {
        not_descheduled_here();
        return usize::from(block[0]);
    }
    black_box(down(top, bytes)) + usize::from(block[1])
}

#[test]
fn near_the_end_of_the_stack() {
    needs!(Signals);
    const STACK: usize = 128 << 10;
    // 32 KiB of it are the guard; of the rest too little is left.
    const DOWN: usize = STACK - (32 << 10) - (12 << 10);
    run(with_procs(1).stack(STACK), || {
        let deep = spawn(|| {
            let here = 0_u8;
            down(std::ptr::from_ref(black_box(&here)).addr(), DOWN)
        });
        deep.join().expect("no panic");
    });
}

#[test]
fn while_a_panic_unwinds() {
    needs!(Signals);
    struct Slow;
    impl Drop for Slow {
        fn drop(&mut self) {
            assert!(std::thread::panicking());
            not_descheduled_here();
        }
    }
    common::quiet::<u64>();
    let caught = run(with_procs(1), || {
        std::panic::catch_unwind(|| {
            let _slow = Slow;
            std::panic::panic_any(7_u64);
        })
    });
    assert_eq!(caught.expect_err("it panics").downcast_ref(), Some(&7_u64));
}

#[test]
fn below_a_function_of_libc() {
    needs!(Signals);
    static CALLED: AtomicBool = AtomicBool::new(false);
    extern "C" fn compare(_: *const libc::c_void, _: *const libc::c_void) -> libc::c_int {
        if !CALLED.swap(true, Ordering::SeqCst) {
            not_descheduled_here();
        }
        0
    }
    run(with_procs(1), || {
        let mut numbers = [3_u32, 1, 2];
        // SAFETY: three numbers of four bytes, which `compare` does not read.
        unsafe { libc::qsort(numbers.as_mut_ptr().cast(), 3, 4, Some(compare)) };
        assert!(CALLED.load(Ordering::SeqCst));
    });
}
