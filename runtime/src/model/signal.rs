//! Signals to threads that run goroutines (`suspend`). A thread of a model takes one between two steps of its own: between
//! any two outside the runtime, and where it enters and leaves that (`gc_core::sync::current`).

use super::{World, current_m};
use crate::g::getg;
use crate::m::M;
use core::mem::MaybeUninit;
use gc_core::model::Signals;

/// The handler, on what it has interrupted. It is not interrupted itself.
fn handler() {
    let m = current_m();
    let Some(gp) = getg() else { return };
    let before = Signals::set(None);
    // SAFETY: all zero is a context.
    let mut context = unsafe { MaybeUninit::<libc::ucontext_t>::zeroed().assume_init() };
    // SAFETY: all zero says nothing of a signal.
    let info = unsafe { MaybeUninit::<libc::siginfo_t>::zeroed().assume_init() };
    context.uc_stack.ss_sp = core::ptr::with_exposed_provenance_mut(gp.stack.lo);
    // SAFETY: what was interrupted is this thread, which goes on with nothing of the context.
    unsafe { crate::suspend::asked(m, &info, &mut context) };
    Signals::set(before);
}

/// What the kernel does with a signal that the runtime sends to the thread of `m`: nothing, if it has one already.
pub(crate) fn deliver(m: &M) {
    if m.kernel.is_set() {
        m.dropped.fetch_add(1, core::sync::atomic::Ordering::SeqCst);
    }
    m.kernel.wakeup();
}

fn between() {
    if getg().is_some() && current_m().kernel.is_set() {
        current_m().kernel.clear();
        handler();
    }
}

impl World {
    /// Runs `f`, on a goroutine whose thread takes signals meanwhile.
    pub fn with_signals<R>(self, f: impl FnOnce() -> R) -> R {
        Signals::set(Some(Signals { between, raise: handler }));
        let out = f();
        Signals::set(None);
        out
    }

    /// A goroutine's own code, until a signal comes.
    pub fn runs_until_signal(self) {
        current_m().kernel.sleep();
        between();
    }

    /// The last signal to that M was sent at `when`.
    pub fn was_asked(self, m: usize, when: u64) {
        self.m(m).asked_at.store(when, core::sync::atomic::Ordering::SeqCst);
    }

    /// Somebody of the runtime signals whoever runs on the P of this number.
    pub fn signal(self, p: usize) {
        crate::suspend::signal(self.sched, self.p(p));
    }

    /// How many signals of the runtime to that M the kernel has dropped, since one was under way.
    pub fn dropped(self, m: usize) -> u32 {
        self.m(m).dropped.load(core::sync::atomic::Ordering::SeqCst)
    }

    /// The program sends a signal to that M.
    pub fn interrupt(self, m: usize) {
        self.m(m).kernel.wakeup();
    }

    /// The goroutine is inside the runtime for a moment.
    pub fn in_runtime(self) {
        drop(gc_core::sync::current::Region::enter());
    }
}
