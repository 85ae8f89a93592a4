//! Partial cycles: what was marked stays marked, what is young dies, and when there are none.

mod child;
mod threads;

use gc_core::sync::current::Region;
use gc_core::{Config, Conservative, Gc, GcCell, Stats, Trace};
use std::hint::black_box;
use threads::ThreadWorld;

#[derive(Trace)]
struct Node {
    next: GcCell<Option<Gc<Node>>>,
    data: [u64; 6],
}

const NODE: usize = 64;

fn node(next: Option<Gc<Node>>, data: u64) -> Gc<Node> {
    Gc::new(Node { next: GcCell::new(next), data: [data; 6] })
}

#[inline(never)]
fn nodes(n: usize) -> Option<Gc<Node>> {
    (0..n).fold(None, |head, i| Some(node(head, i as u64)))
}

fn len(mut at: Option<Gc<Node>>) -> usize {
    let mut n = 0;
    while let Some(node) = at {
        n += 1;
        at = node.next.get();
    }
    n
}

/// Lives, then makes rubbish for `rounds` times what lives, and stores some of it into what lives.
fn old_and_young(config: Config, rounds: usize) -> Stats {
    const OLD: usize = 200_000;
    let (world, heap) = ThreadWorld::start(Config { verify: true, ..config });
    world.enter(|| {
        let (keep, last) = (nodes(OLD).expect("some"), node(None, 0));
        let mut held = 0;
        for i in 0..rounds * OLD {
            let young = node(None, i as u64);
            if i % 100 == 0 {
                // Only until the next one comes.
                last.next.set(Some(node(Some(young), 0)));
            }
            if i % 5000 == 0 {
                keep.next.set(Some(node(keep.next.get(), 0)));
                held += 1;
            }
        }
        assert_eq!((len(Some(keep)), len(last.next.get())), (OLD + held, 2), "what is stored into old objects stays");
        heap.stats()
    })
}

#[test]
fn young_objects_die_in_partial_cycles_and_what_old_ones_point_to_lives() {
    let stats = old_and_young(Config::default(), 40);
    assert!(stats.partial_cycles >= 5, "{stats:?}");
    assert!(u64::from(stats.cycles) > stats.partial_cycles, "full ones come in between");
    assert!(stats.heap_live < 600_000 * NODE, "{stats:?}");
}

#[test]
fn there_are_none_where_they_are_not_wanted() {
    let off = Config { partial: false, ..Config::default() };
    assert_eq!(old_and_young(off, 10).partial_cycles, 0);
    let limited = Config { memory_limit: Some(64 << 20), ..Config::default() };
    assert_eq!(old_and_young(limited, 10).partial_cycles, 0);
}

/// What dies when it is old is found by full cycles, of which `collect` is one, whatever comes before it.
#[test]
fn a_whole_collection_finds_old_rubbish() {
    let mut config = Config::default();
    config.stress.partial = true;
    let (world, heap) = ThreadWorld::start(config);
    world.enter(|| {
        let root = node(None, 0);
        for round in 0..8 {
            root.next.set(nodes(10_000));
            heap.collect();
            assert_eq!(heap.stats().marked_objects, 10_001, "round {round}");
            root.next.set(None);
            // Where marks stay, these are taken for alive.
            heap.collect_some();
            let kept = heap.stats().marked_objects;
            assert!(kept == 1 || kept == 10_001, "{kept}");
            heap.collect();
            assert_eq!(heap.stats().marked_objects, 1, "round {round}");
        }
        black_box(root);
        let stats = heap.stats();
        assert!(stats.partial_cycles >= 8, "{stats:?}");
    });
}

/// A queue, in which all that is young is alive: partial cycles bring nothing, and become few.
#[test]
fn where_the_young_live_they_are_few() {
    const QUEUE: usize = 100_000;
    let (world, heap) = ThreadWorld::start(Config::default());
    let stats = world.enter(|| {
        let head = node(Some(node(None, 0)), 0);
        let mut tail = head.next.get().expect("one");
        for i in 1..40 * QUEUE {
            let new = node(None, i as u64);
            tail.next.set(Some(new));
            tail = new;
            if i >= QUEUE {
                head.next.set(head.next.get().expect("the queue").next.get());
            }
        }
        assert_eq!(len(head.next.get()), QUEUE);
        heap.stats()
    });
    assert!(stats.partial_cycles * 4 < u64::from(stats.cycles), "{stats:?}");
}

/// Values that are copied between cycles may hold words that were pointers once. They name dead objects that are not swept yet,
/// and must not bring them to life.
#[test]
fn words_that_name_dead_objects_shade_nothing() {
    if !child::is_child() {
        return child::passes_and_notices("words_that_name_dead_objects_shade_nothing", &["dead-shaded"]);
    }
    child::choose_fault();
    let mut config = Config::default();
    config.stress.partial = true;
    let (world, heap) = ThreadWorld::start(config);
    world.enter(|| {
        let keep = nodes(20_000);
        for _ in 0..8 {
            let (before, mut dead) = (heap.stats().cycles, Vec::new());
            while heap.stats().cycles == before {
                dead.push(Gc::as_ptr(node(None, 0)).addr());
            }
            // A cycle has just ended, and hardly anything is swept.
            let alive = heap.stats().marked_objects;
            for word in &dead {
                let _region = Region::enter();
                // SAFETY: one word.
                unsafe { heap.shade_words(word, 1) };
            }
            heap.collect_some();
            let now = heap.stats().marked_objects;
            assert!(now <= alive + 10, "{alive} objects were alive, and {now} are, of {} that died", dead.len());
        }
        black_box(keep);
    });
}

/// Where a node has been, which nothing points to any more. (Not the address itself, which would keep alive what is made there.)
#[inline(never)]
fn where_one_was() -> usize {
    !Gc::as_ptr(node(None, 0)).addr()
}

#[inline(never)]
fn with_number(hidden: usize) -> Gc<Conservative<[usize; 2]>> {
    Gc::new(Conservative([!hidden, 0]))
}

/// Makes nodes until one is there.
#[inline(never)]
fn make_one_there(hidden: usize) -> bool {
    (0..1000).any(|i| !Gc::as_ptr(node(None, i)).addr() == hidden)
}

/// A number in an object without a type, or what it has in its padding, may look like a pointer to what is made later. Partial
/// cycles do not look into old objects again, and the verifier does not ask for what such a word means.
#[test]
fn what_looks_like_a_pointer_in_an_old_object_keeps_nothing_young() {
    let mut config = Config { verify: true, ..Config::default() };
    config.stress.partial = true;
    let (world, heap) = ThreadWorld::start(config);
    world.enter(|| {
        let mut met = 0;
        for _ in 0..20 {
            let hidden = where_one_was();
            black_box(nodes(1000));
            heap.collect();
            let number = with_number(hidden);
            heap.collect_some();
            met += usize::from(make_one_there(hidden));
            heap.collect_some();
            black_box(number);
        }
        assert!(met > 0, "no node has been made where one was");
        assert!(heap.stats().partial_cycles > 0);
    });
}
