//! The verifier: a second walker with a map of its own, run in the stop that ends marking.
//!
//! It shares nothing with the marker but the roots: it reads descriptors, not flattened masks, keeps its own set and
//! its own stack, and demands that *every object which it reaches is marked already*. Words of a stack are candidates
//! only: one that lies in a slot which a frame has not written yet may be stale and point to what has died, which is
//! no error; so an unmarked object found through such a word is counted and not followed, while everything below
//! typed roots and marked objects must be marked. A partial cycle does not look into old objects: what is stored into them is
//! remembered or shaded. Where an old one has no type, or its type does not say what a word is, that word may be padding which
//! looks like a pointer to what has been made since; it too is a candidate only.
//!
//! No malloc: a thread that is suspended now may hold its lock.

use crate::alloc::{ARRAY_HEADER, Scan};
use crate::faults::{self, Fault};
use crate::heap::{Heap, PAGE_SIZE};
use crate::layout::{GRANULE, TypeDesc};
use crate::mark::{Found, Scanner};
use crate::offheap::Pile;
use crate::p::GcP;
use crate::sync::{AtomicU64, Ordering, Table, word};

/// How the verifier came to an object: through this word of that object (or a root).
type Edge = (usize, usize);

/// The verifier's own map: a bit for each granule of the pages in use.
pub(crate) struct Seen(Table<AtomicU64>);

impl Seen {
    pub fn of(heap: &Heap) -> Seen {
        let granules = heap.pages.usage().top * PAGE_SIZE / GRANULE;
        match Table::new(granules.div_ceil(64)) {
            Ok(table) => Seen(table),
            Err(e) => crate::throw!("out of memory for the verifier: {e}"),
        }
    }

    pub fn has(&self, granule: usize) -> bool {
        // Relaxed, here and below: its only user's.
        self.0[granule / 64].load(Ordering::Relaxed) >> (granule % 64) & 1 != 0
    }

    pub fn flip(&mut self, granule: usize) {
        self.0[granule / 64].fetch_xor(1 << (granule % 64), Ordering::Relaxed);
    }
}

struct Walk<'a> {
    heap: &'a Heap,
    seen: Seen,
    objects: usize,
    todo: Pile<usize>,
    wrong: Pile<(Edge, usize)>,
    /// Values that mutators change by plain stores: what is in them is as good as on a stack.
    lent: Pile<(usize, usize)>,
    stale: usize,
}

impl Walk<'_> {
    fn reach(&mut self, from: Edge, base: usize, must_be_marked: bool) {
        if !self.heap.contains(base) {
            return;
        }
        let granule = self.heap.granule_of(base);
        if self.seen.has(granule) {
            return;
        }
        if !self.heap.mark_map().is_marked(granule) {
            if must_be_marked {
                self.wrong.push((from, base));
            } else {
                self.stale += 1;
            }
            return;
        }
        self.seen.flip(granule);
        self.objects += 1;
        self.todo.push(base);
    }

    /// Whether a partial cycle does not look into this object.
    fn is_old(&self, base: usize) -> bool {
        self.heap.marks_stay() && self.heap.alloc_map().is_marked(self.heap.granule_of(base))
    }

    fn words(&mut self, base: usize, at: usize, desc: &TypeDesc) {
        desc.each_word(at, &mut |offset, ambiguous| {
            // SAFETY: a word of a live object; the world is stopped.
            let value = unsafe { word::at(base + offset) }.load(Ordering::Relaxed);
            self.follow((base, offset), value, ambiguous);
        });
    }

    fn follow(&mut self, from: Edge, value: usize, ambiguous: bool) {
        if !ambiguous {
            self.reach(from, value, true);
        } else if let Some(base) = self.heap.find_object(value) {
            let at = from.0 + from.1;
            let lent = self.lent.as_slice().iter().any(|(lo, hi)| (*lo..*hi).contains(&at));
            self.reach(from, base, !lent && !self.is_old(from.0));
        }
    }

    fn visit(&mut self, base: usize) {
        let span = self.heap.span_of_object(base);
        let class = self.heap.classes.get(span.class.load(Ordering::Relaxed));
        let word_at = |at: usize| {
            // SAFETY: a word of a live object; the world is stopped.
            unsafe { word::at(at) }.load(Ordering::Relaxed)
        };
        match class.scan() {
            Scan::Data => {}
            Scan::Typed => {
                if let Some(desc) = class.desc() {
                    self.words(base, 0, desc);
                }
            }
            Scan::Array => {
                let element = self.heap.classes.get(word_at(base + size_of::<usize>()) as u32);
                if let Some(desc) = element.desc() {
                    (0..word_at(base)).for_each(|i| self.words(base, ARRAY_HEADER + i * desc.size, desc));
                }
            }
            Scan::Conservative => {
                for offset in (0..span.slot.load(Ordering::Relaxed)).step_by(size_of::<usize>()) {
                    self.follow((base, offset), word_at(base + offset), true);
                }
            }
        }
    }
}

impl Heap {
    /// Compares the marks with a walk of its own; a difference is a fatal error that names the edge. The world is
    /// stopped and nothing is grey.
    pub(crate) fn verify(&self, _p: &GcP) {
        let mut walk = Walk {
            heap: self,
            seen: Seen::of(self),
            objects: 0,
            todo: Pile::new(),
            wrong: Pile::new(),
            lent: Pile::new(),
            stale: 0,
        };
        {
            let mut roots = Pile::new();
            let mut sink = |found: Found| match found {
                Found::Typed(base) => roots.push((base, true)),
                Found::Word(word) => roots.push((word, false)),
                Found::Lent(lo, hi) => walk.lent.push((lo, hi)),
            };
            let mut scanner = Scanner::verify(self, &mut sink);
            self.world.scan_roots(&mut scanner);
            for piece in 0..self.roots.pieces() {
                self.roots.scan_piece(piece, &mut scanner);
            }
            for stack in 0..self.work.jobs.stacks() {
                self.world.scan_stack(stack, &mut scanner);
            }
            for (value, typed) in roots.as_slice() {
                if *typed {
                    walk.reach((0, 0), *value, true);
                } else if let Some(base) = self.find_object(*value) {
                    walk.reach((0, 0), base, false);
                }
            }
        }
        if faults::active(Fault::VerifierDisagrees)
            && let Some(base) = walk.todo.as_slice().last().copied()
        {
            // Unmark an object behind the walk's back: what points to it is now wrong.
            self.mark_map().unset(self.granule_of(base));
            walk.seen.flip(self.granule_of(base));
            walk.reach((0, 0), base, true);
        }
        while let Some(base) = walk.todo.pop() {
            walk.visit(base);
        }
        if let Some(((from, offset), base)) = walk.wrong.as_slice().first() {
            let name = |base: usize| {
                let class = self.classes.get(self.span_of_object(base).class.load(Ordering::Relaxed));
                class.desc().map_or("object without a type", |d| d.name)
            };
            let holder = if *from == 0 { "a root" } else { name(*from) };
            crate::throw!(
                "verifier: cycle {}: {} objects are reachable and not marked; the first is {} at {base:#x}, pointed to \
                 by byte {offset} of {holder} at {from:#x} ({} objects walked)",
                self.cycle(),
                walk.wrong.as_slice().len(),
                name(*base),
                walk.objects,
            );
        }
        self.counters.verified(walk.objects, walk.stale);
    }
}
