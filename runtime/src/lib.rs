//! Tricolor: a Go-style runtime as a library. Goroutines on G, M and P over a concurrent mark-sweep heap.
//!
//! ```
//! use tricolor::{Gc, Runtime};
//! // SAFETY: keeps the contract of `run`: no `Gc` in malloc'd memory, no thread-local or std lock over a safepoint.
//! let n = unsafe {
//!     Runtime::builder().run(|| {
//!         let (tx, rx) = tricolor::chan::bounded(0);
//!         tricolor::spawn(move || tx.send(Gc::new(41_u64)).unwrap());
//!         *rx.recv().unwrap() + 1
//!     })
//! };
//! assert_eq!(n, 42);
//! ```
//!
//! | word | where | what |
//! |---|---|---|
//! | G, M, P | `g`, `m`, `p` | goroutine, thread, permission to run goroutines |
//! | sched | `sched` | what all Ms share |
//! | proc | `proc` | the loop, run queues, parking, birth and death |
//! | switch | `arch` | from stack to stack |
//! | stop the world | `stw` | stops, doors, `for_each_p` |
//! | signals | `signal`, `suspend`, `preempt`, `storm` | what is taken over, stopping and descheduling goroutines where they are |
//! | dumps | `dump`, `quit`, `schedtrace`, `sight`, `symbol` | where everybody is, also who does not answer |
//! | histograms | `histogram`, `latency` | how long goroutines waited for the scheduler and the collector |
//! | traces, flight recorder | [`trace`] | what threads did, in a file; what each did last |
//! | profiles | `profile`, `walk` | what the heap holds by call stack, where goroutines are |
//! | afterlife | `afterlife` | the goroutine that runs drops of dead objects and cleanups |
//! | time | [`time`] | timers on each P |
//! | sockets | [`net`], `netpoll` | who waits for a file; the M that sleeps until one is ready, or a timer due |
//! | blocking calls | `syscall`, `sysmon` | giving the P away and getting one back |
//! | world | `world` | what the collector asks of the scheduler |
//!
//! Two features, both on by default, bring crates of others along: `trace` (traces in files) and `profile` (module
//! `profile`). The flight recorder, dumps, histograms and statistics need neither.
#![deny(missing_docs)]
// No lock but the runtime's own (`clippy.toml`); an exception says why no suspended thread can hold it.
#![cfg_attr(not(test), deny(clippy::disallowed_types, clippy::disallowed_methods, clippy::disallowed_macros))]
// Where only the stub is left to call them.
#![cfg_attr(not(all(target_arch = "x86_64", target_os = "linux", not(modelled))), allow(dead_code))]

extern crate self as tricolor;

mod afterlife;
mod arch;
pub mod chan;
mod conditions;
mod config;
mod deadlock;
mod dump;
mod g;
pub mod gc;
mod histogram;
mod join;
mod latency;
mod m;
#[cfg(modelled)]
#[doc(hidden)]
pub mod model;
pub mod net;
mod netpoll;
mod p;
mod panic;
mod preempt;
mod proc;
#[cfg(feature = "profile")]
pub mod profile;
mod quit;
mod runtime;
mod sched;
mod schedtrace;
mod sight;
mod signal;
pub mod stack;
mod storm;
mod stw;
mod suspend;
mod symbol;
pub mod sync;
mod syscall;
mod sysmon;
pub mod time;
pub mod trace;
mod walk;
mod world;
mod xregs;

pub use join::JoinHandle;
pub use panic::resume_unwind;
pub use proc::locked::{lock_os_thread, unlock_os_thread};
pub use proc::park::{poll, yield_now};
pub use proc::resize::set_procs;
pub use proc::spawn::spawn;
pub use runtime::{Builder, Runtime};
pub use syscall::{blocking, blocking_with};

#[doc(hidden)]
pub use gc_core;
#[doc(hidden)]
pub use gc_core as __gc_core;
pub use gc_core::{Conservative, Gc, GcCell, GcMut, NoGc, Root, RootCell, Trace, Weak};
pub use tricolor_macros::{main, recursive};
