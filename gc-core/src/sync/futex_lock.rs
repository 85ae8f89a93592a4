//! The word of a lock, and the futex behind it.
//!
//! States: 0 free, 1 held, 2 held and somebody may sleep (`CONTENDED`). Who comes to sleep swaps 2 in, and sleeps unless it got
//! 0; from then on it holds the lock as 2. `give_back` swaps 0 in, and wakes one if it got 2. Taking is Acquire, giving back
//! Release: they pair.
//!
//! **Given back without an exchange.** A lock that its user keeps alive beyond the give-back may be given back by a plain store,
//! after which it is looked at once more. The other side pays, who sleeps anyway: it counts itself, and has the kernel
//! fence all threads of the process (`membarrier`).
//!
//! ```text
//! holder (`give_back_kept`)                      waiter
//! sleepers are there: swaps, as above            sleepers + 1
//! state = 0, a plain store                       fence on every processor
//! sleepers are there now: wakes one              swaps 2 in; sleeps until it gets 0
//!                                                sleepers - 1
//! ```
//! The fence comes before the holder's second look, which then sees the waiter, or after it, and so after the store as well,
//! which the waiter's swap then finds. The store may overwrite a 2: of a waiter who had counted itself, so the second look
//! sees it or another one that came as late, unless it has the lock by now; and who wakes up holds the lock as 2, so
//! others who sleep are woken in turn.
//!
//! What would break
//! - without the fence: the store lies in the holder's store buffer until it has looked: the waiter sleeps on a free lock;
//! - if the lock were not kept alive (`park`'s is given back on g0, when its goroutine may go on already): the second look is
//!   at freed memory;
//! - if the first look were left out: each holder would wake somebody until the first sleeper is awake.

#[cfg(modelled)]
use super::explorer;
use super::{AtomicU32, Ordering};
use barrier_lint::nowritebarrierrec;

const FREE: u32 = 0;
const HELD: u32 = 1;
const CONTENDED: u32 = 2;

/// In `sleepers`: the lock may be given back without an exchange.
const KEPT: u32 = 1 << 31;

/// How often a waiter looks before it sleeps, each time after twice as long; a critical section here is some tens of
/// instructions.
const ROUNDS: u32 = if cfg!(modelled) { 0 } else { 7 };

/// How long a waiter sleeps at a time where the kernel has begun to refuse the fence, in nanoseconds.
const NAP: u64 = 1_000_000;

/// A lock without a rank, which does not tell the thread that it holds one.
pub struct FutexLock {
    state: AtomicU32,
    /// Who is about to sleep, sleeps or wakes up; and [`KEPT`].
    sleepers: AtomicU32,
    #[cfg(modelled)]
    model: &'static Model,
}

/// What processor and kernel are in models.
#[cfg(modelled)]
#[derive(Default)]
struct Model {
    /// The store buffer of the holder: whether the plain store is in there. loom's own relaxed stores do not go together with
    /// exchanges (see [`lower`](super::lower)).
    stored: explorer::sync::Mutex<bool>,
    asleep: explorer::sync::Mutex<()>,
    wakes: explorer::sync::Condvar,
}

#[nowritebarrierrec]
impl FutexLock {
    /// A free one.
    #[cfg(not(modelled))]
    pub const fn new() -> FutexLock {
        FutexLock { state: AtomicU32::new(FREE), sleepers: AtomicU32::new(0) }
    }

    /// A free one that [`give_back_kept`](FutexLock::give_back_kept) gives back without an exchange, where the kernel can
    /// fence.
    pub fn kept() -> FutexLock {
        FutexLock {
            state: AtomicU32::new(FREE),
            sleepers: AtomicU32::new(if super::note::can_fence_all() { KEPT } else { 0 }),
            #[cfg(modelled)]
            model: Box::leak(Box::default()),
        }
    }

    /// Takes it if it is free.
    #[inline]
    pub fn try_take(&self) -> bool {
        self.state.compare_exchange(FREE, HELD, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    /// Takes it.
    #[inline]
    pub fn take(&self) {
        if !self.try_take() {
            self.take_slow();
        }
    }

    #[cold]
    #[inline(never)]
    fn take_slow(&self) {
        for round in 0..ROUNDS {
            for _ in 0..1 << round {
                core::hint::spin_loop();
            }
            // A look first: an exchange takes the word away from its holder even where it fails.
            if self.state.load(Ordering::Relaxed) == FREE && self.try_take() {
                return;
            }
        }
        // Relaxed: this bit never changes.
        let kept = self.sleepers.load(Ordering::Relaxed) & KEPT != 0;
        let mut limit = None;
        if kept {
            self.sleepers.fetch_add(1, Ordering::SeqCst);
            if !self.fence_all() {
                limit = Some(NAP);
            }
        }
        // From here on this thread may sleep, so it holds the lock as CONTENDED: who gives it back wakes.
        while self.state.swap(CONTENDED, Ordering::Acquire) != FREE {
            self.sleep(limit);
        }
        if kept {
            // Relaxed: who does not see it yet wakes nobody, or somebody too early.
            self.sleepers.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Gives it back. The caller has it; the lock may be gone when another thread has taken it.
    #[inline]
    pub fn give_back(&self) {
        let old = self.state.swap(FREE, Ordering::Release);
        debug_assert_ne!(old, FREE, "unlock of a lock that nobody holds");
        if old == CONTENDED {
            self.wake();
        }
    }

    /// Gives it back. The caller has it, and keeps the lock alive until this returns.
    #[inline]
    pub fn give_back_kept(&self) {
        // Relaxed, both looks: the fence of who sleeps orders them with the store.
        if self.sleepers.load(Ordering::Relaxed) != KEPT {
            return self.give_back();
        }
        debug_assert_ne!(self.state.load(Ordering::Relaxed), FREE, "unlock of a lock that nobody holds");
        self.store_free();
        if self.sleepers.load(Ordering::Relaxed) != KEPT {
            self.wake();
        }
        #[cfg(modelled)]
        self.drain();
    }

    #[cfg(not(modelled))]
    #[inline(always)]
    fn store_free(&self) {
        self.state.store(FREE, Ordering::Release);
        // What the processor may do the kernel's fence undoes; what the compiler may do only this.
        core::sync::atomic::compiler_fence(Ordering::SeqCst);
    }

    #[cfg(not(modelled))]
    fn fence_all(&self) -> bool {
        super::note::fence_all()
    }

    #[cfg(not(modelled))]
    fn sleep(&self, limit: Option<u64>) {
        super::note::futex_wait(&self.state, CONTENDED, limit);
    }

    #[cfg(not(modelled))]
    #[cold]
    fn wake(&self) {
        super::note::futex_wake(&self.state, 1);
    }
}

#[cfg(modelled)]
impl FutexLock {
    fn store_free(&self) {
        *self.model.stored.lock().expect("nobody panics with it") = true;
    }

    /// The store leaves the store buffer.
    fn drain(&self) {
        let mut stored = self.model.stored.lock().expect("nobody panics with it");
        if core::mem::take(&mut *stored) {
            self.state.swap(FREE, Ordering::AcqRel);
        }
    }

    fn fence_all(&self) -> bool {
        super::modelled("FutexLock::fence_all");
        if !crate::faults::active(crate::faults::Fault::SleeperUnfenced) {
            self.drain();
        }
        true
    }

    fn sleep(&self, _: Option<u64>) {
        let asleep = self.model.asleep.lock().expect("nobody panics with it");
        // The futex compares and sleeps in one step.
        if self.state.load(Ordering::SeqCst) == CONTENDED {
            drop(self.model.wakes.wait(asleep));
        }
    }

    /// The kernel's lock for its sleepers orders the store before it looks for them.
    fn wake(&self) {
        self.drain();
        drop(self.model.asleep.lock());
        self.model.wakes.notify_one();
    }
}

#[cfg(all(test, not(modelled)))]
mod tests {
    use super::*;

    /// Four threads take turns, and give back in both ways, with so little done in between that waiters fall asleep all the
    /// time.
    fn contend(lock: &FutexLock) {
        let (mut n, rounds) = (0_u64, 20_000);
        let at = (&raw mut n).expose_provenance();
        let turns = |thread: u64| {
            for i in 0..rounds {
                lock.take();
                // SAFETY: under the lock, and `n` lives.
                unsafe { *core::ptr::with_exposed_provenance_mut::<u64>(at) += 1 };
                if i % 64 == 0 {
                    std::thread::yield_now();
                }
                if (i + thread).is_multiple_of(3) { lock.give_back() } else { lock.give_back_kept() }
            }
        };
        std::thread::scope(|s| {
            let threads = [0, 1, 2, 3].map(|thread| s.spawn(move || turns(thread)));
            threads.into_iter().for_each(|t| t.join().expect("no panic"));
        });
        assert_eq!(n, 4 * rounds);
        assert_eq!(lock.sleepers.load(Ordering::SeqCst) & !KEPT, 0);
    }

    #[test]
    fn one_at_a_time_and_nobody_sleeps_for_ever() {
        contend(&FutexLock::new());
        contend(&FutexLock::kept());
    }

    /// As in a sandbox that a program enters when it has started.
    #[cfg(all(target_os = "linux", not(miri)))]
    #[test]
    fn where_the_kernel_begins_to_refuse_sleepers_nap() {
        // A filter stays with its thread.
        std::thread::spawn(without_membarrier).join().expect("no panic");
    }

    #[cfg(all(target_os = "linux", not(miri)))]
    fn without_membarrier() {
        let lock = FutexLock::kept();
        let instruction = |code: u32, k: u32, jf| libc::sock_filter { code: code as u16, jt: 0, jf, k };
        let mut filter = [
            // The number of the system call: the first word.
            instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0),
            instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, libc::SYS_membarrier as u32, 1),
            instruction(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32, 0),
            instruction(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW, 0),
        ];
        let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
        // SAFETY: a filter for this thread, and for those that it starts; nobody else sees it.
        let entered = unsafe {
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
                && libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) == 0
        };
        if !entered {
            let why = b"SKIPPED: where_the_kernel_begins_to_refuse_sleepers_nap: the kernel has no filters\n";
            return std::io::Write::write_all(&mut std::io::stderr(), why).expect("stderr can be written");
        }
        assert!(!lock.fence_all());
        contend(&lock);
    }
}
