//! A one-shot event, as Go's `note`: one thread sleeps until another one wakes it.
//!
//! `clear` comes before the sleeper announces itself, `wakeup` happens once, `sleep` returns after it. The store of
//! `wakeup` is Release and pairs with the Acquire of `sleep`, so what the waker wrote is seen by the sleeper.

#[cfg(not(modelled))]
use super::nanos;
use super::{AtomicU32, Ordering};
use barrier_lint::nowritebarrierrec;
use core::time::Duration;

#[cfg(not(modelled))]
barrier_lint::certify! {
    use libc::syscall: "the kernel runs no code of ours";
}

#[cfg(modelled)]
std::thread_local! {
    /// How many limits pass yet. All model threads share the OS thread.
    static PASS: core::cell::Cell<u32> = const { core::cell::Cell::new(u32::MAX) };
}

/// Says how many limits pass in an execution; afterwards who sleeps with one sleeps until he is woken. For models of what
/// must come about without another try. Before the threads of a model start.
#[cfg(modelled)]
pub fn limits_that_pass(n: u32) {
    PASS.set(n);
}

/// How many limits pass on one note, at most, before the model fails: all others have run as far as they can by then.
#[cfg(modelled)]
const PATIENCE: u32 = 200;

/// A one-shot event between a sleeper and a waker.
pub struct Note {
    key: AtomicU32,
    /// Limits that have passed since it was cleared: no part of what is modelled.
    #[cfg(modelled)]
    in_vain: core::sync::atomic::AtomicU32,
    /// What the futex is in models.
    #[cfg(modelled)]
    futex: &'static (super::explorer::sync::Mutex<()>, super::explorer::sync::Condvar),
}

#[nowritebarrierrec]
impl Note {
    /// A note that has not been signalled.
    #[cfg(not(modelled))]
    pub const fn new() -> Note {
        Note { key: AtomicU32::new(0) }
    }

    /// A note that has not been signalled.
    #[cfg(modelled)]
    pub fn new() -> Note {
        Note { key: AtomicU32::new(0), in_vain: Default::default(), futex: Box::leak(Box::default()) }
    }

    /// Makes the note ready for another round. Only while nobody sleeps on it.
    #[inline]
    pub fn clear(&self) {
        // Relaxed: the sleeper publishes itself (list, lock) after this, which orders it.
        self.key.store(0, Ordering::Relaxed);
        #[cfg(modelled)]
        self.in_vain.store(0, Ordering::Relaxed);
    }

    /// Whether `wakeup` has happened since the last `clear`.
    #[inline]
    pub fn is_set(&self) -> bool {
        self.key.load(Ordering::Acquire) != 0
    }

    /// Wakes the sleeper, now or when it comes. May run without a P.
    #[inline]
    pub fn wakeup(&self) {
        self.key.store(1, Ordering::Release);
        #[cfg(not(modelled))]
        futex_wake(&self.key, 1);
        #[cfg(modelled)]
        {
            drop(self.futex.0.lock());
            self.futex.1.notify_all();
        }
    }

    /// Sleeps until `wakeup`. May run without a P.
    pub fn sleep(&self) {
        #[cfg(not(modelled))]
        while !self.is_set() {
            futex_wait(&self.key, 0, None);
        }
        #[cfg(modelled)]
        {
            let mut held = self.futex.0.lock().expect("nobody panics with it");
            while !self.is_set() {
                held = self.futex.1.wait(held).expect("nobody panics with it");
            }
        }
    }

    /// Sleeps until `wakeup` or for about `limit`; says whether the note was signalled. May run without a P.
    pub fn sleep_for(&self, limit: Duration) -> bool {
        #[cfg(not(modelled))]
        {
            let begin = nanos();
            let limit = limit.as_nanos() as u64;
            while !self.is_set() {
                let spent = nanos() - begin;
                if spent >= limit {
                    return false;
                }
                // The futex also returns on a signal (EINTR), hence the loop with the time that is left.
                futex_wait(&self.key, 0, Some(limit - spent));
            }
            true
        }
        #[cfg(modelled)]
        {
            if PASS.get() == 0 {
                self.sleep();
            } else if PASS.get() < u32::MAX {
                PASS.set(PASS.get() - 1);
            } else if !self.is_set() {
                // The limit passes whenever nobody else can run.
                let before = self.in_vain.fetch_add(1, Ordering::Relaxed);
                assert!(
                    before < PATIENCE,
                    "a thread waits for what never comes to its end: {before} limits have passed"
                );
                super::yield_now();
                super::pass(limit.as_nanos() as u64);
            }
            self.is_set()
        }
    }

    /// As [`sleep_for`](Note::sleep_for), but awake: for what comes about sooner than a thread falls asleep and wakes up.
    /// May run without a P.
    pub fn spin_for(&self, limit: Duration) -> bool {
        #[cfg(not(modelled))]
        {
            let (begin, limit) = (nanos(), limit.as_nanos() as u64);
            while !self.is_set() {
                if nanos() - begin >= limit {
                    return false;
                }
                core::hint::spin_loop();
            }
            true
        }
        #[cfg(modelled)]
        self.sleep_for(limit)
    }
}

impl Default for Note {
    fn default() -> Self {
        Self::new()
    }
}

/// Sleeps while `*word == expected`; returns on a wake-up, a signal, the limit (nanoseconds), or for no reason.
#[cfg(not(modelled))]
#[nowritebarrierrec]
pub(super) fn futex_wait(word: &AtomicU32, expected: u32, limit: Option<u64>) {
    const SECOND: u64 = 1_000_000_000;
    let nanos = limit.unwrap_or(0);
    let spec = libc::timespec { tv_sec: (nanos / SECOND) as libc::time_t, tv_nsec: (nanos % SECOND) as libc::c_long };
    let timeout = if limit.is_some() { core::ptr::addr_of!(spec) } else { core::ptr::null() };
    // SAFETY: `word` is a live, aligned u32 and `timeout` is null or a live timespec for the length of the call.
    unsafe {
        syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG, expected, timeout);
    }
}

/// Wakes up to `count` sleepers on `word`.
#[cfg(not(modelled))]
#[nowritebarrierrec]
pub(super) fn futex_wake(word: &AtomicU32, count: i32) {
    // SAFETY: the kernel only uses the address as a key.
    unsafe {
        syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG, count);
    }
}

/// Whether the kernel can fence all threads of this process ([`fence_all`]); asks it the first time.
#[nowritebarrierrec]
pub(super) fn can_fence_all() -> bool {
    #[cfg(any(modelled, miri))]
    return cfg!(modelled);
    #[cfg(not(any(modelled, miri)))]
    {
        use core::sync::atomic::AtomicU8;
        const YES: u8 = 1;
        const NO: u8 = 2;
        static ANSWER: AtomicU8 = AtomicU8::new(0);
        // Relaxed: it says the same to whoever asks.
        match ANSWER.load(Ordering::Relaxed) {
            0 => {
                // SAFETY: touches no memory.
                let answer = unsafe { syscall(libc::SYS_membarrier, REGISTER, 0, 0) } == 0;
                ANSWER.store(if answer { YES } else { NO }, Ordering::Relaxed);
                answer
            }
            answer => answer == YES,
        }
    }
}

#[cfg(not(any(modelled, miri)))]
const REGISTER: libc::c_int = libc::MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED;

/// A full fence on every thread of this process that runs now; false: the kernel refuses (a sandbox that has been entered
/// meanwhile). Some microseconds.
#[cfg(not(modelled))]
#[nowritebarrierrec]
pub(super) fn fence_all() -> bool {
    // SAFETY: touches no memory.
    unsafe { syscall(libc::SYS_membarrier, libc::MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) == 0 }
}
