//! Large objects are scanned in pieces: nothing in them is lost, and no scan takes long.

mod threads;

use gc_core::{Config, Conservative, Gc, GcCell, Heap, Phase, Root, Trace};
use std::array;
use threads::ThreadWorld;

/// The longest scan that is allowed.
const PIECE: usize = 32 << 10;

type Slot = GcCell<Option<Gc<Leaf>>>;

#[derive(Trace)]
struct Leaf {
    id: u64,
    check: [u64; 3],
}

fn leaf(id: usize) -> Gc<Leaf> {
    let id = id as u64;
    Gc::new(Leaf { id, check: [id ^ 0x5555; 3] })
}

fn is(slot: &Slot, id: usize) {
    let leaf = slot.get().expect("a leaf");
    assert!(leaf.id == id as u64 && leaf.check == [leaf.id ^ 0x5555; 3], "leaf {id} is {}", leaf.id);
}

/// Garbage of the leaves' size, so that a leaf that was freed is overwritten.
fn churn(heap: &Heap, n: usize) {
    heap.collect();
    (0..n).for_each(|_| {
        std::hint::black_box(leaf(usize::MAX));
    });
    heap.collect();
}

/// The fault that a process of these tests runs with.
#[cfg(feature = "faults")]
const FAULT: &str = "PIECES_FAULT";

fn start(verify: bool) -> (&'static ThreadWorld, &'static Heap) {
    #[cfg(feature = "faults")]
    gc_core::faults::choose(std::env::var(FAULT).ok().as_deref()).expect("a fault of that name");
    ThreadWorld::start(Config { percent: None, verify, ..Config::default() })
}

#[test]
fn ten_million_pointers_hold_nobody_up() {
    const N: usize = 10_000_000;
    let (world, heap) = start(false);
    world.enter(|| {
        let slice = Gc::<[Slot]>::cells(N, None);
        (0..N).for_each(|i| slice[i].set(Some(leaf(i))));
        let root = Root::new(slice);
        assert_eq!(heap.stats().largest_piece, 0);
        churn(heap, N / 4);
        (0..N).for_each(|i| is(&root.get()[i], i));
        let stats = heap.stats();
        assert_eq!(stats.largest_piece, PIECE);
        // The slice, its leaves, and the root's referents that this frame still holds.
        assert!((N + 1..N + 100).contains(&stats.marked_objects), "{stats:?}");
        assert!(stats.marked_bytes >= N * (32 + 8) && stats.marked_bytes < N * (32 + 8) + (1 << 20), "{stats:?}");
    });
}

#[derive(Trace)]
struct Odd {
    first: Slot,
    number: u64,
    last: Slot,
}

#[derive(Trace)]
struct Wide {
    cells: [Slot; 20_001],
}

type Words = Conservative<[Option<Gc<Leaf>>; 40_000]>;

#[derive(Trace)]
struct Holder {
    odd: GcCell<Option<Gc<[Gc<Odd>]>>>,
    one: GcCell<Option<Gc<Wide>>>,
    words: GcCell<Option<Gc<Words>>>,
}

#[test]
fn pieces_of_every_kind_of_object() {
    let (world, heap) = start(true);
    // The values are built on the stack.
    let body = || {
        world.enter(|| {
            let holder =
                Root::new(Gc::new(Holder { odd: GcCell::new(None), one: GcCell::new(None), words: GcCell::new(None) }));
            fill(holder.get());
            churn(heap, 200_000);
            let h = holder.get();
            for (i, odd) in h.odd.get().unwrap().iter().enumerate() {
                assert_eq!(odd.number, i as u64);
                is(&odd.first, 2 * i);
                is(&odd.last, 2 * i + 1);
            }
            (0..20_001).for_each(|i| is(&h.one.get().unwrap().cells[i], i));
            for (i, word) in h.words.get().unwrap().0.iter().enumerate() {
                is(&GcCell::new(*word), i);
            }
            assert_eq!(heap.stats().largest_piece, PIECE);
            assert!(heap.stats().verified_objects > 200_000);
        });
    };
    std::thread::Builder::new().stack_size(64 << 20).spawn(body).unwrap().join().unwrap();
}

#[inline(never)]
fn fill(h: Gc<Holder>) {
    let odd = |i: usize| {
        let (first, last) = (GcCell::new(Some(leaf(2 * i))), GcCell::new(Some(leaf(2 * i + 1))));
        Gc::new(Odd { first, number: i as u64, last })
    };
    let all: Vec<Gc<Odd>> = (0..50_000).map(odd).collect();
    h.odd.set(Some(Gc::from_slice(&all)));
    h.one.set(Some(Gc::new(Wide { cells: array::from_fn(|i| GcCell::new(Some(leaf(i)))) })));
    h.words.set(Some(Gc::new(Conservative(array::from_fn(|i| Some(leaf(i)))))));
}

/// An element of 24 bytes lies across the end of every piece.
#[test]
fn elements_across_the_ends_of_pieces() {
    #[derive(Trace, Clone, Copy)]
    struct Entry {
        key: Gc<Leaf>,
        number: u64,
        value: Gc<Leaf>,
    }
    const N: usize = 60_000;
    let (world, heap) = start(true);
    world.enter(|| {
        let entries: Vec<Entry> =
            (0..N).map(|i| Entry { key: leaf(i), number: i as u64, value: leaf(i + N) }).collect();
        let array = Root::new(Gc::<[Entry]>::from_slice(&entries));
        drop(entries);
        churn(heap, 4 * N);
        for (i, e) in array.get().iter().enumerate() {
            assert_eq!(e.number, i as u64);
            is(&GcCell::new(Some(e.key)), i);
            is(&GcCell::new(Some(e.value)), i + N);
        }
    });
}

#[test]
fn arrays_born_while_marking_keep_what_they_hold() {
    const N: usize = 100_000;
    let (world, heap) = ThreadWorld::start(Config { percent: Some(50), verify: true, ..Config::default() });
    world.enter(|| {
        let slots = Gc::<[Slot]>::cells(N, None);
        (0..N).for_each(|i| slots[i].set(Some(leaf(i))));
        let mut kept = Root::new(slots);
        let mut born = 0;
        for round in 0..20 {
            while heap.phase() == Phase::Off {
                std::hint::black_box(leaf(usize::MAX));
            }
            let copy = Gc::<[Slot]>::cells(N, None);
            (0..N).for_each(|i| copy[i].set(kept.get()[i].get()));
            // One that only the new array holds.
            copy[round].set(Some(leaf(round)));
            born += usize::from(heap.phase() == Phase::Mark);
            kept = Root::new(copy);
        }
        churn(heap, N);
        (0..N).for_each(|i| is(&kept.get()[i], i));
        assert!(born > 0, "no array was born while marking");
    });
}

#[cfg(feature = "faults")]
#[test]
fn what_is_not_scanned_is_noticed() {
    for fault in ["lose-pieces", "forget-found"] {
        let twin = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "elements_across_the_ends_of_pieces", "--nocapture"])
            .env(FAULT, fault)
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&twin.stderr);
        assert!(!twin.status.success() && errors.contains("fatal error: verifier:"), "{fault}: {errors}");
    }
}
