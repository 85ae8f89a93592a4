//! The one module that knows whether this is a production build or a model, and what explores it.
//!
//! Everything that threads share goes through here: atomics, locks, thread-local words, heap words and the
//! tables of metadata. `cfg(modelled)` is a build for models: small sizes, a switch of stacks is a call. Which of the two
//! `explorer`s runs them only this module asks: `cfg(loom)`, which tries every order (`cargo models`), or `cfg(shuttle)`,
//! which tries some, in larger programs (`cargo cycles`). Both change what code may look like, so the rules are:
//!
//! - No static atomics: loom's have no `const` constructor. State hangs off `Heap` and the host's own struct.
//! - Zeroed memory is not a fresh loom atomic, so a [`Table`] is a mapping in production and a boxed slice of
//!   constructed atomics in models and under Miri.
//! - All model threads share one OS thread, so what is per thread goes through [`current`].
//! - A word inside the heap is reached by [`word::at`], which finds its twin in a model.
//! - Where one thread may `load` a word that another thread loads and then stores, the observer's read goes
//!   through [`observe`]: loom 0.7 forgets interleavings of a plain load there (tokio-rs/loom#166).

#[cfg(any(clippy, test))]
mod canary;
mod clock;
pub mod current;
mod drive;
#[cfg_attr(shuttle, allow(dead_code))]
mod futex_lock;
mod lock;
mod note;
#[cfg(not(any(modelled, miri)))]
mod own;
mod rank;
#[cfg(loom)]
mod seq_cst;
pub mod signal;
#[cfg(shuttle)]
mod stepped;
mod table;
pub mod word;
#[cfg(modelled)]
mod wrapped;

use barrier_lint::nowritebarrierrec;

#[cfg(any(
    all(modelled, loom, shuttle),
    all(modelled, not(any(loom, shuttle))),
    all(not(modelled), any(loom, shuttle))
))]
compile_error!(
    "a build for models has `--cfg modelled` and one of `--cfg loom`, `--cfg shuttle`: see .cargo/config.toml"
);

#[cfg(modelled)]
pub use clock::{clock_goes, pass, set_clock};
pub use clock::{cpu_nanos, nanos};
#[cfg(modelled)]
pub use drive::AsPtr;
#[cfg(modelled)]
pub use drive::{entered, listen};
pub use drive::{modelled, step};
#[cfg(loom)]
pub use futex_lock::FutexLock;
pub use lock::{Guard, Lock, RawLock};
pub use note::Note;
#[cfg(modelled)]
pub use note::limits_that_pass;
#[cfg(not(any(modelled, miri)))]
pub use own::{disown_mapping, each_own_mapping, own_mapping};
pub use rank::Rank;
pub(crate) use table::Handle;
pub use table::{MapError, Table, Zeroed};
#[cfg(not(any(modelled, miri)))]
pub(crate) use table::{map_reserve, populate, want_huge_pages};

#[cfg(not(modelled))]
pub use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};
#[cfg(modelled)]
pub use explorer::sync::atomic::{Ordering, fence};
#[cfg(loom)]
pub use loom as explorer;
#[cfg(loom)]
pub use seq_cst::{AtomicBool, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, AtomicUsize};
#[cfg(shuttle)]
pub use shuttle as explorer;
#[cfg(shuttle)]
pub use stepped::{AtomicBool, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, AtomicUsize};

#[cfg(not(modelled))]
barrier_lint::certify! {
    use std::thread::yield_now as os_yield: "a system call";
}

/// Lets another thread run, and tells a model that this thread only spins. May run without a P.
#[nowritebarrierrec]
pub fn yield_now() {
    #[cfg(modelled)]
    explorer::thread::yield_now();
    #[cfg(not(modelled))]
    os_yield();
}

/// Writes a word that its writers load before they store, and that others only load: a plain store in production, a
/// read-modify-write under loom. As [`observe`], from the other side; a word that is written so is not observed, since a
/// read-modify-write of loom's that meets plain stores may bring an old value back.
#[nowritebarrierrec]
#[inline(always)]
pub fn overwrite(word: &AtomicUsize, value: usize, order: Ordering) {
    #[cfg(loom)]
    {
        let _ = order;
        word.swap(value, Ordering::AcqRel);
    }
    #[cfg(not(loom))]
    word.store(value, order);
}

/// Takes back a flag that others raise by a swap, which tells them whether it was up: a plain store in production, a
/// read-modify-write under loom, whose swap may miss a plain store that came before it, and put the old value back for ever.
#[nowritebarrierrec]
#[inline(always)]
pub fn lower(flag: &AtomicBool, order: Ordering) {
    #[cfg(loom)]
    {
        flag.swap(false, if order == Ordering::SeqCst { order } else { Ordering::AcqRel });
    }
    #[cfg(not(loom))]
    flag.store(false, order);
}

/// Reads a word that its writers load before they store: a plain load in production, a read-modify-write under
/// loom, so that the models see the interleavings which a plain load would hide.
#[nowritebarrierrec]
#[inline(always)]
pub fn observe(word: &AtomicUsize, order: Ordering) -> usize {
    #[cfg(loom)]
    {
        let _ = order;
        word.fetch_add(0, Ordering::AcqRel)
    }
    #[cfg(not(loom))]
    word.load(order)
}
