//! Random heaps against an oracle outside the heap.
//!
//! Mutators build, change and drop random graphs of objects. Each object carries its identity ([`shape`]); what leads
//! where is also written down outside the heap ([`graph`]), so that every look at an object can be compared. A mutator
//! has a region of its own, of which it knows everything, and meets others only at shared cells and queues through
//! which whole subtrees change hands ([`shared`]): whoever gets one gets the knowledge of it too, so the oracle stays
//! exact under contention. What mutators do is chosen to hurt ([`mutator`]): pointers that are cut from the heap and
//! live on a stack for a while, stores into objects that were just allocated, children that only an initialising
//! store knows. Some objects are dropped after their death, and weak pointers lead to others ([`mortal`]).
//! Between rounds, when no mutator runs, two cycles are forced, and a census says that all that is reachable is there,
//! and that what is not is gone, and dropped ([`quiet`]).
//!
//! The host of the mutators is a parameter: plain threads over gc-core alone, or goroutines. Each run has a process
//! of its own ([`cell`]), since a collector that loses objects crashes. That it notices at all is shown by planted
//! faults ([`twins`]).

pub mod ballast;
mod build;
pub mod cell;
pub mod graph;
pub mod mortal;
pub mod mutator;
pub mod plain;
pub mod quiet;
pub mod region;
pub mod rng;
pub mod shape;
pub mod shared;
pub mod stress;
pub mod twins;

use cell::Cell;
use gc_core::Heap;
use gc_core::sync::{Lock, Rank};
use mutator::Mutator;
use region::Region;
use rng::Rng;
use shared::Shared;
use std::fmt;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// A mutator's work.
pub type Job = Box<dyn FnOnce() + Send>;

/// What runs mutators.
pub trait Host: Copy + Send + Sync + 'static {
    /// A safepoint of the calling mutator.
    fn poll(self);

    /// Lets others run.
    fn pause(self) {
        self.poll();
    }

    /// Runs all jobs at the same time, each as a mutator, and returns when all have ended. Called by a mutator.
    fn run_all(self, jobs: Vec<Job>);

    /// Hands a parcel to whoever receives it, by a way of the host's; returns it if there is none, or no room.
    fn send(self, parcel: shared::Parcel) -> Option<shared::Parcel> {
        Some(parcel)
    }

    /// Takes a parcel that was sent, if one is there.
    fn receive(self) -> Option<shared::Parcel> {
        None
    }

    /// How many parcels were sent and not received.
    fn in_transit(self) -> usize {
        0
    }

    /// All parcels are home, and no mutator runs: ends what else runs until the next [`run_all`](Host::run_all).
    fn rest(self) {}
}

/// What was done and seen.
#[derive(Clone, Copy, Default, Debug)]
pub struct Counts {
    /// Operations of mutators.
    pub steps: u64,
    /// Objects that were compared in full, edges and content.
    pub checked: u64,
    /// Times that a pointer was on a stack only.
    pub held: u64,
    /// Subtrees that changed hands.
    pub parcels: u64,
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Counts) {
        self.steps += other.steps;
        self.checked += other.checked;
        self.held += other.held;
        self.parcels += other.parcels;
    }
}

fn started() -> Instant {
    static STARTED: OnceLock<Instant> = OnceLock::new();
    *STARTED.get_or_init(Instant::now)
}

/// An object is lost or changed: says so and ends the process (other mutators hold up the world, so no unwinding).
#[cold]
pub fn fail(what: fmt::Arguments<'_>) -> ! {
    eprintln!("oracle: after {:.3} s: {what}", started().elapsed().as_secs_f64());
    std::process::exit(cell::FOUND)
}

/// A run, which goes on round by round.
pub struct Oracle {
    heap: &'static Heap,
    shared: &'static Shared,
    regions: Vec<Region>,
    /// Where the mutators of a round put their regions.
    back: &'static Lock<Vec<(usize, Region)>>,
    seeds: Rng,
    cell: Cell,
    total: quiet::Report,
}

impl Oracle {
    /// Makes the regions. Called by a mutator, as [`round`](Oracle::round).
    pub fn new(cell: &Cell) -> Oracle {
        started();
        let shared: &'static Shared = Box::leak(Box::new(Shared::new(16)));
        Oracle {
            heap: gc_core::GcP::current().heap(),
            shared,
            regions: (0..cell.mutators).map(|_| Region::new(shared, 40, cell.ballast)).collect(),
            back: Box::leak(Box::new(Lock::new(Rank::Unranked, Vec::new()))),
            seeds: Rng::new(cell.seed),
            cell: cell.clone(),
            total: quiet::Report::default(),
        }
    }

    /// All mutators work for a while, and then everything is compared. The caller does nothing else meanwhile.
    pub fn round<H: Host>(&mut self, host: H) {
        let until = Instant::now() + Duration::from_millis(self.cell.round_ms);
        let (shared, back) = (self.shared, self.back);
        let jobs = self.regions.drain(..).enumerate().map(|(i, mut region)| {
            let (seed, cell) = (self.seeds.draw(), self.cell.clone());
            Box::new(move || {
                Mutator::new(host, shared, &mut region, &cell, seed, until).run();
                back.lock().push((i, region));
            }) as Job
        });
        // Room for all: who has the lock is inside the runtime, where there is no malloc.
        let mut all = Vec::with_capacity(self.cell.mutators);
        std::mem::swap(&mut *back.lock(), &mut all);
        host.run_all(jobs.collect());
        std::mem::swap(&mut *back.lock(), &mut all);
        all.sort_by_key(|(i, _)| *i);
        self.regions.extend(all.into_iter().map(|(_, region)| region));
        if self.regions.len() != self.cell.mutators {
            fail(format_args!("a mutator did not come to its end"));
        }
        self.total.quiet_point(host, self.heap, shared, &mut self.regions, self.cell.alone);
    }

    /// What was done and seen so far.
    pub fn report(&self) -> quiet::Report {
        let mut total = self.total;
        for region in &self.regions {
            total.counts += region.counts;
        }
        total.cycles = self.heap.stats().cycles;
        total.verified = self.heap.stats().verified_objects;
        total
    }
}

/// Runs a cell on `host`. Called by a mutator, which does nothing else.
pub fn run<H: Host>(host: H, cell: &Cell) {
    let end = Instant::now() + Duration::from_secs_f64(cell.seconds);
    let mut oracle = Oracle::new(cell);
    while Instant::now() < end {
        oracle.round(host);
    }
    println!("{}", oracle.report());
}
