//! Weak pointers and cleanups: on plain threads, gc-core alone.

mod burial;
mod child;
mod lab;
mod threads;

use burial::{Book, book, collect_and_bury, dropped, elsewhere, nearly};
use gc_core::sync::{Lock, Rank};
use gc_core::{Config, Gc, GcCell, GcP, Heap, Root, Trace, Weak, WorkKind, World, add_cleanup};
use lab::{Lab, Node, same, with_twins};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use threads::ThreadWorld;

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
    if !child::is_child() {
        return child::passes_and_notices("a_weak_pointer_finds_its_object_until_it_is_dead", &["stale-weak"]);
    }
    child::choose_fault();
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
    slots: Vec<Lock<Option<Seen>>>,
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
        let seen = *slot.lock();
        let Some((id, weak)) = seen else {
            let weak = Weak::new(plain(id));
            *slot.lock() = Some((id, weak));
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
                let mut slot = slot.lock();
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
        let slots = (0..2_000).map(|_| Lock::new(Rank::Unranked, None)).collect();
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
    if !child::is_child() {
        return child::passes_and_notices("upgrade_before_the_sweep_reads_the_marks", &["weak-upgrade-dead"]);
    }
    child::choose_fault();
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

/// Nodes that nothing but a weak pointer leads to.
#[inline(never)]
fn only_weak() -> Vec<(Weak<Node>, u64)> {
    (0..HELD).map(|_| Node::new()).map(|(node, id)| (Weak::new(node), id)).collect()
}

const HELD: usize = 16;

/// The stack is black already when the nodes come onto it.
#[test]
fn what_is_upgraded_while_marking_stays() {
    let upgrade = |lab: Lab, _| {
        while lab.goes_on() {
            let weak = only_weak();
            lab.wait_for_a_black_stack();
            let held: [Option<Gc<Node>>; HELD] = std::array::from_fn(|i| weak[i].0.upgrade());
            lab.wait_for_the_end();
            for (node, (weak, id)) in held.into_iter().zip(weak) {
                if let Some(node) = node {
                    same(Some(node), id);
                    assert!(weak.upgrade().is_some(), "node {id} is held and its weak pointer is lost");
                }
            }
        }
    };
    with_twins("what_is_upgraded_while_marking_stays", &["weak-upgrade-unshaded"], |_| {
        Lab::run(2, Duration::from_millis(300), upgrade);
    });
}
