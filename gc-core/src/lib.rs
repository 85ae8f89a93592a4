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
//! | barrier | `barrier` | [`GcCell`], the buffer, the bulk barrier |
//! | marking | `mark` | `greyobject`, work buffers, roots, the cycle |
//! | sweeping | `sweep` | what makes dead slots free again |
//! | afterlife | `afterlife` | weak pointers, cleanups, drop of dead objects |
//! | pacing | `pacer` | when a cycle starts, who helps |
//! | P | [`GcP`] | the collector's part of a P |
//! | world | [`World`] | what the host supplies |
#![deny(missing_docs)]

// The derive names the crate as a user would.
extern crate self as gc_core;

mod afterlife;
mod alloc;
mod barrier;
mod census;
pub mod fatal;
pub mod faults;
mod gc;
mod heap;
pub mod layout;
mod mark;
mod offheap;
mod p;
mod pacer;
mod root;
mod stats;
mod sweep;
pub mod sync;
mod verify;
mod world;

pub use afterlife::{Cleanup, Weak, add_cleanup};
pub use barrier::{CellValue, GcCell};
pub use census::Counted;
pub use gc::{Gc, Target, keep_alive};
pub use gc_core_derive::Trace;
pub use heap::{Config, Heap, InitError, MAX_PS, PAGE_SIZE, Phase};
pub use layout::{Conservative, NoGc, Trace};
pub use mark::{Scanner, WorkKind};
pub use p::GcP;
pub use root::Root;
pub use stats::Stats;
pub use world::{StopReason, World};
