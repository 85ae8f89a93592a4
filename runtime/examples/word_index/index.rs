//! The index: one binary search tree that all goroutines insert into at once, without a lock.
//!
//! ```text
//!        Node { word, count, children, chunks }          every box is an object of the collected heap
//!         /                 |              \
//!      Node                 |              Node
//!     /    \             Chunk { file, positions, next } -> Chunk -> ...
//! ```
//!
//! *Insertion* goes down from the root to an empty child cell and puts a new node there by compare-exchange. If
//! another goroutine was faster, the cell is no longer empty, and the search goes on through that node. Nothing is
//! ever taken out, so there are two kinds of write in all: an empty child becomes a node, and a list of chunks gets
//! one more in front.
//!
//! *The order* is by (hash of the word, word). A tree that is never rebalanced is as deep as the order of insertion
//! makes it, and words often come sorted, which would make it a list. Whatever the order of the words, that of their
//! hashes is random, and a tree that grows in random order stays shallow: a hundred thousand words lie some 20 deep on
//! average and 45 at most.
//!
//! *The collector* makes this simple. A node that a goroutine looks at cannot be freed under it, and an address that
//! compares equal is the same object and not a new one in its place: no hazard pointers, no epochs, no ABA. A whole
//! index goes away when nobody points to its root.

use crate::postings::{Chunk, Packed};
use crate::words::Occurrence;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use tricolor::{Gc, GcCell, Trace, poll};

/// One word.
#[derive(Trace)]
pub struct Node {
    hash: u64,
    pub word: Gc<str>,
    /// Smaller, larger.
    children: [GcCell<Option<Gc<Node>>>; 2],
    /// Where it occurs, newest first.
    chunks: GcCell<Option<Gc<Chunk>>>,
    /// How often it occurs.
    count: AtomicU64,
}

impl Node {
    fn new(hash: u64, word: &str) -> Gc<Node> {
        Gc::new(Node {
            hash,
            word: Gc::from_text(word),
            children: Default::default(),
            chunks: GcCell::new(None),
            count: AtomicU64::new(0),
        })
    }

    /// How often the word occurs.
    pub fn count(&self) -> u64 {
        self.count.load(Relaxed)
    }

    /// Where the word occurs.
    pub fn chunks(&self) -> impl Iterator<Item = Gc<Chunk>> + '_ {
        std::iter::successors(self.chunks.get(), |chunk| chunk.next.get())
    }

    /// Adds the places in `file`, all of this word.
    fn append(&self, file: Gc<str>, mut places: &[Occurrence<'_>]) {
        self.count.fetch_add(places.len() as u64, Relaxed);
        while !places.is_empty() {
            let (positions, fitting) = Packed::new(places.iter().map(|o| o.at));
            places = &places[fitting..];
            let mut first = self.chunks.get();
            let chunk = Gc::new(Chunk { next: GcCell::new(first), file, positions });
            while let Err(newer) = self.chunks.compare_exchange(first, Some(chunk)) {
                first = newer;
                chunk.next.set(first);
            }
        }
    }
}

/// The tree, and who is in it.
#[derive(Trace)]
pub struct Index {
    /// For the empty word, which never occurs: so even the first insertion finds a node to hang its own under.
    root: Gc<Node>,
    inside: AtomicU64,
    most_inside: AtomicU64,
}

impl Index {
    /// An index of nothing.
    pub fn new() -> Gc<Index> {
        Gc::new(Index { root: Node::new(0, ""), inside: AtomicU64::new(0), most_inside: AtomicU64::new(0) })
    }

    /// Adds words of one file. Brings equal ones together first, so that each word is looked up once.
    pub fn add(&self, file: Gc<str>, words: &mut [Occurrence<'_>]) {
        words.sort_unstable();
        for places in words.chunk_by(|a, b| a.word == b.word) {
            let inside = self.inside.fetch_add(1, Relaxed) + 1;
            if inside > self.most_inside.load(Relaxed) {
                self.most_inside.fetch_max(inside, Relaxed);
            }
            self.node(places[0].word).append(file, places);
            self.inside.fetch_sub(1, Relaxed);
        }
    }

    /// The node of a word: the one that is there, or a new one.
    fn node(&self, word: &str) -> Gc<Node> {
        let hash = hash(word);
        let mut at = self.root;
        let mut new = None;
        loop {
            let side = match (hash, word).cmp(&(at.hash, &*at.word)) {
                std::cmp::Ordering::Less => 0,
                std::cmp::Ordering::Equal => return at,
                std::cmp::Ordering::Greater => 1,
            };
            if let Some(child) = at.children[side].get() {
                at = child;
                continue;
            }
            let node = *new.get_or_insert_with(|| Node::new(hash, word));
            match at.children[side].compare_exchange(None, Some(node)) {
                Ok(_) => return node,
                Err(_) => continue, // Somebody was faster: look at this side again.
            }
        }
    }

    /// Shows every word's node and how deep it lies, in no useful order.
    pub fn each(&self, mut visit: impl FnMut(Gc<Node>, usize)) {
        fn below(node: Gc<Node>, depth: usize, visit: &mut impl FnMut(Gc<Node>, usize)) {
            for child in node.children.iter().filter_map(GcCell::get) {
                poll(); // A long loop without allocation: let the collector and other goroutines in.
                visit(child, depth);
                below(child, depth + 1, visit);
            }
        }
        below(self.root, 1, &mut visit);
    }

    /// How many goroutines were inserting at the same time, at most. Includes those that the scheduler put aside in the
    /// middle of it, for which nobody has to wait.
    pub fn most_inside(&self) -> u64 {
        self.most_inside.load(Relaxed)
    }
}

/// The same for the same word in every run. Who chooses the words could choose them so that the tree grows deep; a
/// program that must stand that would mix a secret key in (`RandomState`).
fn hash(word: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    word.hash(&mut hasher);
    hasher.finish()
}
