//! Threads come from one thread that never holds a P, so nobody waits for a malloc lock whose holder waits for him.
//!
//! This program has a `calloc` of its own, which `pthread_create` calls, and whose "lock" a goroutine can hold; a
//! `pthread_create` that notes its callers and can fail; and an `mmap` that can fail.
#![cfg(all(target_os = "linux", target_env = "gnu", target_arch = "x86_64"))]

#[path = "common/checked.rs"]
mod checked;
mod common;

use common::{child, is_child, needs, with_procs};
use std::ffi::{c_int, c_void};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};
use tricolor::{gc, spawn, yield_now};

/// Somebody is in the middle of `calloc`.
static HELD: AtomicBool = AtomicBool::new(false);
/// Somebody was.
static BEGUN: AtomicBool = AtomicBool::new(false);
/// A thread waits for him.
static WAITS: AtomicBool = AtomicBool::new(false);
/// No more threads are to be had.
static NO_MORE: AtomicBool = AtomicBool::new(false);
/// New threads of the runtime get no memory.
static NO_MEMORY: AtomicBool = AtomicBool::new(false);
/// How often `pthread_create` was called: by the template thread, by another one of the runtime.
static MADE: [AtomicUsize; 2] = [AtomicUsize::new(0), AtomicUsize::new(0)];

unsafe extern "C" {
    fn __libc_calloc(n: usize, size: usize) -> *mut c_void;
}

/// # Safety
/// As C's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn calloc(n: usize, size: usize) -> *mut c_void {
    while HELD.load(SeqCst) {
        WAITS.store(true, SeqCst);
        std::hint::spin_loop();
    }
    // SAFETY: the caller's contract.
    unsafe { __libc_calloc(n, size) }
}

type PthreadCreate = unsafe extern "C" fn(*mut c_void, *const c_void, *const c_void, *mut c_void) -> c_int;

/// # Safety
/// As POSIX's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pthread_create(
    thread: *mut c_void,
    attr: *const c_void,
    start: *const c_void,
    arg: *mut c_void,
) -> c_int {
    if NO_MORE.load(SeqCst) {
        return libc::EAGAIN;
    }
    let mut name = [0_u8; 16];
    // SAFETY: the kernel writes 16 bytes; then libc's function of that name and type.
    unsafe {
        libc::prctl(libc::PR_GET_NAME, name.as_mut_ptr());
        if name.starts_with(b"tricolor-") {
            MADE[usize::from(!name.starts_with(b"tricolor-new"))].fetch_add(1, SeqCst);
        }
        let real = libc::dlsym(libc::RTLD_NEXT, c"pthread_create".as_ptr());
        std::mem::transmute::<*mut c_void, PthreadCreate>(real)(thread, attr, start, arg)
    }
}

/// # Safety
/// As POSIX's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mmap(
    at: *mut c_void,
    len: usize,
    prot: c_int,
    flags: c_int,
    fd: c_int,
    off: i64,
) -> *mut c_void {
    let mut name = [0_u8; 16];
    // SAFETY: the kernel writes 16 bytes; the rest is the caller's contract.
    unsafe {
        libc::prctl(libc::PR_GET_NAME, name.as_mut_ptr());
        if NO_MEMORY.load(SeqCst) && name.starts_with(b"tricolor-m\0") {
            return libc::MAP_FAILED;
        }
        let address = libc::syscall(libc::SYS_mmap, at, len, prot, flags, fd, off);
        std::ptr::with_exposed_provenance_mut(address as usize)
    }
}

/// In the child: a runtime with `f` in it, which may take a minute.
fn here(procs: usize, f: impl FnOnce() + Send) {
    // SAFETY: a signal that ends the process, by then; and no `Gc` anywhere.
    unsafe {
        libc::alarm(60);
        with_procs(procs).run(f);
    }
}

/// Holds the lock of `calloc`, without a call or a safepoint, until `done`.
fn hold(done: impl Fn() -> bool) {
    HELD.store(true, SeqCst);
    BEGUN.store(true, SeqCst);
    while !done() {
        std::hint::spin_loop();
    }
    HELD.store(false, SeqCst);
}

/// The same where it is not descheduled: called by libc.
fn hold_in_libc(done: impl Fn() -> bool) {
    unsafe extern "C" fn compare<F: Fn() -> bool>(done: *const c_void, _: *const c_void) -> c_int {
        // SAFETY: the key that is passed below.
        hold(unsafe { &*done.cast::<F>() });
        0
    }
    // SAFETY: `compare` looks at the key alone.
    unsafe { libc::bsearch((&raw const done).cast(), [0_u8].as_ptr().cast(), 1, 1, Some(compare_of(&done))) };

    type Compare = unsafe extern "C" fn(*const c_void, *const c_void) -> c_int;
    fn compare_of<F: Fn() -> bool>(_: &F) -> Compare {
        compare::<F>
    }
}

/// So many goroutines in blocking calls, until no thread is left.
fn use_up_threads(n: usize) -> Vec<tricolor::JoinHandle<()>> {
    fn wait((): ()) {
        while HELD.load(SeqCst) && !WAITS.load(SeqCst) {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    (0..n).map(|_| spawn(|| tricolor::blocking((), wait))).collect()
}

#[test]
fn its_holder_is_descheduled() {
    needs!(Signals);
    if is_child("its_holder_is_descheduled") {
        // On one P: whoever takes it from the holder needs a thread, which cannot be made before the holder runs again.
        here(1, || {
            let before = gc::suspensions().descheduled;
            let holder = spawn(move || hold(|| WAITS.load(SeqCst) && gc::suspensions().descheduled > before));
            while !BEGUN.load(SeqCst) {
                yield_now();
            }
            let blocked = use_up_threads(8);
            holder.join().expect("no panic");
            blocked.into_iter().for_each(|b| b.join().expect("no panic"));
        });
        return;
    }
    let (code, err) = child("its_holder_is_descheduled", &[]);
    assert_eq!(code, Some(0), "{err}");
}

/// One round: whether the holder was suspended while a thread was waited for.
fn a_round_of_stops(threads: usize) -> bool {
    static DONE: AtomicBool = AtomicBool::new(false);
    static SUSPENDED: AtomicBool = AtomicBool::new(false);
    for flag in [&WAITS, &BEGUN, &DONE, &SUSPENDED] {
        flag.store(false, SeqCst);
    }
    let holder = spawn(|| {
        let since = OnceLock::new();
        hold_in_libc(|| {
            if !WAITS.load(SeqCst) {
                return false;
            }
            let (before, begin) = since.get_or_init(|| (gc::suspensions().suspended, Instant::now()));
            SUSPENDED.store(gc::suspensions().suspended > *before, SeqCst);
            // It may be that nobody collects, having no thread for it.
            SUSPENDED.load(SeqCst) || begin.elapsed() > Duration::from_millis(50)
        });
        DONE.store(true, SeqCst);
    });
    while !BEGUN.load(SeqCst) {
        yield_now();
    }
    let blocked = use_up_threads(threads);
    while !DONE.load(SeqCst) {
        gc::collect();
    }
    holder.join().expect("no panic");
    blocked.into_iter().for_each(|b| b.join().expect("no panic"));
    SUSPENDED.load(SeqCst)
}

#[test]
fn its_holder_is_suspended_for_stops() {
    needs!(Signals);
    needs!(Procs(4..=256));
    if is_child("its_holder_is_suspended_for_stops") {
        here(4, || assert!((1..=100).any(|round| a_round_of_stops(8 + 4 * round)), "it has never been suspended"));
        return;
    }
    let (code, err) = child("its_holder_is_suspended_for_stops", &[]);
    assert_eq!(code, Some(0), "{err}");
}

#[test]
fn one_thread_makes_all_others() {
    if is_child("one_thread_makes_all_others") {
        here(4, || {
            let sleepers: Vec<_> = (0..12)
                .map(|_| spawn(|| tricolor::blocking((), |()| std::thread::sleep(Duration::from_millis(100)))))
                .collect();
            sleepers.into_iter().for_each(|s| s.join().expect("no panic"));
            let [template, others] = [0, 1].map(|i| MADE[i].load(SeqCst));
            assert!(template >= 4 && others == 0, "{template} and {others}");
        });
        return;
    }
    let (code, err) = child("one_thread_makes_all_others", &[]);
    assert_eq!(code, Some(0), "{err}");
}

/// How a child ends in which this fault is planted and goroutines need threads, while sysmon takes their Ps.
#[cfg(feature = "faults")]
fn with_fault(test: &str, fault: &str) -> (Option<i32>, String) {
    if is_child(test) {
        gc_core::faults::choose(Some(fault)).expect("a fault of that name");
        here(1, || {
            let sleepers: Vec<_> = (0..12)
                .map(|_| spawn(|| tricolor::blocking((), |()| std::thread::sleep(Duration::from_millis(100)))))
                .collect();
            sleepers.into_iter().for_each(|s| s.join().expect("no panic"));
        });
        assert_eq!(MADE[1].load(SeqCst), 0, "threads were made by others");
        std::process::exit(0);
    }
    child(test, &[])
}

#[cfg(feature = "faults")]
#[test]
fn who_has_no_p_borrows_one_to_make_an_m() {
    let (code, err) = with_fault("who_has_no_p_borrows_one_to_make_an_m", "allocm-unborrowed");
    assert_eq!(code, Some(2), "{err}");
    assert!(err.contains("by a thread that holds no P"), "{err}");
}

#[cfg(feature = "faults")]
#[test]
fn threads_made_by_others_are_noticed() {
    let (code, err) = with_fault("threads_made_by_others_are_noticed", "newm-direct");
    assert!(code == Some(101) && err.contains("threads were made by others"), "{code:?}: {err}");
}

/// What a runtime says that is to make more threads than there are.
fn none_are_left(test: &str, builder: tricolor::Builder) -> String {
    if is_child(test) {
        // SAFETY: as in `here`.
        unsafe {
            libc::alarm(60);
            builder.run(|| {
                NO_MORE.store(true, SeqCst);
                let sleepers: Vec<_> = (0..12)
                    .map(|_| spawn(|| tricolor::blocking((), |()| std::thread::sleep(Duration::from_secs(50)))))
                    .collect();
                sleepers.into_iter().for_each(|s| s.join().expect("no panic"));
            });
        }
        std::process::exit(1);
    }
    let (code, err) = child(test, &[]);
    assert_eq!(code, Some(2), "{err}");
    let errors: Vec<_> = err.lines().filter(|line| line.starts_with("fatal error")).collect();
    assert_eq!(errors.len(), 1, "{err}");
    for what in ["fatal error: cannot make thread number ", "EAGAIN", "RLIMIT_NPROC"] {
        assert!(errors[0].contains(what), "no {what:?} in {err}");
    }
    errors[0].to_owned()
}

#[test]
fn no_memory_for_a_signal_stack() {
    if is_child("no_memory_for_a_signal_stack") {
        return here(2, || {
            NO_MEMORY.store(true, SeqCst);
            let sleeper = || spawn(|| tricolor::blocking((), |()| std::thread::sleep(Duration::from_secs(50))));
            let sleepers: Vec<_> = (0..12).map(|_| sleeper()).collect();
            sleepers.into_iter().for_each(|one| one.join().expect("no panic"));
        });
    }
    let (code, err) = child("no_memory_for_a_signal_stack", &[]);
    assert_eq!(code, Some(2), "{err}");
    let errors: Vec<_> = err.lines().filter(|line| line.starts_with("fatal error")).collect();
    assert_eq!(errors.len(), 1, "{err}");
    assert!(errors[0].starts_with("fatal error: no memory for the signal stack of thread number "), "{err}");
}

#[test]
fn no_more_threads() {
    let error = none_are_left("no_more_threads", with_procs(2));
    assert!(error.ends_with("too many goroutines in blocking calls at once"), "{error}");
}

#[test]
fn no_more_threads_for_pinned_goroutines() {
    let error = none_are_left("no_more_threads_for_pinned_goroutines", with_procs(2).pinned(true));
    assert!(error.ends_with("each living goroutine has one, since all are `pinned`"), "{error}");
}
