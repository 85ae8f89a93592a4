//! A P's cache (Go's `mcache`): for each class that the P allocates from, one span and the free run it is in.
//!
//! Only the holder of the P touches it. A cached span is in no list. After the flip that ends marking the cached
//! spans are stale: `flush_if_stale` sweeps them and gives them back before the P claims another slot.

use super::class::{List, Scan};
use crate::faults::{self, Fault};
use crate::heap::{Heap, NoPages, PAGE_SIZE, Span};
use crate::layout::{self, TypeDesc};
use crate::profile::Sampler;
use crate::sync::{AtomicUsize, Ordering};
use core::ptr;

/// Entries of the direct-mapped front; a power of two.
const FRONT: usize = if cfg!(modelled) { 4 } else { 256 };
/// Classes by size of what has no type: data arrays, pointer arrays, conservative objects.
const SIZED: usize = 3;

/// What has been done for the objects of a free run before they are made ([`Heap::blacken_run`]).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Run {
    /// Nothing: while marking each is marked and counted when it is made.
    White,
    /// They are marked, and counted as such.
    Black,
    /// So they are, and will point to nothing.
    BlackLeaves,
}

/// Where a P allocates the objects of one class.
pub(crate) struct Slots {
    /// Where the next object goes.
    pub next: usize,
    /// End of the free run; equal to `next` when a refill is due, or the next object is for the heap profile.
    pub end: usize,
    /// Bytes of a slot.
    pub slot: usize,
    /// Where publication is stored: `Span::published` of the cached span, or null.
    pub published: *const AtomicUsize,
    span: *const Span,
    pub class: u32,
    pub run: Run,
    /// It is among those of which a run was blackened in this cycle, and the next of these.
    blackened: bool,
    next_blackened: *mut Slots,
    /// Next of all slots of this P.
    link: *mut Slots,
    /// For the heap profile.
    pub sampler: Sampler,
}

/// A P's slots, by descriptor and by size class.
pub(crate) struct Cache {
    front: [(*const TypeDesc, *mut Slots); FRONT],
    sized: [[*mut Slots; layout::class_count() + 1]; SIZED],
    /// All slots of this P.
    all: *mut Slots,
    /// The first of those of which a run was blackened in this cycle: a type that was not allocated meanwhile costs the stop that
    /// ends marking nothing.
    blackened: *mut Slots,
    /// The sweep generation for which the cached spans are good.
    sweepgen: u32,
    /// Bytes claimed since they were last added to the heap's count.
    claimed: usize,
    /// For the heap profile: large objects, and the state of a generator of random numbers.
    pub large: Sampler,
    pub random: u64,
}

impl Cache {
    /// The cache of P number `id`. `rate` is that of the heap profile.
    pub fn new(rate: usize, id: u32) -> Cache {
        let mut random = u64::from(id) << 32;
        Cache {
            large: Sampler::new(rate, &mut random),
            random,
            front: [(ptr::null(), ptr::null_mut()); FRONT],
            sized: [[ptr::null_mut(); layout::class_count() + 1]; SIZED],
            all: ptr::null_mut(),
            blackened: ptr::null_mut(),
            sweepgen: 0,
            claimed: 0,
        }
    }

    /// The slots for a type, if the front has it, else null: one compare.
    #[inline(always)]
    pub fn typed_cached(&self, desc: &'static TypeDesc) -> *mut Slots {
        let key = ptr::from_ref(desc);
        let (k, slots) = self.front[Self::hash(key)];
        if k != key {
            return ptr::null_mut();
        }
        // SAFETY: a type in the front has slots.
        unsafe { core::hint::assert_unchecked(!slots.is_null()) };
        slots
    }

    /// The slots for a type.
    #[inline]
    pub fn typed(&mut self, heap: &Heap, desc: &'static TypeDesc) -> *mut Slots {
        let slots = self.typed_cached(desc);
        if slots.is_null() { self.typed_slow(heap, desc) } else { slots }
    }

    fn hash(key: *const TypeDesc) -> usize {
        // Descriptors are 8-byte aligned and some 64 bytes long.
        ((key.addr() / 8) ^ (key.addr() / 2048)) % FRONT
    }

    #[cold]
    #[inline(never)]
    fn typed_slow(&mut self, heap: &Heap, desc: &'static TypeDesc) -> *mut Slots {
        let slots = self.of_class(heap, heap.classes.typed(desc));
        let key = ptr::from_ref(desc);
        self.front[Self::hash(key)] = (key, slots);
        slots
    }

    /// Where slots of this kind and size stand in `sized`.
    #[inline(always)]
    fn sized_at(scan: Scan, bytes: usize) -> (usize, usize) {
        let kind = match scan {
            Scan::Data => 0,
            Scan::Array => 1,
            Scan::Conservative => 2,
            Scan::Typed => unreachable!("typed objects go by descriptor"),
        };
        (kind, if bytes > layout::SMALL_MAX { layout::class_count() } else { layout::class_of(bytes) })
    }

    /// The slots for `bytes` bytes that are read as `scan`, or null if this P has none yet.
    #[inline(always)]
    pub fn sized_cached(&self, scan: Scan, bytes: usize) -> *mut Slots {
        let (kind, class) = Self::sized_at(scan, bytes);
        self.sized[kind][class]
    }

    /// The slots for `bytes` bytes that are read as `scan`.
    #[inline]
    pub fn sized(&mut self, heap: &Heap, scan: Scan, bytes: usize) -> *mut Slots {
        let slots = self.sized_cached(scan, bytes);
        if !slots.is_null() {
            return slots;
        }
        let slots = self.of_class(heap, heap.classes.sized(scan, bytes));
        let (kind, class) = Self::sized_at(scan, bytes);
        self.sized[kind][class] = slots;
        slots
    }

    fn of_class(&mut self, heap: &Heap, class: u32) -> *mut Slots {
        let mut s = self.all;
        while !s.is_null() {
            // SAFETY: a link of this P's list: slots live for ever, and only the P's holder is here.
            unsafe {
                if (*s).class == class {
                    return s;
                }
                s = (*s).link;
            }
        }
        let slots = Slots {
            next: 0,
            end: 0,
            slot: heap.classes.get(class).slot.load(Ordering::Relaxed),
            published: ptr::null(),
            span: ptr::null(),
            class,
            run: Run::White,
            blackened: false,
            next_blackened: ptr::null_mut(),
            link: self.all,
            sampler: Sampler::new(heap.config.profile_rate, &mut self.random),
        };
        self.all = crate::offheap::persistent_new(slots).as_ptr();
        self.all
    }

    /// Finds the next free run for `slots`. Sweeps, takes spans from the class's lists, or makes a new one.
    ///
    /// # Errors
    /// There are no pages for a new span; the slots are empty then.
    pub fn refill(&mut self, heap: &Heap, slots: *mut Slots) -> Result<(), NoPages> {
        crate::sync::modelled("Cache::refill");
        self.flush_if_stale(heap);
        heap.sweep_in_proportion();
        // SAFETY: slots live for ever, and only the holder of the P is here.
        let s = unsafe { &mut *slots };
        debug_assert_eq!(s.next, s.end, "a refill with free slots left");
        loop {
            // SAFETY: null, or a span that this P owns; span entries live as long as the heap.
            if let Some(span) = unsafe { s.span.as_ref() } {
                if let Some((next, end)) = heap.next_run(span, s.end) {
                    (s.next, s.end) = (next, end);
                    break;
                }
                s.forget();
                // Release, here and below: see `heap::span`.
                span.sweepgen.store(heap.sweepgen(), Ordering::Release);
                heap.push_swept(span, List::Full);
            }
            let span = heap.span_with_room(s.class)?;
            span.sweepgen.store(heap.sweepgen() + 3, Ordering::Release);
            s.span = span;
            s.published = &span.published;
            s.end = span.published.load(Ordering::Relaxed);
            s.next = s.end;
        }
        if heap.config.gc_every > 0 || heap.config.stress.poison {
            // Every allocation comes by here, to be counted, or to have its slot checked.
            s.end = s.next + s.slot;
        }
        if heap.config.stress.poison {
            // SAFETY: null, or a span that this P owns, as above.
            if let Some(span) = unsafe { s.span.as_ref() } {
                heap.check_poison(span, s.next);
            }
        }
        let mut bytes = s.end - s.next;
        if heap.config.profile_rate > 0 {
            bytes = s.sampler.cut(bytes, s.slot);
            s.end = s.next + if s.sampler.next { 0 } else { bytes };
        }
        heap.blacken_run(s);
        if s.run != Run::White && !s.blackened {
            s.blackened = true;
            s.next_blackened = core::mem::replace(&mut self.blackened, slots);
        }
        self.claim(heap, bytes);
        Ok(())
    }

    /// Counts bytes that this P may now allocate.
    pub fn claim(&mut self, heap: &Heap, bytes: usize) {
        self.claimed += bytes;
        if self.claimed >= PAGE_SIZE {
            heap.pacer.allocated(core::mem::take(&mut self.claimed));
        }
    }

    /// Gives all spans back if a cycle ended since they were cached. Before the P's first claim after that.
    pub fn flush_if_stale(&mut self, heap: &Heap) {
        crate::sync::modelled("Cache::flush_if_stale");
        if self.sweepgen != heap.sweepgen() && !faults::active(Fault::StaleCache) {
            self.flush(heap);
        }
    }

    /// Marking is about to end: what is free is white. The world is stopped.
    pub fn whiten(&mut self, heap: &Heap) {
        let mut at = core::mem::replace(&mut self.blackened, ptr::null_mut());
        // SAFETY: a link of this P's list: slots live for ever, and the stopper acts for the P.
        while let Some(s) = unsafe { at.as_mut() } {
            heap.whiten_rest(s);
            s.blackened = false;
            at = s.next_blackened;
        }
    }

    /// Gives all spans back; stale ones are swept.
    pub fn flush(&mut self, heap: &Heap) {
        let now = heap.sweepgen();
        let stale = self.sweepgen != now;
        let mut at = self.all;
        // SAFETY: a link of this P's list: slots live for ever, and only the P's holder is here.
        while let Some(s) = unsafe { at.as_mut() } {
            at = s.link;
            let unused = if s.sampler.next { s.slot } else { s.end - s.next };
            s.sampler.give_back(unused);
            heap.whiten_rest(s);
            // SAFETY: null, or a span that this P owns.
            let Some(span) = (unsafe { s.span.as_ref() }) else {
                continue;
            };
            s.forget();
            if stale {
                let found = span.sweepgen.load(Ordering::Relaxed);
                debug_assert_eq!(found, now + 1, "a span in a P's cache was swept by somebody else");
                heap.sweep_owned(span, false);
            } else {
                self.claimed = self.claimed.wrapping_sub(unused);
                span.sweepgen.store(now, Ordering::Release);
                heap.push_swept(span, List::Partial);
            }
        }
        heap.pacer.allocated(core::mem::take(&mut self.claimed));
        self.sweepgen = now;
    }
}

/// Objects that are made while marking are born black. To mark them one by one would be a locked instruction for each, so
/// those of a whole free run are marked when the P gets it, a word at a time, and counted. What is left of the run when
/// marking ends, or when it goes back, is no object, so its marks are cleared and it does not count: what would break
/// otherwise is that marks make the alloc map, by which rubbish would be objects.
impl Heap {
    /// Sets the marks of the fresh free run of `s` while marking. The caller holds the P, in a region.
    fn blacken_run(&self, s: &mut Slots) {
        s.run = Run::White;
        if self.marking() && !faults::active(Fault::AllocWhite) {
            let data = self.classes.get(s.class).scan() == Scan::Data;
            s.run = if data { Run::BlackLeaves } else { Run::Black };
            self.mark_map().set_slots(s.next - self.bounds.base, s.end - self.bounds.base, s.slot);
            let free = s.end - s.next;
            self.cycle.count_marked(free, free / s.slot);
        }
    }

    /// Clears the marks of what is left of it. The caller holds the P, or the world is stopped; marking is on, or the run is
    /// white.
    fn whiten_rest(&self, s: &mut Slots) {
        if core::mem::replace(&mut s.run, Run::White) != Run::White {
            self.mark_map().clear_slots(s.next - self.bounds.base, s.end - self.bounds.base, s.slot);
            let free = s.end - s.next;
            self.cycle.count_marked(free.wrapping_neg(), (free / s.slot).wrapping_neg());
        }
    }
}

impl Slots {
    /// Whether a refill is not due.
    pub fn has_room(&self) -> bool {
        self.next != self.end || self.sampler.next
    }

    /// Whether there is a free slot for the slow path, which is about to claim it: the next one that the fast path sees, or the
    /// one that is hidden from it, for an object of the heap profile.
    pub fn open(&mut self) -> bool {
        if self.sampler.next {
            self.end = self.next + self.slot;
            self.run = Run::White;
        }
        self.next != self.end
    }

    fn forget(&mut self) {
        self.span = ptr::null();
        self.published = ptr::null();
        self.next = 0;
        self.end = 0;
        self.run = Run::White;
    }
}

impl Heap {
    /// The next run of free slots of a swept span at or behind `from`.
    fn next_run(&self, span: &Span, from: usize) -> Option<(usize, usize)> {
        let base = self.bounds.base;
        let (end, slot) = (span.end() - base, span.slot.load(Ordering::Relaxed));
        let first = self.alloc_map().find_clear(from - base, end, slot);
        if first >= end {
            return None;
        }
        let behind = self.alloc_map().find_marked(first, end, slot);
        Some((base + first, base + behind))
    }

    /// A swept span of `class` with at least one free slot, owned by the caller: swept before, swept now, or new.
    fn span_with_room(&self, class: u32) -> Result<&Span, NoPages> {
        while let Some(span) = self.pop_span(class, true, List::Partial) {
            if self.has_room(span) {
                return Ok(span);
            }
            self.push_swept(span, List::Full);
        }
        // Only where there is something to do: the clock is read twice.
        let unswept = self.pop_unswept(class);
        if let Some(span) = unswept.and_then(|first| self.limiter.timed(|| self.sweep_for_room(class, first))) {
            return Ok(span);
        }
        // New pages: pay for them with some sweeping elsewhere, which may free pages for the next one.
        self.sweep_for_pages(2);
        let slot = self.classes.get(class).slot.load(Ordering::Relaxed);
        let npages = layout::span_pages(slot);
        let span = self.publish_span(self.alloc_pages(npages)?, npages, class, slot, self.sweepgen());
        if self.config.stress.poison {
            self.poison_free_slots(span);
        }
        Ok(span)
    }

    /// Sweeps spans of `class`, beginning with `span`, which the caller owns as it then owns the one that is returned: one
    /// that has room.
    fn sweep_for_room<'a>(&'a self, class: u32, mut span: &'a Span) -> Option<&'a Span> {
        /// How many full spans to sweep in the hope of a free slot before taking new pages: some 10 us.
        const TRIES: usize = 16;
        for left in (0..TRIES).rev() {
            if faults::active(Fault::AllocUnswept) {
                return Some(span);
            }
            if self.sweep_owned(span, true) {
                if self.has_room(span) {
                    return Some(span);
                }
                self.push_swept(span, List::Full);
            }
            if left > 0 {
                span = self.pop_unswept(class)?;
            }
        }
        None
    }

    /// Some span of `class` that is not swept, which is the caller's then.
    pub(crate) fn pop_unswept(&self, class: u32) -> Option<&Span> {
        self.pop_span(class, false, List::Partial).or_else(|| self.pop_span(class, false, List::Full))
    }

    fn has_room(&self, span: &Span) -> bool {
        self.next_run(span, span.published.load(Ordering::Relaxed)).is_some()
    }
}

#[cfg(all(test, not(modelled)))]
mod tests {
    use crate::heap::Config;
    use crate::mark::WorkKind;
    use crate::testing;

    /// Objects made while marking survive the cycle and count, and nothing else of their free run does; also if the run goes
    /// back first, and if the heap profile takes all objects, or some, out of the run.
    #[test]
    fn what_is_left_of_a_black_run_is_no_object() {
        for (flushed, profile_rate) in [(false, 0), (true, 0), (false, 1), (true, 1), (false, 256), (true, 256)] {
            let heap = testing::heap_with(64, Config { profile_rate, ..Config::default() });
            let case = format!("flushed: {flushed}, profile rate: {profile_rate}");
            let p = heap.new_p();
            heap.acquire_p(p);
            let objects = || {
                let mut n = 0;
                heap.for_each_object(&mut |_| n += 1);
                n
            };
            crate::Gc::new([1_u64; 4]);
            assert!(heap.start_cycle());
            // The first ones are of a run that the P had before.
            for i in 0..300_u64 {
                crate::Gc::new([i; 4]);
            }
            if flushed {
                // SAFETY: this thread holds `p`.
                unsafe { heap.empty_p(p) };
            }
            while heap.marking() {
                heap.mark_slice(p, WorkKind::Dedicated);
            }
            // That from before may be kept or not.
            let kept = objects();
            assert!((300..=301).contains(&kept), "{kept} objects instead of 300 ({case})");
            assert_eq!(heap.cycle.marked(), (32 * kept, kept), "counted as marked ({case})");
            // In the next cycle none is reachable.
            heap.start_cycle();
            while heap.marking() {
                heap.mark_slice(p, WorkKind::Dedicated);
            }
            assert_eq!(objects(), 0);
            heap.release_p(p);
        }
    }
}
