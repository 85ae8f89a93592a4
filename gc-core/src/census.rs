//! A census: every object of the heap, as the allocator sees it.
//!
//! For tests and heap profiles. Walks the spans and not the graph, so it also sees what nothing points to any more.

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

impl Heap {
    /// Calls `f` for every allocated slot: what the last cycle left alive and what was allocated since. Dead objects
    /// that are still to be dropped do not count.
    ///
    /// A safepoint; needs a P. `f` runs while the world is stopped: it may read the objects' data, but neither
    /// allocate in this heap nor wait for anything that another thread may hold.
    pub fn for_each_object(&self, f: &mut dyn FnMut(Counted)) {
        self.world.at_safepoint(&mut || {
            self.world.stop_the_world(StopReason::User);
            let (pages, _) = self.pages.usage();
            let mut page = 0;
            while page < pages {
                // Relaxed: the stop orders it.
                if self.page_map.get(page, Ordering::Relaxed).span == 0 {
                    page += 1;
                    continue;
                }
                let span = &self.spans[page];
                self.count_span(span, f);
                page += span.npages.load(Ordering::Relaxed) as usize;
            }
            self.world.start_the_world();
        });
    }

    /// The allocated slots of one span. The world is stopped, so nobody is between a span's states.
    fn count_span(&self, span: &Span, f: &mut dyn FnMut(Counted)) {
        // Relaxed throughout: the stop orders them.
        let class = self.classes.get(span.class.load(Ordering::Relaxed));
        let name = class.desc().map_or(
            match class.scan() {
                Scan::Data => "[data]",
                Scan::Array => "[pointers]",
                Scan::Typed | Scan::Conservative => "[words]",
            },
            |desc| desc.name,
        );
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
