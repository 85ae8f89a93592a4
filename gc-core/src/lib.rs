//! gc-core (under construction)
pub mod sync;
