//! The oracle: it looks at heap, stacks and roots without taking a step of the model, so it sees one moment of all threads.
//!
//! Each object has an identity. What was born at an address is written down beside the heap; so that an object was freed while
//! it was reachable shows when somebody finds another one in its place, when its slot is given out again, or at the end.

use gc_core::sync::word;
use gc_core::{Gc, GcCell, Heap, Trace};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::mem::offset_of;

/// Identities begin here: words that no other object begins with.
const IDS: usize = 0x1d00_0000_0000_0000;

/// An object of a model.
#[derive(Trace)]
pub struct Node {
    id: usize,
    pub left: GcCell<Option<Gc<Node>>>,
    pub right: GcCell<Option<Gc<Node>>>,
}

/// What is known of the objects of an execution. Threads of a model share an OS thread, and nothing here is a step.
#[derive(Default)]
pub struct Graph {
    /// Who was born last at an address.
    ids: RefCell<BTreeMap<usize, usize>>,
    next: RefCell<usize>,
    /// Words outside the heap, and of conservative objects, that hold an object or null.
    stacks: RefCell<Vec<Vec<usize>>>,
    roots: RefCell<Vec<usize>>,
    slots: RefCell<Vec<usize>>,
}

impl Graph {
    /// `n` empty stacks.
    pub fn new(n: usize) -> Graph {
        Graph { stacks: RefCell::new(vec![Vec::new(); n]), ..Graph::default() }
    }

    /// Makes an object; on a goroutine, or whoever holds a P.
    pub fn node(&self, left: Option<Gc<Node>>, right: Option<Gc<Node>>) -> Gc<Node> {
        let id = IDS + self.next.replace_with(|next| *next + 1);
        let node = Gc::new(Node { id, left: GcCell::new(left), right: GcCell::new(right) });
        let reachable = self.reachable();
        if let Some(old) = self.ids.borrow_mut().insert(addr(node), id) {
            assert!(
                !reachable.contains(&addr(node)),
                "object {old:x} is reachable, was freed, and object {id:x} has its slot"
            );
        }
        node
    }

    /// The object is rooted for good.
    pub fn root(&self, object: Gc<Node>) {
        self.roots.borrow_mut().push(addr(object));
    }

    /// The word at this address may hold an object.
    pub fn slot(&self, word: usize) {
        self.slots.borrow_mut().push(word);
    }

    /// The words of a stack.
    pub fn stack(&self, g: usize) -> Vec<usize> {
        self.stacks.borrow()[g].clone()
    }

    /// Puts an object on a stack.
    pub fn put(&self, g: usize, object: Gc<Node>) {
        self.is_itself(addr(object));
        self.stacks.borrow_mut()[g].push(addr(object));
    }

    /// Takes the word `at` off a stack.
    pub fn take_off(&self, g: usize, at: usize) {
        self.stacks.borrow_mut()[g].remove(at);
    }

    /// That the object that somebody has found at this address is the one that was born there.
    fn is_itself(&self, at: usize) {
        let (born, found) = (self.ids.borrow().get(&at).copied().unwrap_or(0), id_at(at));
        assert!(found == born, "{found:x} is found where object {born:x} was born last");
    }

    /// All that can be reached at this moment.
    fn reachable(&self) -> BTreeSet<usize> {
        let mut todo: Vec<usize> = self.stacks.borrow().iter().flatten().copied().collect();
        todo.extend(self.roots.borrow().iter());
        todo.extend(self.slots.borrow().iter().map(|slot| peek(*slot)));
        let mut found = BTreeSet::new();
        while let Some(at) = todo.pop() {
            if at != 0 && found.insert(at) {
                todo.extend([offset_of!(Node, left), offset_of!(Node, right)].map(|field| peek(at + field)));
            }
        }
        found
    }

    /// When only this thread runs: each object that can be reached is there, and itself.
    pub fn nothing_is_lost(&self, heap: &Heap) {
        for at in self.reachable() {
            let id = self.ids.borrow().get(&at).copied().unwrap_or(0);
            assert!(heap.find_object(at) == Some(at), "object {id:x} is reachable and was freed");
            self.is_itself(at);
        }
    }

    /// Likewise, and two collections later: nothing else is there.
    pub fn nothing_is_left(&self, heap: &Heap) {
        let reachable = self.reachable();
        let ids = self.ids.borrow().clone();
        for (at, id) in ids.into_iter().filter(|(at, _)| !reachable.contains(at)) {
            // Its page may hold an M by now.
            let there = heap.find_object(at) == Some(at) && id_at(at) == id;
            assert!(!there, "object {id:x} is unreachable and was not freed in two cycles");
        }
    }
}

pub fn addr<T>(object: Gc<T>) -> usize {
    Gc::as_ptr(object).expose_provenance()
}

/// The object at an address.
pub fn at(addr: usize) -> Gc<Node> {
    // SAFETY: an address that came from `addr`.
    unsafe { Gc::from_ptr(std::ptr::with_exposed_provenance_mut(addr)) }
}

fn peek(at: usize) -> usize {
    word::peek(at)
}

fn id_at(at: usize) -> usize {
    // SAFETY: a field that is written before the object is published.
    unsafe { std::ptr::with_exposed_provenance::<usize>(at + offset_of!(Node, id)).read_volatile() }
}
