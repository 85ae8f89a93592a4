//! A mutator: random operations on its region, and trade with the others.
//!
//! Every operation is a function of its own that is not inlined, so that pointers it had on the stack are gone when
//! it returns, as far as that can be had.

use super::cell::Cell;
use super::graph::IdSet;
use super::region::Region;
use super::rng::Rng;
use super::shape::{self, Any, Edge, Id};
use super::shared::{Parcel, Rooted, Shared};
use super::{Host, fail};
use gc_core::{Gc, GcP, Root, keep_alive};
use std::time::Instant;

/// Operations inside operations.
pub(super) const DEEPEST: usize = 5;
/// Most roots of a region beside its top.
const ROOTS: usize = 30;
/// Objects of a parcel that may go by a way of the host's: few, since whoever waits there may have left a pointer to
/// one on its stack that means nothing any more, and would keep it whole.
const SMALL: usize = 12;

/// Where a pointer can be stored.
enum Place {
    Anchor(usize),
    Edge(Gc<Any>, Id, usize),
}

pub struct Mutator<'a, H> {
    host: H,
    pub(super) shared: &'a Shared,
    pub(super) region: &'a mut Region,
    pub(super) rng: Rng,
    /// Unused identities.
    pub(super) ids: std::ops::Range<Id>,
    /// What this mutator's stack alone may keep alive.
    pub(super) held: Vec<Id>,
    /// How many objects the region should have, more or less.
    size: usize,
    pub(super) large: bool,
    until: Instant,
    over: bool,
}

/// An object with its identity, or nothing.
pub(super) type Found = Option<(Gc<Any>, Id)>;

impl<'a, H: Host> Mutator<'a, H> {
    pub fn new(host: H, shared: &'a Shared, region: &'a mut Region, cell: &Cell, seed: u64, until: Instant) -> Self {
        Mutator {
            host,
            shared,
            region,
            rng: Rng::new(seed),
            ids: 0..0,
            held: Vec::new(),
            size: cell.objects,
            large: cell.large,
            until,
            over: false,
        }
    }

    /// Works until the round is over.
    #[inline(never)]
    pub fn run(mut self) {
        let top = self.region.top.get();
        if self.rng.one_in(4) {
            // The region hangs on the stack alone.
            self.region.top = Root::new(self.shared.cells.get());
        }
        while !self.over {
            self.step(top, 0);
        }
        self.region.top = Root::new(top);
    }

    /// One operation.
    #[inline(never)]
    fn step(&mut self, top: Gc<[Edge]>, depth: usize) {
        self.region.counts.steps += 1;
        if self.region.counts.steps.is_multiple_of(16) {
            self.over |= Instant::now() >= self.until;
            self.host.poll();
        }
        if self.region.graph.objects() > self.size {
            self.shrink(top);
        }
        match self.rng.below(100) {
            0..20 => self.garbage(),
            20..34 => self.add(top),
            34..48 => self.relink(top),
            48..56 => self.cut(top),
            56..60 if depth < DEEPEST => self.hold(top, depth),
            60..68 => self.hide(top),
            68..74 => self.exchange(top),
            74..76 if depth < DEEPEST => self.peek(top, depth),
            76..80 => self.give(),
            80..84 => self.take(top),
            84..90 => self.root(top),
            90..92 => self.check_some(top),
            92..95 if depth < DEEPEST => self.pocket(top, depth),
            95..97 if depth < DEEPEST => self.bulk(top, depth),
            97..99 if depth < DEEPEST => self.weak(top, depth),
            _ => {
                let _ = self.pick(top);
            }
        }
    }

    /// Whether the round is.
    pub(super) fn over(&mut self) -> bool {
        self.over |= Instant::now() >= self.until;
        self.over
    }

    /// A safepoint.
    pub(super) fn rest(&self) {
        self.host.poll();
    }

    /// Up to `most` operations or so, while the caller holds something. Every second time it ends when a cycle begins,
    /// and says so: between then and the scan of this stack the insertion barrier is needed. Otherwise, if marking is
    /// on, it lasts until that is over: what was cut meanwhile only the deletion barrier keeps.
    pub(super) fn steps(&mut self, top: Gc<[Edge]>, depth: usize, most: usize) -> bool {
        let heap = GcP::current().heap();
        let (cycle, short, marking) = (heap.cycle(), self.rng.one_in(2), heap.marking());
        let mut left = self.rng.length(most);
        while left > 0 && !self.over {
            self.step(top, depth);
            if short && heap.cycle() != cycle {
                return true;
            }
            let wait = !short && marking && heap.cycle() == cycle && heap.marking();
            left -= usize::from(!wait || self.rng.one_in(20));
        }
        false
    }

    /// An object at the end of a random path. Everything on the path is compared.
    #[inline(never)]
    pub(super) fn pick(&mut self, top: Gc<[Edge]>) -> Found {
        let Region { roots, anchors, .. } = &*self.region;
        let (mut at, mut id) = if !roots.is_empty() && self.rng.one_in(5) {
            let (root, id) = &roots[self.rng.below(roots.len())];
            let object = root.get();
            self.region.graph.verify(object, *id);
            (object, *id)
        } else {
            self.region.anchor(&top, self.rng.below(anchors.len()))?
        };
        let graph = &self.region.graph;
        for _ in 0..self.rng.below(12) {
            let n = graph.entry(id).edges.len();
            if n == 0 {
                break;
            }
            match graph.follow(&at, id, self.rng.below(n)) {
                Some(next) => (at, id) = next,
                None => break,
            }
        }
        Some((at, id))
    }

    /// Some cell of the region.
    fn place(&mut self, top: Gc<[Edge]>) -> Place {
        if !self.rng.one_in(4)
            && let Some((object, id)) = self.pick(top)
            && let Some((_, i)) = self.region.graph.random_edge(&mut self.rng, &object, id)
        {
            return Place::Edge(object, id, i);
        }
        Place::Anchor(self.rng.below(self.region.anchors.len()))
    }

    /// What is in the cell.
    fn get(&self, top: Gc<[Edge]>, place: &Place) -> Found {
        match place {
            Place::Anchor(i) => self.region.anchor(&top, *i),
            Place::Edge(object, id, i) => self.region.graph.follow(object, *id, *i),
        }
    }

    /// Stores into the cell.
    fn set(&mut self, top: Gc<[Edge]>, place: &Place, value: Found) {
        let (pointer, to) = (value.map(|(p, _)| p), value.map_or(0, |(_, id)| id));
        match place {
            Place::Anchor(i) => {
                top[*i].set(pointer);
                self.region.anchors[*i] = to;
            }
            Place::Edge(object, id, i) => {
                let entry = self.region.graph.entry_mut(*id);
                entry.edges[*i] = to;
                shape::edges(object, entry.shape)[*i].set(pointer);
            }
        }
    }

    /// Keeps the region at its size: forgets what is unreachable, and cuts off some more.
    #[inline(never)]
    fn shrink(&mut self, top: Gc<[Edge]>) {
        loop {
            let origins = self.region.origins().chain(self.held.iter().copied()).collect::<Vec<_>>();
            self.region.graph.prune(origins);
            if self.region.graph.objects() <= self.size * 2 / 3 {
                return;
            }
            if !self.region.roots.is_empty() && self.rng.one_in(3) {
                let i = self.rng.below(self.region.roots.len());
                self.region.roots.swap_remove(i);
            }
            for _ in 0..self.region.anchors.len() / 5 {
                let i = self.rng.below(self.region.anchors.len());
                self.set(top, &Place::Anchor(i), None);
            }
            if self.rng.one_in(3) {
                self.empty_pocket();
            }
            if self.region.anchors.iter().all(|id| *id == 0) && self.region.roots.is_empty() {
                return; // the rest is held, or in a pocket that this mutator is inside of
            }
        }
    }

    /// Hangs a subtree into the region, by a store or as a child of a new object.
    fn adopt(&mut self, top: Gc<[Edge]>, parcel: Parcel) {
        self.region.graph.merge(parcel.graph);
        self.link(top, (parcel.root, parcel.id));
    }

    #[inline(never)]
    pub(super) fn link(&mut self, top: Gc<[Edge]>, mut value: (Gc<Any>, Id)) {
        if self.rng.one_in(3) {
            let other = self.pick(top);
            let (id, look) = (self.id(), shape::choose(&mut self.rng, true, self.large));
            value = (self.region.graph.make(id, look, [Some(value), other]), id);
        }
        let place = self.place(top);
        self.set(top, &place, Some(value));
    }

    #[inline(never)]
    fn add(&mut self, top: Gc<[Edge]>) {
        let most = if self.region.graph.objects() < self.size / 3 { self.size / 8 } else { 40 };
        let parcel = self.build(most);
        self.adopt(top, parcel);
    }

    #[inline(never)]
    fn relink(&mut self, top: Gc<[Edge]>) {
        let value = self.pick(top);
        let place = self.place(top);
        self.set(top, &place, value);
    }

    #[inline(never)]
    fn cut(&mut self, top: Gc<[Edge]>) {
        let place = self.place(top);
        self.set(top, &place, None);
    }

    /// Cuts something off, or makes something new: only the caller's stack has it.
    #[inline(never)]
    pub(super) fn cut_off(&mut self, top: Gc<[Edge]>) -> Found {
        if self.rng.one_in(4) {
            let parcel = self.build(40);
            self.region.graph.merge(parcel.graph);
            return Some((parcel.root, parcel.id));
        }
        let place = self.place(top);
        let found = self.get(top, &place);
        self.set(top, &place, None);
        found
    }

    /// Cuts something off, or makes something new, and lets only the stack keep it for a while. Who scanned this stack
    /// before, and looks at the cell after, sees it nowhere: only the deletion barrier has told. And who stores it
    /// where marking has been, before this stack is scanned, relies on the insertion barrier.
    #[inline(never)]
    fn hold(&mut self, top: Gc<[Edge]>, depth: usize) {
        let Some((object, id)) = self.cut_off(top) else { return };
        self.held.push(id);
        self.region.counts.held += 1;
        let heap = GcP::current().heap();
        let marking = heap.marking();
        if self.steps(top, depth + 1, 600) {
            let place = Place::Anchor(self.rng.below(self.region.anchors.len()));
            if self.rng.one_in(2) {
                // The anchors are among the first that marking looks at.
                self.set(top, &place, Some((object, id)));
            } else {
                self.hide_behind_new(top, &place, (object, id));
            }
            self.held.pop();
            return;
        }
        if marking && !heap.marking() {
            self.refill(id);
        }
        self.region.graph.check(object, id, 200, &mut IdSet::default(), &mut self.region.counts);
        keep_alive(object);
        self.held.pop();
        if !self.rng.one_in(5) {
            self.link(top, (object, id));
        }
    }

    /// Moves a pointer behind a new object, which is black if marking is on.
    #[inline(never)]
    fn hide(&mut self, top: Gc<[Edge]>) {
        let (id, look) = (self.id(), shape::choose(&mut self.rng, true, self.large));
        let front = self.region.graph.make(id, look, [None, None]);
        let from = self.place(top);
        let Some(value) = self.get(top, &from) else { return };
        if self.rng.one_in(2) {
            // Into the place that it came from.
            self.set(top, &from, Some((front, id)));
        } else {
            self.set(top, &from, None);
            let to = self.place(top);
            self.set(top, &to, Some((front, id)));
        }
        let i = self.rng.below(self.region.graph.entry(id).edges.len());
        self.set(top, &Place::Edge(front, id, i), Some(value));
    }

    /// A new object, which is black if marking is on, goes to `place`, and what was on the stack alone behind it.
    #[inline(never)]
    fn hide_behind_new(&mut self, top: Gc<[Edge]>, place: &Place, value: (Gc<Any>, Id)) {
        let (id, look) = (self.id(), shape::choose(&mut self.rng, true, self.large));
        let front = self.region.graph.make(id, look, [None, None]);
        let i = self.rng.below(self.region.graph.entry(id).edges.len());
        self.set(top, &Place::Edge(front, id, i), Some(value));
        self.set(top, place, Some((front, id)));
    }

    /// Fights for a shared cell.
    #[inline(never)]
    fn exchange(&mut self, top: Gc<[Edge]>) {
        let cells = self.shared.cells.get();
        let cell = &cells[self.rng.below(cells.len())];
        if self.rng.one_in(4) {
            let old = cell.swap(None);
            return self.received(top, old);
        }
        let parcel = self.build(40);
        let (root, id) = (parcel.root, parcel.id);
        self.shared.file(id, parcel.graph);
        let old = if self.rng.one_in(2) {
            cell.swap(Some(root))
        } else {
            let now = cell.get();
            if self.rng.one_in(4) {
                self.garbage();
            }
            match cell.compare_exchange(now, Some(root)) {
                Ok(old) => old,
                Err(_) => {
                    // Somebody was faster; the new one is still ours.
                    let graph = self.shared.unfile(id);
                    return self.adopt(top, Parcel { root, id, graph });
                }
            }
        };
        self.received(top, old);
    }

    /// What came out of a shared cell is ours now.
    #[inline(never)]
    fn received(&mut self, top: Gc<[Edge]>, object: Option<Gc<Any>>) {
        let Some(root) = object else { return };
        let id = shape::identity(root);
        let graph = self.shared.unfile(id);
        self.accept(top, Parcel { root, id, graph });
    }

    /// Compares a whole parcel, and does something with it.
    #[inline(never)]
    fn accept(&mut self, top: Gc<[Edge]>, parcel: Parcel) {
        self.region.counts.parcels += 1;
        parcel.graph.check(parcel.root, parcel.id, usize::MAX, &mut IdSet::default(), &mut self.region.counts);
        match self.rng.below(5) {
            0..2 => self.adopt(top, parcel),
            2 => {
                // Still on the stack alone.
                self.garbage();
                self.adopt(top, parcel);
            }
            3 => self.pass_on(parcel),
            _ => {}
        }
    }

    /// Looks at a shared cell, and goes on looking at what was there while others may take it away and drop it.
    #[inline(never)]
    fn peek(&mut self, top: Gc<[Edge]>, depth: usize) {
        let cells = self.shared.cells.get();
        let Some(object) = cells[self.rng.below(cells.len())].get() else { return };
        let id = shape::identity(object);
        self.region.counts.held += 1;
        self.steps(top, depth + 1, 200);
        let now = shape::identity(object);
        if now != id {
            fail(format_args!("object {id}, held on a stack, has become {now}"));
        }
        keep_alive(object);
    }

    #[inline(never)]
    fn give(&mut self) {
        let parcel = self.build(20);
        self.pass_on(parcel);
    }

    /// To whoever takes it: by the host's channel, or in a root.
    fn pass_on(&mut self, mut parcel: Parcel) {
        if parcel.graph.objects() <= SMALL && self.rng.one_in(2) {
            match self.host.send(parcel) {
                None => return,
                Some(back) => parcel = back,
            }
        }
        let root = Root::new(parcel.root);
        drop(self.shared.push(Rooted { root, id: parcel.id, graph: parcel.graph }));
    }

    #[inline(never)]
    fn take(&mut self, top: Gc<[Edge]>) {
        if self.rng.one_in(2)
            && let Some(parcel) = self.host.receive()
        {
            return self.accept(top, parcel);
        }
        let Some(Rooted { root, id, graph }) = self.shared.pop() else { return };
        let object = root.get();
        // From here on the stack alone keeps it.
        drop(root);
        self.accept(top, Parcel { root: object, id, graph });
    }

    /// Makes, copies, reads and drops roots.
    #[inline(never)]
    fn root(&mut self, top: Gc<[Edge]>) {
        let n = self.region.roots.len();
        match self.rng.below(4) {
            0..2 if n < ROOTS => {
                if let Some((object, id)) = self.pick(top) {
                    self.region.roots.push((Root::new(object), id));
                }
            }
            2 if n > 0 && n < ROOTS => {
                let (root, id) = &self.region.roots[self.rng.below(n)];
                let copy = (root.clone(), *id);
                self.region.graph.verify(copy.0.get(), copy.1);
                self.region.roots.push(copy);
            }
            _ if n > 0 => {
                let i = self.rng.below(n);
                let (root, id) = self.region.roots.swap_remove(i);
                let object = root.get();
                drop(root);
                if self.rng.one_in(4) {
                    self.link(top, (object, id));
                }
            }
            _ => {}
        }
    }

    #[inline(never)]
    fn check_some(&mut self, top: Gc<[Edge]>) {
        if let Some((object, id)) = self.pick(top) {
            self.region.graph.check(object, id, 100, &mut IdSet::default(), &mut self.region.counts);
        }
    }
}
