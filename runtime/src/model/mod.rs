//! What the models of `cargo models` drive: a scheduler of a few Ms, Ps and goroutines inside one execution. Only
//! built under `--cfg modelled`.
//!
//! Each thread of a model is the thread of one M. All that it does here is the runtime's own code, with these exceptions,
//! which have no protocol of their own:
//!
//! - **The switch.** A goroutine runs on the stack of its M's thread, and `mcall` calls what it would have switched to
//!   ([`on_g0`]). So a goroutine always goes on upon the M on which it parked, as if each were pinned.
//! - **The loop.** Where a goroutine has left its M that is not locked to it, that looks for it in all queues, comes by the
//!   door each time, and runs nothing else: what else it finds it puts into the global queue. Models of whole cycles have the
//!   runtime's loop, and a thread for each goroutine (`whole`).
//! - **Time.** [`set_clock`] says what it is, for the whole execution. Whoever sleeps with a limit wakes up for no reason
//!   whenever nobody else can run, unless [`limits_that_pass`] says otherwise.

mod chan;
mod cycle;
mod life;
pub mod netpoll;
mod runq;
mod signal;
mod stack;
mod stop;
mod sync;
mod sysmon;
pub mod timer;
mod whole;
mod xregs;

use crate::g::{self, G};
use crate::m::M;
use crate::p::P;
use crate::proc::locked::stoplockedm;
use crate::proc::newm::{acquirep, releasep};
use crate::proc::runq::{globrunqget, runqget, runqsteal};
use crate::proc::schedule::{Mcall, prepare};
use crate::sched::Sched;
use crate::stack::Stack;
use core::cell::RefCell;
use core::sync::atomic::Ordering;
use gc_core::sync::{current, yield_now};
use gc_core::{Config, Heap, PAGE_SIZE};

pub use gc_core::model::{clock_goes, limits_that_pass, set_clock};
pub(crate) use signal::deliver;
pub(crate) use stack::morestack;
pub(crate) use whole::switch;

/// How often a thread that waits looks before the model fails: all others have run as far as they can by then.
const PATIENCE: u32 = 200;

/// Words of a goroutine's stack, all of which are scanned.
pub const STACK_WORDS: usize = crate::arch::FIRST_FRAME / size_of::<usize>();

/// Pages of the heap: Ms that the runtime makes lie there, and goroutines.
const PAGES: usize = 24;

/// The number of a goroutine that does not run when it waits in a queue, as long as this is true.
type HeldBack = (usize, Box<dyn Fn() -> bool>);

std::thread_local! {
    /// All model threads share the OS thread.
    static HELD_BACK: RefCell<Option<HeldBack>> = const { RefCell::new(None) };
}

/// A scheduler.
#[derive(Clone, Copy)]
pub struct World {
    sched: &'static Sched,
}

/// A goroutine; its number is that of its M.
#[derive(Clone, Copy)]
pub struct Goroutine(pub(crate) &'static G);

impl World {
    /// `n` Ms, each with the P and the goroutine of its number. The Ps are idle and on no list, the goroutines Runnable and
    /// in no queue.
    pub fn start(n: usize) -> World {
        World::start_with(n, n)
    }

    /// As `start`, with so many goroutines.
    pub fn start_with(n: usize, goroutines: usize) -> World {
        let config = Config { percent: None, reserve: PAGES * PAGE_SIZE, ..Config::default() };
        World::make(n, n, goroutines, config)
    }

    fn make(ms: usize, procs: usize, goroutines: usize, config: Config) -> World {
        let settings = crate::config::Settings { procs, gc_percent: None, ..crate::config::Settings::default() };
        let sched: &'static Sched = Box::leak(Box::new(Sched::new(settings).expect("a scheduler")));
        let heap = Heap::new(Config { procs, ..config }, sched).expect("a heap");
        let (_, p0) = sched.set_heap(heap);
        for id in 1..procs {
            let p: &'static P = Box::leak(Box::new(P::new(id as u32)));
            p.init(heap.new_p());
            sched.allpadd(id, core::ptr::from_ref(p).cast_mut().cast());
        }
        for id in 1..ms {
            let m: &'static M = Box::leak(Box::new(M::new(id as u32)));
            m.sched.store(core::ptr::from_ref(sched).cast_mut(), Ordering::SeqCst);
            sched.allmadd(id, core::ptr::from_ref(m).cast_mut().cast());
        }
        sched.nps.store(procs, Ordering::SeqCst);
        sched.lock().mcount = ms as u32;
        heap.acquire_p(p0.gcp());
        for id in 0..goroutines {
            let stack: &'static mut [usize; STACK_WORDS] = Box::leak(Box::new([0; STACK_WORDS]));
            let lo = stack.as_mut_ptr().expose_provenance();
            let gp = crate::proc::spawn::make_g(sched, Stack { lo, hi: lo + size_of_val(stack) });
            gp.sp.store(lo, Ordering::SeqCst);
            gp.id.store(id as u64 + 1, Ordering::SeqCst);
            gp.status.store(g::RUNNABLE, Ordering::SeqCst);
        }
        heap.release_p(p0.gcp());
        World { sched }
    }

    /// Runs `f` as the thread of M number `id`, in the scheduler, with the P of this number. Afterwards the P is idle, and
    /// on no list.
    pub fn on_m<R>(self, id: usize, f: impl FnOnce() -> R) -> R {
        let out = self.on_m_for_good(id, f);
        releasep(self.sched, self.m(id));
        current::set_m(core::ptr::null_mut());
        out
    }

    /// As `on_m`, and the M keeps what P it has then, as if it ran on.
    pub fn on_m_for_good<R>(self, id: usize, f: impl FnOnce() -> R) -> R {
        let (sched, m) = (self.sched, self.m(id));
        current::set_locks(1);
        current::set_m(core::ptr::from_ref(m).cast_mut().cast());
        assert!(acquirep(sched, m, self.p(id)), "the world goes on");
        f()
    }

    /// Runs `f` as the goroutine of this number, on its M.
    pub fn on_goroutine<R>(self, id: usize, f: impl FnOnce(Goroutine) -> R) -> R {
        self.on_m(id, || {
            let (m, gp) = (self.m(id), self.g(id));
            continues(m, gp);
            current::set_locks(0);
            let out = f(Goroutine(gp));
            current::set_locks(1);
            current::set_g(core::ptr::null_mut());
            gp.leave_running(g::DEAD);
            crate::proc::schedule::dropg(m, gp);
            out
        })
    }

    /// From now on goroutine number `id` does not run when it waits in a queue, until this is false.
    pub fn hold_back(self, id: usize, held_back: impl Fn() -> bool + 'static) {
        HELD_BACK.set(Some((id, Box::new(held_back))));
    }

    /// Does it again until it says that it has come about.
    pub fn until(self, mut done: impl FnMut() -> bool) {
        assert!((0..PATIENCE).any(|_| done() || (yield_now(), false).1), "it never comes about");
    }

    fn m(self, id: usize) -> &'static M {
        self.sched.m(id).expect("made by `start`")
    }

    fn p(self, id: usize) -> &'static P {
        self.sched.p(id).expect("made by `start`")
    }

    fn g(self, id: usize) -> &'static G {
        let gp = self.sched.allg(id).expect("made by `start`");
        let gp: *const G = &raw const *gp;
        // SAFETY: `allgs` keeps it for as long as there is the execution.
        unsafe { &*gp }
    }

    /// That no goroutine waits in a queue: each that was readied has run, and only once.
    pub fn nobody_waits(self) {
        assert!(!self.sched.has_work(), "a goroutine was readied twice");
    }
}

/// `gp`, which is Runnable, runs on `m`.
fn continues(m: &'static M, gp: &'static G) {
    prepare(gp.sched, m, gp, false);
    current::set_g(core::ptr::from_ref(gp).cast_mut().cast());
}

/// The M of this thread.
fn current_m() -> &'static M {
    crate::proc::newm::this_m()
}

/// A goroutine of any queue.
fn find(sched: &'static Sched, p: &'static P) -> Option<&'static G> {
    if let Some((found, _)) = runqget(p) {
        return Some(found);
    }
    // A look without the lock first, as `look` has it.
    if sched.runqsize.load(Ordering::SeqCst) > 0 {
        return globrunqget(sched, &mut sched.lock(), p, 1);
    }
    sched.ps().filter(|victim| !core::ptr::eq(*victim, p)).find_map(|victim| runqsteal(p, victim, true))
}

fn held_back(gp: &G) -> bool {
    let entry = HELD_BACK.take();
    let mine = entry.as_ref().is_some_and(|(id, _)| *id == gp.index);
    let entry = entry.filter(|(_, held_back)| !mine || held_back());
    let held = mine && entry.is_some();
    HELD_BACK.set(entry);
    held
}

/// The two switches of `mcall`, and what the loop does in between.
pub(crate) fn on_g0(m: &'static M, gp: &'static G, f: Mcall, ctxt: usize) {
    if whole::left(gp, f, ctxt) {
        return;
    }
    let sched = gp.sched;
    current::set_g(core::ptr::null_mut());
    // SAFETY: the goroutine's stack does not change while this runs on top of it.
    let next = unsafe { f(sched, m, gp, ctxt) };
    if !next.is_null() {
        assert!(core::ptr::eq(next, gp), "another goroutine is to continue");
        current::set_g(core::ptr::from_ref(gp).cast_mut().cast());
        return;
    }
    if m.lockedg().is_some() {
        assert!(stoplockedm(sched, m) && crate::stw::door(sched, m, false), "the world goes on");
        return continues(m, gp);
    }
    let mut looks = 0;
    while looks < PATIENCE {
        if !crate::stw::door(sched, m, false) {
            panic!("the world ends");
        }
        let Some(p) = m.p() else { panic!("the loop has no P") };
        if held_back(gp) {
            yield_now();
            continue;
        }
        looks += 1;
        match find(sched, p) {
            Some(found) if core::ptr::eq(found, gp) => return continues(m, gp),
            // For that one's own M.
            Some(found) => sched.globrunqput(&mut sched.lock(), found),
            None => {}
        }
        yield_now();
    }
    panic!("the goroutine sleeps for ever: its wake-up was lost");
}
