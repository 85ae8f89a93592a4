//! What mutators share: cells that they fight for, and a queue of rooted subtrees.
//!
//! Whatever lies here is a *parcel*: the only pointer to a subtree that points to nothing outside of itself. Its
//! papers (what the oracle knows of it) lie beside the heap. Who takes the pointer out takes the papers too, and owns
//! both, so there is always one who knows exactly.

use super::fail;
use super::graph::Graph;
use super::shape::{Any, Edge, Id};
use gc_core::sync::{Lock, Rank};
use gc_core::{Gc, Root};
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};

/// A subtree that only its holder points to.
pub struct Parcel {
    pub root: Gc<Any>,
    pub id: Id,
    pub graph: Graph,
}

/// A parcel whose pointer is in a [`Root`].
pub struct Rooted {
    pub root: Root<Any>,
    pub id: Id,
    pub graph: Graph,
}

pub struct Shared {
    /// Each holds a parcel or nothing.
    pub cells: Root<[Edge]>,
    papers: Lock<HashMap<Id, Graph>>,
    queue: Lock<VecDeque<Rooted>>,
    next_id: AtomicU64,
}

/// Most parcels in the queue.
const QUEUE: usize = 40;

/// More papers than there ever are, so that none makes the table grow: whoever has one of these locks is inside the
/// runtime, where malloc's lock, whose holder may be suspended, must not be waited for.
const PAPERS: usize = 100;

impl Shared {
    pub fn new(cells: usize) -> Shared {
        Shared {
            cells: Root::new(Gc::<[Edge]>::cells(cells, None)),
            papers: Lock::new(Rank::Unranked, HashMap::with_capacity(PAPERS)),
            queue: Lock::new(Rank::Unranked, VecDeque::with_capacity(QUEUE)),
            next_id: AtomicU64::new(1),
        }
    }

    /// `n` new identities, from the one returned on.
    pub fn ids(&self, n: u64) -> Id {
        self.next_id.fetch_add(n, Ordering::Relaxed)
    }

    /// The papers of a parcel that is about to lie in a cell.
    pub fn file(&self, id: Id, graph: Graph) {
        self.papers.lock().insert(id, graph);
    }

    /// The papers of a parcel that the caller has taken out of a cell.
    pub fn unfile(&self, id: Id) -> Graph {
        self.papers.lock().remove(&id).unwrap_or_else(|| fail(format_args!("object {id} was in a cell: no parcel")))
    }

    /// Runs `f` with the papers, while nobody files any.
    pub fn with_papers<R>(&self, f: impl FnOnce(&HashMap<Id, Graph>) -> R) -> R {
        let papers = std::mem::take(&mut *self.papers.lock());
        let result = f(&papers);
        *self.papers.lock() = papers;
        result
    }

    /// Puts a parcel into the queue, or gives it back if there are too many.
    pub fn push(&self, rooted: Rooted) -> Option<Rooted> {
        let mut queue = self.queue.lock();
        if queue.len() >= QUEUE {
            return Some(rooted);
        }
        queue.push_back(rooted);
        None
    }

    pub fn pop(&self) -> Option<Rooted> {
        self.queue.lock().pop_front()
    }

    /// Runs `f` with the queue, while nobody changes it.
    pub fn with_queue<R>(&self, f: impl FnOnce(&VecDeque<Rooted>) -> R) -> R {
        let queue = std::mem::take(&mut *self.queue.lock());
        let result = f(&queue);
        *self.queue.lock() = queue;
        result
    }
}
