//! Panics: caught at the goroutine's entry, handed to its `JoinHandle`.
//!
//! The payload lies in malloc'd memory, which the collector does not scan. So when a panic begins, the runtime's hook
//! (chained in front of the user's) copies the payload's words into a GC object that hangs on the G, and from the
//! catch on on the join object. The words of a payload do not change on the way, so the copy keeps what it points to.
//! `std::panic::resume_unwind` runs no hook: [`resume_unwind`] here does the same for it.
//!
//! What would break without the copy: a `Drop` on the way up allocates, a cycle runs, and the payload's objects go.

use crate::g::{G, getg};
use crate::m::{M, getm};
use core::sync::atomic::{AtomicBool, Ordering};
use gc_core::{Conservative, Gc, GcCell};
use std::any::Any;

/// Words of one piece of a copy.
const WORDS: usize = 14;

/// Bytes of stack for the hook that was installed before ours.
const HOOK: usize = 256 << 10;

/// A piece of a copied payload.
pub(crate) struct Snapshot {
    /// The piece before, or the copy of a payload below.
    next: GcCell<Option<Gc<Conservative<Snapshot>>>>,
    _words: [usize; WORDS],
}

/// Copies the words of a payload to a chain of GC objects on `gp`. A safepoint; needs a P.
fn copy_payload(gp: &G, payload: &(dyn Any + Send)) {
    let bytes = size_of_val(payload);
    if align_of_val(payload) < align_of::<usize>() || payload.is::<&'static str>() || payload.is::<String>() {
        return;
    }
    let words = core::ptr::from_ref(payload).cast::<usize>();
    for at in (0..bytes / size_of::<usize>()).step_by(WORDS) {
        let mut piece = [0; WORDS];
        for (i, to) in piece.iter_mut().enumerate().take(bytes / size_of::<usize>() - at) {
            // SAFETY: inside the payload, which is aligned like a word. Volatile: it may have padding.
            *to = unsafe { words.add(at + i).read_volatile() };
        }
        // The words are on this stack, in `piece`, while the allocation is a safepoint.
        let copy = Gc::new(Conservative(Snapshot { next: GcCell::new(gp.panics.get()), _words: piece }));
        core::hint::black_box(&piece);
        gp.panics.set(Some(copy));
    }
}

/// `gp`, which runs this, gets a payload with this copy. What it got before it has had since a safepoint, as a join is one,
/// so that copy goes; but not that of a panic of its own that unwinds its stack. No safepoint; needs a P.
///
/// What would break if the first copy stayed and the second one went: who joins two goroutines that have panicked would lose
/// what the second one's payload points to.
pub(crate) fn hand_on(gp: &G, words: Gc<Conservative<Snapshot>>) {
    if std::thread::panicking() {
        let mut last = words;
        while let Some(next) = last.next.get() {
            last = next;
        }
        last.next.set(gp.panics.get());
    }
    gp.panics.set(Some(words));
}

/// As `copy_payload`, if this thread is a goroutine with a P (in a blocking call it has none, and payloads there hold
/// no heap pointer).
fn keep_payload(payload: &(dyn Any + Send)) {
    if let Some(gp) = getg()
        && getm().and_then(M::p).is_some()
    {
        copy_payload(gp, payload);
    }
}

/// Puts the runtime's hook in front of the one installed now; once per process.
#[expect(clippy::disallowed_methods, reason = "before the runtime has a thread")]
pub(crate) fn install_hook() {
    // Relaxed: runtimes take turns.
    static DONE: AtomicBool = AtomicBool::new(false);
    if DONE.swap(true, Ordering::Relaxed) {
        return;
    }
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        keep_payload(info.payload());
        // Printing a backtrace takes more than many a goroutine has left.
        crate::stack::ensure(HOOK, || before(info));
    }));
}

/// Raises `payload` as `std::panic::resume_unwind` does (no hook runs), and keeps what it points to in the collected
/// heap alive on its way to the `JoinHandle`. Use it for payloads that hold a `Gc`.
///
/// # Panics
/// Always: that is what it does.
pub fn resume_unwind(payload: Box<dyn Any + Send>) -> ! {
    keep_payload(&*payload);
    std::panic::resume_unwind(payload)
}

/// A goroutine has panicked and nobody can learn of it: says so and aborts. The hook has printed the panic.
pub(crate) fn nobody_can_join(goid: u64) -> ! {
    gc_core::fatal::print_line(format_args!(
        "fatal error: goroutine {goid} panicked, and its JoinHandle is gone: nobody can learn of it"
    ));
    // SAFETY: ends the process.
    unsafe { libc::abort() }
}
