//! What this thread is right now: the word that `set` tests, its P's collector part, its G and its M.
//!
//! Four thread-local words, read and written by single volatile instructions: no compiler may carry one across a
//! switch to another thread, as it does with `thread_local!`. On foreign threads they read [`NO_P`] and null.
//!
//! The first word is what a pointer store tests. Bit 0 ([`BARRIER`]): the write barrier is on. Bit 1 ([`NO_P`]):
//! this thread holds no P. One test is the fast path and invariant I1's check at once. Who moves it:
//! `release_p` sets `NO_P` *before* the P is given up; `acquire_p` loads the phase *after* it is held; a phase flip
//! writes the words of all threads that hold a P, while none of them runs. Bit 2 ([`STOPPED`]): another thread has stopped
//! the world, and this one runs nevertheless; the collector sets and clears it (`stop`).

use super::{AtomicU32, Ordering};
use barrier_lint::nowritebarrierrec;

/// Bit of the state word: the write barrier is on.
pub const BARRIER: u32 = 1;
/// Bit of the state word: this thread holds no P. The initial value.
pub const NO_P: u32 = 2;

/// Bit of the state word: the world is stopped, by another thread. Who sees it in its own word should not be running.
pub const STOPPED: u32 = 4;

/// The state word of this thread: [`BARRIER`], [`NO_P`] and [`STOPPED`].
#[nowritebarrierrec]
#[inline(always)]
pub fn state() -> u32 {
    imp::state()
}

/// Writes the state word of this thread.
#[nowritebarrierrec]
#[inline(always)]
pub fn set_state(bits: u32) {
    // Relaxed: read by its own thread, or written by a flip while this thread is stopped, which the stop orders.
    state_word().store(bits, Ordering::Relaxed);
}

/// The state word itself, for phase flips.
#[nowritebarrierrec]
#[inline(always)]
pub fn state_word() -> &'static AtomicU32 {
    imp::state_word()
}

macro_rules! slot {
    ($get:ident, $set:ident, $index:expr, $what:literal) => {
        #[doc = concat!("This thread's ", $what, "; null if it has none.")]
        #[nowritebarrierrec]
        #[inline(always)]
        pub fn $get() -> *mut () {
            imp::get::<$index>()
        }

        #[doc = concat!("Sets this thread's ", $what, ".")]
        #[nowritebarrierrec]
        #[inline(always)]
        pub fn $set(p: *mut ()) {
            imp::set::<$index>(p)
        }
    };
}
slot!(p, set_p, 1, "collector part of a P (`GcP`)");
slot!(g, set_g, 2, "G (owned by the host)");
slot!(m, set_m, 3, "M (owned by the host)");

#[cfg(all(target_arch = "x86_64", not(any(loom, miri))))]
mod imp {
    use barrier_lint::nowritebarrierrec;
    use core::arch::{asm, global_asm};

    // `.tdata`, since the state word does not start as zero. Local-exec addressing: one instruction per access,
    // for executables (a shared library would need the GOTTPOFF form).
    global_asm!(
        ".section .tdata.tricolor_current,\"awT\",@progbits",
        ".balign 8",
        ".globl tricolor_current",
        ".type tricolor_current,@object",
        ".size tricolor_current,32",
        "tricolor_current:",
        ".long {no_p}",
        ".long 0",
        ".quad 0",
        ".quad 0",
        ".quad 0",
        ".text",
        no_p = const super::NO_P,
    );

    #[nowritebarrierrec(asm = "reads or writes one thread-local word")]
    #[inline(always)]
    pub fn state() -> u32 {
        let bits: u32;
        // SAFETY: reads one thread-local word that exists on every thread.
        unsafe {
            asm!("mov {0:e}, dword ptr fs:[tricolor_current@TPOFF]", out(reg) bits,
                options(nostack, preserves_flags, readonly));
        }
        bits
    }

    #[nowritebarrierrec(asm = "reads or writes one thread-local word")]
    #[inline(always)]
    pub fn state_word() -> &'static super::AtomicU32 {
        let addr: *const super::AtomicU32;
        // SAFETY: computes the address of a thread-local word. It is 'static only as long as the thread lives:
        // Ms unregister theirs (release_p) before they end.
        unsafe {
            asm!("mov {0}, qword ptr fs:[0]", "lea {0}, [{0} + tricolor_current@TPOFF]", out(reg) addr,
                options(nostack, preserves_flags, readonly));
            &*addr
        }
    }

    #[nowritebarrierrec(asm = "reads or writes one thread-local word")]
    #[inline(always)]
    pub fn get<const I: usize>() -> *mut () {
        let p: *mut ();
        // SAFETY: as in `state`; `I` is 1, 2 or 3, inside the block.
        unsafe {
            asm!("mov {0}, qword ptr fs:[tricolor_current@TPOFF + {off}]", out(reg) p, off = const I * 8,
                options(nostack, preserves_flags, readonly));
        }
        p
    }

    #[nowritebarrierrec(asm = "reads or writes one thread-local word")]
    #[inline(always)]
    pub fn set<const I: usize>(p: *mut ()) {
        // SAFETY: as in `get`; only this thread uses the word.
        unsafe {
            asm!("mov qword ptr fs:[tricolor_current@TPOFF + {off}], {0}", in(reg) p, off = const I * 8,
                options(nostack, preserves_flags));
        }
    }
}

/// The Rust twin, for Miri and for machines whose assembly is not written yet.
#[cfg(all(not(loom), any(miri, not(target_arch = "x86_64"))))]
mod imp {
    use barrier_lint::{certify, nowritebarrierrec};
    use core::cell::Cell;

    struct Current {
        state: super::AtomicU32,
        slots: [Cell<*mut ()>; 4],
    }

    std::thread_local! {
        static CURRENT: Current = const {
            Current {
                state: super::AtomicU32::new(super::NO_P),
                slots: [const { Cell::new(core::ptr::null_mut()) }; 4],
            }
        };
    }

    /// This thread's block.
    fn block() -> &'static Current {
        // SAFETY: lives as long as the thread; Ms unregister theirs (release_p) before they end.
        CURRENT.with(|c| unsafe { &*core::ptr::from_ref(c) })
    }

    certify! {
        fn block: "reads the address of a thread-local";
    }

    #[nowritebarrierrec]
    pub fn state() -> u32 {
        block().state.load(super::Ordering::Relaxed)
    }

    #[nowritebarrierrec]
    pub fn state_word() -> &'static super::AtomicU32 {
        &block().state
    }

    #[nowritebarrierrec]
    pub fn get<const I: usize>() -> *mut () {
        block().slots[I].get()
    }

    #[nowritebarrierrec]
    pub fn set<const I: usize>(p: *mut ()) {
        block().slots[I].set(p);
    }
}

/// The twin for models: loom's threads share one OS thread, so each model thread has a leaked block of its own.
#[cfg(loom)]
mod imp {
    use barrier_lint::nowritebarrierrec;
    use core::cell::Cell;

    struct Current {
        state: super::AtomicU32,
        slots: [Cell<*mut ()>; 4],
    }

    loom::thread_local! {
        static CURRENT: &'static Current = Box::leak(Box::new(Current {
            state: super::AtomicU32::new(super::NO_P),
            slots: [const { Cell::new(core::ptr::null_mut()) }; 4],
        }));
    }

    #[nowritebarrierrec(indirect = "the twin: not checked in production builds")]
    pub fn state() -> u32 {
        state_word().load(super::Ordering::Relaxed)
    }

    #[nowritebarrierrec(indirect = "the twin: not checked in production builds")]
    pub fn state_word() -> &'static super::AtomicU32 {
        CURRENT.with(|c| &c.state)
    }

    #[nowritebarrierrec(indirect = "the twin: not checked in production builds")]
    pub fn get<const I: usize>() -> *mut () {
        CURRENT.with(|c| c.slots[I].get())
    }

    #[nowritebarrierrec(indirect = "the twin: not checked in production builds")]
    pub fn set<const I: usize>(p: *mut ()) {
        CURRENT.with(|c| c.slots[I].set(p));
    }
}
