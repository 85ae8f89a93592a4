//! What mutators make: garbage, and subtrees in both directions.

use super::Host;
use super::graph::Graph;
use super::mutator::{Found, Mutator};
use super::shape::{self, Id};
use super::shared::Parcel;

/// Identities taken at once.
const IDS: u64 = 4096;

impl<H: Host> Mutator<'_, H> {
    pub(super) fn id(&mut self) -> Id {
        self.ids.next().unwrap_or_else(|| {
            let first = self.shared.ids(IDS);
            self.ids = first + 1..first + IDS;
            first
        })
    }

    /// Objects that die at once, so that freed slots are soon used again by others of the same types.
    #[inline(never)]
    pub(super) fn garbage(&mut self) {
        for _ in 0..self.rng.length(24) {
            let edges = !self.rng.one_in(3);
            let (shape, len) = shape::choose(&mut self.rng, edges, self.large);
            let id = self.id();
            shape::make(id, shape, len, [None, None]);
        }
    }

    /// A new subtree that points to nothing else.
    #[inline(never)]
    pub(super) fn build(&mut self, most: usize) -> Parcel {
        let n = self.rng.length(most);
        if self.rng.one_in(2) { self.build_up(n) } else { self.build_down(n) }
    }

    /// From the leaves up: each object gets its children when it is made, and nothing else knows them.
    #[inline(never)]
    fn build_up(&mut self, n: usize) -> Parcel {
        let mut graph = Graph::default();
        let mut head: Found = None;
        for i in 0..n {
            let mut second = None;
            if self.rng.one_in(2) {
                let (id, look) = (self.id(), shape::choose(&mut self.rng, false, self.large));
                second = Some((graph.make(id, look, [None, None]), id));
            }
            let last = i + 1 == n && self.rng.one_in(4);
            let (id, look) = (self.id(), shape::choose(&mut self.rng, !last, self.large));
            head = Some((graph.make(id, look, [head, second]), id));
        }
        let (root, id) = head.expect("at least one object");
        // A head without edges has dropped its children.
        graph.prune([id]);
        Parcel { root, id, graph }
    }

    /// From the root down: each object is stored into one that was made, and published, before it.
    #[inline(never)]
    fn build_down(&mut self, n: usize) -> Parcel {
        let mut graph = Graph::default();
        let (id, look) = (self.id(), shape::choose(&mut self.rng, true, self.large));
        let root = graph.make(id, look, [None, None]);
        for _ in 1..n {
            let edges = !self.rng.one_in(3);
            let (child_id, look) = (self.id(), shape::choose(&mut self.rng, edges, self.large));
            let child = graph.make(child_id, look, [None, None]);
            let (mut at, mut at_id) = (root, id);
            for _ in 0..20 {
                let Some((edge, i)) = graph.random_edge(&mut self.rng, &at, at_id) else {
                    (at, at_id) = (root, id);
                    continue;
                };
                match graph.follow(&at, at_id, i) {
                    Some(next) => (at, at_id) = next,
                    None => {
                        edge.set(Some(child));
                        graph.entry_mut(at_id).edges[i] = child_id;
                        break;
                    }
                }
            }
        }
        // Those that found no place.
        graph.prune([id]);
        Parcel { root, id, graph }
    }

    /// Uses up freed slots of the object's kind: if its own is among them, that shows at once.
    #[inline(never)]
    pub(super) fn refill(&mut self, id: Id) {
        let entry = self.region.graph.entry(id);
        let look = (entry.shape, entry.len);
        for _ in 0..self.rng.length(300) {
            let id = self.id();
            shape::make(id, look.0, look.1, [None, None]);
        }
    }
}
