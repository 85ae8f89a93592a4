//! The write barrier: hybrid, as in Go's proposal 17503.
//!
//! On `*slot = new` while marking: shade the old `*slot` (deletion, Yuasa) and shade `new` (insertion, Dijkstra). The
//! first keeps what a goroutine has yet to find reachable from where the marker will still look; the second keeps a
//! black object from being the only one that points to a white one. Together no stack needs to be scanned twice.
//!
//! **Fast path.** One test of the thread's state word, which says both "barrier on" and "no P" (`sync::current`); then
//! one plain store. On x86_64 the test and the store are one assembly range, recorded in the section `wb_ranges`, so
//! that a signal that falls into it can be sent back to its start.
//!
//! **Slow path.** Without a P it is fatal (I1), and so it is while another thread has stopped the world (I2, `stop`).
//! Else it records old and new in the P's buffer *and* does the store, with no safepoint in between; the buffer is
//! flushed when full and at every transition of the P.
//!
//! **Between cycles** the barrier may be on as well, for the next one that is partial: it remembers what is stored where, and
//! nobody is interested in what is overwritten (`mark::partial`).
//!
//! **Orderings.** `set` releases, `get` acquires: who reads a pointer sees what its object was initialised with.
//!
//! **Also here.** Moves of many pointers at once (`moves`), plain mutable access to what holds pointers (`mutable`),
//! settable roots outside the heap (`rootcell`), and the shading of values that a runtime copies (`bulk`).

mod buffer;
mod bulk;
mod canary;
mod cell;
mod moves;
mod mutable;
#[cfg(all(target_arch = "x86_64", not(any(modelled, miri))))]
mod ranges;
mod rootcell;
mod store;

pub(crate) use buffer::WbBuf;
pub use cell::{CellValue, GcCell};
pub use mutable::{Busy, Entered, GcMut};
#[cfg(all(target_arch = "x86_64", not(any(modelled, miri))))]
pub use ranges::restart_point;
pub use rootcell::RootCell;
