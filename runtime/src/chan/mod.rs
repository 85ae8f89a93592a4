//! Channels between goroutines: many senders, many receivers, bounded; capacity 0 hands values over directly.
//!
//! ```
//! # unsafe { tricolor::Runtime::builder().run(|| {
//! let (tx, rx) = tricolor::chan::bounded(4);
//! tricolor::spawn(move || (0..10).for_each(|i| tx.send(i).unwrap()));
//! assert_eq!(rx.iter().sum::<i32>(), 45);
//! # }) }
//! ```
//!
//! The channel, its buffer and every waiter's value lie in the collected heap, of conservative kind; each copy of a
//! value into or out of one shades all its words, with no safepoint between the shading and the store. The ends hold
//! a `Root`, so they may lie anywhere. Operations are safepoints and need a P; cloning and dropping an end does not,
//! except that what is left in a channel is dropped with its last receiver only where that happens on a goroutine.
//!
//! To wait for several channels at once: [`select`](macro@select).
//!
//! Source: Go's channels; errors and names are those of `std::sync::mpsc`.

mod cases;
mod ends;
mod hchan;
mod queue;
mod select;
mod syntax;

pub use cases::{Receiving, Sending};
#[cfg(modelled)]
pub(crate) use ends::make;

pub use ends::{
    IntoIter, Iter, Receiver, RecvError, RecvTimeoutError, SendError, SendTimeoutError, Sender, TryRecvError,
    TrySendError, bounded,
};
pub(crate) use queue::Head as SudogHead;
pub(crate) use select::Cases;
pub use select::{Case, select, select_timeout, try_select};
#[doc(inline)]
pub use syntax::select;
