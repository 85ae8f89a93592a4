//! Objects that nobody changes, so that marking lasts and mutators do more meanwhile.
//!
//! A node with many lists, hung behind the anchors of a region: what is found last is marked first, so the lists are
//! marked before the rest of the region, which stays white for a while. There are more lists than a marker has objects
//! under way, or it would come to other things while it waits for the next object of a list.

use super::fail;
use super::graph::Graph;
use super::shape::{self, Any, Id, Shape};
use super::shared::Shared;
use gc_core::Gc;

const LISTS: usize = 64;
const LOOK: Shape = Shape::Two;

/// What the oracle knows of it.
pub struct Ballast {
    front: Id,
    /// Of all lists: identities count down from each head.
    first: Id,
    /// Objects of each list.
    length: u64,
}

impl Ballast {
    /// Makes about `objects` objects.
    #[inline(never)]
    pub fn new(shared: &Shared, objects: usize) -> (Gc<Any>, Ballast) {
        let length = (objects / LISTS) as u64;
        let front = shared.ids(1 + LISTS as u64 * length);
        let ballast = Ballast { front, first: front + 1, length };
        let object = Graph::default().make(front, (Shape::Spread, LISTS), [None, None]);
        for list in 0..LISTS {
            let head = ballast.list(list).fold(None, |tail, id| Some(shape::make(id, LOOK, 0, [tail, None])));
            shape::edges(&object, Shape::Spread)[list].set(head);
        }
        (object, ballast)
    }

    /// Identities from the end of a list to its head.
    fn list(&self, list: usize) -> std::ops::Range<Id> {
        let first = self.first + list as u64 * self.length;
        first..first + self.length
    }

    pub fn ids(&self) -> std::ops::Range<Id> {
        self.front..self.first + LISTS as u64 * self.length
    }

    /// Compares all of it.
    #[inline(never)]
    pub fn check(&self, object: Gc<Any>) {
        shape::verify(object, self.front, Shape::Spread);
        shape::verify_content(&object, self.front, Shape::Spread, LISTS);
        for list in 0..LISTS {
            let mut at = shape::target(&object, Shape::Spread, list);
            for id in self.list(list).rev() {
                let Some(object) = at else { fail(format_args!("a list of ballast ends before object {id}")) };
                shape::verify(object, id, LOOK);
                at = shape::target(&object, LOOK, 0);
            }
        }
    }
}
