//! Marking: concurrent, parallel, tri-colour.
//!
//! White: mark bit clear. Grey: mark bit set and on a work list. Black: mark bit set and scanned. A newcomer's way
//! through: [`grey`] (the two steps that the race of 2015 fell between), [`work`] (where grey objects wait), `scan`
//! (what turns them black), `roots` (where it starts), [`cycle`] (how it starts and ends).

mod bitmap;
mod cycle;
mod grey;
mod roots;
mod scan;
mod work;

pub(crate) use bitmap::MarkMap;
pub(crate) use cycle::Cycle;
pub use cycle::WorkKind;
pub use roots::Scanner;
pub(crate) use work::{GcWork, Work};
