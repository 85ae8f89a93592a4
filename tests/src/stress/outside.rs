//! A thread of the watched process that is none of the runtime's: tells the time, notes when it is not let run, and sends
//! signals to the others.

use super::page::{Count, Page};
use super::workers::times;
use crate::oracle::rng::Rng;
use hdrhistogram::Histogram;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The thread's name, for the kernel: 15 bytes at most.
pub const NAME: &str = "stress-outside";

/// Whether signals are to be sent.
static SIGNALS: AtomicBool = AtomicBool::new(false);
static OVER: AtomicBool = AtomicBool::new(false);
/// For the handler, which has no other way to it.
static PAGE: AtomicPtr<Page> = AtomicPtr::new(std::ptr::null_mut());

/// Whether signals come from now on.
pub fn signals(on: bool) {
    SIGNALS.store(on, Relaxed);
}

/// The thread.
pub struct Outside(JoinHandle<Histogram<u64>>);

impl Outside {
    /// Ends it. How late it woke up.
    pub fn end(self) -> Histogram<u64> {
        OVER.store(true, Relaxed);
        self.0.join().unwrap_or_else(|_| times())
    }
}

extern "C" fn counted(_: libc::c_int) {
    // SAFETY: null, or the page, which lives for ever.
    if let Some(page) = unsafe { PAGE.load(Relaxed).as_ref() } {
        page.count(Count::Signals, 1);
    }
}

/// Starts it.
pub fn begin(page: &'static Page, began: Instant) -> Outside {
    PAGE.store(std::ptr::from_ref(page).cast_mut(), Relaxed);
    // The second one ends system calls early.
    for (signal, flags) in [(libc::SIGUSR1, libc::SA_RESTART), (libc::SIGUSR2, 0)] {
        // SAFETY: a handler that adds to a number, and nothing else.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = counted as *const () as usize;
            action.sa_flags = flags | libc::SA_ONSTACK;
            // The alternate stack that std gives a thread has room for two frames with the state of AVX-512, and a thread that
            // has not run for a while may find one of each signal.
            libc::sigfillset(&raw mut action.sa_mask);
            libc::sigaction(signal, &raw const action, std::ptr::null_mut());
        }
    }
    let thread = std::thread::Builder::new().name(NAME.into()).spawn(move || run(page, began));
    Outside(thread.expect("a thread can be made"))
}

fn run(page: &Page, began: Instant) -> Histogram<u64> {
    const STEP: Duration = Duration::from_millis(1);
    let mut late = times();
    let mut rng = Rng::new(began.elapsed().as_nanos() as u64);
    let mut threads: Vec<i32> = Vec::new();
    let mut steps = 0_u64;
    while !OVER.load(Relaxed) {
        let before = Instant::now();
        std::thread::sleep(STEP);
        late.saturating_record(before.elapsed().saturating_sub(STEP).as_nanos() as u64);
        page.steps.fetch_add(1, Relaxed);
        page.clock.store(began.elapsed().as_millis() as u64, Relaxed);
        if !SIGNALS.load(Relaxed) {
            continue;
        }
        if steps.is_multiple_of(50) {
            threads = list();
        }
        steps += 1;
        if !threads.is_empty() {
            let thread = threads[rng.below(threads.len())];
            let signal = [libc::SIGUSR1, libc::SIGUSR2, libc::SIGURG][rng.below(3)];
            // SAFETY: a signal that is handled, to a thread of this process; if that has ended, to none.
            unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), thread, signal) };
        }
    }
    late
}

/// All threads of this process but this one.
fn list() -> Vec<i32> {
    // SAFETY: asks for a number.
    let own = unsafe { libc::gettid() };
    let entries = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    entries.filter_map(|e| e.file_name().to_str()?.parse().ok()).filter(|tid| *tid != own).collect()
}
