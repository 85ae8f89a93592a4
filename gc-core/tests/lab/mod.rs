//! What tests of single operations under concurrent marking share: mutators, a marker, nodes that know who they are,
//! and twins with a planted fault, each in a process of its own.
#![allow(dead_code)] // each test uses a part

use crate::threads::ThreadWorld;
use gc_core::{Config, Gc, GcP, Heap, Stress, Trace, WorkKind};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Names the planted fault to a child.
const FAULT: &str = "GC_CORE_TEST_FAULT";

/// An object that knows who it is: one that is used again, or poisoned, shows it.
#[derive(Trace)]
pub struct Node {
    id: u64,
    check: u64,
}

/// A run has this many cycles at least.
const CYCLES: u32 = 8;

const SALT: u64 = 0x9e37_79b9_7f4a_7c15;

impl Node {
    /// A new node, and who it is.
    pub fn new() -> (Gc<Node>, u64) {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        (Gc::new(Node { id, check: id.wrapping_mul(SALT) }), id)
    }

    pub fn id(&self) -> u64 {
        self.id
    }
}

/// Fails unless `node` is the one with this number, or both are missing (0).
#[track_caller]
pub fn same(node: Option<Gc<Node>>, id: u64) {
    let found = node.map_or(0, |n| n.id);
    assert_eq!(found, id, "a node is lost");
    assert!(node.is_none_or(|n| n.check == id.wrapping_mul(SALT)), "node {id} is damaged");
}

/// One mutator's view of a run.
#[derive(Clone, Copy)]
pub struct Lab {
    pub world: &'static ThreadWorld,
    pub heap: &'static Heap,
    end: Instant,
}

impl Lab {
    /// Runs `job(lab, number)` as several mutators for a while, beside a marker, with every stress that finds losses
    /// quickly.
    pub fn run(mutators: usize, time: Duration, job: impl Fn(Lab, u64) + Sync) {
        let mut stress = Stress::default();
        stress.poison = true;
        let config =
            Config { percent: Some(50), min_heap: 256 << 10, procs: 2, verify: true, stress, ..Config::default() };
        let (world, heap) = ThreadWorld::start(config);
        let lab = Lab { world, heap, end: Instant::now() + time };
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let marker = scope.spawn(|| lab.mark(&done));
            let job = &job;
            let mutator = move |i: usize| {
                let work = || lab.world.enter(|| job(lab, i as u64));
                if std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).is_err() {
                    // The others would wait for this one at the next stop.
                    eprintln!("mutator {i} panicked");
                    std::process::exit(101);
                }
            };
            let all: Vec<_> = (0..mutators).map(|i| scope.spawn(move || mutator(i))).collect();
            for mutator in all {
                mutator.join().expect("a mutator found something wrong");
            }
            done.store(true, Ordering::Relaxed);
            marker.join().expect("the marker");
        });
        assert!(heap.stats().cycles + 1 >= CYCLES, "hardly a cycle ran: {:?}", heap.stats());
    }

    fn mark(self, done: &AtomicBool) {
        self.world.enter(|| {
            while !done.load(Ordering::Relaxed) {
                let mut did = false;
                self.world.work(&mut || did = self.heap.mark_slice(GcP::current(), WorkKind::Dedicated));
                if !did {
                    self.world.away(|| std::thread::sleep(Duration::from_micros(20)));
                }
            }
        });
    }

    /// Whether there is time left. On a loaded machine it takes longer until there were some cycles.
    pub fn goes_on(self) -> bool {
        self.world.poll();
        let late = Instant::now().saturating_duration_since(self.end);
        late.is_zero() || (self.heap.cycle() < CYCLES && late < Duration::from_secs(20))
    }

    /// Allocates what nobody needs.
    #[inline(never)]
    pub fn garbage(self, n: usize) {
        for _ in 0..n {
            std::hint::black_box(Node::new());
        }
    }

    /// Comes back when a cycle has just begun, as a rule before this thread's stack is scanned, and gives the marker
    /// time to blacken what it finds early.
    #[inline(never)]
    pub fn wait_for_a_cycle(self) {
        let cycle = self.heap.cycle();
        while self.heap.cycle() == cycle && self.goes_on() {
            self.garbage(20);
        }
        let until = Instant::now() + Duration::from_micros(200);
        while Instant::now() < until {
            std::thread::yield_now();
        }
    }

    /// Comes back when marking is on and this thread's stack has been scanned.
    #[inline(never)]
    pub fn wait_for_a_black_stack(self) {
        while !(self.heap.marking() && self.world.scanned()) && self.goes_on() {
            if self.heap.marking() {
                self.world.work(&mut || std::thread::sleep(Duration::from_micros(10)));
            } else {
                self.garbage(20);
            }
        }
    }

    /// Comes back when no cycle runs that ran before, and what it freed is poisoned.
    #[inline(never)]
    pub fn wait_for_the_end(self) {
        let cycle = self.heap.cycle();
        while self.heap.marking() && self.heap.cycle() == cycle {
            self.garbage(20);
            self.world.poll();
        }
        self.world.work(&mut || while self.heap.sweep_slice(GcP::current()) {});
    }
}

/// Runs `good` as it is; then, in processes of their own, the test of this name with each of the faults, which must
/// fail. `faults` without the feature are skipped.
pub fn with_twins(test: &str, faults: &[&str], good: impl FnOnce(bool)) {
    if let Ok(fault) = std::env::var(FAULT) {
        #[cfg(feature = "faults")]
        gc_core::faults::choose(Some(&fault)).expect("a fault of that name");
        return good(!fault.is_empty());
    }
    good(false);
    if !cfg!(feature = "faults") {
        return;
    }
    for fault in faults {
        let began = Instant::now();
        let output = Command::new(std::env::current_exe().expect("this program has a path"))
            .args(["--exact", test, "--nocapture", "--test-threads=1"])
            .env(FAULT, fault)
            .output()
            .expect("a test program can be started");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let said = text(&output.stderr) + &text(&output.stdout);
        assert!(!output.status.success(), "fault {fault} was not noticed: {said}");
        let why = said.lines().find(|l| l.contains("lost") || l.contains("fatal error") || l.contains("damaged"));
        println!("  {fault}: noticed after {:.2?}: {}", began.elapsed(), why.unwrap_or("ended abnormally"));
    }
}
