//! Who keeps objects, and knows what is in them.

use super::Worker;
use crate::goroutines::Goroutines;
use crate::oracle::Oracle;
use crate::oracle::cell::Cell;
use crate::oracle::rng::{Rng, mix};
use crate::stress::page::Count;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tricolor::gc_core::GcP;
use tricolor::{Gc, GcCell, GcMut, Root, RootCell, Trace, Weak, gc};

/// An object that knows its own word, of 64 bytes.
#[derive(Trace)]
pub(super) struct Link {
    pub(super) word: u64,
    pub(super) next: GcCell<Option<Gc<Link>>>,
    /// Scattered from the word.
    filling: [u64; 6],
}

/// Links of a list.
const LONG: usize = 500;

pub(super) fn link(word: u64, next: Option<Gc<Link>>) -> Gc<Link> {
    Gc::new(Link { word, next: GcCell::new(next), filling: [mix(word); 6] })
}

/// Compares an object with its word.
pub(super) fn check(w: Worker, object: Gc<Link>, word: u64, what: &str) {
    let filling = mix(word);
    if object.word != word || object.filling.iter().any(|f| *f != filling) {
        w.broke(format_args!(
            "{what}: the object at {:p} should hold {word:#x} and {filling:#x}, and holds {:#x} and {:#x?}",
            &raw const *object, object.word, object.filling
        ));
    }
}

/// What is known of a list.
#[derive(Clone, Copy)]
struct Known {
    first: u64,
    length: usize,
    turned: bool,
}

impl Known {
    fn word(self, i: usize) -> u64 {
        let i = if self.turned { self.length - 1 - i } else { i };
        self.first.wrapping_add(i as u64)
    }
}

type Heads = Gc<[GcCell<Option<Gc<Link>>>]>;

#[inline(never)]
fn compare(w: Worker, heads: Heads, i: usize, known: Known, born: usize) {
    let mut at = heads[i].get();
    for k in 0..known.length {
        let Some(object) = at else {
            w.broke(format_args!("list {i}, made in round {born}, has {k} objects, not {}", known.length));
        };
        check(w, object, known.word(k), "a list");
        at = object.next.get();
    }
    if at.is_some() {
        w.broke(format_args!("list {i} has more than {} objects", known.length));
    }
    w.count(Count::Objects, known.length as u64);
}

/// From the last link to the first, by a store into each.
#[inline(never)]
fn turn(heads: Heads, i: usize) {
    let mut done: Option<Gc<Link>> = None;
    let mut rest = heads[i].get();
    heads[i].set(None);
    while let Some(object) = rest {
        rest = object.next.get();
        object.next.set(done);
        done = Some(object);
    }
    heads[i].set(done);
}

/// While marking is on, makes garbage until it is over, or for a good while: what the caller's stack alone has must have been
/// told to the collector by then, and freed slots are used again.
#[inline(never)]
pub(super) fn outlast(rng: &mut Rng) {
    let heap = GcP::current().heap();
    let cycle = heap.cycle();
    if heap.marking() {
        let mut left = 20_000;
        while left > 0 && heap.marking() && heap.cycle() == cycle {
            garbage(rng);
            left -= 200;
            tricolor::poll();
        }
    }
    garbage(rng);
}

/// Makes garbage until marking is on, or for `longest`; whether it is.
#[inline(never)]
pub(super) fn await_marking(rng: &mut Rng, longest: Duration) -> bool {
    let (heap, begin) = (GcP::current().heap(), Instant::now());
    while !heap.marking() {
        if begin.elapsed() > longest {
            return false;
        }
        garbage(rng);
        tricolor::poll();
    }
    true
}

/// Lists that are made, turned round, compared, replaced.
pub fn lists(w: Worker) {
    let mut rng = w.rng();
    let n = (w.live / (LONG * size_of::<Link>())).clamp(2, 10_000);
    let heads: Heads = Gc::cells(n, None);
    let mut known = vec![(Known { first: 0, length: 0, turned: false }, 0); n];
    let mut round = 0;
    while w.go() {
        round += 1;
        let i = rng.below(n);
        let (list, born) = known[i];
        compare(w, heads, i, list, born);
        if list.length > 0 && rng.one_in(2) {
            turn(heads, i);
            known[i].0.turned = !list.turned;
        } else {
            let new = Known { first: rng.draw(), length: LONG / 2 + rng.below(LONG), turned: false };
            heads[i].set(None);
            let made = (0..new.length).rev().fold(None, |tail, k| Some(link(new.word(k), tail)));
            heads[i].set(made);
            known[i] = (new, round);
        }
    }
    known.iter().enumerate().for_each(|(i, (list, born))| compare(w, heads, i, *list, *born));
}

/// A large array, in pieces of which objects move by bulk operations. Its words are written down outside the heap.
pub fn arrays(w: Worker) {
    let mut rng = w.rng();
    let n = (w.live / (8 + size_of::<Link>())).clamp(100, 40_000);
    let cells: Heads = Gc::cells(n, None);
    let mut words = vec![0_u64; n];
    let mut held: Option<(Gc<Link>, u64)> = None;
    while w.go() {
        let first = rng.below(n);
        let range = first..(first + rng.length(n / 4)).min(n);
        match rng.below(6) {
            0 => {
                let dest = rng.below(n - range.len() + 1);
                cells.copy_within(range.clone(), dest);
                words.copy_within(range, dest);
            }
            1 => {
                let source = rng.below(n);
                cells.fill(range.clone(), cells[source].get());
                let word = words[source];
                words[range].fill(word);
            }
            2 => {
                // What was there is on this stack alone, until the next look.
                held = cells[first].get().map(|object| (object, words[first]));
                cells.clear(range.clone());
                words[range].fill(0);
            }
            _ => {
                for i in range.take(2000) {
                    words[i] = rng.draw() | 1;
                    cells[i].set(Some(link(words[i], None)));
                }
            }
        }
        if let Some((object, word)) = held.take() {
            outlast(&mut rng);
            check(w, object, word, "held on the stack");
        }
        for _ in 0..200 {
            let i = rng.below(n);
            match (cells[i].get(), words[i]) {
                (None, 0) => {}
                (Some(object), word) if word != 0 => check(w, object, word, "an array"),
                (found, word) => w.broke(format_args!("cell {i} should hold {word:#x}: {}", found.is_some())),
            }
        }
        w.count(Count::Objects, 200);
    }
}

/// Weak pointers, cleanups, roots.
pub fn afterlife(w: Worker) {
    let mut rng = w.rng();
    let set: &'static RootCell<Link> = Box::leak(Box::new(RootCell::new()));
    let mut in_set = 0_u64;
    let pocket = Gc::new(Pocket(GcMut::new(None)));
    let mut in_pocket = 0_u64;
    let mut roots: Vec<(Root<Link>, u64)> = Vec::new();
    let mut weak: Vec<(Weak<Link>, u64)> = Vec::new();
    while w.go() {
        for _ in 0..20 {
            let word = rng.draw() | 1;
            match rng.below(6) {
                0 => one_cleanup(w, word),
                5 => mutable(w, pocket, &mut in_pocket, word, &mut rng),
                1 => swap_root(w, set, &mut in_set, word, &mut rng),
                2 => {
                    roots.push((Root::new(link(word, None)), word));
                    if roots.len() > 100 {
                        let (root, word) = roots.swap_remove(rng.below(roots.len()));
                        let object = root.get();
                        drop(root);
                        outlast(&mut rng);
                        check(w, object, word, "behind a root that was dropped");
                    }
                }
                _ => {
                    let object = link(word, None);
                    weak.push((Weak::new(object), word));
                    if rng.one_in(2) {
                        roots.push((Root::new(object), word));
                    }
                }
            }
        }
        for _ in 0..20.min(weak.len()) {
            let i = rng.below(weak.len());
            match weak[i].0.upgrade() {
                Some(object) => {
                    outlast(&mut rng);
                    check(w, object, weak[i].1, "behind a weak pointer");
                }
                None => drop(weak.swap_remove(i)),
            }
        }
        if let Some((root, word)) = roots.get(rng.below(roots.len().max(1))) {
            check(w, root.get(), *word, "behind a root");
        }
        w.count(Count::Objects, 40);
    }
    set.set(None);
}

/// Passes some microseconds at safepoints.
pub(super) fn pass(micros: usize) {
    let begin = Instant::now();
    while begin.elapsed().as_micros() < micros as u128 {
        tricolor::poll();
    }
}

/// Freed slots of links are used again.
#[inline(never)]
fn garbage(rng: &mut Rng) {
    for _ in 0..rng.length(400) {
        let _ = link(rng.draw(), None);
    }
}

/// What can be borrowed.
#[derive(Trace)]
struct Pocket(GcMut<Option<Gc<Link>>>);

/// Takes an object out of the pocket, or puts one in and stays inside for a while.
#[inline(never)]
fn mutable(w: Worker, pocket: Gc<Pocket>, in_pocket: &mut u64, word: u64, rng: &mut Rng) {
    let agrees = |found: Option<Gc<Link>>, held: u64| match (found, held) {
        (None, 0) => {}
        (Some(object), held) if held != 0 => check(w, object, held, "out of a pocket"),
        (found, held) => w.broke(format_args!("a pocket should hold {held:#x}: {}", found.is_some())),
    };
    let held = std::mem::replace(in_pocket, 0);
    if rng.one_in(2) {
        let found = pocket.0.with(Option::take);
        outlast(rng);
        agrees(found, held);
    } else {
        pocket.0.with(|slot| {
            agrees(slot.take(), held);
            *slot = Some(link(word, None));
            outlast(rng);
            agrees(*slot, word);
        });
        *in_pocket = word;
    }
}

/// The cleanup's argument is all that keeps an object. Some end when marking has just begun, so that the next one takes its
/// argument while that may still be white.
#[inline(never)]
fn one_cleanup(w: Worker, word: u64) {
    /// Cleanups that have not run yet. They take their time, and others wait for theirs behind them.
    static BEHIND: AtomicU64 = AtomicU64::new(0);
    if BEHIND.load(Relaxed) >= 64 {
        return;
    }
    BEHIND.fetch_add(1, Relaxed);
    let mortal = link(word, None);
    let kept = link(!word, Some(link(word ^ 1, None)));
    let alive = Weak::new(kept);
    gc::add_cleanup(
        mortal,
        |(w, kept, alive, word): (Worker, Gc<Link>, Weak<Link>, u64)| {
            let mut rng = Rng::new(word);
            outlast(&mut rng);
            if alive.upgrade().is_none() {
                w.broke(format_args!("the object that a cleanup got was found dead"));
            }
            check(w, kept, !word, "a cleanup's argument");
            match kept.next.get() {
                Some(next) => check(w, next, word ^ 1, "behind a cleanup's argument"),
                None => w.broke(format_args!("a cleanup's argument lost its pointer")),
            }
            w.count(Count::Cleanups, 1);
            BEHIND.fetch_sub(1, Relaxed);
            if rng.one_in(4) && await_marking(&mut rng, Duration::from_millis(2)) {
                pass(rng.length(1000));
            }
        },
        (w, kept, alive, word),
    );
}

/// Takes the object out of a settable root, holds it for a while on the stack alone, and puts another one in.
#[inline(never)]
fn swap_root(w: Worker, set: &RootCell<Link>, in_set: &mut u64, word: u64, rng: &mut Rng) {
    let old = set.swap(None);
    outlast(rng);
    match (old, *in_set) {
        (None, 0) => {}
        (Some(object), held) if held != 0 => check(w, object, held, "out of a settable root"),
        (found, held) => w.broke(format_args!("a settable root should hold {held:#x}: {}", found.is_some())),
    }
    let new = link(word, old.filter(|_| rng.one_in(2)));
    set.set(Some(new));
    *in_set = word;
}

/// Rounds of the oracle; it goes on where it was in the phase before.
pub fn oracle(w: Worker, oracle: Option<Box<Oracle>>) -> Box<Oracle> {
    /// What has been counted, since the oracle counts from its beginning.
    static COUNTED: AtomicU64 = AtomicU64::new(0);
    let mut oracle = oracle.unwrap_or_else(|| {
        let cell: Cell = w.leg.oracle.parse().unwrap_or_else(|why| w.broke(format_args!("{why}")));
        Box::new(Oracle::new(&cell))
    });
    let host = Goroutines::start();
    while w.go() {
        oracle.round(host);
        let checked = oracle.report().counts.checked;
        w.count(Count::Checked, checked - COUNTED.swap(checked, Relaxed));
    }
    oracle
}
