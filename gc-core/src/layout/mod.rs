//! What an object looks like: size classes, type descriptors, and the bitmaps that the marker reads.

mod classes;
mod desc;
mod no_gc;
mod trace;

pub use classes::{GRANULE, SLOT_ALIGN, SMALL_MAX, class_count, class_of, class_size, div_magic, index_of, span_pages};
pub use desc::{DropFn, Field, Kind, Mask, TypeDesc};
pub use no_gc::NoGc;
#[doc(hidden)]
pub use no_gc::{Probe, ProbeElse, no_gc_field};
pub use trace::{Conservative, Trace};
