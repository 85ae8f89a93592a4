//! A census: every object of the heap, as the allocator sees it.
//!
//! For tests and heap profiles. Walks the spans and not the graph, so it also sees what nothing points to any more.
//! [`Heap::census`] adds up by type; it allocates (with malloc) only outside the stop, whose length is in proportion to
//! the heap's objects.

use crate::alloc::Scan;
use crate::heap::{Heap, Span};
use crate::sync::Ordering;
use crate::world::StopReason;

/// One object, as the census sees it.
#[derive(Clone, Copy, Debug)]
pub struct Counted {
    /// Address of the object.
    pub base: usize,
    /// Bytes of its slot.
    pub bytes: usize,
    /// Name of its type. Objects that share spans by size have none of their own: `[data]`, `[pointers]` (arrays) and
    /// `[words]` (conservative).
    pub name: &'static str,
}

/// What a heap holds of one type. Source: the "object and span census by type"; Go has heap profiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CensusRow {
    /// Name of the type, as [`Counted::name`].
    pub name: &'static str,
    /// Its objects.
    pub objects: usize,
    /// Bytes of their slots.
    pub bytes: usize,
    /// Spans that hold them, or have room for them.
    pub spans: usize,
    /// Dead objects of it that are still to be dropped, or are being dropped: not in `objects`.
    pub doomed: usize,
}

impl Heap {
    /// What the heap holds, by type: one row for each that has a span, the largest first. Types of the same name are
    /// one row. Counts as [`for_each_object`](Heap::for_each_object) does: after `collect`, what is reachable.
    ///
    /// A safepoint; needs a P. Stops the world for as long as it takes to count.
    pub fn census(&self) -> Vec<CensusRow> {
        // By class. Classes made from here on, before the stop, are added up in the last row.
        let mut sums =
            vec![CensusRow { name: "[new types]", objects: 0, bytes: 0, spans: 0, doomed: 0 }; self.classes.len() + 1];
        let last = sums.len() - 1;
        self.stopped_walk(&mut |heap, span| {
            let sum = &mut sums[(span.class.load(Ordering::Relaxed) as usize).min(last)];
            sum.spans += 1;
            sum.doomed += span.doomed.load(Ordering::Relaxed) as usize;
            heap.count_span(span, &mut |counted| {
                sum.objects += 1;
                sum.bytes += counted.bytes;
            });
        });
        for (class, sum) in sums[..last].iter_mut().enumerate() {
            sum.name = self.class_name(class as u32);
        }
        sums.retain(|row| row.spans > 0);
        sums.sort_by_key(|row| row.name);
        sums.dedup_by(|row, into| {
            let same = row.name == into.name;
            if same {
                into.objects += row.objects;
                into.bytes += row.bytes;
                into.spans += row.spans;
                into.doomed += row.doomed;
            }
            same
        });
        sums.sort_by_key(|row| core::cmp::Reverse(row.bytes));
        sums
    }

    /// Calls `f` for every allocated slot: what the last cycle left alive and what was allocated since. Dead objects
    /// that are still to be dropped do not count.
    ///
    /// A safepoint; needs a P. `f` runs while the world is stopped: it may read the objects' data, but neither
    /// allocate in this heap nor wait for anything that another thread may hold.
    pub fn for_each_object(&self, f: &mut dyn FnMut(Counted)) {
        self.stopped_walk(&mut |heap, span| heap.count_span(span, f));
    }

    /// Stops the world and calls `f` for every span. `f` is given the heap too, and waits for nothing.
    fn stopped_walk(&self, f: &mut dyn FnMut(&Heap, &Span)) {
        self.world.at_safepoint(&mut || {
            self.stop_the_world(StopReason::Census);
            self.each_span(&mut |span| f(self, span));
            self.start_the_world();
        });
    }

    /// Calls `f` for every span. The world is stopped.
    pub(crate) fn each_span(&self, f: &mut dyn FnMut(&Span)) {
        let pages = self.pages.top();
        let mut page = 0;
        while page < pages {
            // Relaxed: the stop orders it.
            if self.page_map.get(page, Ordering::Relaxed).span == 0 {
                page += 1;
                continue;
            }
            let span = &self.spans[page];
            f(span);
            page += span.npages.load(Ordering::Relaxed) as usize;
        }
    }

    /// The name of the type of a class's objects, as [`Counted::name`].
    pub(crate) fn class_name(&self, class: u32) -> &'static str {
        let class = self.classes.get(class);
        class.desc().map_or(
            match class.scan() {
                Scan::Data => "[data]",
                Scan::Array => "[pointers]",
                Scan::Typed | Scan::Conservative => "[words]",
            },
            |desc| desc.name,
        )
    }

    /// The allocated slots of one span. The world is stopped, so nobody is between a span's states.
    fn count_span(&self, span: &Span, f: &mut dyn FnMut(Counted)) {
        // Relaxed throughout: the stop orders them.
        let name = self.class_name(span.class.load(Ordering::Relaxed));
        // In a span that is still to be swept the publication index is of no meaning: only the marks count.
        let sweepgen = span.sweepgen.load(Ordering::Relaxed);
        let swept = sweepgen == self.sweepgen() || sweepgen == self.sweepgen().wrapping_add(3);
        let published = if swept { span.published.load(Ordering::Relaxed) } else { 0 };
        let bytes = span.slot.load(Ordering::Relaxed);
        for base in (span.base.load(Ordering::Relaxed)..span.end()).step_by(bytes) {
            if base < published || self.alloc_map().is_marked(self.granule_of(base)) {
                f(Counted { base, bytes, name });
            }
        }
    }
}
