//! Drop of dead objects: on plain threads, gc-core alone.

mod burial;
mod child;
mod threads;

use burial::{Book, book, collect_and_bury, dropped, elsewhere, nearly};
use gc_core::sync::{Lock, Rank};
use gc_core::{Config, Gc, GcCell, GcP, Root, Stress, Trace};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use threads::ThreadWorld;

/// Notes its drop in the book.
#[derive(Trace)]
struct Entry {
    id: usize,
    book: Book,
}

impl Drop for Entry {
    fn drop(&mut self) {
        assert_eq!(self.book[self.id].fetch_add(1, Ordering::SeqCst), 0, "object {} was dropped twice", self.id);
    }
}

/// Needs drop through `entry`, and has pointers beside it.
#[derive(Trace)]
struct Node {
    entry: Entry,
    text: String,
    next: GcCell<Option<Gc<Node>>>,
}

fn node(id: usize, book: &Book, next: Option<Gc<Node>>) -> Gc<Node> {
    Gc::new(Node { entry: Entry { id, book: book.clone() }, text: format!("node {id}"), next: GcCell::new(next) })
}

/// A chain of the nodes `from..to`; the first one is returned.
fn chain(from: usize, to: usize, book: &Book) -> Option<Gc<Node>> {
    (from..to).rev().fold(None, |next, id| Some(node(id, book, next)))
}

/// Every node of the chain is what it was.
fn check(mut at: Option<Gc<Node>>, from: usize, to: usize) {
    for id in from..to {
        let this = at.expect("the chain goes on");
        at = Gc::with(this, |n| {
            assert_eq!((n.entry.id, n.text.as_str()), (id, format!("node {id}").as_str()));
            assert_eq!(n.entry.book[id].load(Ordering::SeqCst), 0, "node {id} is reachable and was dropped");
            n.next.get()
        });
    }
    assert!(at.is_none());
}

#[test]
fn each_object_is_dropped_once_and_none_while_it_is_reachable() {
    const N: usize = 20_000;
    let (world, heap) = ThreadWorld::start(Config { verify: true, percent: None, ..Config::default() });
    world.enter(|| {
        let book = book(2 * N);
        let kept = elsewhere(world, || {
            chain(N, 2 * N, &book);
            Root::new(chain(0, N, &book).unwrap())
        });
        heap.collect();
        assert_eq!(dropped(&book), 0, "the sweeper runs no user code");
        assert!(heap.stats().afterlife_due >= nearly(N), "{:?}", heap.stats());
        collect_and_bury(heap);
        check(Some(kept.get()), 0, N);
        assert!(dropped(&book) >= nearly(N), "{} of {N} were dropped", dropped(&book));
        drop(kept);
        // The second one finds what the first one's roots still held.
        collect_and_bury(heap);
        collect_and_bury(heap);
        assert!(dropped(&book) >= nearly(2 * N), "{} of {} were dropped", dropped(&book), 2 * N);
        assert_eq!(heap.stats().dropped_objects as usize, dropped(&book));
        assert_eq!(heap.stats().afterlife_due, 0);
    });
}

#[test]
fn memory_of_dropped_objects_is_used_again() {
    const N: usize = 10_000;
    let (world, heap) = ThreadWorld::start(Config { percent: None, ..Config::default() });
    world.enter(|| {
        let mut most = 0;
        for round in 0..20 {
            let book = book(N);
            elsewhere(world, || chain(0, N, &book).is_some());
            collect_and_bury(heap);
            assert!(dropped(&book) >= nearly(N), "round {round}");
            match round {
                0 => most = heap.stats().heap_used,
                _ => assert!(heap.stats().heap_used <= most * 3 / 2, "round {round}: {:?}", heap.stats()),
            }
        }
    });
}

#[test]
fn drops_beside_cycles_and_mutators() {
    const N: usize = 3_000;
    let mut stress = Stress::default();
    (stress.poison, stress.small_buffers) = (true, true);
    for config in [
        Config { verify: true, min_heap: 1 << 16, procs: 4, ..Config::default() },
        Config { verify: true, gc_every: 199, procs: 4, ..Config::default() },
        Config { verify: true, min_heap: 1 << 16, procs: 4, stress, ..Config::default() },
    ] {
        let rounds = if config.gc_every > 0 { 2 } else { 30 };
        let (world, heap) = ThreadWorld::start(config);
        world.enter(|| {
            let book = book(3 * N * rounds);
            let stop = AtomicBool::new(false);
            std::thread::scope(|scope| {
                let runner = scope.spawn(|| {
                    world.enter(|| {
                        while !stop.load(Ordering::SeqCst) {
                            if heap.run_afterlife(7) == 0 {
                                world.away(std::thread::yield_now);
                            }
                        }
                    })
                });
                let mutators: Vec<_> = (0..3)
                    .map(|thread| {
                        let book = &book;
                        scope.spawn(move || {
                            world.enter(|| {
                                for round in 0..rounds {
                                    let from = (thread * rounds + round) * N;
                                    let all = chain(from, from + N, book);
                                    world.poll();
                                    check(all, from, from + N);
                                }
                            })
                        })
                    })
                    .collect();
                world.away(|| {
                    mutators.into_iter().for_each(|m| m.join().expect("a mutator"));
                    stop.store(true, Ordering::SeqCst);
                    runner.join().expect("the runner");
                });
            });
            collect_and_bury(heap);
            assert!(dropped(&book) >= nearly(book.len()), "{} of {}", dropped(&book), book.len());
        });
    }
}

#[derive(Trace)]
struct Large {
    bytes: [u8; 100_000],
    entry: Entry,
}

#[derive(Trace)]
#[allow(dead_code)]
enum Either {
    Entry(Entry),
    Other(Gc<Either>),
}

static UNITS: AtomicUsize = AtomicUsize::new(0);

#[derive(Trace)]
struct Unit;

impl Drop for Unit {
    fn drop(&mut self) {
        UNITS.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn objects_of_every_kind_are_dropped() {
    let (world, heap) = ThreadWorld::start(Config { verify: true, percent: None, ..Config::default() });
    world.enter(|| {
        let book = book(300);
        elsewhere(world, || {
            for id in 0..100 {
                let entry = |id| Entry { id, book: book.clone() };
                Gc::new(Large { bytes: [1; 100_000], entry: entry(id) });
                Gc::new(Either::Other(Gc::new(Either::Entry(entry(100 + id)))));
                Gc::new((7_u8, Some([entry(200 + id)])));
                Gc::new(Unit);
            }
        });
        collect_and_bury(heap);
        assert!(dropped(&book) >= nearly(300), "{}", dropped(&book));
        assert!(UNITS.load(Ordering::SeqCst) >= nearly(100));
        let used = heap.stats();
        assert!(used.heap_free * 10 >= used.heap_used * 9, "large objects give their pages back: {used:?}");
    });
}

/// Its drop does what a drop may do.
#[derive(Trace)]
struct Busy {
    entry: Entry,
}

impl Drop for Busy {
    fn drop(&mut self) {
        let heap = GcP::current().heap();
        let book = &self.entry.book;
        Gc::with(Gc::new(format!("a new object in the drop of {}", self.entry.id)), |s| assert!(s.len() > 30));
        if self.entry.id.is_multiple_of(16) {
            heap.collect();
            assert_eq!(heap.run_afterlife(1), 0, "a runner inside a runner");
        }
        assert_eq!(book[self.entry.id].load(Ordering::SeqCst), 0);
        if self.entry.id % 5 == 1 {
            panic!("the drop of {} panics, on purpose", self.entry.id);
        }
    }
}

#[test]
fn a_drop_may_allocate_collect_and_panic() {
    const N: usize = 200;
    // 40 panics are not worth reading.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if !info.payload_as_str().is_some_and(|s| s.ends_with("on purpose")) {
            hook(info);
        }
    }));
    let (world, heap) = ThreadWorld::start(Config { verify: true, percent: None, ..Config::default() });
    world.enter(|| {
        let book = book(N);
        elsewhere(world, || {
            for id in 0..N {
                Gc::new(Busy { entry: Entry { id, book: book.clone() } });
            }
        });
        collect_and_bury(heap);
        assert!(dropped(&book) >= nearly(N), "{} of {N}", dropped(&book));
    });
}

/// Large enough that few share a span, so its slots are wanted soon. Leaves a new one behind when it is dropped.
#[derive(Trace)]
struct Heir {
    entry: Entry,
    bulk: [u8; 1000],
}

fn heir(id: usize, book: &Book) -> Gc<Heir> {
    Gc::new(Heir { entry: Entry { id, book: book.clone() }, bulk: [id as u8; 1000] })
}

static HEIRS: Lock<Vec<Root<Heir>>> = Lock::new(Rank::Unranked, Vec::new());

impl Drop for Heir {
    fn drop(&mut self) {
        let Entry { id, book } = &self.entry;
        if *id < book.len() / 2 {
            HEIRS.lock().push(Root::new(heir(id + book.len() / 2, book)));
        }
    }
}

#[test]
fn a_slot_is_handed_out_after_its_drop() {
    const N: usize = 10_000;
    if !child::is_child() {
        return child::passes_and_notices("a_slot_is_handed_out_after_its_drop", &["pending-drop-reused"]);
    }
    child::choose_fault();
    let (world, heap) = ThreadWorld::start(Config { percent: None, ..Config::default() });
    world.enter(|| {
        let book = book(2 * N);
        // One of a few lives on, so that spans are used again rather than their pages.
        let kept: Vec<_> = elsewhere(world, || {
            let heirs = (0..N).map(|id| heir(id, &book)).enumerate();
            heirs.filter(|(i, _)| i % 5 == 0).map(|(_, h)| Root::new(h)).collect()
        });
        collect_and_bury(heap);
        let mut heirs = core::mem::take(&mut *HEIRS.lock());
        assert!(heirs.len() >= nearly(N - kept.len()));
        heirs.extend(kept);
        for heir in &heirs {
            Gc::with(heir.get(), |h| {
                let times = h.entry.book[h.entry.id].load(Ordering::SeqCst);
                assert_eq!(times, 0, "object {} is reachable and was dropped", h.entry.id);
                assert!(h.bulk.iter().all(|b| *b == h.entry.id as u8));
            });
        }
    });
}

/// What a stale word on a stack would do is done here with every address.
#[test]
fn a_word_does_not_find_an_object_that_is_to_be_dropped() {
    const N: usize = 1_000;
    if !child::is_child() {
        return child::passes_and_notices("a_word_does_not_find_an_object_that_is_to_be_dropped", &["doomed-found"]);
    }
    child::choose_fault();
    let (world, heap) = ThreadWorld::start(Config { verify: true, percent: None, ..Config::default() });
    world.enter(|| {
        let book = book(N);
        // Addresses that nobody takes for such.
        let hidden: Vec<usize> =
            elsewhere(world, || (0..N).map(|id| !Gc::as_ptr(node(id, &book, None)).addr()).collect());
        let found = || hidden.iter().map(|h| heap.find_object(!h).is_some()).collect::<Vec<_>>();
        assert!(found().iter().all(|f| *f));
        heap.collect();
        let before = found();
        // Objects and doomed ones.
        let counted = || {
            let row = heap.census().into_iter().find(|row| row.name.ends_with("Node"));
            row.map_or((0, 0), |row| (row.objects, row.doomed))
        };
        let alive = before.iter().filter(|f| **f).count();
        assert_eq!(counted(), (alive, N - alive));
        while heap.run_afterlife(100) > 0 {}
        assert_eq!(counted(), (alive, 0));
        for (id, found) in before.into_iter().enumerate() {
            assert_eq!(book[id].load(Ordering::SeqCst), u8::from(!found), "object {id}: found: {found}");
        }
        assert!(dropped(&book) >= nearly(N), "{}", dropped(&book));
    });
}

/// Cycles go by and nobody runs the drops. The verifier finds what a stale mark hides.
#[test]
fn objects_beside_those_that_are_to_be_dropped_live_on() {
    const N: usize = 2_000;
    const CYCLES: usize = 4;
    if !child::is_child() {
        return child::passes_and_notices("objects_beside_those_that_are_to_be_dropped_live_on", &["custody-unswept"]);
    }
    child::choose_fault();
    let (world, heap) = ThreadWorld::start(Config { verify: true, percent: None, ..Config::default() });
    world.enter(|| {
        let book = book(N + CYCLES * N);
        let kept = elsewhere(world, || {
            let kept = Gc::<[GcCell<Option<Gc<Node>>>]>::cells(N / 2, None);
            let nodes = (0..N).map(|id| node(id, &book, None));
            nodes.enumerate().for_each(|(i, node)| kept[i / 2].set(Some(node)));
            Root::new(kept)
        });
        for cycle in 1..=CYCLES {
            heap.collect();
            assert!(heap.stats().afterlife_due >= nearly(N / 2), "{:?}", heap.stats());
            elsewhere(world, || {
                for (i, cell) in kept.get().iter().enumerate() {
                    let last = (cycle > 1).then_some(N * (cycle - 1) + i);
                    Gc::with(cell.get().expect("a kept node"), |n| {
                        assert_eq!((n.entry.id, n.next.get().map(|n| Gc::with(n, |n| n.entry.id))), (2 * i + 1, last));
                        n.next.set(Some(node(N * cycle + i, &book, None)));
                    });
                }
            });
        }
        assert_eq!(dropped(&book), 0);
        collect_and_bury(heap);
        assert!((1..N).step_by(2).all(|id| book[id].load(Ordering::SeqCst) == 0));
        assert!(dropped(&book) >= nearly(N / 2 + (CYCLES - 1) * N / 2), "{}", dropped(&book));
    });
}

#[test]
fn a_memory_limit_holds_for_what_is_dropped_in_time() {
    const N: usize = 500;
    const ROUNDS: usize = 200;
    const LIMIT: usize = 16 << 20;
    let config = Config { percent: None, memory_limit: Some(LIMIT), ..Config::default() };
    let (world, heap) = ThreadWorld::start(config);
    world.enter(|| {
        let book = book(2 * N * ROUNDS);
        let mut most = 0;
        for round in 0..ROUNDS {
            // Half a megabyte. The second half of the book: without heirs.
            elsewhere(world, || (0..N).for_each(|i| _ = heir(N * ROUNDS + round * N + i, &book)));
            while heap.run_afterlife(100) > 0 {}
            most = most.max(heap.stats().footprint);
        }
        let stats = heap.stats();
        assert!(stats.cycles > 2 && most <= LIMIT * 5 / 4, "{most} bytes at most: {stats:?}");
        assert!(dropped(&book) * size_of::<Heir>() >= (N * ROUNDS * size_of::<Heir>()).saturating_sub(2 * LIMIT));
    });
}
