//! For unit tests: a heap with one thread, so that parts which need one can be driven without a host.

use crate::barrier::Entered;
use crate::heap::{Config, Heap, PAGE_SIZE};
use crate::mark::Scanner;
use crate::p::GcP;
use crate::stress::Stress;
use crate::world::{StopReason, World};
use std::sync::atomic::{AtomicUsize, Ordering};

/// A world of the calling thread alone, whose stack is not scanned. What stacks there are instead have nothing to scan; each
/// is in use when it is asked for the first time in a cycle.
#[derive(Default)]
pub(crate) struct Alone {
    /// How often each stack was asked for in this cycle.
    pub asked: Vec<AtomicUsize>,
}

// SAFETY: there is no other thread to stop, scan or wake; cycles end by the only P.
unsafe impl World for Alone {
    fn stop_the_world(&self, _: StopReason) {}
    fn start_the_world(&self) {}
    fn for_each_p(&self, _: &(dyn Fn(&GcP) + Sync)) {}
    fn at_safepoint(&self, work: &mut dyn FnMut()) {
        work();
    }
    fn begin_mark(&self, _: u32) -> usize {
        self.asked.iter().for_each(|n| n.store(0, Ordering::Relaxed));
        self.asked.len()
    }
    fn scan_stack(&self, i: usize, _: &mut Scanner<'_>) -> bool {
        self.asked[i].fetch_add(1, Ordering::Relaxed) > 0
    }
    fn scan_roots(&self, _: &mut Scanner<'_>) {}
    fn entered(&self) -> &'static Entered {
        unreachable!("nothing is entered")
    }
    fn wake_workers(&self) {}
    fn pause(&self) {}
}

/// A heap of `pages` pages (at least: a reservation has a smallest size). Nobody holds a P.
pub(crate) fn heap(pages: usize) -> &'static Heap {
    heap_under(pages, Stress::default())
}

/// As [`heap`], under stress.
pub(crate) fn heap_under(pages: usize, stress: Stress) -> &'static Heap {
    heap_with(pages, Config { stress, ..Config::default() })
}

/// As [`heap`], otherwise as `config` has it.
pub(crate) fn heap_with(pages: usize, config: Config) -> &'static Heap {
    let config = Config { percent: None, reserve: pages * PAGE_SIZE, ..config };
    Heap::new(config, Box::leak(Box::<Alone>::default())).expect("a small heap")
}

/// How many cases a property is tried with: few under Miri, which is slow.
pub(crate) fn cases(n: u32) -> proptest::prelude::ProptestConfig {
    proptest::prelude::ProptestConfig {
        cases: if cfg!(miri) { 4 } else { n },
        failure_persistence: None,
        ..Default::default()
    }
}
