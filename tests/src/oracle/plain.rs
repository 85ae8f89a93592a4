//! Operations that do not store by `set`: plain stores inside a `GcMut`, and bulk moves.

use super::graph::IdSet;
use super::mutator::{DEEPEST, Found, Mutator};
use super::shape::{self, Any, Edge, Id};
use super::{Host, fail};
use gc_core::{Gc, GcMut, Root, Trace, keep_alive};
use std::mem::{replace, take};

/// Pointers in a pocket.
const SLOTS: usize = 3;

/// A heap object of a region whose pointers change by plain stores.
#[derive(Trace)]
pub struct Object {
    slots: GcMut<[Option<Gc<Any>>; SLOTS]>,
}

/// A region's pocket, and what should be in it.
pub struct Pocket {
    object: Root<Object>,
    pub ids: [Id; SLOTS],
}

impl Pocket {
    #[allow(clippy::new_without_default)] // a safepoint, which a Default should not be
    pub fn new() -> Pocket {
        Pocket { object: Root::new(Gc::new(Object { slots: GcMut::new([None; SLOTS]) })), ids: [0; SLOTS] }
    }

    /// What is in it, compared with what should be. Nobody is inside.
    pub fn content(&self) -> impl Iterator<Item = (Gc<Any>, Id)> {
        let slots = self.object.get().slots.with(|slots| *slots);
        let ids = self.ids;
        slots.into_iter().zip(ids).filter_map(move |(slot, id)| expected(slot, id))
    }
}

/// What a slot holds, which must be what the oracle says.
fn expected(slot: Option<Gc<Any>>, id: Id) -> Found {
    match (slot, id) {
        (None, 0) => None,
        (Some(p), id) if id != 0 => {
            let found = shape::identity(p);
            if found != id {
                fail(format_args!("a pocket should hold {id}: found {p:?}"));
            }
            Some((p, id))
        }
        (found, id) => fail(format_args!("a pocket should hold {id}: found {found:?}")),
    }
}

impl<H: Host> Mutator<'_, H> {
    /// Something with the pocket, unless this mutator is inside.
    #[inline(never)]
    pub(super) fn pocket(&mut self, top: Gc<[Edge]>, depth: usize) {
        let object = self.region.pocket.object.get();
        let i = self.rng.below(SLOTS);
        match self.rng.below(3) {
            0 => self.stash(top, object, i),
            1 => self.draw(top, depth, object, i),
            _ => self.stay_inside(top, depth, object, i),
        }
    }

    /// Cuts something off and puts it into the pocket. If this stack is grey and the pocket black, leaving tells.
    #[inline(never)]
    fn stash(&mut self, top: Gc<[Edge]>, object: Gc<Object>, i: usize) {
        if object.slots.try_with(|_| ()).is_err() {
            return;
        }
        let new = self.cut_off(top);
        object.slots.with(|slots| self.swap(slots, i, new));
    }

    /// Takes something out, to the stack alone. If that is black, entering has told.
    #[inline(never)]
    fn draw(&mut self, top: Gc<[Edge]>, depth: usize, object: Gc<Object>, i: usize) {
        if let Ok(Some(found)) = object.slots.try_with(|slots| self.swap(slots, i, None)) {
            self.carry(top, depth, found);
        }
    }

    /// In, other things, out again: what was put in between only the scan of this stack's list sees.
    #[inline(never)]
    fn stay_inside(&mut self, top: Gc<[Edge]>, depth: usize, object: Gc<Object>, i: usize) {
        let _ = object.slots.try_with(|slots| {
            let new = self.cut_off(top);
            if let Some((_, id)) = new {
                self.held.push(id);
            }
            self.steps(top, depth + 1, 100);
            if new.is_some() {
                self.held.pop();
            }
            self.swap(slots, i, new);
            self.steps(top, depth + 1, 200);
            if let Some(found) = self.swap(slots, i, None) {
                self.carry(top, depth, found);
            }
        });
    }

    /// Drops what is in the pocket, unless this mutator is inside.
    #[inline(never)]
    pub(super) fn empty_pocket(&mut self) {
        let object = self.region.pocket.object.get();
        if object.slots.try_with(|slots| *slots = [None; SLOTS]).is_ok() {
            self.region.pocket.ids = [0; SLOTS];
        }
    }

    /// Puts `new` into slot `i` and returns what was there.
    fn swap(&mut self, slots: &mut [Option<Gc<Any>>; SLOTS], i: usize, new: Found) -> Found {
        let id = replace(&mut self.region.pocket.ids[i], new.map_or(0, |(_, id)| id));
        expected(replace(&mut slots[i], new.map(|(p, _)| p)), id)
    }

    /// Goes on with an object that is on the stack alone, compares it, and links it or drops it.
    #[inline(never)]
    fn carry(&mut self, top: Gc<[Edge]>, depth: usize, (object, id): (Gc<Any>, Id)) {
        self.held.push(id);
        self.region.counts.held += 1;
        if depth + 1 < DEEPEST {
            self.steps(top, depth + 1, 300);
        }
        self.region.graph.check(object, id, 200, &mut IdSet::default(), &mut self.region.counts);
        keep_alive(object);
        self.held.pop();
        if !self.rng.one_in(4) {
            self.link(top, (object, id));
        }
    }

    /// Moves many pointers at once: those of an object, or the anchors.
    #[inline(never)]
    pub(super) fn bulk(&mut self, top: Gc<[Edge]>, depth: usize) {
        let found = self.pick(top).and_then(|(p, id)| Some((shape::array(&p, self.region.graph.entry(id).shape)?, id)));
        let (cells, id) = found.unwrap_or((top, 0));
        let mut ids = match id {
            0 => take(&mut self.region.anchors),
            id => take(&mut self.region.graph.entry_mut(id).edges),
        };
        // Behind the anchors there is something else.
        let n = ids.len();
        let first = self.rng.below(n.max(1));
        let range = first..(first + self.rng.length(n.max(1))).min(n);
        let mut held = None;
        match self.rng.below(4) {
            _ if range.is_empty() => {}
            0 | 1 => {
                let dest = self.rng.below(n - range.len() + 1);
                cells.copy_within(range.clone(), dest);
                ids.copy_within(range, dest);
            }
            2 => {
                let source = self.rng.below(n);
                cells.fill(range.clone(), cells[source].get());
                let id = ids[source];
                ids[range].fill(id);
            }
            _ => {
                held = expected(cells[first].get(), ids[first]);
                cells.clear(range.clone());
                ids[range].fill(0);
            }
        }
        match id {
            0 => self.region.anchors = ids,
            id => self.region.graph.entry_mut(id).edges = ids,
        }
        if let Some(found) = held {
            self.carry(top, depth, found);
        }
    }
}
