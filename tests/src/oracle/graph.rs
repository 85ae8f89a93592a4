//! What the oracle knows, outside the heap: for each object its shape and where each edge leads, by identity.

use super::rng::Rng;
use super::shape::{self, Any, Edge, Id, Shape};
use super::{Counts, fail};
use gc_core::Gc;
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};

/// Identities are counted up: one multiplication spreads them well enough.
#[derive(Default)]
pub struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, _: &[u8]) {
        unreachable!("only identities are hashed")
    }
    fn write_u64(&mut self, id: u64) {
        self.0 = id.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(20);
    }
}

pub type IdSet = HashSet<Id, BuildHasherDefault<IdHasher>>;

/// What the oracle knows of one object.
pub struct Entry {
    pub shape: Shape,
    pub len: usize,
    /// Where each edge leads; 0: nowhere.
    pub edges: Vec<Id>,
}

/// A part of the heap that belongs to one mutator, or to whoever holds its only pointer.
#[derive(Default)]
pub struct Graph {
    nodes: HashMap<Id, Entry, BuildHasherDefault<IdHasher>>,
}

impl Graph {
    pub fn objects(&self) -> usize {
        self.nodes.len()
    }

    pub fn entry(&self, id: Id) -> &Entry {
        self.nodes.get(&id).unwrap_or_else(|| fail(format_args!("the oracle does not know object {id}")))
    }

    pub fn entry_mut(&mut self, id: Id) -> &mut Entry {
        self.nodes.get_mut(&id).unwrap_or_else(|| fail(format_args!("the oracle does not know object {id}")))
    }

    /// Makes an object and writes down what it is.
    pub fn make(&mut self, id: Id, (shape, len): (Shape, usize), first: [Option<(Gc<Any>, Id)>; 2]) -> Gc<Any> {
        let object = shape::make(id, shape, len, first.map(|f| f.map(|(p, _)| p)));
        let (n, _) = shape::edge_count(shape, len);
        let edges = (0..n).map(|i| shape::initial(shape, i).and_then(|k| first[k]).map_or(0, |(_, id)| id));
        self.nodes.insert(id, Entry { shape, len, edges: edges.collect() });
        object
    }

    /// Takes over all that another graph knows.
    pub fn merge(&mut self, other: Graph) {
        self.nodes.extend(other.nodes);
    }

    /// The object must be `id`.
    #[inline]
    pub fn verify(&self, object: Gc<Any>, id: Id) -> &Entry {
        let entry = self.entry(id);
        shape::verify(object, id, entry.shape);
        entry
    }

    /// Follows edge `i` of `id`, which must lead where the oracle says.
    pub fn follow(&self, object: &Gc<Any>, id: Id, i: usize) -> Option<(Gc<Any>, Id)> {
        let entry = self.entry(id);
        let found = shape::target(object, entry.shape, i);
        match (found, entry.edges[i]) {
            (None, 0) => None,
            (Some(p), to) if to != 0 => {
                self.verify(p, to);
                Some((p, to))
            }
            (found, to) => fail(format_args!("edge {i} of object {id} should lead to {to}: found {found:?}")),
        }
    }

    /// A random edge of an object, if it has any that may change.
    pub fn random_edge<'a>(&self, rng: &mut Rng, object: &'a Gc<Any>, id: Id) -> Option<(&'a Edge, usize)> {
        let edges = shape::edges(object, self.entry(id).shape);
        if edges.is_empty() {
            return None;
        }
        let i = rng.below(edges.len());
        Some((&edges[i], i))
    }

    /// Checks every object that is reachable from `object`, up to `limit` of them, and all that is in them.
    ///
    /// The list of what is to be done holds pointers outside the collector's sight: all of them are reachable from
    /// `object`, and nobody else changes the graph.
    pub fn check(&self, object: Gc<Any>, id: Id, limit: usize, seen: &mut IdSet, counts: &mut Counts) {
        if !seen.insert(id) {
            return;
        }
        let mut todo = vec![(object, id)];
        let mut left = limit;
        while let Some((object, id)) = todo.pop() {
            let entry = self.verify(object, id);
            shape::verify_content(&object, id, entry.shape, entry.len);
            counts.checked += 1;
            left -= 1;
            if left == 0 {
                return;
            }
            for i in 0..entry.edges.len() {
                if let Some((p, to)) = self.follow(&object, id, i)
                    && seen.insert(to)
                {
                    todo.push((p, to));
                }
            }
        }
    }

    /// The identities of all that is reachable from `roots` (0 is skipped).
    pub fn reachable(&self, roots: impl IntoIterator<Item = Id>) -> IdSet {
        let mut seen = IdSet::default();
        let mut todo: Vec<Id> = roots.into_iter().filter(|id| *id != 0 && seen.insert(*id)).collect();
        while let Some(id) = todo.pop() {
            todo.extend(self.entry(id).edges.iter().filter(|to| **to != 0 && seen.insert(**to)));
        }
        seen
    }

    /// Forgets all that is not reachable from `roots`.
    pub fn prune(&mut self, roots: impl IntoIterator<Item = Id>) {
        let keep = self.reachable(roots);
        self.nodes.retain(|id, _| keep.contains(id));
    }

    /// Array objects that belong to the objects in here.
    pub fn arrays(&self) -> usize {
        self.nodes.values().filter(|e| shape::has_array(e.shape)).count()
    }

    /// Objects of a shape.
    pub fn count(&self, shape: Shape) -> usize {
        self.nodes.values().filter(|e| e.shape == shape).count()
    }

    pub fn knows(&self, id: Id) -> bool {
        self.nodes.contains_key(&id)
    }

    pub fn ids(&self) -> impl Iterator<Item = Id> {
        self.nodes.keys().copied()
    }
}
