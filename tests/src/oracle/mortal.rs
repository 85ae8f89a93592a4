//! What outlives objects: weak pointers of a region, and mortal objects, which say when they are dropped.

use super::graph::{Graph, IdSet};
use super::mutator::{DEEPEST, Found, Mutator};
use super::region::Region;
use super::rng::mix;
use super::shape::{self, Any, Edge, Id};
use super::{Host, fail};
use gc_core::{Gc, GcP, Heap, Trace, Weak, keep_alive};
use std::sync::atomic::{AtomicU64, Ordering};

/// Objects that a mutator cuts off and gets back at once.
const SAVED: usize = 8;
/// Weak pointers of a region.
const WEAK: usize = 200;

/// Mortals that were made, and that were dropped.
static MADE: AtomicU64 = AtomicU64::new(0);
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// The part of a mortal object that is dropped. Who reads it afterwards sees that.
#[derive(Trace)]
pub struct Mortal {
    id: Id,
    check: u64,
}

impl Mortal {
    pub fn new(id: Id) -> Mortal {
        MADE.fetch_add(1, Ordering::Relaxed);
        Mortal { id, check: mix(id) }
    }

    /// Whether this is the one with this identity, and was not dropped.
    pub fn is(&self, id: Id) -> bool {
        self.id == id && self.check == mix(id)
    }
}

impl Drop for Mortal {
    fn drop(&mut self) {
        if self.id == 0 || !self.is(self.id) {
            fail(format_args!("what is dropped is no mortal object, or was dropped before: {:#x}", self.id));
        }
        // Volatile: whoever looks at it must not.
        // SAFETY: a field of this value.
        unsafe { (&raw mut self.id).write_volatile(0) };
        DROPPED.fetch_add(1, Ordering::Relaxed);
    }
}

/// Runs all drops that are due. Between rounds, after a collection.
pub fn bury<H: Host>(host: H, heap: &Heap) {
    while heap.afterlife_due() {
        if heap.run_afterlife(1000) == 0 {
            // Somebody else does.
            host.pause();
        }
    }
}

/// How many mortals are not dropped though only `reachable` should be left. Fails if there are fewer than that.
pub fn leftover(reachable: usize) -> usize {
    let left = (MADE.load(Ordering::Relaxed) - DROPPED.load(Ordering::Relaxed)) as usize;
    left.checked_sub(reachable).unwrap_or_else(|| {
        fail(format_args!("{left} mortal objects were not dropped: {reachable} are reachable"));
    })
}

impl Region {
    /// What is reachable its weak pointers find. The graph knows that and nothing else.
    #[inline(never)]
    pub fn check_weak(&self) {
        for (weak, id) in &self.weak {
            match weak.upgrade() {
                Some(object) => is_still(object, *id),
                None if self.graph.knows(*id) => {
                    fail(format_args!("object {id} is reachable and not found by {weak:?}"))
                }
                None => {}
            }
        }
    }
}

fn is_still(object: Gc<Any>, id: Id) {
    let found = shape::identity(object);
    if found != id {
        fail(format_args!("a weak pointer to object {id} finds {found}"));
    }
}

impl<H: Host> Mutator<'_, H> {
    /// Makes a weak pointer, or follows one: whether the object is reachable or not, it is what it was, and stays so
    /// as long as this stack has it.
    #[inline(never)]
    pub(super) fn weak(&mut self, top: Gc<[Edge]>, depth: usize) {
        if self.region.weak.len() < WEAK || self.rng.one_in(4) {
            return self.make_weak(top);
        }
        if self.rng.one_in(3) {
            return self.save(top);
        }
        let (weak, id) = self.region.weak[self.rng.below(WEAK)];
        let Some(object) = weak.upgrade() else { return };
        is_still(object, id);
        self.region.counts.held += 1;
        if depth + 1 < DEEPEST {
            self.steps(top, depth + 1, 300);
        }
        is_still(object, id);
        if weak.upgrade().is_none() {
            fail(format_args!("object {id} is held on a stack and not found by {weak:?}"));
        }
        if self.region.graph.knows(id) {
            // Reachable, or cut off and not forgotten yet: nobody else can have changed it.
            self.region.graph.check(object, id, 200, &mut IdSet::default(), &mut self.region.counts);
            if self.rng.one_in(2) {
                self.link(top, (object, id));
            }
        }
        keep_alive(object);
    }

    /// When marking is on and may have scanned this stack, gets some objects that were cut off before back by weak
    /// pointers, and cuts off others; then lets marking end.
    #[inline(never)]
    fn save(&mut self, top: Gc<[Edge]>) {
        let weak: [_; SAVED] = std::array::from_fn(|_| self.sever(top));
        let heap = GcP::current().heap();
        let cycle = heap.cycle();
        let mut left = 2000;
        while heap.cycle() == cycle && !self.over() && left > 0 {
            left -= 1;
            self.garbage();
        }
        self.rest();
        let saved: [Found; SAVED] = weak.map(|weak| weak.and_then(|(weak, id)| Some((weak.upgrade()?, id))));
        let cut: [Found; SAVED] = std::array::from_fn(|_| self.cut_off(top));
        let cycle = heap.cycle();
        while heap.marking() && heap.cycle() == cycle {
            self.garbage();
            self.rest();
        }
        // What was freed is used again. All are known still: nothing was forgotten in here.
        for (_, id) in saved.into_iter().chain(cut).flatten() {
            self.refill(id);
        }
        for (object, id) in saved.into_iter().chain(cut).flatten() {
            is_still(object, id);
            self.region.graph.check(object, id, 20, &mut IdSet::default(), &mut self.region.counts);
            self.region.counts.held += 1;
            keep_alive(object);
            if self.rng.one_in(2) {
                self.link(top, (object, id));
            }
        }
    }

    #[inline(never)]
    fn sever(&mut self, top: Gc<[Edge]>) -> Option<(Weak<Any>, Id)> {
        self.cut_off(top).map(|(object, id)| (Weak::new(object), id))
    }

    #[inline(never)]
    fn make_weak(&mut self, top: Gc<[Edge]>) {
        let Some((object, id)) = self.pick(top) else { return };
        let weak = Weak::new(object);
        if self.region.weak.len() < WEAK {
            self.region.weak.push((weak, id));
        } else {
            let i = self.rng.below(WEAK);
            self.region.weak[i] = (weak, id);
        }
    }
}

impl Graph {
    /// How many mortal objects are in here.
    pub fn mortals(&self) -> usize {
        self.count(shape::Shape::Mortal)
    }
}
