//! Workers: each does one kind of thing over and over, and compares what comes of it with what must.
//!
//! A worker ticks its slot wherever it makes progress, and only while it runs with a P: so who has stopped the world can
//! see that nobody ran, and the watcher that somebody does. What it finds wrong ends the process at once.

mod calls;
mod compute;
mod heap;
mod leaks;
mod moves;
mod planted;
mod races;
mod registers;
mod sleeps;
mod sockets;
mod stops;
mod talk;

use super::kind::Kind;
use super::page::{Count, Page, Slot};
use super::plan::Leg;
use crate::injection::Exam;
use crate::oracle::Oracle;
use crate::oracle::rng::Rng;
use hdrhistogram::Histogram;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// What a worker of a process knows; all of it lives for ever.
#[derive(Clone, Copy)]
pub struct Worker {
    pub kind: Kind,
    /// Among its kind.
    pub number: usize,
    pub slot: &'static Slot,
    pub page: &'static Page,
    pub leg: &'static Leg,
    pub exam: &'static Exam,
    /// The phase is.
    pub over: &'static AtomicBool,
    pub phase: usize,
    pub seed: u64,
    /// Bytes that it keeps alive, if it keeps any.
    pub live: usize,
}

/// What a worker brings home.
#[derive(Default)]
pub struct Harvest {
    /// The oracle, which goes on in a later phase.
    pub oracle: Option<Box<Oracle>>,
    /// Times in nanoseconds.
    pub times: Option<(&'static str, Histogram<u64>)>,
}

impl Worker {
    /// Counts a step; whether there is to be another one.
    pub fn go(self) -> bool {
        self.tick();
        !self.over.load(Relaxed)
    }

    /// Counts a step.
    pub fn tick(self) {
        self.slot.ticks.fetch_add(1, Relaxed);
    }

    /// Counts for the summary.
    pub fn count(self, what: Count, n: u64) {
        self.page.count(what, n);
    }

    /// Random numbers of its own.
    pub fn rng(self) -> Rng {
        Rng::new(self.seed)
    }

    /// Something is wrong: ends the process.
    #[cold]
    #[inline(never)]
    pub fn broke(self, what: fmt::Arguments<'_>) -> ! {
        let name = self.leg.phases.get(self.phase).map_or("?", |phase| &phase.name);
        let Worker { kind, number, phase, seed, .. } = self;
        // SAFETY: asks for a number.
        let thread = unsafe { libc::gettid() };
        tricolor::gc_core::throw!(
            "stress: {} {number} (its seed {seed}; phase {phase}: {name}; thread {thread}): {what}",
            kind.name()
        )
    }

    /// Works until the phase is over. On its goroutine.
    pub fn work(self, oracle: Option<Box<Oracle>>) -> Harvest {
        match self.kind {
            Kind::Main => {}
            Kind::Loop => compute::numbers(self),
            Kind::Kernel => compute::kernel(self),
            Kind::Registers => registers::registers(self),
            Kind::Churn => compute::churn(self),
            Kind::Hiccup => return Harvest { times: Some(("a goroutine's hiccups", stops::hiccup(self))), oracle },
            Kind::Alloc => heap::lists(self),
            Kind::Arrays => heap::arrays(self),
            Kind::Afterlife => heap::afterlife(self),
            Kind::Oracle => return Harvest { oracle: Some(heap::oracle(self, oracle)), times: None },
            Kind::Channel => talk::channel(self),
            Kind::PingPong => talk::ping_pong(self),
            Kind::Crowd => talk::crowd(self),
            Kind::Select => talk::selects(self),
            Kind::Locks => talk::locks(self),
            Kind::Timer => return Harvest { times: Some(("lateness of timers", talk::timer(self))), oracle },
            Kind::Net => sockets::echo(self),
            Kind::Block => calls::block(self),
            Kind::Pipe => calls::pipe(self),
            Kind::Threads => calls::threads(self),
            Kind::Locked => calls::locked(self),
            Kind::Moves => moves::moves(self),
            Kind::Limits => races::limits(self),
            Kind::Deadlines => races::deadlines(self),
            Kind::Readers => races::readers(self),
            Kind::Silence => races::silence(self),
            Kind::Leaks => leaks::leaks(self),
            Kind::Once => races::once(self),
            Kind::Brood => races::brood(self),
            Kind::Naps => sleeps::naps(self),
            Kind::Fair => sleeps::fair(self),
            Kind::Stopper => stops::stopper(self),
            Kind::EachP => stops::each_p(self),
            Kind::Procs => stops::procs(self),
            Kind::Collect => stops::collect(self),
            Kind::Hang | Kind::Crash | Kind::Wrong | Kind::Panic | Kind::Exit => planted::work(self),
        }
        Harvest { oracle, times: None }
    }
}

/// A histogram of times up to a minute, in nanoseconds, to three digits.
pub fn times() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("good bounds")
}
