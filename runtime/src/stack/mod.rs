//! Goroutine stacks: where they lie (`arena`) and end (`guard`), how one grows (`segment`, `grow`), and what is given back
//! (`give_back`).
//!
//! A goroutine begins on a slot of the arena, 256 KiB of address space of which the kernel commits what is touched. That is
//! enough for most; recursion that may go deep says so by [`ensure`] or [`recursive`](macro@crate::recursive), and goes on
//! upon a larger segment.

mod arena;
mod give_back;
mod grow;
mod guard;
mod segment;

pub(crate) use arena::{DEFAULT_MAIN_STACK, DEFAULT_STACK, Hit, MIN_STACK, Stack, StackArena};
pub(crate) use give_back::{begins_to_run, give_back};
#[cfg(feature = "faults")]
#[doc(hidden)]
pub use grow::grow_with_flipped;
pub use grow::{ensure, ensure_with, on_system_stack};
pub(crate) use grow::{poison, unpoison};
pub(crate) use segment::{DEFAULT_MAX_STACK, Segments};
