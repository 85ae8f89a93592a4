//! Objects that move between a stack and other places while marking begins and goes on.
//!
//! Whether an object is alive says a weak pointer: once marking has ended, it gives out what was found alive and nothing
//! else. So a pointer that the collector has missed shows at once, wherever the memory goes later.

use super::Worker;
use super::heap::{Link, await_marking, check, link, outlast, pass};
use crate::oracle::rng::Rng;
use crate::stress::page::Count;
use gc_core::GcP;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tricolor::sync::Mutex;
use tricolor::{Gc, GcCell, GcMut, Root, RootCell, Trace, Weak, poll, spawn, yield_now};

/// Places of each kind.
const EACH: usize = 12;
/// All places of a round.
const PLACES: usize = 7 * EACH;
/// Objects between a root and the shelf: the marker is long on its way there.
const FAR: usize = 10_000;
/// Objects that only weak pointers know.
const WEAK: usize = 256;
/// Words that look like pointers.
const GHOSTS: usize = 12;

type Place = Option<Gc<Link>>;

/// Places in the heap.
#[derive(Trace)]
struct Shelf {
    cells: [GcCell<Place>; EACH],
    row: Gc<[GcCell<Place>]>,
    pockets: [GcMut<Place>; EACH],
}

/// Places in an object of their own.
#[derive(Trace)]
struct Tray {
    cells: [GcCell<Place>; EACH],
    pockets: [GcMut<Place>; EACH],
}

impl Tray {
    fn new() -> Tray {
        Tray { cells: std::array::from_fn(|_| GcCell::new(None)), pockets: std::array::from_fn(|_| GcMut::new(None)) }
    }
}

/// A chain that ends at the shelf.
#[derive(Trace)]
struct Far {
    next: Option<Gc<Far>>,
    _shelf: Option<Gc<Shelf>>,
}

/// An object with one behind it, by weak pointers.
#[derive(Clone, Copy)]
struct Known {
    word: u64,
    object: Weak<Link>,
    behind: Weak<Link>,
}

/// A new object, and what is known of it.
fn new(rng: &mut Rng) -> (Gc<Link>, Known) {
    let word = rng.draw();
    let behind = link(!word, None);
    let object = link(word, Some(behind));
    (object, Known { word, object: Weak::new(object), behind: Weak::new(behind) })
}

impl Known {
    /// It should be alive and what it was, since `object` has it; `place`: where that was before.
    fn alive(&self, w: Worker, object: Gc<Link>, place: &str) {
        if self.object.upgrade().is_none() {
            w.broke(format_args!("an object from {place} is in use, at {:p}, and was found dead", Gc::as_ptr(object)));
        }
        check(w, object, self.word, place);
        if self.behind.upgrade().is_none() {
            w.broke(format_args!("behind an object from {place}, at {:p}, one was found dead", Gc::as_ptr(object)));
        }
        match object.next.get() {
            Some(behind) => check(w, behind, !self.word, place),
            None => w.broke(format_args!("an object from {place} lost its pointer")),
        }
    }
}

/// Overwrites what calls have left on the stack.
#[inline(never)]
pub fn wipe() {
    black_box([0_usize; 2048]);
}

#[inline(never)]
fn exchange(a: &mut Place, b: &mut Place) {
    std::mem::swap(a, b);
}

struct Mover {
    w: Worker,
    rng: Rng,
    /// Keeps the shelf.
    _far: Root<Far>,
    /// The address of the shelf, flipped.
    shelf: usize,
    locked: Vec<Mutex<Place>>,
    roots: Vec<Option<Root<Link>>>,
    sets: Vec<&'static RootCell<Link>>,
    known: Vec<Known>,
}

/// See [`super::Kind::Moves`].
pub fn moves(w: Worker) {
    let mut mover = Mover::new(w);
    wipe();
    while w.go() {
        match mover.rng.below(12) {
            0..4 => mover.take_out(),
            4..6 => mover.put_in(),
            6..8 => mover.stays_inside(),
            8..11 => mover.give_out(),
            _ => mover.haunt(),
        }
    }
    mover.sets.iter().for_each(|set| set.set(None));
}

impl Mover {
    #[inline(never)]
    fn new(w: Worker) -> Mover {
        let shelf = Gc::new(Shelf {
            cells: std::array::from_fn(|_| GcCell::new(None)),
            row: Gc::cells(EACH, None),
            pockets: std::array::from_fn(|_| GcMut::new(None)),
        });
        let end = Gc::new(Far { next: None, _shelf: Some(shelf) });
        let far = (0..FAR).fold(end, |next, _| Gc::new(Far { next: Some(next), _shelf: None }));
        debug_assert!(far.next.is_some());
        Mover {
            w,
            rng: w.rng(),
            _far: Root::new(far),
            shelf: !Gc::as_ptr(shelf).expose_provenance(),
            locked: (0..EACH).map(|_| Mutex::new(None)).collect(),
            roots: (0..EACH).map(|_| None).collect(),
            sets: (0..EACH).map(|_| &*Box::leak(Box::new(RootCell::new()))).collect(),
            known: Vec::new(),
        }
    }

    fn shelf(&self) -> Gc<Shelf> {
        // SAFETY: the chain keeps it.
        unsafe { Gc::from_ptr(std::ptr::with_exposed_provenance_mut(!self.shelf)) }
    }

    /// Marking is off, as a rule: what is made now is white in the next cycle.
    fn between_cycles(&mut self) {
        outlast(&mut self.rng);
        self.known.clear();
    }

    fn begins(&mut self) -> bool {
        await_marking(&mut self.rng, Duration::from_millis(20))
    }

    /// As `begins`, but mostly without a safepoint in between: whoever stops at one may be scanned there.
    fn begins_unseen(&mut self) -> bool {
        let (heap, begin) = (GcP::current().heap(), Instant::now());
        let mut longest = 1;
        while !heap.marking() {
            if begin.elapsed() > Duration::from_millis(longest) {
                await_marking(&mut self.rng, Duration::ZERO);
                longest += 1;
            }
            if longest > 20 {
                return false;
            }
            std::hint::spin_loop();
        }
        true
    }

    /// Puts a new object into each place.
    #[inline(never)]
    fn fill(&mut self) {
        let shelf = self.shelf();
        for i in 0..PLACES {
            let (object, known) = new(&mut self.rng);
            self.known.push(known);
            let k = i % EACH;
            match i / EACH {
                0 => shelf.cells[k].set(Some(object)),
                1 => shelf.row.fill(k..=k, Some(object)),
                2 => shelf.pockets[k].with(|place| *place = Some(object)),
                3 => self.locked[k].with(|place| *place = Some(object)),
                4 => self.roots[k] = Some(Root::new(object)),
                5 => self.sets[k].set(Some(object)),
                _ => {}
            }
        }
    }

    /// Takes the object out of a place, and where that was.
    fn take(&mut self, shelf: Gc<Shelf>, i: usize) -> (Place, &'static str) {
        let k = i % EACH;
        match i / EACH {
            0 if k.is_multiple_of(2) => (shelf.cells[k].swap(None), "a cell"),
            0 => {
                let object = shelf.cells[k].get();
                shelf.cells[k].set(None);
                (object, "a cell")
            }
            1 => {
                let object = shelf.row[k].get();
                shelf.row.clear(k..=k);
                (object, "an array")
            }
            2 => (shelf.pockets[k].with(Option::take), "mutable access"),
            3 => (self.locked[k].with(Option::take), "a lock"),
            4 => (self.roots[k].take().map(|root| root.get()), "a root"),
            5 => (self.sets[k].swap(None), "a settable root"),
            _ => (self.known[i].object.upgrade(), "a weak pointer"),
        }
    }

    /// When marking has begun, takes all objects out of their places: this stack, which may be black, has them alone.
    #[inline(never)]
    fn take_out(&mut self) {
        self.between_cycles();
        self.fill();
        let mut held: [(Place, &str); PLACES] = [(None, ""); PLACES];
        // The array is memory, here and below.
        black_box(&mut held);
        wipe();
        if !self.begins() {
            return;
        }
        pass(self.rng.length(2000));
        let shelf = self.shelf();
        // Not always from the first on.
        let first = self.rng.below(PLACES);
        for i in (first..PLACES).chain(0..first) {
            held[i] = self.take(shelf, i);
        }
        black_box(&mut held);
        outlast(&mut self.rng);
        for (known, (object, place)) in self.known.iter().zip(held) {
            match object {
                Some(object) => known.alive(self.w, object, place),
                // Nobody else kept it, and a whole cycle may have passed.
                None if place == "a weak pointer" => {}
                None => self.w.broke(format_args!("{place} has lost its object")),
            }
        }
        self.w.count(Count::Objects, PLACES as u64);
    }

    /// While marking begins, this stack has words that look like pointers to objects that somebody else is about to make.
    #[inline(never)]
    fn haunt(&mut self) {
        self.between_cycles();
        let (heap, begin) = (GcP::current().heap(), Instant::now());
        let cycle = heap.cycle();
        let last = Arc::new(AtomicUsize::new(0));
        let made = last.clone();
        let seed = self.rng.draw();
        let maker = spawn(move || {
            let mut rng = Rng::new(seed);
            while made.load(Relaxed) != usize::MAX {
                let at = Gc::as_ptr(link(rng.draw(), None)).expose_provenance();
                let _ = made.fetch_update(Relaxed, Relaxed, |last| (last != usize::MAX).then_some(at));
                poll();
            }
        });
        let mut ghosts = [0_usize; GHOSTS];
        while begin.elapsed() < Duration::from_millis(20) && (heap.cycle() == cycle || heap.marking()) {
            let at = last.load(Relaxed);
            ghosts.iter_mut().enumerate().for_each(|(k, ghost)| *ghost = at + (k + 1) * size_of::<Link>());
            black_box(&mut ghosts);
            yield_now();
        }
        black_box(&mut ghosts);
        last.store(usize::MAX, Relaxed);
        if maker.join().is_err() {
            self.w.broke(format_args!("who makes objects panicked"));
        }
    }

    /// When marking has begun, puts all objects of this stack, which may still be grey, into an object that is black.
    #[inline(never)]
    fn put_in(&mut self) {
        self.between_cycles();
        let mut held: [Place; 3 * EACH] = [None; 3 * EACH];
        black_box(&mut held);
        for place in &mut held {
            let (object, known) = new(&mut self.rng);
            self.known.push(known);
            *place = Some(object);
        }
        wipe();
        if !self.begins_unseen() {
            return;
        }
        let tray = Gc::new(Tray::new());
        let (cells, rest) = held.split_at_mut(EACH);
        let (pockets, locked) = rest.split_at_mut(EACH);
        tray.pockets.iter().zip(pockets).for_each(|(pocket, object)| pocket.with(|place| *place = object.take()));
        tray.cells.iter().zip(cells).for_each(|(cell, object)| cell.set(object.take()));
        // Roots, and what they keep, are black by now.
        self.locked.iter().zip(locked).for_each(|(lock, object)| lock.with(|place| *place = object.take()));
        wipe();
        pass(self.rng.length(500));
        outlast(&mut self.rng);
        let cells = tray.cells.iter().map(|cell| (cell.get(), "a cell of a new object"));
        let pockets = tray.pockets.iter().map(|pocket| (pocket.with(|place| *place), "mutable access to a new object"));
        let locked = self.locked.iter().map(|lock| (lock.with(Option::take), "a lock"));
        for (known, (object, place)) in self.known.iter().zip(cells.chain(pockets).chain(locked)) {
            if let Some(object) = object {
                known.alive(self.w, object, place);
            }
        }
        self.w.count(Count::Objects, 3 * EACH as u64);
    }

    /// Is inside of an object before marking begins, puts what this stack has alone into it, and takes it out in the end. The
    /// object is black early; that it is looked at again with this stack is all that finds what is in there.
    #[inline(never)]
    fn stays_inside(&mut self) {
        self.between_cycles();
        let tray = Root::new(Gc::new(Tray::new()));
        let bag = tray.get();
        bag.pockets[0].with(|place| {
            let (object, known) = new(&mut self.rng);
            let mut held = Some(object);
            wipe();
            if !self.begins_unseen() {
                return;
            }
            let (heap, begin) = (GcP::current().heap(), Instant::now());
            let cycle = heap.cycle();
            while begin.elapsed() < Duration::from_micros(200) {
                std::thread::yield_now();
            }
            exchange(place, &mut held);
            wipe();
            while heap.marking() && heap.cycle() == cycle {
                yield_now();
            }
            exchange(place, &mut held);
            if let Some(object) = held {
                known.alive(self.w, object, "mutable access that lasts");
            }
        });
        self.w.count(Count::Objects, 1);
    }

    /// While marking goes on, and until it ends, weak pointers give out objects that nobody else has.
    #[inline(never)]
    fn give_out(&mut self) {
        self.between_cycles();
        self.only_weak();
        wipe();
        let mut held: [Place; WEAK] = [None; WEAK];
        black_box(&mut held);
        if !self.begins() {
            return;
        }
        let heap = GcP::current().heap();
        for (place, known) in held.iter_mut().zip(&self.known) {
            *place = known.object.upgrade();
            if !heap.marking() {
                break;
            }
            pass(self.rng.length(40));
        }
        black_box(&mut held);
        outlast(&mut self.rng);
        for (known, object) in self.known.iter().zip(held) {
            if let Some(object) = object {
                known.alive(self.w, object, "a weak pointer");
            }
        }
        self.w.count(Count::Objects, WEAK as u64);
    }

    #[inline(never)]
    fn only_weak(&mut self) {
        for _ in 0..WEAK {
            let (_, known) = new(&mut self.rng);
            self.known.push(known);
        }
    }
}
