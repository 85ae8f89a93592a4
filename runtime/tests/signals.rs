//! Signals: dumps on request and where a stop does not come about, and the handlers that a program had before.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod common;

use common::{child, is_child, needs, with_procs};
use std::alloc::{GlobalAlloc, Layout, System};
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::FromRawFd;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tricolor::{chan, gc, spawn, yield_now};

/// From here on whoever allocates ends the child: a thread that is suspended may hold malloc's lock.
static NO_MALLOC: AtomicBool = AtomicBool::new(false);

struct Malloc;

// SAFETY: the system's allocator.
unsafe impl GlobalAlloc for Malloc {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if NO_MALLOC.load(Ordering::SeqCst) {
            // SAFETY: ends the process.
            unsafe { libc::_exit(9) };
        }
        // SAFETY: the caller's contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static MALLOC: Malloc = Malloc;

/// In the child: a runtime, and `f` in it.
fn here(procs: usize, f: impl FnOnce() + Send) {
    // SAFETY: no `Gc` anywhere.
    unsafe { with_procs(procs).run(f) }
}

const STOP_50: (&str, &str) = ("TRICOLOR_DEBUG", "stwtimeout=50");
const NO_SIGNALS_50: (&str, &str) = ("TRICOLOR_DEBUG", "stwtimeout=50,asyncpreemptoff=1");

static DONE: AtomicBool = AtomicBool::new(false);

/// Somebody is in `computes_without_a_call`.
static HELD: AtomicBool = AtomicBool::new(false);

#[inline(never)]
fn computes_without_a_call() {
    HELD.store(true, Ordering::SeqCst);
    // In Rust the load may be a call, where little is optimised.
    // SAFETY: reads a flag.
    unsafe {
        std::arch::asm!(
            "2: pause", "cmp byte ptr [{done}], 0", "je 2b",
            done = in(reg) DONE.as_ptr(),
            options(nostack),
        );
    }
}

fn action(handler: usize, flags: i32, full_mask: bool) -> libc::sigaction {
    // SAFETY: all zero is a valid action; the mask is filled or emptied.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler;
        action.sa_flags = flags;
        if full_mask {
            libc::sigfillset(&mut action.sa_mask);
        }
        action
    }
}

fn install(signal: i32, action: &libc::sigaction) {
    // SAFETY: handlers of this file.
    assert_eq!(unsafe { libc::sigaction(signal, action, std::ptr::null_mut()) }, 0);
}

/// Ends the child where a test would hang.
fn not_for_ever() {
    std::thread::spawn(|| {
        std::thread::sleep(Duration::from_secs(100));
        eprintln!("the child hangs");
        std::process::exit(7);
    });
}

/// Stops the world although somebody holds it up, and lets him go when the report has been written.
fn stop_against(holds_up: fn()) {
    let mut ends = [0; 2];
    // SAFETY: standard error goes through a pipe from here on.
    let (stderr, pipe) = unsafe {
        assert_eq!(libc::pipe(ends.as_mut_ptr()), 0);
        let stderr = libc::dup(2);
        assert!(libc::dup2(ends[1], 2) == 2);
        (File::from_raw_fd(stderr), File::from_raw_fd(ends[0]))
    };
    let mut stderr = stderr;
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            writeln!(stderr, "{line}").expect("somebody reads");
            if line.contains("gostart+0x") || line.contains("takes no signals") {
                DONE.store(true, Ordering::SeqCst);
            }
        }
    });
    let h = spawn(holds_up);
    while !HELD.load(Ordering::SeqCst) {
        yield_now();
    }
    gc::with_stopped_world(|| ());
    h.join().expect("no panic");
}

#[test]
fn a_late_stop_says_where_the_goroutine_is() {
    needs!(Procs(2..=256));
    if is_child("a_late_stop_says_where_the_goroutine_is") {
        not_for_ever();
        here(2, || stop_against(computes_without_a_call));
        return;
    }
    let (code, err) = child("a_late_stop_says_where_the_goroutine_is", &[NO_SIGNALS_50]);
    assert_eq!(code, Some(0), "{err}");
    assert_eq!(err.matches("stop of the world (user) waits for").count(), 1, "{err}");
    assert!(err.contains("runs goroutine 2, which was last at a safepoint"), "{err}");
    let report = &err[err.find("waits for").expect("it is there")..];
    // Where it is, its caller, and the first function of its stack.
    let lines: Vec<_> = report.lines().skip(1).take_while(|line| line.starts_with("\t0x")).collect();
    assert!(lines[0].contains(" signals::computes_without_a_call+0x"), "{err}");
    assert!(lines.len() > 2 && lines.last().is_some_and(|line| line.contains("gostart+0x")), "{err}");
}

extern "C" fn handler_that_lasts(_: i32) {
    computes_without_a_call();
}

/// In a signal handler of its own a thread is not suspended, and says nevertheless where it is, if it takes signals.
#[test]
fn a_late_stop_looks_into_foreign_handlers() {
    needs!(Signals);
    needs!(Procs(2..=256));
    fn in_a_handler() {
        // SAFETY: sends this thread a signal for which there is a handler.
        let sent = unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), libc::gettid(), libc::SIGUSR1) };
        assert_eq!(sent, 0);
    }
    for masked in [false, true] {
        if is_child("a_late_stop_looks_into_foreign_handlers") {
            let full = std::env::var("TEST_FULL_MASK").is_ok();
            install(libc::SIGUSR1, &action(handler_that_lasts as *const () as usize, 0, full));
            not_for_ever();
            here(2, || stop_against(in_a_handler));
            return;
        }
        let full = ("TEST_FULL_MASK", "1");
        let env = if masked { vec![STOP_50, full] } else { vec![STOP_50] };
        let (code, err) = child("a_late_stop_looks_into_foreign_handlers", &env);
        assert_eq!(code, Some(0), "{err}");
        assert!(err.contains("runs goroutine 2"), "{err}");
        assert_eq!(err.contains(" signals::computes_without_a_call+0x"), !masked, "{err}");
        // From the signal stack back to the goroutine's.
        assert_eq!(err.contains("tricolor::arch::x86_64::gostart+0x"), !masked, "{err}");
        assert_eq!(err.contains("the thread takes no signals now, and is in state R"), masked, "{err}");
    }
}

#[inline(never)]
fn waits_for_a_value() {
    let (_tx, rx) = chan::bounded::<u8>(0);
    let _ = rx.recv();
}

#[inline(never)]
fn sleeps_in_the_kernel() {
    tricolor::blocking((), |()| std::thread::sleep(Duration::from_secs(200)));
    std::hint::black_box(());
}

fn quit() {
    // SAFETY: a signal to this process.
    unsafe { libc::kill(libc::getpid(), libc::SIGQUIT) };
}

/// On this thread: a signal that is handled when the call returns.
#[inline(never)]
fn asks_to_quit() {
    NO_MALLOC.store(true, Ordering::SeqCst);
    // SAFETY: sends this thread a signal.
    unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), libc::gettid(), libc::SIGQUIT) };
    std::hint::black_box(());
}

#[test]
fn sigquit_prints_all_goroutines() {
    // Of the first `spawn` below.
    let first = line!() + 4;
    if is_child("sigquit_prints_all_goroutines") {
        not_for_ever();
        here(3, || {
            spawn(waits_for_a_value);
            spawn(sleeps_in_the_kernel);
            spawn(computes_without_a_call);
            // Time to get there.
            std::thread::sleep(Duration::from_millis(300));
            asks_to_quit();
        });
        return;
    }
    for debug in ["gctrace=0", "asyncpreemptoff=1"] {
        let (code, err) = child("sigquit_prints_all_goroutines", &[("TRICOLOR_DEBUG", debug)]);
        assert_eq!(code, Some(2), "{err}");
        assert_eq!(err.matches("SIGQUIT: quit").count(), 1, "{err}");
        for what in
            ["goroutine 1 [running", "goroutine 2 [chan receive, ", "goroutine 3 [blocking call, ", "goroutine 4 ["]
        {
            assert!(err.contains(what), "no {what:?} in:\n{err}");
        }
        let of = |id: &str| {
            let from = err.find(id).expect(id);
            err[from..].split("\n\n").next().unwrap_or("")
        };
        for (id, line) in [("goroutine 2 [", first), ("goroutine 3 [", first + 1), ("goroutine 4 [", first + 2)] {
            assert!(of(id).contains(&format!("\n\tcreated at runtime/tests/signals.rs:{line}")), "{line}: {err}");
        }
        assert!(!of("goroutine 1 [").contains("created at"), "{err}");
        assert!(of("goroutine 1 [").contains(" signals::asks_to_quit+0x"), "{err}");
        assert!(of("goroutine 2 [").contains(" signals::waits_for_a_value+0x"), "{err}");
        assert!(of("goroutine 3 [").contains(" signals::sleeps_in_the_kernel+0x"), "{err}");
        assert!(of("goroutine 4 [").contains(" signals::computes_without_a_call+0x"), "{err}");
    }
}

#[inline(never)]
fn hangs() {
    loop {
        std::hint::spin_loop();
    }
}

#[test]
fn sigquit_comes_when_everything_hangs() {
    if is_child("sigquit_comes_when_everything_hangs") {
        not_for_ever();
        std::thread::spawn(|| {
            std::thread::sleep(Duration::from_millis(200));
            quit();
        });
        here(2, || {
            spawn(waits_for_a_value);
            yield_now();
            gc::with_stopped_world(hangs)
        });
        return;
    }
    let (code, err) = child("sigquit_comes_when_everything_hangs", &[]);
    assert_eq!(code, Some(2), "{err}");
    assert!(err.contains("\ngoroutine 2 [") && err.contains(" signals::hangs+0x"), "{err}");
    for what in ["\nM0 [P", "\nSCHED ", " gcwaiting=true stopwait=0 ", "\n  M0: thread=", "\n  G2: status="] {
        assert!(err.contains(what), "no {what:?} in:\n{err}");
    }
}

#[test]
fn sigquit_goes_on_to_the_handler_before() {
    static CALLED: AtomicUsize = AtomicUsize::new(0);
    extern "C" fn own(_: i32) {
        CALLED.fetch_add(1, Ordering::SeqCst);
    }
    if is_child("sigquit_goes_on_to_the_handler_before") {
        install(libc::SIGQUIT, &action(own as *const () as usize, 0, false));
        here(2, || {
            quit();
            while CALLED.load(Ordering::SeqCst) == 0 {
                yield_now();
            }
        });
        // The runtime has ended, so the signal is the handler's alone.
        quit();
        let limit = Instant::now() + Duration::from_secs(60);
        while CALLED.load(Ordering::SeqCst) < 2 && Instant::now() < limit {
            std::thread::yield_now(); // it may reach any thread
        }
        assert_eq!(CALLED.load(Ordering::SeqCst), 2);
        eprintln!("went on");
        return;
    }
    let (code, err) = child("sigquit_goes_on_to_the_handler_before", &[]);
    assert_eq!(code, Some(0), "{err}");
    assert_eq!(err.matches("SIGQUIT: quit").count(), 1, "{err}");
    assert!(err.contains("goroutine 1 [") && err.contains("went on"), "{err}");
}

#[test]
fn sigquit_after_the_runtime_kills() {
    if is_child("sigquit_after_the_runtime_kills") {
        here(1, || ());
        quit();
        std::thread::sleep(Duration::from_secs(100));
        return;
    }
    let (code, err) = child("sigquit_after_the_runtime_kills", &[]);
    assert_eq!(code, None, "killed by the signal: {err}");
    assert!(!err.contains("SIGQUIT: quit"), "{err}");
}

/// Handlers of all kinds that were there before: they are called, on a signal stack, and errno stays what it was.
#[test]
fn handlers_of_the_program_are_called_on_signal_stacks() {
    needs!(Signals);
    needs!(Procs(2..=256));
    static PLAIN: AtomicUsize = AtomicUsize::new(0);
    static WITH_INFO: AtomicUsize = AtomicUsize::new(0);
    static FAULTS: AtomicUsize = AtomicUsize::new(0);
    static CODE: AtomicI32 = AtomicI32::new(0);
    static OFF_STACK: AtomicUsize = AtomicUsize::new(0);

    fn on_signal_stack() {
        // SAFETY: asks for this thread's signal stack.
        let flags = unsafe {
            let mut stack: libc::stack_t = std::mem::zeroed();
            libc::sigaltstack(std::ptr::null(), &mut stack);
            stack.ss_flags
        };
        OFF_STACK.fetch_add(usize::from(flags & libc::SS_ONSTACK == 0), Ordering::SeqCst);
        // SAFETY: this thread's errno.
        unsafe { *libc::__errno_location() = libc::EDOM };
    }
    extern "C" fn plain(_: i32) {
        on_signal_stack();
        PLAIN.fetch_add(1, Ordering::SeqCst);
    }
    extern "C" fn with_info(signal: i32, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
        on_signal_stack();
        assert!(!context.is_null());
        // SAFETY: the kernel's siginfo.
        let info = unsafe { &*info };
        assert_eq!(info.si_signo, signal);
        CODE.store(info.si_code, Ordering::SeqCst);
        let count = if signal == libc::SIGSEGV { &FAULTS } else { &WITH_INFO };
        count.fetch_add(1, Ordering::SeqCst);
    }

    if is_child("handlers_of_the_program_are_called_on_signal_stacks") {
        let info = libc::SA_SIGINFO;
        if std::env::var("TEST_PLAIN").is_ok() {
            install(libc::SIGURG, &action(plain as *const () as usize, 0, false));
        } else {
            install(libc::SIGURG, &action(with_info as *const () as usize, info, false));
        }
        install(libc::SIGSEGV, &action(with_info as *const () as usize, info, false));
        // One that the runtime does not take.
        install(libc::SIGUSR2, &action(plain as *const () as usize, 0, false));
        here(2, || {
            let errno = || std::io::Error::last_os_error().raw_os_error();
            for signal in [libc::SIGURG, libc::SIGSEGV] {
                // SAFETY: sets errno, and sends this thread a signal that is handled when this returns.
                unsafe {
                    *libc::__errno_location() = libc::ENOTBLK;
                    libc::syscall(libc::SYS_tgkill, libc::getpid(), libc::gettid(), signal);
                }
                assert_eq!(errno(), Some(libc::ENOTBLK));
            }
            // SAFETY: as above.
            unsafe { libc::raise(libc::SIGUSR2) };
            std::thread::spawn(|| {
                // SAFETY: as above, on a thread that the runtime does not know.
                unsafe { libc::raise(libc::SIGURG) };
            })
            .join()
            .expect("no panic");
            // Signals of the runtime's own are not passed on.
            let h = spawn(computes_without_a_call);
            let limit = Instant::now() + Duration::from_secs(60);
            while gc::suspensions().suspended == 0 && Instant::now() < limit {
                gc::collect();
            }
            DONE.store(true, Ordering::SeqCst);
            h.join().expect("no panic");
            assert!(gc::suspensions().suspended > 0);
        });
        let get = |n: &AtomicUsize| n.load(Ordering::SeqCst);
        eprintln!("plain {} info {} faults {}", get(&PLAIN), get(&WITH_INFO), get(&FAULTS));
        eprintln!("off stack {} code {}", get(&OFF_STACK), CODE.load(Ordering::SeqCst));
        return;
    }
    let name = "handlers_of_the_program_are_called_on_signal_stacks";
    for (env, counts) in [(vec![], "plain 1 info 2 faults 1"), (vec![("TEST_PLAIN", "1")], "plain 3 info 0 faults 1")] {
        // A signal of the program that comes while one of the runtime's is under way becomes one with it: tried again.
        let as_it_should = |err: &str| err.contains(counts) && err.contains("off stack 0 code -6");
        let tries: Vec<_> = (0..3).map(|_| child(name, &env)).collect();
        assert!(tries.iter().all(|(code, _)| *code == Some(0)), "{tries:?}");
        assert!(tries.iter().any(|(_, err)| as_it_should(err)), "{tries:?}");
    }
}

/// `std::process::exit` switches off the signal stack of the thread that calls it; then the process goes on for as long as
/// what `atexit` was told.
#[test]
fn a_process_that_exits_is_not_killed_by_a_stop() {
    needs!(Signals);
    needs!(Procs(2..=256));
    extern "C" fn lasting() {
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_millis(100) {
            std::hint::spin_loop();
        }
    }
    if is_child("a_process_that_exits_is_not_killed_by_a_stop") {
        // SAFETY: a function that returns.
        assert_eq!(unsafe { libc::atexit(lasting) }, 0);
        here(2, || {
            spawn(|| {
                loop {
                    gc::collect();
                }
            });
            yield_now();
            std::process::exit(5);
        });
    }
    let (code, err) = child("a_process_that_exits_is_not_killed_by_a_stop", &[]);
    assert_eq!(code, Some(5), "{err}");
}

#[test]
fn schedtrace_prints_the_schedulers_state() {
    needs!(Procs(3..=3));
    if is_child("schedtrace_prints_the_schedulers_state") {
        here(3, || {
            spawn(waits_for_a_value);
            (0..5).for_each(|_| drop(spawn(computes_without_a_call)));
            std::thread::sleep(Duration::from_millis(700));
            DONE.store(true, Ordering::SeqCst);
        });
        return;
    }
    let name = "schedtrace_prints_the_schedulers_state";
    let lines = |debug| {
        let (code, err) = child(name, &[("TRICOLOR_DEBUG", debug)]);
        assert_eq!(code, Some(0), "{err}");
        err.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    // Seven goroutines for three Ps: in each line all are busy, and some wait.
    let plain: Vec<_> = lines("schedtrace=100").into_iter().filter(|l| l.starts_with("SCHED ")).collect();
    assert!(plain.len() > 2, "{plain:?}");
    let waiting = |line: &str| {
        let queues = line.split_once(" runqueue=").expect(line).1;
        queues
            .split(|c: char| !c.is_ascii_digit())
            .filter(|n| !n.is_empty())
            .map(|n| n.parse::<u32>().expect(n))
            .sum::<u32>()
    };
    for line in &plain[1..] {
        assert!(line.contains("ms: procs=3 idleprocs=0 threads="), "{line}");
        assert_eq!(line.split_once('[').expect(line).1.split(' ').count(), 3, "{line}");
    }
    assert!(plain.iter().any(|line| waiting(line) >= 1), "{plain:?}");

    let detail = lines("schedtrace=100,scheddetail=1").join("\n");
    for what in [
        " gcwaiting=",
        "\n  P0: status=",
        "\n  M0: thread=",
        "\n  G1: status=",
        "status=waiting for: chan receive m=nil",
    ] {
        assert!(detail.contains(what), "no {what:?} in:\n{detail}");
    }
    assert!(!lines("schedtrace=0").iter().any(|line| line.starts_with("SCHED")));
}
