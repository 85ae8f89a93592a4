//! A concurrent, non-moving, tri-color mark-sweep heap with Go's hybrid write barrier.
//!
//! The crate stands alone: it knows nothing of goroutines. What a program calls is here ([`Gc`], [`GcCell`],
//! [`Root`], [`derive(Trace)`](derive@Trace)); what the host of the threads must supply is one trait, [`World`].
//!
//! | word | where | what |
//! |---|---|---|
//! | layout | [`layout`] | size classes, type descriptors, bitmaps |
//! | heap | `heap` | the reservation, pages, spans |
//! | allocation | `alloc` | classes, per-P caches, the path of `Gc::new` |
//! | barrier | `barrier` | [`GcCell`], [`GcMut`], [`RootCell`], bulk moves, the buffer |
//! | marking | `mark` | `greyobject`, work buffers, roots, the cycle |
//! | sweeping | `sweep` | what makes dead slots free again |
//! | afterlife | `afterlife` | weak pointers, cleanups, drop of dead objects |
//! | pacing | `pacer`, `limiter` | when a cycle starts, who helps, how much it may cost |
//! | scavenging | `heap::scavenge` | what gives free memory back |
//! | pretouching | `heap::pretouch` | what makes fresh memory ready ahead of need |
//! | reach | `reach` | what cannot be reached any more, though it is alive |
//! | heap profile | `profile` | which code allocates, and what of it is alive |
//! | events | [`events`] | what tells listeners, `gctrace` and [`Stats`] |
//! | P | [`GcP`] | the collector's part of a P |
//! | world | [`World`] | what the host supplies |
//! | stress | [`Stress`], `poison` | switches that make broken programs and broken collectors show it |
#![deny(missing_docs)]
// No lock but the runtime's own (`clippy.toml`); an exception says why no suspended thread can hold it.
#![cfg_attr(not(test), deny(clippy::disallowed_types, clippy::disallowed_methods, clippy::disallowed_macros))]

#[cfg(not(target_pointer_width = "64"))]
compile_error!(
    "gc-core supports 64-bit targets only: a heap is one reservation of address space. (i686 is there for the generated \
     assembly alone.)"
);

// The derive names the crate as a user would.
extern crate self as gc_core;

mod afterlife;
mod alloc;
mod barrier;
mod census;
pub mod events;
pub mod fatal;
pub mod faults;
mod gc;
mod heap;
pub mod layout;
mod limiter;
mod mark;
mod offheap;
mod p;
mod pacer;
mod poison;
mod prefetch;
mod profile;
mod reach;
mod root;
mod stats;
mod stop;
mod stress;
mod sweep;
pub mod sync;
#[cfg(all(test, not(modelled)))]
mod testing;
mod verify;
mod world;

// What `derive(Trace)` and the attributes name in a crate that does not know `barrier-lint`.
#[doc(hidden)]
pub use ::barrier_lint;
pub use afterlife::{Cleanup, Weak, add_cleanup};
pub use alloc::{AllocError, AllocErrorReason};
#[cfg(all(target_arch = "x86_64", not(any(modelled, miri))))]
pub use barrier::restart_point;
pub use barrier::{Busy, CellValue, Entered, GcCell, GcMut, RootCell};
pub use census::{CensusRow, Counted};
pub use gc::{Gc, Target, keep_alive};
pub use gc_core_derive::Trace;
pub use heap::address_space_left;
pub use heap::{Config, Heap, InitError, MAX_PS, PAGE_SIZE, Phase};
pub use layout::{Conservative, NoGc, Trace};
pub use mark::{Scanner, WorkKind};
/// Parts that models drive by themselves.
#[cfg(modelled)]
#[doc(hidden)]
pub mod model {
    pub use crate::mark::{BufferList, MarkWord};
    pub use crate::sync::current::{Signals, Words};
    pub use crate::sync::{clock_goes, entered, limits_that_pass, listen, pass, set_clock};

    /// Starts a cycle, for models of what happens in the middle of one. The caller holds a P, on a stack that is no root.
    pub fn start_cycle(heap: &crate::Heap) {
        assert!(heap.start_cycle(), "no cycle runs");
    }
}
pub use offheap::Pile;
pub use p::GcP;
pub use profile::{HeapProfile, PROFILE_FRAMES, ProfileSite};
pub use reach::Reach;
pub use root::Root;
pub use stats::{OffHeap, Stats};
pub use stress::{Stress, Window};
pub use world::{StopReason, World};
