//! The marker's loop: from the lists of grey objects to the scan and back.
//!
//! A dependent read of cold memory takes ten times as long as an independent one, so two queues of fixed length keep
//! many reads under way at once:
//!
//! ```text
//! lists ──get──► ring ─────► scan ──note──► found pointers ──grey──► lists
//!         (prefetches the object)   (prefetches the mark word)
//! ```
//! A pointer that is found is not marked yet, though what held it is black: none is left when the marker does anything
//! that others could see. Both queues are local to a slice of marking, in which the P is held.
//!
//! What the loop does with an ordinary object is inlined into it, and no address is taken of what it counts or of the
//! tables' handles, so that these stay in registers. All others (arrays, large and conservative objects) are a
//! [`Marker`]'s, which has a queue of its own.

use super::bitmap::BITS;
use super::grey::Tables;
use super::scan::{ONE_WORD, each_pointer};
use super::work::{AtHand, GcWork, Grey, Shade};
use crate::faults::{self, Fault};
use crate::heap::Heap;
use crate::layout::GRANULE;
use crate::p::GcP;
use crate::prefetch::{self, LINE};
use crate::sync::{Handle, Ordering};
use core::mem::replace;

/// Objects between leaving the lists and being scanned.
const RING: usize = if cfg!(modelled) { 2 } else { 24 };
/// Pointers that wait at least between being found and being tested.
const FEW: usize = if cfg!(modelled) { 1 } else { 6 };
/// Pointers that wait at most.
const MANY: usize = if cfg!(modelled) { 1 } else { 20 };
/// Places for them, and for what is found in one object meanwhile.
const FOUND: usize = 128;
const _: () = assert!(1 <= FEW && FEW <= MANY && MANY + ONE_WORD <= FOUND);
/// Bytes that are marked between two looks at the clock and at `preempt`.
const LOOK: usize = if cfg!(modelled) { 64 } else { 16 << 10 };

/// Pointers that were found and not yet tested.
pub(super) struct Found<'a> {
    places: &'a mut [usize; FOUND],
    /// How many were noted and tested, ever; those between are in `places`.
    noted: usize,
    tested: usize,
}

impl<'a> Found<'a> {
    pub const PLACES: [usize; FOUND] = [0; FOUND];

    #[inline(always)]
    pub fn new(places: &'a mut [usize; FOUND]) -> Found<'a> {
        Found { places, noted: 0, tested: 0 }
    }

    /// A typed field holds this: null, a pointer to something that is not in the heap, or an object's base. The caller
    /// calls [`test_due`](Found::test_due) before it notes more than [`ONE_WORD`].
    #[inline(always)]
    pub fn note(&mut self, tables: &Tables, pointer: usize) {
        let inside = tables.bounds.contain(pointer);
        // The next one takes this place if that is nothing.
        self.places[self.noted % FOUND] = pointer;
        tables.marks.prefetch(if inside { tables.bounds.granule_of(pointer) / BITS } else { 0 });
        self.noted += usize::from(inside);
    }

    /// Tests what was found long ago: two pointers for each two objects that are scanned, however many these had. (Most
    /// objects are found once. To test what each one had would be a branch that nobody can foresee.) `second`: every
    /// second time.
    #[inline(always)]
    pub fn test_due(&mut self, tables: &Tables, work: &mut impl Shade, second: bool) {
        if self.noted - self.tested > MANY {
            self.test_many(tables, work);
        } else if second && self.noted - self.tested > FEW {
            self.test_two(tables, work);
        }
    }

    /// Tests what is more than many.
    #[inline(always)]
    fn test_many(&mut self, tables: &Tables, work: &mut impl Shade) {
        while self.noted - self.tested > MANY {
            self.test_two(tables, work);
        }
    }

    /// Shades the first two of what was found. They are mostly what one object points to, which was mostly made at one
    /// time: then one word of the mark map stands for both, and one locked instruction marks them.
    #[inline(always)]
    fn test_two(&mut self, tables: &Tables, work: &mut impl Shade) {
        let [first, next] = [self.tested, self.tested + 1].map(|i| self.places[i % FOUND]);
        // The heap begins with a page, and so with a word.
        if (first ^ next) < BITS * GRANULE {
            tables.grey_two(work, first, next);
        } else {
            tables.grey(work, first);
            tables.grey(work, next);
        }
        self.tested += 2;
    }

    /// Shades what has been found. Says whether there was anything.
    #[inline(always)]
    pub fn settle(&mut self, tables: &Tables, work: &mut impl Shade) -> bool {
        let any = self.noted > self.tested && !faults::active(Fault::ForgetFound);
        if any {
            (self.tested..self.noted).for_each(|i| tables.grey(work, self.places[i % FOUND]));
        }
        self.tested = self.noted;
        any
    }
}

/// Scans objects of any kind.
pub(super) struct Marker<'a, 'f> {
    pub tables: Tables<'a>,
    pub gcw: &'a mut GcWork,
    pub found: &'a mut Found<'f>,
}

impl Marker<'_, '_> {
    /// A pointer field holds this, see [`Found::note`]. There may be many more.
    #[inline(always)]
    pub fn found(&mut self, pointer: usize) {
        self.found.note(&self.tables, pointer);
        self.found.test_many(&self.tables, self.gcw);
    }

    /// A word holds this that may be a pointer or not.
    #[inline]
    pub fn found_word(&mut self, word: usize) {
        if let Some(base) = self.tables.heap.find_object(word) {
            self.found(base);
        }
    }
}

impl Heap {
    /// Scans grey objects until there are none, `enough(bytes so far)` says so, or the P's owner is wanted elsewhere.
    /// Returns how many bytes were marked.
    ///
    /// The caller holds `p`.
    pub(crate) fn drain(&self, p: &GcP, enough: &mut dyn FnMut(usize) -> bool) -> usize {
        // SAFETY: this thread holds `p` and borrows its work only here.
        let mut work = AtHand::of(unsafe { p.gcw() });
        let before = work.marked_bytes();
        let all = Tables::of(self);
        let (marks, pages, classes) = (all.marks.copied(), all.pages.copied(), all.classes.copied());
        let tables = Tables { marks: &marks, pages: &pages, classes: &classes, ..all };
        let (mut places, mut other_places) = (Found::PLACES, Found::PLACES);
        let mut found = Found::new(&mut places);
        let mut others = Found::new(&mut other_places);
        let mut ring = [Grey::NONE; RING];
        let (mut at, mut look) = (0, before + LOOK);
        loop {
            while work.marked_bytes() < look {
                let next = work.get(self);
                prefetch::to_read(next.address());
                // Its neighbour as well: mostly it holds what was made just before or after, and is wanted next.
                prefetch::to_read(next.address() ^ LINE);
                let mut due = replace(&mut ring[at], next);
                at = if at + 1 < RING { at + 1 } else { 0 };
                if due == Grey::NONE {
                    if next != Grey::NONE {
                        continue;
                    }
                    // The lists are empty. What has been found may fill them again, or what is left in the ring.
                    if found.settle(&tables, &mut work) | others.settle(&tables, &mut work) {
                        continue;
                    }
                    match ring.iter_mut().find(|grey| **grey != Grey::NONE) {
                        Some(grey) => due = replace(grey, Grey::NONE),
                        None => {
                            work.lay_down();
                            return work.marked_bytes() - before;
                        }
                    }
                }
                let class = tables.class(due.address());
                if !due.is_stored() && each_pointer(class, due.address(), |pointer| found.note(&tables, pointer)) {
                    crate::sync::step("scanned", due.address());
                    work.marked(class.slot(), 1);
                    found.test_due(&tables, &mut work, at % 2 == 0);
                } else {
                    Marker { tables: all, gcw: work.lay_down(), found: &mut others }.scan(class, due);
                    work.take_up();
                }
            }
            work.lay_down().share(self);
            work.take_up();
            let marked = work.marked_bytes() - before;
            // Relaxed: a hint; the stop itself synchronises.
            if p.preempt.load(Ordering::Relaxed) || enough(marked) {
                found.settle(&tables, &mut work);
                others.settle(&tables, &mut work);
                // Grey objects leave through the lists: they are marked, so nobody else would enqueue them.
                ring.into_iter().filter(|grey| *grey != Grey::NONE).for_each(|grey| work.put(self, grey));
                work.lay_down();
                return work.marked_bytes() - before;
            }
            look = work.marked_bytes() + LOOK;
        }
    }
}

#[cfg(all(test, not(modelled)))]
mod tests {
    use super::*;
    use crate::heap::PAGE_SIZE;
    use crate::layout::{Field, Kind, TypeDesc};
    use crate::sync::word;
    use crate::testing;
    use proptest::prelude::{any, prop, prop_assert_eq, proptest};
    use std::collections::BTreeSet;

    const FIELDS: usize = 8;
    const OBJECTS: usize = if cfg!(miri) { 32 } else { 256 };
    type Edges = [Option<usize>; FIELDS];

    static POINTER: TypeDesc =
        TypeDesc { size: 8, align: 8, kind: Kind::Pointer, fields: &[], drop: None, name: "pointer" };
    static POINTERS: [Field; 1] = [Field { offset: 0, desc: &POINTER, count: FIELDS }];

    /// A size of objects.
    struct Size {
        slot: usize,
        node: TypeDesc,
        leaf: TypeDesc,
    }

    impl Size {
        const fn new(slot: usize) -> Size {
            let node =
                TypeDesc { size: slot, align: 8, kind: Kind::Struct, fields: &POINTERS, drop: None, name: "node" };
            let leaf = TypeDesc { size: slot, align: 8, kind: Kind::Data, fields: &[], drop: None, name: "leaf" };
            Size { slot, node, leaf }
        }

        const fn pages(&self) -> usize {
            (OBJECTS * self.slot).div_ceil(PAGE_SIZE)
        }
    }

    /// So small that a word of the mark map stands for many, also where every second slot begins in the middle of a granule;
    /// and so large that the marker looks up now and then though the heap is small.
    static SIZES: [Size; 3] = [Size::new(64), Size::new(72), Size::new(2 << 10)];

    /// `OBJECTS` nodes and as many leaves; what a node points to, by number.
    struct Graph {
        size: &'static Size,
        heap: &'static Heap,
        edges: Vec<Edges>,
        nodes: usize,
        leaves: usize,
    }

    impl Graph {
        fn new(size: &'static Size, edges: Vec<Edges>) -> Graph {
            let heap = testing::heap(4 * size.pages());
            let span = |desc: &'static TypeDesc| {
                let first = heap.alloc_pages(size.pages()).expect("room");
                let class = heap.classes.typed(desc);
                heap.publish_span(first, size.pages(), class, size.slot, 0).base.load(Ordering::Relaxed)
            };
            let graph = Graph { size, heap, edges, nodes: span(&size.node), leaves: span(&size.leaf) };
            for (i, edges) in graph.edges.iter().enumerate() {
                for (field, to) in edges.iter().enumerate() {
                    // SAFETY: a word of a node of a heap that only this thread uses.
                    let word = unsafe { word::at(graph.address(i) + field * 8) };
                    word.store(to.map_or(0, |to| graph.address(to)), Ordering::Relaxed);
                }
            }
            graph
        }

        fn address(&self, i: usize) -> usize {
            if i < OBJECTS { self.nodes + i * self.size.slot } else { self.leaves + (i - OBJECTS) * self.size.slot }
        }

        fn marked(&self) -> BTreeSet<usize> {
            let map = self.heap.mark_map();
            (0..2 * OBJECTS).filter(|i| map.is_marked(self.heap.granule_of(self.address(*i)))).collect()
        }

        fn reachable(&self, roots: &[usize]) -> BTreeSet<usize> {
            let (mut seen, mut grey) = (BTreeSet::new(), roots.to_vec());
            while let Some(i) = grey.pop() {
                if seen.insert(i) && i < OBJECTS {
                    grey.extend(self.edges[i].iter().flatten());
                }
            }
            seen
        }
    }

    proptest! {
        #![proptest_config(testing::cases(64))]
        /// Whatever goes through the found pointers, whenever these are tested or settled, and whether one word of the mark
        /// map stands for neighbours, each object is marked and enqueued once.
        #[test]
        fn what_is_found_is_shaded_once(
            found in prop::collection::vec((0..2 * OBJECTS + 9, any::<u8>()), 0..150),
            size in 0..SIZES.len(),
        ) {
            let graph = Graph::new(&SIZES[size], vec![[None; FIELDS]; OBJECTS]);
            let mut gcw = GcWork::new(&graph.heap.config.stress);
            let tables = Tables::of(graph.heap);
            let mut places = Found::PLACES;
            let mut queue = Found::new(&mut places);
            for (i, settle) in &found {
                // Null, and what is not in the heap, is nothing.
                queue.note(&tables, if *i < 2 * OBJECTS { graph.address(*i) } else { (*i % 2) * 4096 });
                queue.test_due(&tables, &mut gcw, settle % 2 == 0);
                if *settle < 10 {
                    queue.settle(&tables, &mut gcw);
                }
            }
            queue.settle(&tables, &mut gcw);
            let found: BTreeSet<usize> = found.into_iter().map(|(i, _)| i).filter(|i| *i < 2 * OBJECTS).collect();
            prop_assert_eq!(graph.marked(), found.clone());
            let mut enqueued: Vec<usize> = std::iter::from_fn(|| gcw.get(graph.heap)).map(Grey::address).collect();
            enqueued.sort_unstable();
            // Leaves have nothing to scan.
            let expected: Vec<usize> = found.into_iter().filter(|i| *i < OBJECTS).map(|i| graph.address(i)).collect();
            prop_assert_eq!(enqueued, expected);
        }

        /// The same for a run of pointers, as an array has it.
        #[test]
        fn what_an_array_holds_is_shaded_once(
            mut found in prop::collection::vec(0..2 * OBJECTS, 1..150),
            sorted in any::<bool>(),
            size in 0..SIZES.len(),
        ) {
            let graph = Graph::new(&SIZES[size], vec![[None; FIELDS]; OBJECTS]);
            if sorted {
                found.sort_unstable();
            }
            let mut gcw = GcWork::new(&graph.heap.config.stress);
            let tables = Tables::of(graph.heap);
            let mut places = Found::PLACES;
            let mut queue = Found::new(&mut places);
            let run: Vec<usize> = found.iter().map(|i| graph.address(*i)).collect();
            let at = run.as_ptr().expose_provenance();
            Marker { tables, gcw: &mut gcw, found: &mut queue }.scan_pointers(at..at + size_of_val(&*run));
            queue.settle(&tables, &mut gcw);
            let found: BTreeSet<usize> = found.into_iter().collect();
            prop_assert_eq!(graph.marked(), found.clone());
            let mut enqueued: Vec<usize> = std::iter::from_fn(|| gcw.get(graph.heap)).map(Grey::address).collect();
            enqueued.sort_unstable();
            let expected: Vec<usize> = found.into_iter().filter(|i| *i < OBJECTS).map(|i| graph.address(i)).collect();
            prop_assert_eq!(enqueued, expected);
        }

        /// Of a granule that was stored into, what is a part of an old object is read, and nothing else.
        #[test]
        fn a_granule_has_words_of_two_slots(old in any::<[bool; 2]>(), published in 0..2_usize) {
            // A node's last word, and the next one's first, share a granule.
            let size = &SIZES[1];
            let mut edges = vec![[None; FIELDS]; OBJECTS];
            (edges[0][FIELDS - 1], edges[1][0]) = (Some(OBJECTS), Some(OBJECTS + 1));
            let graph = Graph::new(size, edges);
            let alloc_map = graph.heap.alloc_map();
            let nodes = graph.heap.span_of_object(graph.nodes);
            (0..2).filter(|i| old[*i]).for_each(|i| alloc_map.set(graph.heap.granule_of(graph.address(i))));
            nodes.published.store(graph.address(2 * published), Ordering::Relaxed);
            (0..2).for_each(|i| alloc_map.set(graph.heap.granule_of(graph.address(OBJECTS + i))));
            let p = graph.heap.new_p();
            // The last field of the first node is the word before its last.
            let granules = [FIELDS - 1, FIELDS].map(|i| (graph.nodes + i * 8) & !(GRANULE - 1));
            // SAFETY: nobody else uses this P.
            granules.into_iter().for_each(|at| unsafe { p.gcw() }.put(graph.heap, Grey::stored(at)));
            graph.heap.drain(p, &mut |_| false);
            let found: BTreeSet<usize> = (0..2).filter(|i| old[*i]).map(|i| OBJECTS + i).collect();
            prop_assert_eq!(graph.marked(), found);
        }

        /// A marker that is called away again and again marks what can be reached, and counts each object once.
        #[test]
        fn interruptions_lose_nothing(
            edges in prop::collection::vec(prop::array::uniform8(prop::option::of(0..2 * OBJECTS)), OBJECTS),
            roots in prop::collection::vec(0..2 * OBJECTS, 1..4),
            mut calls in prop::collection::vec(any::<[bool; 2]>(), 0..20),
            size in 0..SIZES.len(),
        ) {
            let graph = Graph::new(&SIZES[size], edges);
            let p = graph.heap.new_p();
            let mut bytes = 0;
            {
                // SAFETY: nobody else uses this P.
                let gcw = unsafe { p.gcw() };
                roots.iter().for_each(|r| graph.heap.greyobject(gcw, graph.address(*r)));
                bytes += gcw.marked_bytes();
            }
            loop {
                let [preempt, enough] = calls.pop().unwrap_or_default();
                p.preempt.store(preempt, Ordering::Relaxed);
                bytes += graph.heap.drain(p, &mut |_| enough);
                // SAFETY: as above.
                let gcw = unsafe { p.gcw() };
                match gcw.get(graph.heap) {
                    None => break,
                    Some(grey) => gcw.put(graph.heap, grey),
                }
            }
            let reachable = graph.reachable(&roots);
            prop_assert_eq!(bytes, reachable.len() * graph.size.slot);
            prop_assert_eq!(graph.marked(), reachable);
        }
    }
}
