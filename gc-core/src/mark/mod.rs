//! Marking: concurrent, parallel, tri-colour.
//!
//! White: mark bit clear. Grey: mark bit set and on a work list. Black: mark bit set and scanned. A newcomer's way
//! through: [`grey`] (the two steps that the race of 2015 fell between), [`work`] (where grey objects wait), `drain`
//! (what takes them from there), `scan` (what turns them black), `roots` (where it starts), [`cycle`] (how it starts and ends).

mod bitmap;
mod cycle;
mod drain;
mod grey;
mod partial;
mod roots;
mod scan;
mod work;

pub(crate) use bitmap::MarkMap;
#[cfg(modelled)]
pub use bitmap::MarkWord;
pub(crate) use cycle::Cycle;
pub use cycle::WorkKind;
pub(crate) use partial::{Partial, Yield};
pub(crate) use roots::Found;
pub use roots::Scanner;
#[cfg(modelled)]
pub use work::BufferList;
pub(crate) use work::{GcWork, Shade, Work};
