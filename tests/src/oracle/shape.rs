//! The objects: several shapes and sizes, each with an identity that every access verifies.
//!
//! All shapes begin with a tag word (identity, checksum, shape), so any of them can be held as a `Gc<Any>`. What is
//! not a pointer is filled with words that follow from the identity.

use super::fail;
use super::mortal::Mortal;
use super::rng::{Rng, mix};
use gc_core::{Gc, GcCell, Trace};

/// An object's identity; 0 stands for "no object".
pub type Id = u64;
/// A pointer that a mutator may change.
pub type Edge = GcCell<Option<Gc<Any>>>;

/// The beginning of every shape. No object is made as one of these.
#[repr(C)]
#[derive(Trace)]
pub struct Any {
    tag: u64,
}

/// `F` words of filling and `E` edges behind them.
#[repr(C)]
#[derive(Trace)]
struct Fixed<const F: usize, const E: usize> {
    tag: u64,
    fill: [u64; F],
    edges: [Edge; E],
}

/// Its edges lie in an array of pointers; a long one is a large object.
#[repr(C)]
#[derive(Trace)]
struct Spread {
    tag: u64,
    cells: Gc<[Edge]>,
}

/// Keeps an array without pointers.
#[repr(C)]
#[derive(Trace)]
struct Data {
    tag: u64,
    words: Gc<[u64]>,
}

/// Keeps a text.
#[repr(C)]
#[derive(Trace)]
struct Text {
    tag: u64,
    text: Gc<str>,
}

/// A pointer in an enum's payload: an ambiguous word to the collector.
#[repr(C)]
#[derive(Trace)]
struct Choice {
    tag: u64,
    choice: Either,
}

#[derive(Trace)]
enum Either {
    Number(u64),
    Pointer(u32, Gc<Any>),
}

/// Is dropped after it was found dead; what it points to may be gone by then.
#[repr(C)]
#[derive(Trace)]
struct Mourned {
    tag: u64,
    edges: [Edge; 2],
    mortal: Mortal,
}

/// What an object looks like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Shape {
    /// 16 bytes, one edge.
    One = 1,
    /// 16 bytes, none.
    Leaf,
    /// 24 bytes, two edges.
    Two,
    /// 64 bytes, four edges.
    Four,
    /// 240 bytes, nine edges.
    Nine,
    /// 1 KiB, five edges at the end.
    Block,
    /// 36 KiB, a large object with three edges at the end.
    Huge,
    /// An array of edges.
    Spread,
    /// An array of words.
    Data,
    /// A text.
    Text,
    /// An enum with or without a pointer.
    Choice,
    /// 48 bytes, two edges, and something to drop.
    Mortal,
}

const WITH_EDGES: [Shape; 10] = {
    use Shape::{Block, Four, Mortal, Nine, One, Spread, Two};
    [One, Two, Two, Four, Four, Nine, Block, Spread, Mortal, Mortal]
};
const WITHOUT: [Shape; 4] = [Shape::Leaf, Shape::Data, Shape::Text, Shape::Choice];

/// Type names of the shapes begin (after the crate's path) with this; see `Heap::for_each_object`.
pub const NAMES: &str = "oracle::shape::";

/// Identity, checksum and shape in one word: 40 + 16 + 8 bits.
fn tag(id: Id, shape: Shape) -> u64 {
    let check = mix(id << 8 | shape as u64) >> 48;
    id << 24 | check << 8 | shape as u64
}

/// The identity in a tag, if the tag is one.
pub fn id_of_tag(word: u64) -> Option<Id> {
    let id = word >> 24;
    let check = mix(id << 8 | word & 0xff) >> 48;
    (id != 0 && check == word >> 8 & 0xffff).then_some(id)
}

/// The `i`th filling word of an object.
fn word(id: Id, i: usize) -> u64 {
    mix(id.wrapping_mul(0x1_0000_0001) ^ (i as u64) << 40)
}

fn text(id: Id, len: usize) -> String {
    let line = format!("object {id} says {:016x}; ", word(id, 0));
    line.chars().cycle().take(len).collect()
}

/// A shape for a new object that needs edges or not, and the length of its array or text.
pub fn choose(rng: &mut Rng, edges: bool, large: bool) -> (Shape, usize) {
    if large && rng.one_in(600) {
        return (Shape::Huge, 0);
    }
    let shapes: &[Shape] = if edges { &WITH_EDGES } else { &WITHOUT };
    let shape = shapes[rng.below(shapes.len())];
    let longest = if large && rng.one_in(100) { 6000 } else { 40 };
    // Rarely long, since all its edges are followed.
    let widest = longest.min(if rng.one_in(10) { 5000 } else { 300 });
    let len = match shape {
        Shape::Spread => rng.length(widest),
        Shape::Data => rng.below(longest),
        Shape::Text => 8 * rng.below(longest),
        _ => 0,
    };
    (shape, len)
}

/// Whether objects of the shape keep an array or a text in an object of its own.
pub fn has_array(shape: Shape) -> bool {
    matches!(shape, Shape::Spread | Shape::Data | Shape::Text)
}

/// How many edges an object has, and how many of them a mutator may change (all or none).
pub fn edge_count(shape: Shape, len: usize) -> (usize, bool) {
    match shape {
        Shape::One => (1, true),
        Shape::Two | Shape::Mortal => (2, true),
        Shape::Four => (4, true),
        Shape::Nine => (9, true),
        Shape::Block => (5, true),
        Shape::Huge => (3, true),
        Shape::Spread => (len, true),
        Shape::Choice => (1, false),
        Shape::Leaf | Shape::Data | Shape::Text => (0, false),
    }
}

/// Which of `first` the initial edges are: edge `i` of a new object is `first[initial(..)]`, or none.
pub fn initial(shape: Shape, i: usize) -> Option<usize> {
    match shape {
        Shape::Spread => Some(0),
        _ => (i < 2).then_some(i),
    }
}

/// A new object whose initial edges come from `first`: stores without a barrier, as only an allocation may do.
#[inline(never)]
pub fn make(id: Id, shape: Shape, len: usize, first: [Option<Gc<Any>>; 2]) -> Gc<Any> {
    fn fixed<const F: usize, const E: usize>(id: Id, shape: Shape, first: [Option<Gc<Any>>; 2]) -> Gc<Any> {
        let edge = |i: usize| GcCell::new(initial(shape, i).and_then(|k| first[k]));
        erase(Gc::new(Fixed::<F, E> {
            tag: tag(id, shape),
            fill: std::array::from_fn(|i| word(id, i)),
            edges: std::array::from_fn(edge),
        }))
    }
    match shape {
        Shape::Mortal => {
            let edges = first.map(GcCell::new);
            erase(Gc::new(Mourned { tag: tag(id, shape), edges, mortal: Mortal::new(id) }))
        }
        Shape::One => fixed::<0, 1>(id, shape, first),
        Shape::Leaf => fixed::<1, 0>(id, shape, first),
        Shape::Two => fixed::<0, 2>(id, shape, first),
        Shape::Four => fixed::<3, 4>(id, shape, first),
        Shape::Nine => fixed::<20, 9>(id, shape, first),
        Shape::Block => fixed::<122, 5>(id, shape, first),
        Shape::Huge => fixed::<4600, 3>(id, shape, first),
        Shape::Spread => {
            let cells = Gc::<[Edge]>::cells(len, first[0]);
            erase(Gc::new(Spread { tag: tag(id, shape), cells }))
        }
        Shape::Data => {
            let words: Vec<u64> = (0..len).map(|i| word(id, i)).collect();
            let words = Gc::<[u64]>::from_slice(&words);
            erase(Gc::new(Data { tag: tag(id, shape), words }))
        }
        Shape::Text => {
            let text = Gc::from_text(&text(id, len));
            erase(Gc::new(Text { tag: tag(id, shape), text }))
        }
        Shape::Choice => {
            let choice = first[0].map_or(Either::Number(word(id, 0)), |p| Either::Pointer(word(id, 1) as u32, p));
            erase(Gc::new(Choice { tag: tag(id, shape), choice }))
        }
    }
}

fn erase<T>(object: Gc<T>) -> Gc<Any> {
    // SAFETY: a live object of one of the shapes, all of which begin like `Any`.
    unsafe { Gc::from_ptr(Gc::as_ptr(object)) }
}

/// The object as what its (verified) tag says that it is.
///
/// # Safety
/// The object was made as a `T`.
unsafe fn typed<T>(object: &Gc<Any>) -> &T {
    // SAFETY: the caller's contract; whoever lent the pointer keeps the object alive.
    unsafe { &*Gc::as_ptr(*object).cast() }
}

/// The identity of any object of ours; fails if it is none.
pub fn identity(object: Gc<Any>) -> Id {
    id_of_tag(object.tag).unwrap_or_else(|| fail(format_args!("{object:?} is no object of ours")))
}

impl std::fmt::Debug for Any {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:#x} (tag {:#x}, id {:?})", (&raw const *self).addr(), self.tag, id_of_tag(self.tag))
    }
}

/// Fails unless the object is the one that the oracle expects here.
#[inline]
pub fn verify(object: Gc<Any>, id: Id, shape: Shape) {
    if object.tag != tag(id, shape) {
        fail(format_args!("object {id} ({shape:?}) is lost: found {object:?}"));
    }
}

/// The edges that a mutator may change. The object is verified.
pub fn edges(object: &Gc<Any>, shape: Shape) -> &[Edge] {
    // SAFETY: the tag says what the object was made as.
    unsafe {
        match shape {
            Shape::One => &typed::<Fixed<0, 1>>(object).edges,
            Shape::Two => &typed::<Fixed<0, 2>>(object).edges,
            Shape::Four => &typed::<Fixed<3, 4>>(object).edges,
            Shape::Nine => &typed::<Fixed<20, 9>>(object).edges,
            Shape::Block => &typed::<Fixed<122, 5>>(object).edges,
            Shape::Huge => &typed::<Fixed<4600, 3>>(object).edges,
            Shape::Spread => &typed::<Spread>(object).cells,
            Shape::Mortal => &typed::<Mourned>(object).edges,
            Shape::Leaf | Shape::Data | Shape::Text | Shape::Choice => &[],
        }
    }
}

/// The array in which the edges lie, if they do.
pub fn array(object: &Gc<Any>, shape: Shape) -> Option<Gc<[Edge]>> {
    // SAFETY: the tag says what the object was made as.
    (shape == Shape::Spread).then(|| unsafe { typed::<Spread>(object).cells })
}

/// Where edge `i` points to.
pub fn target(object: &Gc<Any>, shape: Shape, i: usize) -> Option<Gc<Any>> {
    if shape == Shape::Choice {
        // SAFETY: the tag says what the object was made as.
        return match unsafe { &typed::<Choice>(object).choice } {
            Either::Number(_) => None,
            Either::Pointer(_, p) => Some(*p),
        };
    }
    edges(object, shape)[i].get()
}

/// Fails unless everything in the object but its edges is as it was made. The object is verified.
pub fn verify_content(object: &Gc<Any>, id: Id, shape: Shape, len: usize) {
    fn words(words: &[u64], id: Id) -> bool {
        words.iter().enumerate().all(|(i, w)| *w == word(id, i))
    }
    // SAFETY: the tag says what the object was made as.
    let good = unsafe {
        match shape {
            Shape::One => true,
            Shape::Mortal => typed::<Mourned>(object).mortal.is(id),
            Shape::Leaf => words(&typed::<Fixed<1, 0>>(object).fill, id),
            Shape::Two => words(&typed::<Fixed<0, 2>>(object).fill, id),
            Shape::Four => words(&typed::<Fixed<3, 4>>(object).fill, id),
            Shape::Nine => words(&typed::<Fixed<20, 9>>(object).fill, id),
            Shape::Block => words(&typed::<Fixed<122, 5>>(object).fill, id),
            Shape::Huge => words(&typed::<Fixed<4600, 3>>(object).fill, id),
            Shape::Spread => typed::<Spread>(object).cells.len() == len,
            Shape::Data => {
                let found = &typed::<Data>(object).words;
                found.len() == len && words(found, id)
            }
            Shape::Text => {
                // As bytes: what replaced a lost text need not be UTF-8.
                let found = &typed::<Text>(object).text;
                found.len() == len && found.as_bytes() == text(id, len).as_bytes()
            }
            Shape::Choice => match &typed::<Choice>(object).choice {
                Either::Number(n) => *n == word(id, 0),
                Either::Pointer(n, _) => *n == word(id, 1) as u32,
            },
        }
    };
    if !good {
        fail(format_args!("object {id} ({shape:?}, {len}) has changed: {object:?}"));
    }
}
