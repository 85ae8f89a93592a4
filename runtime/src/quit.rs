//! SIGQUIT: prints all goroutines and ends the process with status 2, as Go does.
//!
//! It comes also when everything hangs: the handler does all of it, on whatever thread the signal reached, without
//! locks and without malloc, on a stack of its own (the signal stacks of threads that are not ours may be small). If
//! the program had a handler before, that one is called afterwards, and decides whether the process goes on.

use crate::m::M;
use crate::sched::Sched;
use crate::sight::Seen;
use barrier_lint::nowritebarrierrec;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use gc_core::fatal::print_line;

/// Bytes of the dump's stack.
const STACK: usize = 256 << 10;

/// Highest address of the dump's stack; 0: there is none.
static TOP: AtomicUsize = AtomicUsize::new(0);
/// Somebody prints.
static PRINTING: AtomicBool = AtomicBool::new(false);

barrier_lint::certify! {
    fn print: "prints, neither touches the heap's pointers nor switches";
}

/// Bytes of the dump's stack.
pub(crate) fn bytes() -> usize {
    if TOP.load(Ordering::SeqCst) == 0 { 0 } else { STACK }
}

/// Maps the stack, once.
pub(crate) fn prepare() {
    // SAFETY: a fresh mapping, for ever.
    let at = unsafe {
        libc::mmap(
            core::ptr::null_mut(),
            STACK,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
            -1,
            0,
        )
    };
    if at != libc::MAP_FAILED && TOP.load(Ordering::SeqCst) == 0 {
        TOP.store(at.expose_provenance() + STACK, Ordering::SeqCst);
    }
}

/// The signal has come, to the thread of `m` or to one that is not of the runtime. False: it is none of ours. In the
/// signal handler. `handled`: the program has a handler of its own for it.
#[nowritebarrierrec]
pub(crate) fn asked(sched: &Sched, m: Option<&'static M>, context: &libc::ucontext_t, handled: bool) -> bool {
    if sched.exiting.load(Ordering::SeqCst) || TOP.load(Ordering::SeqCst) == 0 {
        return false;
    }
    if !PRINTING.swap(true, Ordering::SeqCst) {
        print(sched, m, context, handled);
        PRINTING.store(false, Ordering::SeqCst);
    }
    !handled
}

struct Dump<'a> {
    sched: &'a Sched,
    here: Option<Seen>,
    /// The process ends.
    ends: bool,
}

fn print(sched: &Sched, m: Option<&'static M>, context: &libc::ucontext_t, handled: bool) {
    let mut dump = Dump { sched, here: m.map(|m| crate::sight::own(m, context)), ends: !handled };
    // SAFETY: the stack is used by one thread at a time, which has moved `PRINTING`; `on_own_stack` gets what it expects.
    unsafe { crate::arch::call_on(TOP.load(Ordering::SeqCst), (&raw mut dump).cast(), on_own_stack) };
    if !handled {
        // SAFETY: ends the process.
        unsafe { libc::_exit(2) };
    }
}

/// # Safety
/// `dump` points to a `Dump`.
unsafe extern "C" fn on_own_stack(dump: *mut ()) {
    // SAFETY: the caller's contract.
    let dump = unsafe { &*dump.cast::<Dump<'_>>() };
    print_line(format_args!("SIGQUIT: quit"));
    crate::dump::goroutines_from(dump.sched, dump.here.as_ref());
    crate::dump::threads(dump.sched, dump.here.as_ref());
    print_line(format_args!(""));
    crate::schedtrace::print(dump.sched, crate::time::nanotime() - dump.sched.began, true);
    if dump.ends {
        crate::trace::end_fatally(dump.sched);
    }
}
