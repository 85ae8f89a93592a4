//! What the watched process does with a signal that kills it: says which and where, and has the runtime print every
//! goroutine and what each thread did last, as `kill -QUIT` does.
//!
//! Installed before the runtime starts, which passes on to it what it does not take. What would break if it died at once:
//! nobody would know what the others were doing.

use super::page::Page;
use std::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicPtr, Ordering::SeqCst};
use tricolor::gc_core::fatal::print_line;

static PAGE: AtomicPtr<Page> = AtomicPtr::new(std::ptr::null_mut());

/// The signals, by name.
pub const SIGNALS: &[(c_int, &str)] = &[
    (libc::SIGSEGV, "SIGSEGV"),
    (libc::SIGBUS, "SIGBUS"),
    (libc::SIGILL, "SIGILL"),
    (libc::SIGFPE, "SIGFPE"),
    (libc::SIGTRAP, "SIGTRAP"),
    (libc::SIGABRT, "SIGABRT"),
];

/// A signal's name.
pub fn name(signal: i32) -> String {
    let known = SIGNALS.iter().chain(&[(libc::SIGKILL, "SIGKILL"), (libc::SIGTERM, "SIGTERM")]);
    known.into_iter().find(|(n, _)| *n == signal).map_or(format!("signal {signal}"), |(_, name)| (*name).into())
}

/// Takes the signals, and makes a panic that nobody catches as loud.
pub fn install(page: &'static Page) {
    PAGE.store(std::ptr::from_ref(page).cast_mut(), SeqCst);
    for (signal, _) in SIGNALS {
        // SAFETY: a handler of that kind. It ends the process.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = died as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
            libc::sigaction(*signal, &raw const action, std::ptr::null_mut());
        }
    }
    std::panic::set_hook(Box::new(|info| {
        let payload = info.payload();
        let text = payload.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("with a value that is no text");
        match info.location() {
            Some(at) => tricolor::gc_core::throw!("stress: panic at {at}: {text}"),
            None => tricolor::gc_core::throw!("stress: panic: {text}"),
        }
    }));
}

unsafe extern "C" fn died(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: the page lives for ever.
    let page = unsafe { &*PAGE.load(SeqCst) };
    // Once; whoever dies while the first one is printed waits for its end, or ends the process if it is the same.
    let first = page.crashed.compare_exchange(0, signal as u32, SeqCst, SeqCst).is_ok();
    // SAFETY: what the kernel has filled in; asks for numbers.
    let (address, at, thread) = unsafe {
        let registers = (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs;
        ((*info).si_addr() as usize, registers[libc::REG_RIP as usize] as usize, libc::gettid())
    };
    let which = SIGNALS.iter().find(|(n, _)| *n == signal).map_or("?", |(_, name)| name);
    let again = if first { "" } else { "then " };
    print_line(format_args!(
        "stress: {again}{which} in thread {thread}: address {address:#x}, instruction {at:#x} (program begins at {:#x})",
        (&raw const __executable_start).addr()
    ));
    if first {
        // SAFETY: lets a signal through to this thread, and sends it: the runtime's handler prints, and ends the process.
        // It runs only while a runtime does.
        unsafe {
            let mut set: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&raw mut set);
            libc::sigaddset(&raw mut set, libc::SIGQUIT);
            libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const set, std::ptr::null_mut());
            libc::syscall(libc::SYS_tgkill, libc::getpid(), thread, libc::SIGQUIT);
            libc::_exit(128 + signal)
        }
    }
    // SAFETY: gives the one who prints some seconds.
    unsafe {
        libc::sleep(5);
        libc::_exit(128 + signal)
    }
}

unsafe extern "C" {
    // From the linker.
    static __executable_start: u8;
}
