//! A whole scheduler: any M runs any goroutine, by the runtime's own loop (`proc::schedule`), and Ms come and go.
//!
//! Each M is a thread that runs `schedule`, and each goroutine is one, too, which runs only while an M waits for it in
//! [`switch`], with the words (`sync::current`) of that M. `mcall` is the way back: the M goes on, with what is to run on g0, and
//! the goroutine's thread waits for the next M that switches to it. So a switch of stacks is a hand-over between two threads,
//! and nothing else is different.

use super::{Goroutine, STACK_WORDS, World};
use crate::arch::Handed;
use crate::g::{self, G};
use crate::m::{M, set_m_no_write_barrier};
use crate::proc::newm::acquirep;
use crate::proc::schedule::{Mcall, dropg, schedule};
use crate::sched::{Sched, unlock};
use core::cell::RefCell;
use core::sync::atomic::Ordering;
use gc_core::Config;
use gc_core::sync::current::{self, Words};
use gc_core::sync::explorer::sync::{Condvar, Mutex};
use gc_core::sync::explorer::thread;

/// Whose turn it is.
enum Turn {
    /// The goroutine's, with the words of its M.
    Goroutine(Words),
    /// The M's, to run this on g0, with this context.
    M(Mcall, usize),
    /// Nobody waits for the other.
    None,
}

/// A goroutine's thread.
struct Fiber {
    turn: Mutex<Turn>,
    changed: Condvar,
}

std::thread_local! {
    /// Those of this execution, by the goroutines' numbers. All model threads share the OS thread.
    static FIBERS: RefCell<Vec<&'static Fiber>> = const { RefCell::new(Vec::new()) };
}

fn fiber(gp: &G) -> Option<&'static Fiber> {
    FIBERS.with_borrow(|fibers| fibers.get(gp.index).copied())
}

impl Fiber {
    fn give(&self, turn: Turn) {
        *self.turn.lock().expect("nobody panics with it") = turn;
        self.changed.notify_all();
    }

    /// Takes what `wanted` finds, when it does.
    fn take<R>(&self, wanted: impl Fn(&Turn) -> Option<R>) -> R {
        let mut turn = self.turn.lock().expect("nobody panics with it");
        loop {
            if let Some(found) = wanted(&turn) {
                *turn = Turn::None;
                return found;
            }
            turn = self.changed.wait(turn).expect("nobody panics with it");
        }
    }

    /// The goroutine's side: waits for an M.
    fn runs(&self) {
        let words = self.take(|turn| if let Turn::Goroutine(words) = turn { Some(*words) } else { None });
        words.borrow();
    }

    /// The goroutine leaves its M, which goes on with `f`, until another one, or the same, goes on with it.
    fn leave(&self, f: Mcall, ctxt: usize) {
        self.give(Turn::M(f, ctxt));
        self.runs();
    }
}

/// What `schedule` does with a goroutine: switches to it, until it switches back.
pub(crate) fn switch(gp: &'static G) -> Handed {
    let fiber = fiber(gp).expect("made by `start_whole`");
    fiber.give(Turn::Goroutine(Words::mine()));
    let (f, ctxt) = fiber.take(|turn| if let Turn::M(f, ctxt) = turn { Some((*f, *ctxt)) } else { None });
    Handed { value: f as usize, ctxt }
}

/// `mcall`, if the goroutine has a thread of its own; whether it has.
pub(super) fn left(gp: &'static G, f: Mcall, ctxt: usize) -> bool {
    fiber(gp).inspect(|fiber| fiber.leave(f, ctxt)).is_some()
}

/// The end of the main goroutine, as `goexit0` has it: the world ends.
unsafe extern "C" fn main_exit(sched: &'static Sched, m: &'static M, gp: &'static G, _: usize) -> *const G {
    gp.leave_running(g::DEAD);
    dropg(m, gp);
    crate::runtime::main_has_ended(sched, m);
    core::ptr::null()
}

impl World {
    /// `procs` Ps and one M, which has none yet; the goroutines wait in the global queue. The heap has so many pages.
    pub fn start_whole(procs: usize, goroutines: usize, pages: usize, config: Config) -> World {
        let config = Config { reserve: pages * gc_core::PAGE_SIZE, ..config };
        let world = World::make(1, procs, goroutines, config);
        let fiber = || -> &'static Fiber {
            Box::leak(Box::new(Fiber { turn: Mutex::new(Turn::None), changed: Condvar::new() }))
        };
        FIBERS.set((0..goroutines).map(|_| fiber()).collect());
        let mut global = world.sched.lock();
        (1..procs).for_each(|p| world.sched.pidleput(&mut global, world.p(p)));
        (0..goroutines).for_each(|g| world.sched.globrunqput(&mut global, world.g(g)));
        unlock(global);
        world
    }

    /// Goroutine number `g`, on this thread. That of the main one (0) ends the world.
    pub fn goroutine(self, g: usize, f: impl FnOnce(Goroutine)) {
        let gp = self.g(g);
        let fiber = fiber(gp).expect("made by `start_whole`");
        fiber.runs();
        current::set_locks(0);
        f(Goroutine(gp));
        current::set_locks(1);
        fiber.give(Turn::M(if g == 0 { main_exit } else { crate::proc::spawn::goexit0 }, 0));
    }

    /// All Ms: the first one, and those that are made until the world ends. By the thread that makes threads.
    pub fn ms(self) {
        let first = self.m(0);
        crate::p::set_p_no_write_barrier(&first.nextp, core::ptr::from_ref(self.p(0)).cast_mut());
        let mut threads = vec![thread::spawn(move || self.run_m(first))];
        loop {
            let mut next = self.sched.template.take();
            // SAFETY: null or an M that `newm` has put there, which `allms` keeps.
            while let Some(m) = unsafe { next.as_ref() } {
                next = m.schedlink.get();
                set_m_no_write_barrier(&m.schedlink, core::ptr::null_mut());
                threads.push(thread::spawn(move || self.run_m(m)));
            }
            if self.has_ended() {
                break;
            }
            self.sched.template.sleep();
        }
        threads.into_iter().for_each(|thread| thread.join().expect("an M"));
    }

    /// What `mstart` does, on an M with its `nextp`.
    fn run_m(self, m: &'static M) {
        current::set_locks(1);
        current::set_m(core::ptr::from_ref(m).cast_mut().cast());
        // SAFETY: a P of `allps`.
        if acquirep(self.sched, m, unsafe { &*m.nextp.get() }) {
            schedule(self.sched, m);
        }
        current::set_m(core::ptr::null_mut());
    }

    /// Whether the world has ended.
    pub fn has_ended(self) -> bool {
        self.sched.exiting.load(Ordering::SeqCst)
    }

    /// Whether somebody has left this P behind in a blocking call.
    pub fn left_behind(self, p: usize) -> bool {
        self.p(p).status.load(Ordering::SeqCst) == crate::p::SYSCALL
    }

    /// The heap.
    pub fn heap(self) -> &'static gc_core::Heap {
        self.sched.heap()
    }

    /// Writes the whole stack of goroutine number `g`, on that goroutine.
    pub fn set_whole_stack(self, g: usize, words: &[usize]) {
        (0..STACK_WORDS).for_each(|i| self.set_stack(g, i, words.get(i).copied().unwrap_or(0)));
    }
}
