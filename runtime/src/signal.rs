//! Signals: stack overflow. (Suspending goroutines by a signal: `suspend`.)
//!
//! A goroutine that runs into the guard of its stack faults; the handler runs on the M's alternate stack, says whose
//! stack it was, and ends the process with status 2. A fault anywhere else goes to the action that was installed
//! before ours (std's, which knows the guards of its own threads).

use crate::sched::Sched;
use crate::stack::Hit;
use barrier_lint::{certify, nowritebarrierrec};
use core::cell::UnsafeCell;
use core::mem::MaybeUninit;
use gc_core::sync::{AtomicPtr, Ordering, RawLock};

certify! {
    use libc::{_exit, mmap, munmap, sigaltstack, signal as set_signal}: "system calls";
    use gc_core::fatal::print_line: "formats on the stack, and writes";
    use core::mem::transmute: "nothing runs";
    trait Fault { si_addr } for libc::siginfo_t: "reads a field";
}

/// Bytes of an M's alternate stack; AVX-512 and AMX state alone takes 12 KiB.
pub(crate) const ALTSTACK: usize = 64 << 10;

/// The runtime whose stacks the handler knows. A signal handler has no argument to pass it by.
static LIVE: AtomicPtr<Sched> = AtomicPtr::new(core::ptr::null_mut());

struct Old {
    lock: RawLock,
    actions: UnsafeCell<[MaybeUninit<libc::sigaction>; 2]>,
    installed: UnsafeCell<bool>,
}

// SAFETY: written once, under the lock, before our handler can run.
unsafe impl Sync for Old {}

static OLD: Old = Old {
    lock: RawLock::new(),
    actions: UnsafeCell::new([const { MaybeUninit::uninit() }; 2]),
    installed: UnsafeCell::new(false),
};

const SIGNALS: [libc::c_int; 2] = [libc::SIGSEGV, libc::SIGBUS];

/// Installs the handler (once per process) and tells it whose stacks to know.
pub(crate) fn install(sched: &'static Sched) {
    LIVE.store(core::ptr::from_ref(sched).cast_mut(), Ordering::SeqCst);
    OLD.lock.lock();
    // SAFETY: under the lock; the handler reads `actions` only after `sigaction` below installed it.
    unsafe {
        if !*OLD.installed.get() {
            *OLD.installed.get() = true;
            for (i, signal) in SIGNALS.into_iter().enumerate() {
                let mut action: libc::sigaction = core::mem::zeroed();
                action.sa_sigaction = handler as *const () as usize;
                action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESTART;
                libc::sigfillset(&raw mut action.sa_mask);
                // First the old one, so that the handler finds it.
                libc::sigaction(signal, core::ptr::null(), (*OLD.actions.get())[i].as_mut_ptr());
                libc::sigaction(signal, &raw const action, core::ptr::null_mut());
            }
        }
    }
    OLD.lock.unlock();
}

/// Interrupts anything, with a P or without.
#[nowritebarrierrec(indirect = "an action that was installed before ours knows nothing of the heap")]
unsafe extern "C" fn handler(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: null, or a scheduler that lives for ever.
    let sched = unsafe { LIVE.load(Ordering::SeqCst).as_ref() };
    // SAFETY: the kernel passes a filled siginfo.
    let addr = unsafe { (*info).si_addr() }.addr();
    if let Some(sched) = sched
        && let Hit::Guard(stack) = sched.stacks.hit(addr)
    {
        // SAFETY: the kernel passes the interrupted context.
        let pc = unsafe { (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs[libc::REG_RIP as usize] } as usize;
        print_line(format_args!("fatal error: stack overflow"));
        let id = crate::g::getg().map_or(0, |gp| gp.id.load(Ordering::Relaxed));
        print_line(format_args!(
            "goroutine {id} needs more than the {} KiB of its stack [{:#x}, {:#x}); address {addr:#x}, pc {pc:#x} {}",
            (stack.hi - stack.lo) >> 10,
            stack.lo,
            stack.hi,
            crate::deadlock::Symbol(pc),
        ));
        // SAFETY: ends the process.
        unsafe { _exit(2) };
    }
    // SAFETY: `install` filled the entry before this handler was installed.
    unsafe {
        let old = (*OLD.actions.get())[usize::from(signal == libc::SIGBUS)].assume_init_ref();
        match old.sa_sigaction {
            libc::SIG_DFL | libc::SIG_IGN => {
                // Back to the default; the instruction faults again and ends the process.
                set_signal(signal, libc::SIG_DFL);
            }
            f if old.sa_flags & libc::SA_SIGINFO != 0 => {
                let f =
                    transmute::<usize, unsafe extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void)>(f);
                f(signal, info, context);
            }
            f => {
                let f = transmute::<usize, unsafe extern "C" fn(libc::c_int)>(f);
                f(signal);
            }
        }
    }
}

/// An alternate signal stack for this thread; null if there was no memory.
#[nowritebarrierrec]
pub(crate) fn install_altstack() -> *mut libc::c_void {
    // SAFETY: a fresh mapping, used by this thread only until `remove_altstack`.
    unsafe {
        let p = mmap(
            core::ptr::null_mut(),
            ALTSTACK,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        );
        if p == libc::MAP_FAILED {
            return core::ptr::null_mut();
        }
        let stack = libc::stack_t { ss_sp: p, ss_flags: 0, ss_size: ALTSTACK };
        sigaltstack(&raw const stack, core::ptr::null_mut());
        p
    }
}

/// Ends the use of an alternate stack of [`install_altstack`].
#[nowritebarrierrec]
pub(crate) fn remove_altstack(p: *mut libc::c_void) {
    if p.is_null() {
        return;
    }
    // SAFETY: this thread's own alternate stack, and it is not running on it.
    unsafe {
        let off = libc::stack_t { ss_sp: core::ptr::null_mut(), ss_flags: libc::SS_DISABLE, ss_size: 0 };
        sigaltstack(&raw const off, core::ptr::null_mut());
        munmap(p, ALTSTACK);
    }
}
