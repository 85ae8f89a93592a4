//! Signals from one thread of the host to another, with a mark: what comes with it was sent by the host, and all else is
//! somebody else's, to be passed on. The mark travels in the signal's value, since a word that the sender sets tells nothing:
//! another signal may come first, and its handler finds the word set.

use barrier_lint::{certify, nowritebarrierrec};

/// What the kernel copies for a signal that is sent with a value. It fills in the signal's number itself.
#[repr(C)]
struct SignalInfo {
    _signal_and_errno: [libc::c_int; 2],
    code: libc::c_int,
    _gap: libc::c_int,
    _sender: [libc::c_int; 2],
    value: *const u8,
    _rest: [u8; 96],
}

const _: () = assert!(size_of::<SignalInfo>() == size_of::<libc::siginfo_t>());

// SAFETY: never written.
unsafe impl Sync for SignalInfo {}

/// The host's own signals carry its address.
static MARK: u8 = 0;

static MARKED: SignalInfo = SignalInfo {
    _signal_and_errno: [0; 2],
    code: libc::SI_QUEUE,
    _gap: 0,
    _sender: [0; 2],
    value: &raw const MARK,
    _rest: [0; 96],
};

certify! {
    use libc::{getpid, syscall}: "the kernel runs no code of ours, but for the handler, which answers for itself";
    trait Value { si_value } for libc::siginfo_t: "reads a field";
}

/// Sends `signal` to a thread of this process, marked as the host's own ([`is_marked`]); whether that thread exists.
#[nowritebarrierrec]
pub fn send(thread: u32, signal: u32) -> bool {
    // SAFETY: the kernel reads the info, which is as large as its own. Where a sandbox has no such call the signal comes
    // without its mark.
    unsafe {
        syscall(libc::SYS_rt_tgsigqueueinfo, getpid(), thread, signal, &raw const MARKED) == 0
            || syscall(libc::SYS_tgkill, getpid(), thread, signal) == 0
    }
}

/// What a timer's signal must carry to count as the host's own.
#[nowritebarrierrec]
pub fn mark() -> libc::sigval {
    libc::sigval { sival_ptr: (&raw const MARK).cast_mut().cast() }
}

/// Whether a signal is one that [`send`] has sent, or that of a timer with the [`mark`].
#[nowritebarrierrec]
pub fn is_marked(info: &libc::siginfo_t) -> bool {
    let has_value = info.si_code == libc::SI_QUEUE || info.si_code == libc::SI_TIMER;
    // SAFETY: such a signal has a value.
    has_value && unsafe { info.si_value() }.sival_ptr.cast_const().cast() == &raw const MARK
}
