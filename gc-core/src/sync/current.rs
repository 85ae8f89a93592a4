//! What this thread is right now: the word that `set` tests, the in-runtime count, its P's collector part, its G and
//! its M.
//!
//! Five thread-local words, read and written by single volatile instructions: no compiler may carry one across a
//! switch to another thread, as it does with `thread_local!`. On foreign threads they read [`NO_P`] and null.
//!
//! The first word is what a pointer store tests. Bit 0 ([`BARRIER`]): the write barrier is on. Bit 1 ([`MARKING`]): it is
//! on because a cycle marks, and new objects are black. Bit 2 ([`NO_P`]): this thread holds no P. One test is the fast
//! path and invariant I1's check at once. Who moves it: `release_p` sets `NO_P` *before* the P is given up; `acquire_p`
//! loads the phase *after* it is held; a phase flip writes the words of all threads that hold a P, while none of them
//! runs. Bit 3 ([`STOPPED`]): another thread has stopped the world, and this one runs nevertheless; the collector sets and
//! clears it (`stop`).
//!
//! The second word counts reasons why this thread must not be suspended where it is (Go's `m.locks`): it is inside the
//! runtime, holds one of its locks, or is between two steps that belong to one phase. Only its own thread touches it;
//! a signal handler of the host that runs on the thread reads it. A thread of the host starts with 1 ([`Region`]
//! and [`RawLock`](super::RawLock) add to it), and only goroutine code outside the runtime runs with 0.
//!
//! A handler that refuses for that reason leaves the number of its signal in the last word. Whoever makes the count zero
//! reads that word *after* it has stored the count, and sends the signal to its own thread: so the thread stops at the
//! first instruction at which it may. What would break in the other order: a signal between the look and the store would be
//! refused and forgotten, and the requester would have to try again until one hits.

use super::{AtomicU32, Ordering};
use barrier_lint::nowritebarrierrec;

/// Bit of the state word: the write barrier is on.
pub const BARRIER: u32 = 1;
/// Bit of the state word, with [`BARRIER`]: a cycle marks.
pub const MARKING: u32 = 2;
/// The bits that say in which phase the collector is.
pub const PHASE: u32 = BARRIER | MARKING;
/// Bit of the state word: this thread holds no P. The initial value.
pub const NO_P: u32 = 4;

/// Bit of the state word: the world is stopped, by another thread. Who sees it in its own word should not be running.
pub const STOPPED: u32 = 8;

/// The state word of this thread: [`BARRIER`], [`MARKING`], [`NO_P`] and [`STOPPED`].
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

/// Reasons why this thread must not be suspended where it is.
#[nowritebarrierrec]
#[inline(always)]
pub fn locks() -> u32 {
    imp::locks()
}

/// Sets the in-runtime count: at the start of a thread, and where a switch to another stack comes back.
#[nowritebarrierrec]
#[inline(always)]
pub fn set_locks(n: u32) {
    imp::set_locks(n);
    if n == 0 && refused() != 0 {
        come_again();
    }
}

/// Offset of the in-runtime count in the block `tricolor_current`, for assembly of the host.
pub const IN_RUNTIME_OFFSET: usize = 4;
/// Offset of the M there.
pub const M_OFFSET: usize = 24;
/// Offset of the 32-bit word there that says that a stop was refused: see [`set_refused`].
pub const STOP_PENDING_OFFSET: usize = 32;

/// Notes, in a handler of `signal` on this thread, that it refused to stop here; 0: that the stop has come, or that
/// nobody waits for it any more.
#[nowritebarrierrec]
#[inline(always)]
pub fn set_refused(signal: u32) {
    imp::set_refused(signal);
}

/// The signal that was refused on this thread; 0: none.
#[nowritebarrierrec]
#[inline(always)]
pub fn refused() -> u32 {
    imp::refused()
}

/// The count has become zero after a signal was refused: sends it again.
#[cold]
#[inline(never)]
#[nowritebarrierrec]
fn come_again() {
    imp::come_again();
}

/// One reason more not to suspend this thread.
#[nowritebarrierrec]
#[inline(always)]
pub fn lock() {
    imp::lock();
}

/// One reason less.
#[nowritebarrierrec]
#[inline(always)]
pub fn unlock() {
    imp::unlock();
}

/// A stretch in which this thread is not suspended where it is: its steps see one phase of the collector, and nobody
/// else looks at what it has under way. Ends with the value.
#[must_use]
#[derive(Debug)]
pub struct Region(());

impl Region {
    /// Begins it. May run without a P.
    #[nowritebarrierrec(assoc)]
    #[inline(always)]
    pub fn enter() -> Region {
        lock();
        Region(())
    }
}

#[nowritebarrierrec]
impl Drop for Region {
    #[inline(always)]
    fn drop(&mut self) {
        unlock();
    }
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

#[cfg(all(target_arch = "x86_64", not(any(modelled, miri))))]
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
        ".size tricolor_current,40",
        "tricolor_current:",
        ".long {no_p}",
        ".long 0",
        ".quad 0",
        ".quad 0",
        ".quad 0",
        // The signal that was refused (`set_refused`).
        ".quad 0",
        ".text",
        no_p = const super::NO_P,
    );

    /// A function that reads, or one that writes, the 32-bit word at an offset in the block. None is `nomem`: what a
    /// region guards stays on its side of them.
    macro_rules! word {
        (get $get:ident at $at:expr $(, $readonly:ident)?) => {
            #[nowritebarrierrec(asm = "reads or writes one thread-local word")]
            #[inline(always)]
            pub fn $get() -> u32 {
                let word: u32;
                // SAFETY: reads one thread-local word that exists on every thread.
                unsafe {
                    asm!("mov {0:e}, dword ptr fs:[tricolor_current@TPOFF + {at}]", out(reg) word, at = const $at,
                        options(nostack, preserves_flags $(, $readonly)?));
                }
                word
            }
        };
        (set $set:ident at $at:expr) => {
            #[nowritebarrierrec(asm = "reads or writes one thread-local word")]
            #[inline(always)]
            pub fn $set(word: u32) {
                // SAFETY: only this thread uses the word.
                unsafe {
                    asm!("mov dword ptr fs:[tricolor_current@TPOFF + {at}], {0:e}", in(reg) word, at = const $at,
                        options(nostack, preserves_flags));
                }
            }
        };
    }
    word!(get state at 0, readonly);
    word!(get locks at super::IN_RUNTIME_OFFSET, readonly);
    // Not `readonly`: it stays behind what is before it.
    word!(get refused at super::STOP_PENDING_OFFSET);
    word!(set set_locks at super::IN_RUNTIME_OFFSET);
    word!(set set_refused at super::STOP_PENDING_OFFSET);

    #[nowritebarrierrec]
    pub fn come_again() {
        // SAFETY: asks for this thread's number.
        crate::sync::signal::send(unsafe { gettid() } as u32, refused());
    }

    barrier_lint::certify! {
        use libc::gettid: "a system call";
    }

    /// Mostly the count was zero. A branch on that, which is foreseen, and a constant make a region independent of the one
    /// before: an `inc` would wait for what that one's `dec` has stored, and be waited for in turn.
    #[nowritebarrierrec(asm = "reads or writes one thread-local word")]
    #[inline(always)]
    pub fn lock() {
        // SAFETY: only this thread uses the word. Where a signal comes between the two instructions and the goroutine goes on on
        // another thread, that one's count is zero as well: goroutine code outside the runtime runs with no other.
        unsafe {
            asm!(
                "cmp dword ptr fs:[tricolor_current@TPOFF + {count}], 0",
                "jne {nested}",
                "mov dword ptr fs:[tricolor_current@TPOFF + {count}], 1",
                count = const super::IN_RUNTIME_OFFSET,
                nested = label { one_more() },
                options(nostack),
            );
        }
    }

    #[nowritebarrierrec(asm = "reads or writes one thread-local word")]
    #[inline(always)]
    fn one_more() {
        // SAFETY: only this thread uses the word; one instruction, so no signal handler of this thread sees it half done.
        unsafe {
            asm!("inc dword ptr fs:[tricolor_current@TPOFF + {at}]", at = const super::IN_RUNTIME_OFFSET, options(nostack));
        }
    }

    #[nowritebarrierrec(asm = "reads or writes thread-local words, or calls `come_again`")]
    #[inline(always)]
    pub fn unlock() {
        // SAFETY: as above; the count first, the refusal second.
        unsafe {
            asm!(
                "dec dword ptr fs:[tricolor_current@TPOFF + {count}]",
                "jnz 2f",
                "cmp dword ptr fs:[tricolor_current@TPOFF + {refused}], 0",
                "jne {again}",
                "2:",
                count = const super::IN_RUNTIME_OFFSET,
                refused = const super::STOP_PENDING_OFFSET,
                again = label { super::come_again() },
                options(nostack),
            );
        }
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
#[cfg(all(not(modelled), any(miri, not(target_arch = "x86_64"))))]
mod imp {
    use barrier_lint::{certify, nowritebarrierrec};
    use core::cell::Cell;

    struct Current {
        state: super::AtomicU32,
        locks: Cell<u32>,
        slots: [Cell<*mut ()>; 4],
    }

    std::thread_local! {
        static CURRENT: Current = const {
            Current {
                state: super::AtomicU32::new(super::NO_P),
                locks: Cell::new(0),
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
    pub fn locks() -> u32 {
        block().locks.get()
    }

    #[nowritebarrierrec]
    pub fn set_locks(n: u32) {
        block().locks.set(n);
    }

    #[nowritebarrierrec]
    pub fn set_refused(_: u32) {}

    #[nowritebarrierrec]
    pub fn refused() -> u32 {
        0
    }

    #[nowritebarrierrec]
    pub fn come_again() {}

    #[nowritebarrierrec]
    pub fn lock() {
        set_locks(locks().wrapping_add(1));
    }

    #[nowritebarrierrec]
    pub fn unlock() {
        set_locks(locks().wrapping_sub(1));
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

/// The signals of a model's thread.
#[cfg(modelled)]
#[derive(Clone, Copy)]
pub struct Signals {
    /// Called between two instructions: runs the handler if a signal is under way.
    pub between: fn(),
    /// The thread sends itself a signal, whose handler runs at once.
    pub raise: fn(),
}

#[cfg(modelled)]
impl Signals {
    /// From now on this thread takes signals, or none; what was before.
    pub fn set(signals: Option<Signals>) -> Option<Signals> {
        imp::set_signals(signals)
    }
}

/// The words of a thread of a model.
#[cfg(modelled)]
#[derive(Clone, Copy)]
pub struct Words(&'static imp::Current);

#[cfg(modelled)]
impl Words {
    /// Those of this thread.
    pub fn mine() -> Words {
        Words(imp::block())
    }

    /// From now on this thread has these, as if it were the one whose they are, which waits meanwhile.
    pub fn borrow(self) {
        imp::set_block(self.0);
    }
}

/// The twin for models: threads of a model share one OS thread, so each has a leaked block of its own.
#[cfg(modelled)]
mod imp {
    use crate::faults::{self, Fault};
    use barrier_lint::nowritebarrierrec;
    use core::cell::Cell;

    pub(super) struct Current {
        state: super::AtomicU32,
        locks: Cell<u32>,
        slots: [Cell<*mut ()>; 4],
        refused: Cell<u32>,
        signals: Cell<Option<super::Signals>>,
    }

    super::super::explorer::thread_local! {
        static CURRENT: Cell<&'static Current> = Cell::new(Box::leak(Box::new(Current {
            state: super::AtomicU32::new(super::NO_P),
            locks: Cell::new(0),
            slots: [const { Cell::new(core::ptr::null_mut()) }; 4],
            refused: Cell::new(0),
            signals: Cell::new(None),
        })));
    }

    pub(super) fn block() -> &'static Current {
        CURRENT.with(Cell::get)
    }

    pub(super) fn set_block(block: &'static Current) {
        CURRENT.with(|mine| mine.set(block));
    }

    #[nowritebarrierrec(indirect = "the twin: not checked in production builds")]
    pub fn state() -> u32 {
        state_word().load(super::Ordering::Relaxed)
    }

    #[nowritebarrierrec(indirect = "the twin: not checked in production builds")]
    pub fn state_word() -> &'static super::AtomicU32 {
        &block().state
    }

    #[nowritebarrierrec(indirect = "the twin: not checked in production builds")]
    pub fn locks() -> u32 {
        block().locks.get()
    }

    #[nowritebarrierrec(indirect = "the twin: not checked in production builds")]
    pub fn set_locks(n: u32) {
        block().locks.set(n);
    }

    #[nowritebarrierrec(indirect = "the twin: not checked in production builds")]
    pub fn set_refused(signal: u32) {
        block().refused.set(signal);
    }

    #[nowritebarrierrec(indirect = "the twin: not checked in production builds")]
    pub fn refused() -> u32 {
        block().refused.get()
    }

    pub fn set_signals(signals: Option<super::Signals>) -> Option<super::Signals> {
        block().signals.replace(signals)
    }

    /// Between two instructions.
    #[nowritebarrierrec(indirect = "the twin: not checked in production builds")]
    fn between() {
        if let Some(signals) = block().signals.get() {
            (signals.between)();
        }
    }

    #[nowritebarrierrec(indirect = "the twin: not checked in production builds")]
    pub fn come_again() {
        if let Some(signals) = block().signals.get()
            && !faults::active(Fault::RefusalForgotten)
        {
            (signals.raise)();
        }
    }

    #[nowritebarrierrec]
    pub fn lock() {
        let outside = locks() == 0;
        between();
        set_locks(if outside { 1 } else { locks() + 1 });
        between();
    }

    #[nowritebarrierrec]
    pub fn unlock() {
        between();
        let early = faults::active(Fault::RefusalSoughtEarly).then(refused);
        if early.is_some() {
            between();
        }
        set_locks(locks().wrapping_sub(1));
        between();
        if locks() == 0 && early.unwrap_or_else(refused) != 0 {
            come_again();
        }
    }

    #[nowritebarrierrec(indirect = "the twin: not checked in production builds")]
    pub fn get<const I: usize>() -> *mut () {
        block().slots[I].get()
    }

    #[nowritebarrierrec(indirect = "the twin: not checked in production builds")]
    pub fn set<const I: usize>(p: *mut ()) {
        block().slots[I].set(p);
    }
}
