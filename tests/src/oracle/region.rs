//! A region: what belongs to one mutator, and what the oracle knows of it.

use super::ballast::Ballast;
use super::graph::{Graph, IdSet};
use super::plain::Pocket;
use super::shape::{Any, Edge, Id};
use super::shared::Shared;
use super::{Counts, fail};
use gc_core::{Gc, Root, Weak};

/// See the module's text.
pub struct Region {
    /// An array of anchors, from which the region hangs; behind them the ballast.
    pub top: Root<[Edge]>,
    pub anchors: Vec<Id>,
    pub ballast: Ballast,
    pub roots: Vec<(Root<Any>, Id)>,
    pub pocket: Pocket,
    pub weak: Vec<(Weak<Any>, Id)>,
    pub graph: Graph,
    pub counts: Counts,
}

impl Region {
    pub fn new(shared: &Shared, anchors: usize, ballast: usize) -> Region {
        let (front, ballast) = Ballast::new(shared, ballast);
        let top = Gc::<[Edge]>::cells(anchors + 1, None);
        top[anchors].set(Some(front));
        Region {
            top: Root::new(top),
            anchors: vec![0; anchors],
            ballast,
            roots: Vec::new(),
            pocket: Pocket::new(),
            weak: Vec::new(),
            graph: Graph::default(),
            counts: Counts::default(),
        }
    }

    /// Anchor `i`, compared with what it should be.
    pub fn anchor(&self, top: &Gc<[Edge]>, i: usize) -> Option<(Gc<Any>, Id)> {
        match (top[i].get(), self.anchors[i]) {
            (None, 0) => None,
            (Some(p), id) if id != 0 => {
                self.graph.verify(p, id);
                Some((p, id))
            }
            (found, id) => fail(format_args!("anchor {i} should hold {id}: found {found:?}")),
        }
    }

    /// Identities from which all of the region is reachable, but for what a mutator holds.
    pub fn origins(&self) -> impl Iterator<Item = Id> {
        let roots = self.roots.iter().map(|(_, id)| *id);
        self.anchors.iter().copied().chain(roots).chain(self.pocket.ids)
    }

    /// Compares the whole region.
    #[inline(never)]
    pub fn check(&mut self) {
        let top = self.top.get();
        let mut seen = IdSet::default();
        let mut counts = Counts::default();
        for i in 0..self.anchors.len() {
            if let Some((p, id)) = self.anchor(&top, i) {
                self.graph.check(p, id, usize::MAX, &mut seen, &mut counts);
            }
        }
        for (root, id) in &self.roots {
            self.graph.check(root.get(), *id, usize::MAX, &mut seen, &mut counts);
        }
        for (object, id) in self.pocket.content() {
            self.graph.check(object, id, usize::MAX, &mut seen, &mut counts);
        }
        match top[self.anchors.len()].get() {
            Some(front) => self.ballast.check(front),
            None => fail(format_args!("the ballast is gone")),
        }
        self.counts += counts;
    }
}
