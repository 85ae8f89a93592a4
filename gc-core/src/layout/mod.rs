//! What an object looks like: size classes, type descriptors, and the bitmaps that the marker reads.

mod classes;
mod desc;
mod trace;

pub use classes::{GRANULE, SMALL_MAX, class_count, class_of, class_size, div_magic, index_of, span_pages};
pub use desc::{Field, Kind, Mask, TypeDesc};
pub use trace::{Conservative, Trace};
