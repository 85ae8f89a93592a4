//! Another effect than write barriers, with records of its own: no allocation in a signal handler.
//!
//! ```text
//! cargo barrier-lint --example signal_handler --records no_alloc \
//!     --forbid malloc --forbid calloc --forbid realloc --forbid posix_memalign
//! ```
//!
//! says `OK signal_handler::on_signal`. Let the handler call `vec![signal]`, and it says `BAD`, with the way to `malloc`.
//! A workspace that checks more than one program writes the names into its Cargo.toml, once:
//!
//! ```toml
//! [workspace.metadata.no-alloc]
//! forbid = ["malloc", "calloc", "realloc", "posix_memalign"]
//! ```

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use barrier_lint::record;

static SIGNALS: AtomicU32 = AtomicU32::new(0);

/// Interrupts anything, `malloc` included: it must not allocate.
#[inline(never)]
extern "C" fn on_signal(_signal: libc::c_int) {
    record!("no_alloc", root);
    SIGNALS.fetch_add(1, Relaxed);
}

/// What the check must find, or it says nothing at all.
#[inline(never)]
fn canary() -> Box<u32> {
    record!("no_alloc", canary);
    Box::new(SIGNALS.load(Relaxed))
}

fn main() {
    // SAFETY: the handler touches one atomic word.
    unsafe { libc::signal(libc::SIGUSR1, on_signal as *const () as usize) };
    // SAFETY: a signal to this thread, which has a handler.
    unsafe { libc::raise(libc::SIGUSR1) };
    println!("{} signals", canary());
}
