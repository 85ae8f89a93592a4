//! Signals: one way in for all that the runtime takes, and one way on to what the program had there before.
//!
//! | signal | what the runtime does with it | otherwise |
//! |---|---|---|
//! | SIGSEGV, SIGBUS | in the guard of a goroutine's stack: says whose stack it was, ends the process with status 2 | on |
//! | SIGURG | marked as sent by the runtime (`sync::signal::is_marked`): suspends (`suspend`), or notes where the thread is (`sight`) | on |
//! | SIGQUIT | while a runtime runs: prints all goroutines (`quit`); with nothing to go on to, ends with status 2 | on |
//!
//! `take_over` keeps the action that was there; `pass_on` calls it as it was installed: plain or with SA_SIGINFO. The
//! default action happens as if nobody had taken the signal. Threads that are no Ms are the program's own affair: what
//! interrupts them goes on at once, but for SIGQUIT.
//!
//! All handlers of the program get SA_ONSTACK when a runtime starts (as in Go): a handler without it would run on a
//! goroutine's stack, which may have no room for it. And the thread that enters a runtime gets a signal stack of ours
//! while it waits: the one that std gives the main thread is unmapped by whichever thread calls `std::process::exit`, and
//! from then on a signal to the main thread would kill the process.
//!
//! What would break if errno were not put back: a goroutine that is suspended between a failed system call and its look
//! at errno would see another error.

use crate::m::getm;
use crate::sched::Sched;
use crate::stack::Hit;
use crate::symbol::Symbol;
use barrier_lint::{certify, nowritebarrierrec};
use core::cell::UnsafeCell;
use core::mem::MaybeUninit;
use core::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

certify! {
    use libc::{_exit, getpid, gettid, mmap, munmap, sigaltstack, signal as set_signal, syscall}: "system calls";
    use libc::__errno_location: "an address";
    use gc_core::fatal::print_line: "formats on the stack, and writes";
    use core::mem::transmute: "nothing runs";
    trait Fault { si_addr } for libc::siginfo_t: "reads a field";
}

/// Bytes of a signal stack; AVX-512 and AMX state alone takes 12 KiB.
pub(crate) const ALTSTACK: usize = 64 << 10;

/// The runtime that handlers serve. A signal handler has no argument to pass it by.
static LIVE: AtomicPtr<Sched> = AtomicPtr::new(core::ptr::null_mut());

/// What was installed before.
struct Before {
    taken: AtomicBool,
    action: UnsafeCell<MaybeUninit<libc::sigaction>>,
}

// SAFETY: written once, by who moves `taken`, before our handler can run for that signal.
unsafe impl Sync for Before {}

/// One more than the highest signal.
const SIGNALS: usize = 65;

static BEFORE: [Before; SIGNALS] =
    [const { Before { taken: AtomicBool::new(false), action: UnsafeCell::new(MaybeUninit::uninit()) } }; SIGNALS];

/// Takes the signals (once per process), and tells the handler whom to serve.
pub(crate) fn install(sched: &'static Sched) {
    LIVE.store(core::ptr::from_ref(sched).cast_mut(), Ordering::SeqCst);
    give_signal_stacks();
    take_over(libc::SIGSEGV);
    take_over(libc::SIGBUS);
    take_over(libc::SIGURG);
    // Who starts a program with it ignored (`nohup`) means it.
    if before(libc::SIGQUIT).is_none_or(|action| action.sa_sigaction != libc::SIG_IGN) {
        crate::quit::prepare();
        take_over(libc::SIGQUIT);
    }
}

/// The present action of a signal that is not taken yet.
fn before(signal: libc::c_int) -> Option<libc::sigaction> {
    // SAFETY: reads an action into a live structure, for which all zero is valid.
    unsafe {
        let mut action: libc::sigaction = core::mem::zeroed();
        (libc::sigaction(signal, core::ptr::null(), &raw mut action) == 0).then_some(action)
    }
}

/// Installs `handler` for a signal, once, and keeps what was there.
fn take_over(signal: libc::c_int) {
    let slot = &BEFORE[signal as usize];
    if slot.taken.swap(true, Ordering::SeqCst) {
        return;
    }
    let Some(old) = before(signal) else { return };
    // SAFETY: the swap above makes this the only writer, and nobody reads before the handler is installed; it does
    // nothing on threads that are no Ms but go on to what was there.
    unsafe {
        (*slot.action.get()).write(old);
        let mut action: libc::sigaction = core::mem::zeroed();
        action.sa_sigaction = handler as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESTART;
        libc::sigfillset(&raw mut action.sa_mask);
        libc::sigaction(signal, &raw const action, core::ptr::null_mut());
    }
}

/// Gives SA_ONSTACK to all handlers that the program has installed.
fn give_signal_stacks() {
    for signal in 1..SIGNALS as libc::c_int {
        if let Some(mut action) = before(signal)
            && action.sa_sigaction > libc::SIG_IGN
            && action.sa_flags & libc::SA_ONSTACK == 0
        {
            action.sa_flags |= libc::SA_ONSTACK;
            // SAFETY: the same action, on another stack. Those of libc's own signals it refuses to change.
            unsafe { libc::sigaction(signal, &raw const action, core::ptr::null_mut()) };
        }
    }
}

/// Interrupts anything, with a P or without, on any thread.
#[nowritebarrierrec]
unsafe extern "C" fn handler(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: this thread's errno, which the interrupted code may be about to read.
    let errno = unsafe { *__errno_location() };
    // SAFETY: null, or a scheduler that lives for ever.
    let sched = unsafe { LIVE.load(Ordering::SeqCst).as_ref() };
    // SAFETY: the kernel passes the interrupted context, and a filled siginfo.
    let (context, told, fault) =
        unsafe { (&mut *context.cast::<libc::ucontext_t>(), &*info, (*info).si_addr().addr()) };
    let done = match (signal, sched, getm()) {
        // SAFETY: what the kernel says and has interrupted, on this M.
        (libc::SIGURG, _, Some(m)) => unsafe { crate::suspend::asked(m, told, context) },
        (libc::SIGURG, ..) => false,
        (libc::SIGQUIT, Some(sched), m) => crate::quit::asked(sched, m, context, is_handled(signal)),
        (_, Some(sched), _) => overflow(sched, fault, context),
        _ => false,
    };
    if !done {
        // SAFETY: what the kernel has passed.
        unsafe { pass_on(signal, info, context) };
    }
    // SAFETY: as above.
    unsafe { *__errno_location() = errno };
}

/// Whether a handler of the program was there before ours.
#[nowritebarrierrec]
fn is_handled(signal: libc::c_int) -> bool {
    // SAFETY: `take_over` filled it before the handler, which calls this, was installed.
    unsafe { action_before(signal).sa_sigaction > libc::SIG_IGN }
}

/// # Safety
/// The signal has been taken.
#[nowritebarrierrec]
unsafe fn action_before(signal: libc::c_int) -> &'static libc::sigaction {
    // SAFETY: the caller's contract: it is filled, and never written again.
    unsafe { &*BEFORE[signal as usize].action.get().cast::<libc::sigaction>() }
}

/// Does what would have happened without the runtime.
///
/// # Safety
/// In our handler, with what it was called with.
#[nowritebarrierrec(indirect = "a handler that was installed before ours knows nothing of the heap")]
unsafe fn pass_on(signal: libc::c_int, info: *mut libc::siginfo_t, context: &mut libc::ucontext_t) {
    // SAFETY: the signal has been taken; a handler is called with what it was installed for.
    unsafe {
        let old = action_before(signal);
        // What the kernel itself raises for an instruction has a positive code.
        let by_instruction = (*info).si_code > 0 && (signal == libc::SIGSEGV || signal == libc::SIGBUS);
        match old.sa_sigaction {
            libc::SIG_IGN if !by_instruction => {}
            libc::SIG_DFL | libc::SIG_IGN => {
                if signal == libc::SIGURG {
                    return; // is ignored by default
                }
                set_signal(signal, libc::SIG_DFL);
                if !by_instruction {
                    // It arrives when this handler returns. (An instruction simply faults again.)
                    syscall(libc::SYS_tgkill, getpid(), gettid(), signal);
                }
            }
            f if old.sa_flags & libc::SA_SIGINFO != 0 => {
                let f =
                    transmute::<usize, unsafe extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void)>(f);
                f(signal, info, core::ptr::from_mut(context).cast());
            }
            f => {
                let f = transmute::<usize, unsafe extern "C" fn(libc::c_int)>(f);
                f(signal);
            }
        }
    }
}

/// Ends the process if `addr` is in the guard of a goroutine's stack.
#[nowritebarrierrec]
fn overflow(sched: &Sched, addr: usize, context: &libc::ucontext_t) -> bool {
    let stack = match (sched.stacks.hit(addr), crate::g::getg()) {
        (Hit::Guard(stack), _) => stack,
        (Hit::Outside, Some(gp)) => match gp.segments.guarding(addr) {
            Some(stack) => stack,
            None => return false,
        },
        _ => return false,
    };
    let (pc, ..) = crate::arch::interrupted_at(context);
    print_line(format_args!("fatal error: stack overflow"));
    let id = match crate::g::getg() {
        Some(gp) => gp.id.load(Ordering::Relaxed),
        None => 0,
    };
    print_line(format_args!(
        "goroutine {id} needs more than the {} KiB of its stack [{:#x}, {:#x}); address {addr:#x}, pc {pc:#x} {}",
        (stack.hi - stack.lo) >> 10,
        stack.lo,
        stack.hi,
        Symbol::at(pc),
    ));
    // SAFETY: ends the process.
    unsafe { _exit(2) }
}

/// A signal stack of ours that a thread has, instead of what it had before.
pub(crate) struct SignalStack {
    /// Its lowest address.
    pub(crate) lo: *mut libc::c_void,
    before: libc::stack_t,
}

/// Gives this thread a [`SignalStack`]. None: no memory.
#[nowritebarrierrec]
pub(crate) fn install_altstack() -> Option<SignalStack> {
    let access = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a fresh mapping, used by this thread only until `remove`.
    unsafe {
        let lo = mmap(core::ptr::null_mut(), ALTSTACK, access, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0);
        if lo == libc::MAP_FAILED {
            return None;
        }
        let ours = libc::stack_t { ss_sp: lo, ss_flags: 0, ss_size: ALTSTACK };
        let mut before = ours;
        if sigaltstack(&raw const ours, &raw mut before) == 0 {
            return Some(SignalStack { lo, before });
        }
        munmap(lo, ALTSTACK);
        None
    }
}

impl SignalStack {
    /// Gives this thread back what it had before.
    #[nowritebarrierrec]
    pub(crate) fn remove(self) {
        // SAFETY: this thread's own signal stack, on which it is not running.
        unsafe {
            sigaltstack(&raw const self.before, core::ptr::null_mut());
            munmap(self.lo, ALTSTACK);
        }
    }
}
