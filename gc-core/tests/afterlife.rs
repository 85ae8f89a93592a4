//! Drop of dead objects, weak pointers, cleanups: on plain threads, gc-core alone.
//!
//! Stacks are scanned conservatively, so what a test wants dead is made on a thread that has ended, and nothing is
//! expected of a single object that only a stale word may keep.

mod threads;

use gc_core::{Config, Gc, GcCell, GcP, Heap, Root, Trace, Weak, WorkKind, World, add_cleanup};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use threads::ThreadWorld;

/// Runs `f` as a mutator on a thread of its own, whose stack is gone afterwards.
fn elsewhere<R: Send>(world: &'static ThreadWorld, f: impl FnOnce() -> R + Send) -> R {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| world.enter(f));
        world.away(|| thread.join()).expect("the other thread")
    })
}

/// A whole cycle, and all that is due after it.
fn collect_and_bury(heap: &Heap) {
    heap.collect();
    while heap.run_afterlife(100) > 0 {}
}

/// How often each of many objects was dropped.
type Book = Arc<Vec<AtomicU8>>;

fn book(n: usize) -> Book {
    Arc::new((0..n).map(|_| AtomicU8::new(0)).collect())
}

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

fn dropped(book: &Book) -> usize {
    book.iter().filter(|n| n.load(Ordering::SeqCst) > 0).count()
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

/// What a few stale words may keep, of `n`.
fn nearly(n: usize) -> usize {
    n - n / 100 - 4
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
    for config in [
        Config { verify: true, min_heap: 1 << 16, procs: 4, ..Config::default() },
        Config { verify: true, gc_every: 199, procs: 4, ..Config::default() },
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

#[derive(Trace)]
struct Plain {
    id: usize,
    back: GcCell<Option<Gc<Plain>>>,
}

fn plain(id: usize) -> Gc<Plain> {
    Gc::new(Plain { id, back: GcCell::new(None) })
}

#[test]
fn a_weak_pointer_finds_its_object_until_it_is_dead() {
    const N: usize = 1000;
    let (world, heap) = ThreadWorld::start(Config { verify: true, percent: None, ..Config::default() });
    world.enter(|| {
        let (roots, weak) = elsewhere(world, || {
            let roots: Vec<_> = (0..N).map(|id| Root::new(plain(id))).collect();
            let weak: Vec<_> = roots.iter().map(|r| Weak::new(r.get())).collect();
            assert_eq!(weak[7], Weak::new(roots[7].get()));
            assert_ne!(weak[7], weak[8]);
            (roots, weak)
        });
        let alive = || weak.iter().filter(|w| w.upgrade().is_some()).count();
        elsewhere(world, || {
            heap.collect();
            weak.iter().enumerate().for_each(|(id, w)| assert_eq!(w.upgrade().map(|p| p.id), Some(id)));
            weak.iter().zip(&roots).for_each(|(w, r)| assert_eq!(*w, Weak::new(r.get())));
        });
        drop(roots);
        heap.collect();
        heap.collect();
        assert!(elsewhere(world, alive) <= N - nearly(N));
        // Their records serve others now.
        elsewhere(world, || {
            let others: Vec<_> = (0..N).map(|id| Root::new(plain(N + id))).collect();
            let new: Vec<_> = others.iter().map(|r| Weak::new(r.get())).collect();
            assert!(alive() <= N - nearly(N));
            assert!(new.iter().all(|w| w.upgrade().is_some()));
            assert!(weak.iter().all(|w| !new.contains(w)));
        });
    });
}

#[test]
fn weak_pointers_to_what_has_no_size_and_to_what_is_large() {
    let (world, heap) = ThreadWorld::start(Config { percent: None, ..Config::default() });
    world.enter(|| {
        let (text, large) = elsewhere(world, || {
            let text = Gc::from_text("not long for this world");
            let weak = Weak::new(text);
            assert_eq!(&*weak.upgrade().expect("held"), "not long for this world");
            (weak, Weak::new(Gc::<[u8]>::from_slice(&[3; 100_000])))
        });
        heap.collect();
        assert!(text.upgrade().is_none() && large.upgrade().is_none());
    });
}

/// The number of an object, and how to find it.
type Seen = (usize, Weak<Plain>);

/// What threads know of each other's objects.
struct Table {
    slots: Vec<Mutex<Option<Seen>>>,
    found: AtomicUsize,
    lost: AtomicUsize,
}

impl Table {
    /// Whether the threads have seen enough, or will never.
    fn done(&self, heap: &Heap, round: usize) -> bool {
        let enough = |n: &AtomicUsize| n.load(Ordering::Relaxed) > 5_000;
        round == 5_000_000 || (enough(&self.found) && enough(&self.lost) && heap.stats().cycles > 20)
    }

    /// One look at a slot: an object is put there, found again, or found to be dead. No safepoint under its lock.
    fn visit(&self, at: usize, id: usize, holder: &GcCell<Option<Gc<Plain>>>) {
        let slot = &self.slots[at % self.slots.len()];
        let seen = *slot.lock().unwrap();
        let Some((id, weak)) = seen else {
            let weak = Weak::new(plain(id));
            *slot.lock().unwrap() = Some((id, weak));
            return;
        };
        match weak.upgrade() {
            Some(object) => {
                self.found.fetch_add(1, Ordering::Relaxed);
                assert_eq!(object.id, id);
                object.back.set(Some(plain(id)));
                holder.set(Some(object));
                assert_eq!(object.back.get().map(|b| b.id), Some(id));
            }
            None => {
                self.lost.fetch_add(1, Ordering::Relaxed);
                assert!(weak.upgrade().is_none());
                let mut slot = slot.lock().unwrap();
                if slot.is_some_and(|(_, now)| now == weak) {
                    *slot = None;
                }
            }
        }
    }
}

/// Threads that make objects, find them again by weak pointers, and forget them, beside running cycles.
#[test]
fn weak_pointers_from_several_threads() {
    let config = Config { verify: true, min_heap: 1 << 16, percent: Some(20), procs: 4, ..Config::default() };
    let (world, heap) = ThreadWorld::start(config);
    world.enter(|| {
        let slots = (0..2_000).map(|_| Mutex::new(None)).collect();
        let table = Table { slots, found: AtomicUsize::new(0), lost: AtomicUsize::new(0) };
        let mutate = |thread: usize| {
            let mut random = thread as u64 + 1;
            let holders = Root::new(Gc::<[GcCell<Option<Gc<Plain>>>]>::cells(100, None));
            for round in 0.. {
                random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                let at = (random >> 33) as usize;
                table.visit(at, round * 4 + thread, &holders.get()[at % 100]);
                world.poll();
                if round.is_multiple_of(1000) && table.done(heap, round) {
                    return;
                }
            }
        };
        std::thread::scope(|scope| {
            let mutate = &mutate;
            let threads: Vec<_> = (0..3).map(|i| scope.spawn(move || world.enter(|| mutate(i)))).collect();
            // This thread is the marker.
            while threads.iter().any(|t| !t.is_finished()) {
                world.at_safepoint(&mut || {
                    heap.mark_slice(GcP::current(), WorkKind::Dedicated);
                });
                world.away(std::thread::yield_now);
            }
            world.away(|| threads.into_iter().for_each(|t| t.join().expect("a thread")));
        });
        let (found, lost, cycles) = (table.found.into_inner(), table.lost.into_inner(), heap.stats().cycles);
        assert!(found > 5_000 && lost > 5_000 && cycles > 20, "{found} found, {lost} lost, {cycles} cycles");
    });
}

#[test]
fn cleanups_run_once_each_and_do_not_disturb_each_other() {
    const N: usize = 500;
    let (world, heap) = ThreadWorld::start(Config { verify: true, percent: None, ..Config::default() });
    world.enter(|| {
        let ran = book(3 * N);
        let kept = elsewhere(world, || {
            let add = |object: Gc<Plain>, id: usize| {
                let weak = Weak::new(object);
                let label = Gc::from_text(&format!("label {id}"));
                add_cleanup(
                    object,
                    move |(id, label, ran): (usize, Gc<str>, Book)| {
                        assert_eq!(ran[id].fetch_add(1, Ordering::SeqCst), 0, "cleanup {id} ran twice");
                        assert!(weak.upgrade().is_none(), "the object is dead");
                        assert_eq!(&*label, format!("label {id}"), "what the argument holds is alive");
                        if id.is_multiple_of(3) {
                            std::panic::resume_unwind(Box::new("on purpose"));
                        }
                    },
                    (id, label, ran.clone()),
                )
            };
            for i in 0..N {
                let object = plain(i);
                add(object, i);
                add(object, N + i);
            }
            let kept = plain(0);
            (2 * N..3 * N).for_each(|id| {
                let cleanup = add(kept, id);
                assert!(!id.is_multiple_of(2) || cleanup.stop());
                assert!(!id.is_multiple_of(2) || !cleanup.stop(), "stopped before");
            });
            Root::new(kept)
        });
        for _ in 0..3 {
            collect_and_bury(heap);
        }
        assert!((nearly(2 * N)..=2 * N).contains(&dropped(&ran)), "{}", dropped(&ran));
        let before = dropped(&ran);
        drop(kept);
        for _ in 0..2 {
            collect_and_bury(heap);
        }
        assert!((before + N / 2 - 4..=before + N / 2 + 4).contains(&dropped(&ran)), "{before} {}", dropped(&ran));
        assert!((2 * N..3 * N).step_by(2).all(|id| ran[id].load(Ordering::SeqCst) == 0), "a stopped one ran");
    });
}

#[test]
fn a_stopped_cleanup_drops_its_argument_and_a_late_stop_says_so() {
    let (world, heap) = ThreadWorld::start(Config { percent: None, ..Config::default() });
    world.enter(|| {
        let argument = Arc::new(());
        let (early, late) = elsewhere(world, || {
            let add = || add_cleanup(plain(1), drop, argument.clone());
            (add(), add())
        });
        assert_eq!(Arc::strong_count(&argument), 3);
        assert!(early.stop());
        assert_eq!(Arc::strong_count(&argument), 2);
        collect_and_bury(heap);
        assert!(!late.stop() && !early.stop());
        assert_eq!(Arc::strong_count(&argument), 1);
    });
}

#[test]
#[should_panic(expected = "points to the object itself")]
fn a_cleanup_that_holds_its_object_is_refused() {
    let (world, _) = ThreadWorld::start(Config::default());
    world.enter(|| {
        let object = plain(1);
        add_cleanup(object, |object| assert_eq!(object.id, 1), object);
    });
}

/// A weak pointer is read between the flip and the sweep of its span, too: nothing is swept here before the end.
#[test]
fn upgrade_before_the_sweep_reads_the_marks() {
    const N: usize = 2_000;
    let (world, heap) = ThreadWorld::start(Config { percent: Some(100), min_heap: 1 << 16, ..Config::default() });
    world.enter(|| {
        let (root, dead, alive) = elsewhere(world, || {
            let dead: Vec<_> = (0..N).map(|id| Weak::new(plain(id))).collect();
            let object = plain(N);
            (Root::new(object), dead, Weak::new(object))
        });
        let count = || dead.iter().filter(|w| w.upgrade().is_some()).count();
        let before = heap.stats().cycles;
        elsewhere(world, || {
            while heap.stats().cycles == before {
                Gc::new([0_usize; 8]);
                world.at_safepoint(&mut || {
                    heap.mark_slice(GcP::current(), WorkKind::Dedicated);
                });
            }
            let unswept = count();
            assert!(unswept <= N - nearly(N), "{unswept} of {N} dead objects were found again");
            assert_eq!(alive.upgrade().map(|p| p.id), Some(N));
        });
        drop(root);
    });
}

/// A slot that is handed out before its drop ran takes a new object with it.
#[cfg(feature = "faults")]
#[test]
fn the_fault_pending_drop_reused_is_found() {
    const CHILD: &str = "TRICOLOR_AFTERLIFE_FAULT";
    if let Ok(fault) = std::env::var(CHILD) {
        gc_core::faults::choose((!fault.is_empty()).then_some(&*fault)).expect("a fault of that name");
        return reuse();
    }
    let run = |fault: &str| {
        let exe = std::env::current_exe().expect("this program");
        let mut child = std::process::Command::new(exe);
        child.args(["--exact", "the_fault_pending_drop_reused_is_found", "--nocapture"]).env(CHILD, fault);
        let output = child.output().expect("a child process");
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (sound, text) = run("");
    assert!(sound, "without a fault: {text}");
    let (missed, text) = run("pending-drop-reused");
    assert!(!missed && text.contains("is reachable and was dropped"), "the fault was not found: {text}");
}

/// Leaves a new object of its type behind when it is dropped.
#[cfg(feature = "faults")]
#[derive(Trace)]
struct Heir {
    entry: Entry,
    /// Few share a span, so its slots are wanted soon.
    bulk: [u8; 1000],
}

#[cfg(feature = "faults")]
fn heir(id: usize, book: &Book) -> Gc<Heir> {
    Gc::new(Heir { entry: Entry { id, book: book.clone() }, bulk: [id as u8; 1000] })
}

#[cfg(feature = "faults")]
static HEIRS: Mutex<Vec<Root<Heir>>> = Mutex::new(Vec::new());

#[cfg(feature = "faults")]
impl Drop for Heir {
    fn drop(&mut self) {
        let Entry { id, book } = &self.entry;
        if *id < book.len() / 2 {
            HEIRS.lock().unwrap().push(Root::new(heir(id + book.len() / 2, book)));
        }
    }
}

#[cfg(feature = "faults")]
fn reuse() {
    const N: usize = 10_000;
    let (world, heap) = ThreadWorld::start(Config { percent: None, ..Config::default() });
    world.enter(|| {
        let book = book(2 * N);
        // One of a few lives on, so that spans are used again rather than their pages.
        let kept: Vec<_> = elsewhere(world, || {
            (0..N)
                .map(|id| heir(id, &book))
                .enumerate()
                .filter(|(i, _)| i % 5 == 0)
                .map(|(_, h)| Root::new(h))
                .collect()
        });
        collect_and_bury(heap);
        let mut heirs = core::mem::take(&mut *HEIRS.lock().unwrap());
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
