//! Birth and death of goroutines.
//!
//! The closure lies in a `Start` object of conservative kind until the goroutine runs; then it moves to the
//! goroutine's stack. A goroutine born while marking is black: its stamp is this cycle's, so its G and its start
//! object are shaded, all in one stretch without a safepoint (`newproc`). What would break with a safepoint in
//! between: a cycle could start after the stamp was read, and nobody would scan the new stack.

use super::newm::{this_m, wakep_exchanged};
use super::runq::runqput;
use super::schedule::dropg;
use crate::arch;
use crate::g::{self, G, getg, set_g_no_write_barrier};
use crate::join::{Join, JoinHandle};
use crate::m::M;
use crate::p::P;
use crate::sched::Sched;
use core::mem::MaybeUninit;
use core::panic::Location;
use gc_core::faults::{self, Fault};
use gc_core::sync::current::{self, Region};
use gc_core::sync::{Ordering, modelled};
use gc_core::{Conservative, Gc};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What a new goroutine runs: the head of a [`Task`].
#[repr(C)]
pub(crate) struct Start {
    run: unsafe fn(&'static G, Gc<Conservative<Start>>),
}

#[repr(C)]
struct Task<F, R> {
    start: Start,
    f: MaybeUninit<F>,
    join: Gc<Conservative<Join<R>>>,
}

/// How much of a new goroutine's stack is cleared, in bytes: what its first frames take.
const STALE: usize = if cfg!(modelled) { crate::arch::FIRST_FRAME } else { 2 << 10 };

/// Dead Gs that a P keeps; half go to the global list beyond that.
const GFREE: u32 = if cfg!(modelled) { 2 } else { 64 };

/// Starts a goroutine that runs `f`.
///
/// It is runnable at once and may run on any thread; it moves between threads only at safepoints. Needs a P: call it
/// on a goroutine. A safepoint. Source: Go's `go` statement (`newproc`).
///
/// ```
/// # unsafe { tricolor::Runtime::builder().run(|| {
/// let handle = tricolor::spawn(|| 6 * 7);
/// assert_eq!(handle.join().unwrap(), 42);
/// # }) }
/// ```
///
/// Where it was called is remembered, for dumps, profiles and leaks.
///
/// # Panics
/// Outside a goroutine.
#[track_caller]
pub fn spawn<F, R>(f: F) -> JoinHandle<R>
where
    F: FnOnce() -> R + Send + 'static,
    R: Send + 'static,
{
    let gp = getg().expect("`spawn` is called on a goroutine: enter a runtime with `Runtime::builder().run(..)`");
    let sched = gp.sched;
    let goid = sched.next_goid();
    let join = Gc::new(Conservative(Join::<R>::new(goid)));
    let handle = JoinHandle::new(join);
    let start = new_task(f, join);
    // Inside the runtime: descheduled between the look at its P and the take, this goroutine would take from a list that
    // somebody else owns by then.
    let region = (!faults::active(Fault::GfgetUnguarded)).then(Region::enter);
    let dead = gfget(sched);
    drop(region);
    let new = match dead {
        Some(g) => g,
        None => malg(sched),
    };
    let _region = Region::enter();
    // Asked for only now: allocation may have moved this goroutine to another M and P.
    let Some(p) = this_m().p() else { gc_core::throw!("spawn: no P") };
    newproc(sched, p, new, start, goid, Some(Location::caller()));
    wakep_exchanged(sched);
    handle
}

/// The start object of `f`. A safepoint.
pub(crate) fn new_task<F, R>(f: F, join: Gc<Conservative<Join<R>>>) -> Gc<Conservative<Start>>
where
    F: FnOnce() -> R + 'static,
    R: Send + 'static,
{
    let task = Task { start: Start { run: run::<F, R> }, f: MaybeUninit::new(f), join };
    let task = Gc::new(Conservative(task));
    // SAFETY: a `Task` begins with its `Start` (repr(C)), and both are of conservative kind.
    unsafe { Gc::from_ptr(Gc::as_ptr(task)) }
}

/// A G with a stack of its own, Dead. A safepoint.
pub(crate) fn malg(sched: &'static Sched) -> &'static G {
    let stack = match sched.stacks.alloc() {
        Ok(stack) => stack,
        Err(why) => gc_core::throw!("{} goroutines have a stack, and one more cannot have one: {why}", sched.nallgs()),
    };
    make_g(sched, stack)
}

/// A G for `stack`. A safepoint.
pub(crate) fn make_g(sched: &'static Sched, stack: crate::stack::Stack) -> &'static G {
    let gp = sched.allgadd(|index| Gc::new(G::new(sched, stack, index)));
    // The G may have been made white, before a cycle that counted `allgs` began inside the allocation.
    shade_g(sched, gp);
    let gp: *const G = &raw const *gp;
    // SAFETY: `allgs` keeps it for ever.
    let gp = unsafe { &*gp };
    gp.status.store(g::DEAD, Ordering::SeqCst);
    gp
}

fn shade_g(sched: &'static Sched, gp: Gc<G>) {
    let word = Gc::as_ptr(gp).addr();
    // Descheduled in the middle of it, this goroutine would put an object on a list that somebody else owns by then.
    let _region = Region::enter();
    // SAFETY: one word on this stack.
    unsafe { sched.heap().shade_words(&raw const word, 1) };
}

/// Makes the dead `gp` runnable with `start`; `created_at` is the call of `spawn`, if there was one. No safepoint inside; needs
/// a P.
pub(crate) fn newproc(
    sched: &'static Sched,
    p: &'static P,
    gp: &'static G,
    start: Gc<Conservative<Start>>,
    goid: u64,
    created_at: Option<&'static Location<'static>>,
) {
    let heap = sched.heap();
    // SAFETY: a dead G's stack is nobody's, and larger than this.
    let sp = unsafe {
        // Words of the goroutine that ran here before would keep what it used alive.
        core::ptr::with_exposed_provenance_mut::<u8>(gp.stack.hi - STALE).write_bytes(0, STALE);
        arch::init_stack(gp.stack.hi, goroutine_main)
    };
    gp.set_created_at(created_at);
    // Release: pairs with the Acquire in `schedule`; the queue orders it besides.
    gp.sp.store(sp, Ordering::Release);
    // Relaxed: for dumps; whoever runs it comes by the queue.
    gp.id.store(goid, Ordering::Relaxed);
    // With the barrier, which shades the start object while marking; its words were shaded when it was made, or are
    // scanned with it.
    gp.start.set(Some(start));
    if heap.marking() {
        if let Some(this) = sched.allg(gp.index) {
            shade_g(sched, this);
        }
        gp.stamp.store(heap.cycle(), Ordering::SeqCst);
    }
    // Relaxed: read by who takes it off a queue.
    gp.fresh.store(true, Ordering::Relaxed);
    crate::trace::created(crate::m::getm(), gp);
    gp.revive();
    runqput(sched, p, gp, true);
}

/// First function on a goroutine's stack: what it returns is the last switch, to g0, as by `mcall(goexit0)`. `extern "C"`: no
/// panic leaves it.
extern "C" fn goroutine_main() -> arch::Handed {
    let Some(gp) = getg() else { gc_core::throw!("a goroutine without a G") };
    // As the stack, which `newproc` has cleared.
    arch::clear_vectors();
    begin(gp);
    // Relaxed: this M's own.
    arch::Handed { value: goexit0 as *const () as usize, ctxt: this_m().g0_sp.load(Ordering::Relaxed) }
}

/// Runs the function of `gp`, on it.
pub(crate) fn begin(gp: &'static G) {
    let Some(start) = gp.start.get() else { gc_core::throw!("a goroutine without a function") };
    // In the runtime until its function runs.
    current::set_locks(1);
    // SAFETY: `start` is the head of a task whose types `run` knows.
    unsafe { (start.run)(gp, start) };
}

/// Runs a task of types `F` and `R` to its end.
///
/// # Safety
/// `start` is the head of a `Task<F, R>` that has not run.
unsafe fn run<F, R>(gp: &'static G, start: Gc<Conservative<Start>>)
where
    F: FnOnce() -> R + 'static,
    R: Send + 'static,
{
    let task = Gc::as_ptr(start).cast::<Task<F, R>>();
    // SAFETY: the caller's contract: `f` is there and taken once. This stack may be black (it was born so), so what
    // moves onto it is shaded; no safepoint in between.
    let (f, join) = unsafe {
        gp.sched.heap().shade_value(&raw const (*task).f);
        let f = (*task).f.as_ptr().read();
        // The task no longer keeps what has moved out.
        (*task).f.as_mut_ptr().write_bytes(0, 1);
        (f, (*task).join)
    };
    gp.start.set(None);
    current::set_locks(0);
    let out = catch_unwind(AssertUnwindSafe(f));
    current::lock();
    join.finish(gp, out);
}

/// g0 part of a goroutine's end. Its G is for others to use when nothing ties it to this M any more: who runs it next says
/// where that is.
///
/// # Safety
/// As [`Mcall`](super::schedule::Mcall).
pub(crate) unsafe extern "C" fn goexit0(sched: &'static Sched, m: &'static M, gp: &'static G, _: usize) -> *const G {
    modelled("goexit0");
    if gp.panics.get().is_some() {
        gp.panics.set(None);
    }
    gp.noyield.store(false, Ordering::Relaxed);
    gp.sudog.store(core::ptr::null_mut(), Ordering::Relaxed);
    gp.segments.clear();
    super::locked::at_exit(m, gp);
    let end = core::ptr::eq(gp.stack.hi as *const u8, sched.stacks.main().hi as *const u8);
    gp.leave_running(g::DEAD);
    let late = faults::active(Fault::ExitUntiesLate);
    if !late {
        dropg(m, gp);
    }
    if end {
        crate::runtime::main_has_ended(sched, m);
        return core::ptr::null();
    }
    if let Some(p) = m.p() {
        gfput(sched, p, gp);
    }
    if late {
        faults::linger(64);
        dropg(m, gp);
    }
    core::ptr::null()
}

/// Keeps a dead G for the next spawn on this P.
pub(crate) fn gfput(sched: &Sched, p: &P, gp: &G) {
    set_g_no_write_barrier(&gp.schedlink, p.gfree.get());
    set_g_no_write_barrier(&p.gfree, core::ptr::from_ref(gp).cast_mut());
    if count(p, 1) >= GFREE {
        let mut global = sched.lock();
        for _ in 0..GFREE / 2 {
            let Some(gp) = pop(p) else { break };
            sched.gfput_global(&mut global, gp);
        }
    }
}

/// Gives the dead Gs of `p` to everybody.
pub(crate) fn gflush(sched: &Sched, global: &mut crate::sched::Global, p: &P) {
    while let Some(gp) = pop(p) {
        sched.gfput_global(global, gp);
    }
}

fn pop(p: &P) -> Option<&'static G> {
    // SAFETY: on the list are Gs of `allgs`.
    let gp = unsafe { p.gfree.get().as_ref() }?;
    if faults::active(Fault::GfgetUnguarded) {
        faults::linger(500);
    }
    set_g_no_write_barrier(&p.gfree, gp.schedlink.get());
    set_g_no_write_barrier(&gp.schedlink, core::ptr::null_mut());
    count(p, -1);
    Some(gp)
}

/// There are `n` more dead Gs on `p`'s list; returns how many there are.
fn count(p: &P, n: i32) -> u32 {
    // Relaxed: only the M that holds the P touches its list.
    let len = p.gfree_len.load(Ordering::Relaxed).wrapping_add_signed(n);
    p.gfree_len.store(len, Ordering::Relaxed);
    len
}

/// A dead G with its stack, from this P's list or the global one. In the runtime: this thread must keep its P.
fn gfget(sched: &'static Sched) -> Option<&'static G> {
    modelled("gfget");
    let p = this_m().p()?;
    if let Some(gp) = pop(p) {
        return Some(gp);
    }
    let mut global = sched.lock();
    let first = sched.gfget_global(&mut global)?;
    for _ in 0..GFREE / 2 {
        let Some(gp) = sched.gfget_global(&mut global) else { break };
        set_g_no_write_barrier(&gp.schedlink, p.gfree.get());
        set_g_no_write_barrier(&p.gfree, core::ptr::from_ref(gp).cast_mut());
        count(p, 1);
    }
    Some(first)
}
