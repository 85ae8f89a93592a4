//! What goroutines do in these models, drawn at random, on a graph of objects that they share.

use super::graph::{Graph, Node, addr, at};
use gc_core::sync::current::Region;
use gc_core::sync::{Ordering, word};
use gc_core::{Conservative, Gc, GcP, Root};
use shuttle::rand::{Rng, thread_rng};
use shuttle::sync::Mutex;
use std::sync::Arc;

/// A channel of one slot, under its lock.
#[derive(Clone)]
pub struct Chan {
    lock: Arc<Mutex<()>>,
    slot: Gc<Conservative<[usize; 1]>>,
}

impl Chan {
    /// An empty one, in whose slot the oracle looks, and what keeps that.
    pub fn new(graph: &Graph) -> (Chan, Root<Conservative<[usize; 1]>>) {
        let root = Root::new(Gc::new(Conservative([0; 1])));
        graph.slot(addr(root.get()));
        (Chan { lock: Arc::default(), slot: root.get() }, root)
    }

    /// What the runtime's `chan::hchan::put` does; `false`: it is full.
    fn send(&self, x: Gc<Node>) -> bool {
        let _held = self.lock.lock().unwrap();
        let value = addr(x);
        let _region = Region::enter();
        // SAFETY: a word of this frame, and the slot's own.
        unsafe {
            let slot = word::at(addr(self.slot));
            let empty = slot.load(Ordering::Relaxed) == 0;
            if empty {
                GcP::current().heap().shade_words(&raw const value, 1);
                slot.store(value, Ordering::Release);
            }
            empty
        }
    }

    /// What the runtime's `chan::hchan::get` does; `None` if it is empty.
    fn receive(&self) -> Option<Gc<Node>> {
        let _held = self.lock.lock().unwrap();
        let _region = Region::enter();
        // SAFETY: the slot's own word, which holds what `send` was given.
        unsafe {
            let slot = word::at(addr(self.slot));
            let value = slot.load(Ordering::Acquire);
            (value != 0).then(|| {
                GcP::current().heap().shade_words(&raw const value, 1);
                slot.store(0, Ordering::Relaxed);
                at(value)
            })
        }
    }
}

/// What runs goroutines.
pub trait Runs {
    /// The stacks are there.
    fn graph(&self) -> &Graph;
    /// Most words of a stack.
    const STACK: usize;
    /// A safepoint of the goroutine.
    fn safepoint(&self, g: usize);
    /// The goroutine makes a blocking call.
    fn blocking(&self, g: usize);
}

/// One step of goroutine `g`, whatever it is. Pointers are moved more often than copied: what one place alone holds is what a
/// collector loses.
pub fn step<R: Runs>(host: &R, g: usize, shared: Gc<Node>, chan: &Chan) {
    let (mut rng, graph) = (thread_rng(), host.graph());
    let stack = graph.stack(g);
    let from = rng.gen_range(0..R::STACK);
    let value = stack.get(from).map(|word| at(*word));
    let object = stack.get(rng.gen_range(0..R::STACK)).map_or(shared, |word| at(*word));
    let field = if rng.gen_range(0..2) == 0 { &object.left } else { &object.right };
    match (rng.gen_range(0..12), value) {
        (0 | 1, _) if stack.len() < R::STACK => graph.put(g, graph.node(value, None)),
        (2, _) if stack.len() < R::STACK => {
            if let Some(found) = field.get() {
                graph.put(g, found);
            }
        }
        (3 | 4, _) if stack.len() < R::STACK => {
            if let Some(found) = field.swap(None) {
                graph.put(g, found);
            }
        }
        (3..7, Some(_)) => {
            field.set(value);
            graph.take_off(g, from);
        }
        (7, Some(_)) => graph.take_off(g, from),
        (8, Some(value)) => {
            if chan.send(value) {
                graph.take_off(g, from);
            }
        }
        (8 | 9, _) if stack.len() < R::STACK => {
            if let Some(found) = chan.receive() {
                graph.put(g, found);
            }
        }
        (10, _) => host.blocking(g),
        _ => host.safepoint(g),
    }
}
