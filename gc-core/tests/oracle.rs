//! Random heaps on plain threads: gc-core alone, against an oracle outside the heap.
//!
//! The oracle itself is shared with the goroutines' tests; see `tests/src/oracle`.

#[path = "../../tests/src/oracle/mod.rs"]
#[allow(dead_code)] // each test uses a part
mod oracle;
mod threads;

use gc_core::{Config, GcP, WorkKind, World};
use oracle::cell::{self, Cell};
use oracle::{Host, Job};
use std::sync::atomic::{AtomicBool, Ordering};
use threads::ThreadWorld;

#[derive(Clone, Copy)]
struct Threads(&'static ThreadWorld);

impl Host for Threads {
    fn poll(self) {
        self.0.poll();
    }

    fn run_all(self, jobs: Vec<Job>) {
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let marker = scope.spawn(|| self.mark(&done));
            let mutators: Vec<_> = jobs.into_iter().map(|job| scope.spawn(|| self.0.enter(job))).collect();
            self.0.away(|| {
                mutators.into_iter().for_each(|m| m.join().expect("a panic ends the process"));
                done.store(true, Ordering::Relaxed);
                marker.join().expect("a panic ends the process");
            });
        });
    }
}

impl Threads {
    /// Marks and sweeps in the background, as the workers of a runtime do.
    fn mark(self, done: &AtomicBool) {
        self.0.enter(|| {
            let heap = GcP::current().heap();
            while !done.load(Ordering::Relaxed) {
                let mut did = false;
                self.0.at_safepoint(&mut || did = heap.mark_slice(GcP::current(), WorkKind::Dedicated));
                if !did && heap.run_afterlife(100) == 0 {
                    self.0.away(|| std::thread::sleep(std::time::Duration::from_micros(100)));
                }
            }
        });
    }
}

fn run(cell: &Cell) {
    #[cfg(feature = "faults")]
    gc_core::faults::choose((!cell.fault.is_empty()).then_some(&*cell.fault)).expect("a fault of that name");
    let config = Config {
        percent: Some(cell.percent),
        verify: cell.verify,
        gc_every: cell.gc_every,
        stress: cell.switches(),
        min_heap: 2 << 20,
        procs: cell.procs,
        ..Config::default()
    };
    let (world, _) = ThreadWorld::start(config);
    world.enter(|| oracle::run(Threads(world), cell));
}

#[test]
fn random_heaps() {
    cell::test(run, || cell::run_matrix("random_heaps", if cell::long_tier() { 60.0 } else { 5.0 }));
}

#[test]
fn random_heaps_under_stress() {
    cell::test(run, || oracle::stress::run_matrix("random_heaps_under_stress", 1));
}

#[cfg(feature = "faults")]
#[test]
fn planted_faults_are_found() {
    cell::test(run, || oracle::twins::all("planted_faults_are_found", 1));
}
