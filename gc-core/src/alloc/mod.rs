//! Allocation.
//!
//! **The protocol.** From slot claim to publication is one region that no stop and no phase flip can fall into (today
//! because it holds no safepoint; once signals suspend threads, because it is counted as no-preempt): claim the slot,
//! write the value, and while marking shade its pointers and mark it black, then store the publication index with
//! Release. Refill, assists and the trigger of a cycle come *before* the claim. So nothing needs zeroing, a
//! conservative look-up never sees half an object, and flag, value, shading, mark and publication see one phase. (The marks
//! of a free run that a P gets while marking are set then, all at once: see `Heap::blacken_run` in `cache`.)
//!
//! `alloc_value_no_safepoint` is the same without what comes before the claim, for a host's own objects: they are where
//! a root finds them before the region ends.
//!
//! What would break: a safepoint between claim and publication lets a cycle start that neither marks the object black
//! nor finds it published, and the next sweep takes it.

mod cache;
mod class;
mod error;
mod new;

pub(crate) use cache::Cache;
pub(crate) use class::{Class, Classes, List, Scan};
pub use error::{AllocError, AllocErrorReason};
pub(crate) use new::{ARRAY_HEADER, alloc_array, alloc_value, alloc_value_no_safepoint, try_alloc_value};
