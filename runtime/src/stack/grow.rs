//! Growth: `morestack` and `newstack`.
//!
//! ```text
//! ensure: sp - bytes < stackguard0?          no: the function goes on (one compare)
//! morestack (assembly, goroutine's stack)    pushes the callee-saved registers, what is asked for, the way back; leaves for
//!                                            g0; the context stays in a register
//! newstack(ctxt) (g0)                        stores it in gobuf.ctxt *with the barrier*; adds a segment, if there is too
//!                                            little room; answers requests (stop, scan, end of slice), for which
//!                                            stackguard0 may have been poisoned
//! segment_start (assembly, new segment)      calls the entry, which takes ctxt from the G
//!                                            back: one instruction writes sp; the older segment has all that is needed
//! ```
//! `ctxt` is the environment of the call that continues: an object of the heap, or an address on the stack, for which the
//! barrier does nothing. Assembly never stores it (Go's commit bf9c71cb43 of 2016): the G may be black, the stack not yet
//! scanned, and the context only in this register; stored without the barrier it would be lost.
//!
//! `stackguard0` is the lowest address of the newest segment and a reserve, or poison: a requester stores its own words first and the
//! poison second; `newstack` takes the poison away first and reads the words second.

use super::segment::Full;
use crate::arch;
use crate::g::{self, G, WaitReason, getg};
use crate::m::{Door, M};
use crate::p::P;
use crate::proc::newm::this_m;
use crate::proc::schedule::{leave_safepoint, self_scan};
use crate::sched::Sched;
use barrier_lint::nowritebarrierrec;
use core::mem::{ManuallyDrop, MaybeUninit};
use gc_core::faults::{self, Fault};
#[cfg(modelled)]
use gc_core::sync::AsPtr as _;
use gc_core::sync::{Ordering, current, modelled, overwrite, word};
use gc_core::{Gc, Trace};
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// A guard above every sp: the next check goes to `newstack`.
const POISON: usize = usize::MAX;

/// Bytes of the segment on which [`on_system_stack`] runs.
const SYSTEM: usize = 8 << 20;

/// Bytes that a check leaves to the runtime's own frames, the unwinder, and what a signal injects.
const RESERVE: usize = if cfg!(modelled) { 0 } else { 16 << 10 };

/// The lowest address that code of `gp` may use without a check, on the newest segment. On its own thread.
fn guard_of(gp: &G) -> usize {
    gp.segments.current(gp.stack).lo + RESERVE
}

/// Asks `gp` to come to a safepoint at its next check. May run without a P.
#[nowritebarrierrec]
pub(crate) fn poison(gp: &G) {
    gp.stackguard0.store(POISON, Ordering::SeqCst);
}

/// Takes a request off, before the words that it stands for are read. On the thread of `gp`.
#[inline]
pub(crate) fn unpoison(gp: &G) {
    // If it is not there it needs no exchange; one that comes after the look stays.
    if gp.stackguard0.load(Ordering::SeqCst) != guard_of(gp) {
        gp.stackguard0.store(guard_of(gp), Ordering::SeqCst);
    }
}

/// Runs `f` with at least `bytes` of stack: here if there are as many, else on a new, larger segment.
///
/// For recursion that may go deep: one comparison per call. A check is also a safepoint if the scheduler has asked for one. A
/// panic passes through. Outside a goroutine, and inside [`blocking`](crate::blocking), it simply calls `f`.
/// Needs a P to grow. Source: Go's `morestack` and `newstack`.
///
/// ```
/// fn depth(n: u64) -> u64 {
///     tricolor::stack::ensure(4096, || if n == 0 { 0 } else { 1 + depth(n - 1) })
/// }
/// # unsafe { tricolor::Runtime::builder().run(|| assert_eq!(depth(100_000), 100_000)) }
/// ```
///
/// The compiler may make the frame of `f` a part of its caller's: what is large belongs into a function of its own.
///
/// A goroutine that needs more than [`Builder::max_stack`](crate::Builder::max_stack) ends the process with a message that
/// names it.
#[inline(always)]
pub fn ensure<R>(bytes: usize, f: impl FnOnce() -> R) -> R {
    match getg() {
        // Relaxed: a hint; `newstack` reads what it stands for.
        Some(gp) if arch::stack_pointer().saturating_sub(bytes) < gp.stackguard0.load(Ordering::Relaxed) => {
            grow(gp, bytes, f)
        }
        _ => f(),
    }
}

/// Runs a closure with 8 MiB of stack: for calls into foreign code that nobody knows the depth of. Where the goroutine's
/// stack has less left, that is a segment, kept for the next time.
///
/// As [`ensure`]. Source: Go's `systemstack`, which is no place for code that holds heap pointers here: g0 is not scanned.
pub fn on_system_stack<R>(f: impl FnOnce() -> R) -> R {
    /// A frame of its own, or what `f` needs would be part of the caller's.
    #[inline(never)]
    fn apart<R>(f: impl FnOnce() -> R) -> R {
        f()
    }
    ensure(SYSTEM, || apart(f))
}

/// As [`ensure`], for a function whose environment is an object of the heap: on its way to a new segment the goroutine keeps
/// it alive (the context of Go's closures).
#[inline(always)]
pub fn ensure_with<T: Trace, R>(bytes: usize, env: Gc<T>, f: fn(Gc<T>) -> R) -> R {
    match getg() {
        // Relaxed: as in `ensure`.
        Some(gp) if arch::stack_pointer().saturating_sub(bytes) < gp.stackguard0.load(Ordering::Relaxed) => {
            grow_with(gp, bytes, env, f)
        }
        _ => f(env),
    }
}

/// What runs on a new segment, in the frame of who waits for it.
struct Call<F, R> {
    f: ManuallyDrop<F>,
    out: MaybeUninit<Result<R, Box<dyn Any + Send>>>,
}

impl<F, R> Call<F, R> {
    fn new(f: F) -> Call<F, R> {
        Call { f: ManuallyDrop::new(f), out: MaybeUninit::uninit() }
    }

    /// Runs `f` and keeps what comes of it. In the runtime, which it leaves meanwhile.
    fn run(&mut self, f: impl FnOnce() -> R) {
        current::set_locks(0);
        let out = catch_unwind(AssertUnwindSafe(f));
        current::lock();
        self.out.write(out);
    }

    /// # Safety
    /// `run` has ended, and nobody has taken it.
    unsafe fn result(self) -> R {
        // SAFETY: the caller's contract.
        match unsafe { self.out.assume_init() } {
            Ok(value) => value,
            Err(payload) => resume_unwind(payload),
        }
    }
}

/// What `morestack` is asked for; in the frame of its caller.
struct Wanted {
    bytes: usize,
    entry: extern "C" fn(*mut ()),
    arg: *mut (),
    /// What wants to run: the type of a closure, as a rule, whose path names the function that it is in.
    what: &'static str,
    /// Bits of the context that are flipped on its way, so that a test can have it in no other form.
    #[cfg(feature = "faults")]
    flipped: usize,
}

impl Wanted {
    fn new<What>(bytes: usize, entry: extern "C" fn(*mut ()), arg: *mut ()) -> Wanted {
        Wanted {
            bytes,
            entry,
            arg,
            what: core::any::type_name::<What>(),
            #[cfg(feature = "faults")]
            flipped: 0,
        }
    }
}

/// Whether the stack cannot grow here: without a P, or inside the runtime, there is no way to `newstack`.
fn cannot_grow() -> bool {
    current::locks() != 0 || !crate::p::holds_one()
}

/// The slow path of [`ensure`].
#[cold]
#[inline(never)]
fn grow<R, F: FnOnce() -> R>(gp: &'static G, bytes: usize, f: F) -> R {
    /// First function on a new segment.
    extern "C" fn entry<F: FnOnce() -> R, R>(_: *mut ()) {
        let call = core::ptr::with_exposed_provenance_mut::<Call<F, R>>(take_ctxt());
        // SAFETY: `grow` passed it, and waits; `f` is taken once.
        unsafe {
            let f = ManuallyDrop::take(&mut (*call).f);
            (*call).run(f);
        }
    }
    if cannot_grow() {
        return f();
    }
    let mut call = Call::new(f);
    let ctxt = (&raw mut call).expose_provenance();
    let wanted = Wanted::new::<F>(bytes, entry::<F, R>, core::ptr::null_mut());
    // SAFETY: the entry gets the `Call` that it expects; this frame waits for it.
    while !unsafe { morestack(gp, ctxt, &wanted) } {
        // A request, which has been answered.
        _ = take_ctxt();
        if has_room(gp, bytes) {
            // SAFETY: nobody has taken it.
            return unsafe { ManuallyDrop::take(&mut call.f) }();
        }
    }
    // SAFETY: the entry has run.
    unsafe { call.result() }
}

/// First function on a new segment, for [`grow_with`].
extern "C" fn entry_with<T: Trace, R>(call: *mut ()) {
    // SAFETY: `grow_with` passed an environment of this type, and a `Call`, which waits.
    unsafe {
        let call = call.cast::<Call<fn(Gc<T>) -> R, R>>();
        let env = Gc::from_ptr(core::ptr::with_exposed_provenance_mut(take_ctxt()));
        let f = *(*call).f;
        (*call).run(move || f(env));
    }
}

/// The slow path of [`ensure_with`]. Across `morestack` only the G need hold the environment.
#[cold]
#[inline(never)]
fn grow_with<T: Trace, R>(gp: &'static G, bytes: usize, env: Gc<T>, f: fn(Gc<T>) -> R) -> R {
    modelled("grow_with");
    if cannot_grow() {
        return f(env);
    }
    let mut call = Call::<_, R>::new(f);
    let wanted = Wanted::new::<fn(Gc<T>) -> R>(bytes, entry_with::<T, R>, (&raw mut call).cast());
    let mut ctxt = Gc::as_ptr(env).expose_provenance();
    // SAFETY: as in `grow`.
    while !unsafe { morestack(gp, ctxt, &wanted) } {
        ctxt = take_ctxt();
        if has_room(gp, bytes) {
            // SAFETY: the environment.
            return f(unsafe { Gc::from_ptr(core::ptr::with_exposed_provenance_mut(ctxt)) });
        }
    }
    // SAFETY: the entry has run.
    unsafe { call.result() }
}

/// As [`ensure_with`] where it grows, for an environment of which only the flipped address is at hand. Before it takes the
/// context from the G it runs `meanwhile`.
///
/// # Safety
/// `flipped` is the address of a `T` that is alive, with all bits flipped; the caller is a goroutine, outside the runtime.
#[cfg(feature = "faults")]
#[doc(hidden)]
#[inline(never)]
pub unsafe fn grow_with_flipped<T: Trace, R>(bytes: usize, flipped: usize, meanwhile: fn(), f: fn(Gc<T>) -> R) -> R {
    extern "C" fn entry<T: Trace, R>(arg: *mut ()) {
        // SAFETY: the pair below, in a frame that waits.
        let (call, meanwhile) = unsafe { arg.cast::<(*mut (), fn())>().read() };
        current::set_locks(0);
        meanwhile();
        current::lock();
        entry_with::<T, R>(call);
    }
    let Some(gp) = getg() else { gc_core::throw!("outside a goroutine") };
    let mut call = Call::<_, R>::new(f);
    let mut arg = ((&raw mut call).cast::<()>(), meanwhile);
    let wanted =
        Wanted { flipped: usize::MAX, ..Wanted::new::<fn(Gc<T>) -> R>(bytes, entry::<T, R>, (&raw mut arg).cast()) };
    // SAFETY: as in `grow`.
    let grown = unsafe { morestack(gp, flipped, &wanted) };
    assert!(grown, "`bytes` are more than the stack has");
    // SAFETY: the entry has run.
    unsafe { call.result() }
}

/// Whether there are `bytes` left on the newest segment.
fn has_room(gp: &G, bytes: usize) -> bool {
    arch::stack_pointer().saturating_sub(bytes) >= guard_of(gp)
}

/// What `newstack` stored, for the code that continues. In the runtime.
pub(crate) fn take_ctxt() -> usize {
    modelled("take_ctxt");
    let Some(gp) = getg() else { gc_core::throw!("a stack segment without a goroutine") };
    let ctxt = gp.ctxt.get().map_or(0, |object| Gc::as_ptr(object).expose_provenance());
    gp.ctxt.set(None);
    ctxt
}

/// Asks for stack. True: the entry has run on a new segment; false: a request was answered, and the context is the G's.
///
/// # Safety
/// The entry takes the context (`take_ctxt`), does not unwind, and returns with the in-runtime count at 1. The caller is a
/// goroutine with a P, outside the runtime. `ctxt` is an object's base, or an address outside the heap.
#[inline(never)]
unsafe fn morestack(gp: &'static G, ctxt: usize, wanted: &Wanted) -> bool {
    current::lock();
    // One that is unwinding is never queued (`leave_safepoint`).
    gp.noyield.store(std::thread::panicking(), Ordering::Relaxed);
    gp.wanted.store(core::ptr::from_ref(wanted).cast_mut().cast(), Ordering::Relaxed);
    #[cfg(all(debug_assertions, not(any(modelled, barrier_lint))))]
    let elsewhere = barrier_lint::Inside::enter(None);
    let g0 = this_m().g0_sp.load(Ordering::Relaxed);
    // SAFETY: this M's g0 waits in `schedule`.
    let grown = unsafe { arch::morestack(ctxt, gp.sp.as_ptr(), g0, newstack) } != 0;
    #[cfg(all(debug_assertions, not(any(modelled, barrier_lint))))]
    drop(elsewhere);
    if grown {
        gp.segments.pop();
        unpoison(gp);
        // A request that came meanwhile is not lost.
        if this_m().p().is_some_and(P::asked) {
            poison(gp);
        }
    }
    current::set_locks(0);
    grown
}

/// g0 part of `morestack`, the only one that stores the context.
///
/// # Safety
/// As [`Mcall`](crate::proc::schedule::Mcall); `ctxt` is null, an object's base, or an address outside the heap.
pub(crate) unsafe extern "C" fn newstack(
    sched: &'static Sched,
    m: &'static M,
    gp: &'static G,
    ctxt: usize,
) -> *const G {
    modelled("newstack");
    // SAFETY: in the frame of `morestack`'s caller, which waits.
    let wanted = unsafe { &*gp.wanted.load(Ordering::Relaxed).cast::<Wanted>() };
    #[cfg(feature = "faults")]
    let ctxt = ctxt ^ wanted.flipped;
    // SAFETY: the caller's contract. What is no object is never used as one, and both barrier and marker pass it by.
    let value = unsafe { Gc::from_ptr(core::ptr::with_exposed_provenance_mut(ctxt)) };
    if faults::active(Fault::CtxtUnbarriered) {
        // SAFETY: a word of a live G.
        overwrite(unsafe { word::at(core::ptr::from_ref(&gp.ctxt).expose_provenance()) }, ctxt, Ordering::Relaxed);
    } else {
        gp.ctxt.set(Some(value));
    }

    let sp = gp.sp.load(Ordering::Relaxed);
    if sp.saturating_sub(wanted.bytes) < guard_of(gp) {
        match gp.segments.push(gp.stack, sp, wanted.bytes, sched.settings.max_stack) {
            Ok(range) => {
                // SAFETY: a new segment, larger than a frame; `sp` is a suspended context.
                let start = unsafe { arch::init_segment(range.hi, wanted.entry, wanted.arg, sp) };
                gp.sp.store(start, Ordering::SeqCst);
            }
            Err(why) => overflow(gp, wanted, why, sched.settings.max_stack),
        }
    }
    m.at(Door::Poll);
    gp.set_wait(WaitReason::Safepoint);
    gp.leave_running(g::WAITING);
    if let Some(p) = m.p() {
        self_scan(sched, p, gp);
    }
    unpoison(gp);
    leave_safepoint(sched, m, gp)
}

/// Ends the process: the stack is as large as it may be.
#[cold]
fn overflow(gp: &G, wanted: &Wanted, why: Full, most: usize) -> ! {
    use core::fmt::Write;
    let mut out = gc_core::fatal::Stderr;
    let (id, bytes) = (gp.id.load(Ordering::Relaxed), wanted.bytes);
    let what = wanted.what.trim_end_matches("::{{closure}}");
    let _ = writeln!(out, "fatal error: stack overflow");
    let _ = match why {
        Full::Limit => writeln!(
            out,
            "goroutine {id} asks for {bytes} bytes of stack more in {what}, and may have {} MiB in all (Builder::max_stack)",
            most >> 20
        ),
        Full::NoStack(why) => writeln!(out, "goroutine {id} asks for {bytes} bytes of stack more in {what}: {why}"),
    };
    crate::dump::at_rest(gp, gp.status());
    // SAFETY: ends the process.
    unsafe { libc::_exit(2) }
}
