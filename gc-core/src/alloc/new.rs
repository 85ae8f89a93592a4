//! The allocation path: current P, next free slot, write the value, publish. See the protocol in `alloc`.

use super::AllocError;
use super::cache::{Cache, Run, Slots};
use super::class::{Class, List, Scan};
use crate::faults::{self, Fault};
use crate::heap::{Heap, NoPages, PAGE_SIZE};
use crate::layout::{self, Kind, Trace, TypeDesc};
use crate::mark::Shade;
use crate::p::{GcP, forbidden};
use crate::prefetch;
use crate::sync::current::{self, Region};
use crate::sync::{Ordering, word};
use core::hint::assert_unchecked;
use core::ptr::NonNull;

/// Bytes in front of an array's elements: the length, and the class of the element type (for pointer arrays).
pub(crate) const ARRAY_HEADER: usize = 2 * size_of::<usize>();

/// How objects of a type are read.
fn scan_of(desc: &TypeDesc) -> Scan {
    match desc.kind {
        Kind::Data => Scan::Data,
        Kind::Pointer | Kind::Struct => Scan::Typed,
        Kind::Conservative => Scan::Conservative,
    }
}

/// What slots an allocation takes: those of a type, or those of a size.
#[derive(Clone, Copy)]
enum Want {
    Typed(&'static TypeDesc),
    Sized(Scan, usize),
}

impl Want {
    /// Those that the P's cache has at hand, or null.
    #[inline(always)]
    fn cached(self, cache: &Cache) -> *mut Slots {
        match self {
            Want::Typed(desc) => cache.typed_cached(desc),
            Want::Sized(scan, bytes) => cache.sized_cached(scan, bytes),
        }
    }

    #[inline(always)]
    fn slots(self, heap: &Heap, cache: &mut Cache) -> *mut Slots {
        match self {
            Want::Typed(desc) => cache.typed(heap, desc),
            Want::Sized(scan, bytes) => cache.sized(heap, scan, bytes),
        }
    }
}

/// Larger objects, of which a span holds few, take the slow path at once: handing the value on costs more than it saves.
const FAST_MAX: usize = 4096;

/// Whether objects of `T` share spans by size: what has no type of its own, and is not to be dropped.
const fn by_size<T: Trace>() -> bool {
    matches!(T::DESC.kind, Kind::Conservative) && T::DESC.align <= layout::GRANULE && T::DESC.drop.is_none()
}

/// The slots that a small `T` wants.
///
/// The descriptor is looked up by its address, and `T::DESC` may have another one in each codegen unit: hence the fast
/// path hands its own to the slow one, or it would never find what that has put into the cache.
#[inline(always)]
fn want<T: Trace>(desc: &'static TypeDesc) -> Want {
    if by_size::<T>() { Want::Sized(Scan::Conservative, size_of::<T>().max(1)) } else { Want::Typed(desc) }
}

/// Puts `value` into a fresh object. Out of memory is a fatal error.
#[inline(always)]
pub(crate) fn alloc_value<T: Trace>(value: T) -> NonNull<T> {
    let desc = T::DESC;
    if size_of::<T>() > FAST_MAX {
        return alloc_slow_or_fatal(desc, value);
    }
    match alloc_fast(desc, value) {
        Ok(object) => object,
        Err(value) => alloc_slow_or_fatal(desc, value),
    }
}

/// Puts `value` into a fresh object.
///
/// # Errors
/// There is no memory, not even after a collection.
#[inline]
pub(crate) fn try_alloc_value<T: Trace>(value: T) -> Result<NonNull<T>, AllocError> {
    let desc = T::DESC;
    if size_of::<T>() > FAST_MAX {
        return alloc_slow(desc, value);
    }
    match alloc_fast(desc, value) {
        Ok(object) => Ok(object),
        Err(value) => alloc_slow(desc, value),
    }
}

/// Puts `value` into a small object if the P's cache has a slot at hand; else gives it back. Calls nothing after which
/// there is more to do, so that a function which allocates needs to save no register for it.
#[inline(always)]
fn alloc_fast<T: Trace>(desc: &'static TypeDesc, value: T) -> Result<NonNull<T>, T> {
    const {
        assert!(align_of::<T>() <= 4096, "the heap aligns objects to 4096 bytes at most");
    }
    // From the look at the cache to publication.
    let _region = Region::enter();
    let state = current::state();
    if state & !current::PHASE != 0 {
        return Err(value);
    }
    let p = current::p().cast::<GcP>();
    // SAFETY: without `NO_P` in its state this thread holds a P (I1), and no other borrow of its cache is alive.
    let cache = unsafe {
        assert_unchecked(!p.is_null());
        (*p).cache()
    };
    let slots = want::<T>(desc).cached(cache);
    // SAFETY: null, or this P's slots, which only its holder uses.
    match unsafe { slots.as_mut() } {
        Some(slots) if slots.next != slots.end => {
            // SAFETY: there is a free slot, and `state` is that of this region.
            Ok(unsafe { place(slots, size_of::<T>(), state, fill(value)) })
        }
        _ => Err(value),
    }
}

/// Whatever the fast path leaves: a first object of its type, a safepoint and a refill, large objects, no P.
#[cold]
#[inline(never)]
fn alloc_slow<T: Trace>(desc: &'static TypeDesc, value: T) -> Result<NonNull<T>, AllocError> {
    if size_of::<T>() > layout::SMALL_MAX {
        let class = |heap: &Heap| {
            if by_size::<T>() { heap.classes.sized(scan_of(desc), desc.size) } else { heap.classes.typed(desc) }
        };
        // SAFETY: the closure fills the whole object.
        return unsafe { alloc_large(desc.size, class, |p: NonNull<T>| p.write(value)) };
    }
    loop {
        let _region = Region::enter();
        let state = current::state();
        #[cfg(modelled)]
        if faults::active(Fault::StopInAllocation) {
            GcP::current().heap().world.at_safepoint(&mut || {});
        }
        let p = GcP::current();
        // SAFETY: this thread holds `p`, and no other borrow of its cache is alive.
        let slots = want::<T>(desc).slots(p.heap(), unsafe { p.cache() });
        // SAFETY: this P's slots, which live for ever.
        let slots = unsafe { &mut *slots };
        if slots.open() {
            // SAFETY: there is a free slot, and `state` is that of this region.
            let object = unsafe { place(slots, size_of::<T>(), state, fill(value)) };
            // SAFETY: just made, of these slots.
            unsafe { sample(p, slots, object.addr().get()) };
            return Ok(object);
        }
        make_room(want::<T>(desc), size_of::<T>())?;
    }
}

/// As [`alloc_slow`]; out of memory is a fatal error.
#[cold]
#[inline(never)]
fn alloc_slow_or_fatal<T: Trace>(desc: &'static TypeDesc, value: T) -> NonNull<T> {
    alloc_slow(desc, value).unwrap_or_else(|e| e.fatal())
}

/// Bytes of its slot that a small `T` leaves, whose class has only a size.
const fn tail<T>() -> usize {
    let bytes = size_of::<T>();
    if bytes > layout::SMALL_MAX { 0 } else { layout::class_size(layout::class_of(bytes)) - bytes }
}

/// Moves `value` into a slot.
#[inline(always)]
fn fill<T: Trace>(value: T) -> impl FnOnce(NonNull<T>) {
    move |at| {
        // SAFETY: the slot is the object's own, and at least as large as the value.
        unsafe {
            at.write(value);
            if by_size::<T>() {
                // The marker reads the whole slot: what lay in its tail before must not look alive.
                at.cast::<u8>().add(size_of::<T>()).write_bytes(0, const { tail::<T>() });
            }
        }
    }
}

/// Publishes the object at `at`, the last that was claimed of `slots`, while marking: black, what it points to shaded.
///
/// # Safety
/// As [`place`], after `fill`.
#[cold]
#[inline(never)]
unsafe fn publish_black(slots: &mut Slots, at: usize) {
    crate::sync::modelled("publish_black");
    let stopped = current::state() & current::STOPPED != 0;
    // Mostly it is marked already, and points to nothing or to what was made just before and is marked too.
    if stopped || slots.run != Run::BlackLeaves && !points_to_marked(slots, at) {
        // SAFETY: as here.
        return unsafe { publish_grey(slots, at) };
    }
    // Release: as in `place`.
    // SAFETY: a span is cached and `published` is its word.
    unsafe { (*slots.published).store(slots.next, Ordering::Release) };
}

/// Whether the object at `at`, of `slots`, is marked, and all that it points to.
#[inline(always)]
fn points_to_marked(slots: &Slots, at: usize) -> bool {
    let heap = GcP::current().heap();
    slots.run == Run::Black && heap.points_to_marked(heap.classes.get(slots.class), at)
}

/// [`publish_black`] of one whose mark is not set, or that points to something white.
///
/// # Safety
/// As `publish_black`; this thread holds a P.
#[cold]
#[inline(never)]
unsafe fn publish_grey(slots: &mut Slots, at: usize) {
    let p = GcP::current();
    p.heap().blacken_new(p, p.heap().classes.get(slots.class), at, slots.run);
    // Release: as in `place`.
    // SAFETY: a span is cached and `published` is its word.
    unsafe { (*slots.published).store(slots.next, Ordering::Release) };
}

/// As [`try_alloc_value`], but no safepoint: no cycle starts, nobody assists, and there is no collection where memory is
/// short. `publish` runs in the same region, so the object is where a root finds it before any phase can change.
///
/// # Errors
/// There is no memory.
pub(crate) fn alloc_value_no_safepoint<T: Trace>(value: T, publish: impl FnOnce(NonNull<T>)) -> Result<(), AllocError> {
    #[cfg(not(modelled))]
    const {
        assert!(align_of::<T>() <= 4096, "the heap aligns objects to 4096 bytes at most");
        assert!(size_of::<T>() <= layout::SMALL_MAX, "only small objects are made without a safepoint");
    }
    let desc = T::DESC;
    let _region = Region::enter();
    let p = GcP::current();
    refill(want::<T>(desc)).map_err(|why| AllocError::new(p.heap(), size_of::<T>(), why))?;
    // SAFETY: this thread holds `p`, and no other borrow of its cache is alive.
    let slots = want::<T>(desc).slots(p.heap(), unsafe { p.cache() });
    // SAFETY: this P's slots, which live for ever.
    let slots = unsafe { &mut *slots };
    // It is not sampled.
    slots.open();
    slots.sampler.next = false;
    // SAFETY: `refill` has found a free slot.
    publish(unsafe { place(slots, size_of::<T>(), current::state(), fill(value)) });
    Ok(())
}

/// Takes the object at `at` into the heap profile if its slot was meant for that.
///
/// # Safety
/// It is the object that was just placed in `slots`, which are those of `p`; the region in which that was has not ended.
#[inline]
unsafe fn sample(p: &GcP, slots: *mut Slots, at: usize) {
    // SAFETY: the caller's contract: this P's slots, of which there is no other borrow.
    let (next, slot) = unsafe { ((*slots).sampler.next, (*slots).slot) };
    if next {
        // SAFETY: as above.
        p.heap().sample(p, at, slot, |_| unsafe { &mut (*slots).sampler });
    }
}

/// How far ahead of the slot that is filled lines are fetched, in bytes.
const AHEAD: usize = 512;
/// Most bytes that are fetched at a time.
const FETCHED: usize = 4096;

/// Starts to load as many lines for objects to come as one of `bytes` takes. What is allocated has mostly not been touched since
/// the cycle before, and the stores of an object or two are all that a processor lets wait for lines that it has not got.
#[inline(always)]
fn fetch_ahead(end: usize, bytes: usize) {
    let mut at = 0;
    while at < bytes.min(FETCHED) {
        prefetch::to_write(end + AHEAD + at);
        at += prefetch::LINE;
    }
}

/// Claims, fills and publishes the next slot.
///
/// # Safety
/// `slots` has a free slot and belongs to the P that this thread holds; the thread is in a region, in which its state word
/// is `state`; `fill` writes all `bytes` and runs no code that could reach a safepoint.
#[inline(always)]
unsafe fn place<T>(slots: &mut Slots, bytes: usize, state: u32, fill: impl FnOnce(NonNull<T>)) -> NonNull<T> {
    let at = slots.next;
    let end = at + slots.slot;
    slots.next = end;
    // SAFETY: a slot lies in the heap, which does not start at address 0.
    let object = unsafe { NonNull::new_unchecked(core::ptr::with_exposed_provenance_mut::<T>(at)) };
    if faults::active(Fault::PublishEarly) {
        // SAFETY: as below.
        unsafe { (*slots.published).store(end, Ordering::Release) };
        faults::linger(500);
    }
    fetch_ahead(end, bytes);
    fill(object);
    // SAFETY: the object was just initialised and nobody else sees it.
    unsafe { word::adopt(at, bytes) };
    // Anything else but the phase is for the slow path, which finds out.
    if state & !current::BARRIER != 0 {
        // SAFETY: this P's slots, from which the object is taken.
        unsafe { publish_black(slots, at) };
        return object;
    }
    // Release: pairs with the Acquire in `find_object`. From here on the slot is an object.
    // SAFETY: a slot was free, so a span is cached and `published` is its word.
    unsafe { (*slots.published).store(end, Ordering::Release) };
    object
}

/// The slow path: a safepoint, if one is due, then a refill by the P that the goroutine has afterwards. If there are no
/// pages, a whole collection, and once more.
#[cold]
#[inline(never)]
fn make_room(want: Want, bytes: usize) -> Result<(), AllocError> {
    let p = GcP::current();
    let heap = p.heap();
    heap.before_alloc(p, bytes);
    if refill(want).is_ok() {
        return Ok(());
    }
    heap.collect();
    refill(want).map_err(|why| AllocError::new(heap, bytes, why))
}

/// Sees to it that the wanted slots of the current P have a free one. No safepoint.
fn refill(want: Want) -> Result<(), NoPages> {
    let p = GcP::current();
    // SAFETY: this thread holds `p`, and no other borrow of its cache is alive.
    let cache = unsafe { p.cache() };
    let slots = want.slots(p.heap(), cache);
    // The safepoint may have refilled or flushed them, or the goroutine has come back on another P.
    // SAFETY: this P's slots live for ever.
    if unsafe { (*slots).has_room() } { Ok(()) } else { cache.refill(p.heap(), slots) }
}

/// `n` pages for a large object; if there are none, after a whole collection. A safepoint.
fn large_pages(heap: &Heap, n: usize, bytes: usize) -> Result<usize, AllocError> {
    if let Ok(first) = heap.alloc_pages(n) {
        return Ok(first);
    }
    heap.collect();
    heap.alloc_pages(n).map_err(|why| AllocError::new(heap, bytes, why))
}

/// One object in a span of its own.
///
/// # Safety
/// `fill` writes all `bytes` and runs no code that could reach a safepoint.
#[cold]
unsafe fn alloc_large<T>(
    bytes: usize,
    class: impl FnOnce(&Heap) -> u32,
    fill: impl FnOnce(NonNull<T>),
) -> Result<NonNull<T>, AllocError> {
    let _region = Region::enter();
    let heap = GcP::current().heap();
    heap.before_alloc(GcP::current(), bytes);
    let slot = bytes.next_multiple_of(PAGE_SIZE);
    heap.sweep_in_proportion();
    heap.sweep_for_pages(slot / PAGE_SIZE);
    let first = large_pages(heap, slot / PAGE_SIZE, bytes)?;
    // From here on there is no safepoint.
    let p = GcP::current();
    // SAFETY: this thread holds `p`; no other borrow of its cache is alive.
    unsafe { p.cache() }.claim(heap, slot);
    let class = class(heap);
    let span = heap.publish_span(first, slot / PAGE_SIZE, class, slot, heap.sweepgen());
    let at = span.base.load(Ordering::Relaxed);
    let object = NonNull::new(core::ptr::with_exposed_provenance_mut::<T>(at)).expect("a span is not at 0");
    fill(object);
    // SAFETY: initialised by `fill`, seen by nobody.
    unsafe { word::adopt(at, bytes) };
    if current::state() & !current::BARRIER != 0 {
        heap.blacken_new(p, heap.classes.get(class), at, Run::White);
    }
    // Release: as in `place`.
    span.published.store(at + slot, Ordering::Release);
    // SAFETY: as above.
    let large = unsafe { &mut p.cache().large };
    if heap.config.profile_rate > 0 {
        large.cut(slot, slot);
        if large.next {
            heap.sample(p, at, slot, |cache| &mut cache.large);
        }
    }
    heap.push_swept(span, List::Full);
    Ok(object)
}

/// An array object: header, then `len` elements that `fill` writes.
///
/// # Safety
/// `fill` writes `len` elements from the address it gets and runs no code that could reach a safepoint.
///
/// # Errors
/// There is no memory, or the elements are more than can be counted.
pub(crate) unsafe fn alloc_array<T: Trace>(
    len: usize,
    fill: impl FnOnce(NonNull<T>),
) -> Result<NonNull<()>, AllocError> {
    const {
        assert!(align_of::<T>() <= layout::GRANULE, "array elements are aligned to 16 bytes at most");
        assert!(!core::mem::needs_drop::<T>(), "the elements of an array object must not need drop");
    }
    let bytes = size_of::<T>().checked_mul(len).and_then(|b| b.checked_add(ARRAY_HEADER));
    let Some(bytes) = bytes.filter(|b| *b <= isize::MAX as usize - PAGE_SIZE) else {
        return Err(AllocError::too_large(GcP::current().heap(), len, size_of::<T>()));
    };
    let scan = if T::DESC.has_pointers() { Scan::Array } else { Scan::Data };
    let element = |heap: &Heap| {
        if scan == Scan::Array { heap.classes.typed(T::DESC) } else { 0 }
    };
    let fill = |heap: &Heap, at: NonNull<()>| {
        let header: NonNull<usize> = at.cast();
        // SAFETY: the object has room for the header and the elements.
        unsafe {
            header.write(len);
            header.add(1).write(element(heap) as usize);
            fill(header.add(2).cast());
        }
    };
    if bytes > layout::SMALL_MAX {
        // SAFETY: `fill` writes the header and all elements.
        return unsafe {
            alloc_large(bytes, |heap| heap.classes.sized(scan, bytes), |at| fill(GcP::current().heap(), at))
        };
    }
    let want = Want::Sized(scan, bytes);
    loop {
        let _region = Region::enter();
        let p = GcP::current();
        let heap = p.heap();
        // SAFETY: as in `alloc_value`.
        let slots = want.slots(heap, unsafe { p.cache() });
        // SAFETY: as in `alloc_value`.
        unsafe {
            if (*slots).open() {
                let object = place(&mut *slots, bytes, current::state(), |at| fill(heap, at));
                sample(p, slots, object.addr().get());
                return Ok(object);
            }
        }
        make_room(want, bytes)?;
    }
}

impl Heap {
    /// A new object, not yet published, while marking: black, with all it points to shaded; or grey if it is large,
    /// since no goroutine should be held up for as long as the scan of it may take. `run`: that it is of.
    #[inline]
    fn blacken_new(&self, p: &GcP, class: &Class, at: usize, run: Run) {
        if current::state() & current::STOPPED != 0 {
            forbidden(format_args!("an object is allocated"));
        }
        // SAFETY: this thread holds `p`; no other borrow of its work is alive.
        let gcw = unsafe { p.gcw() };
        if class.slot() > layout::SMALL_MAX {
            return self.greyobject(gcw, at);
        }
        if run == Run::White && !faults::active(Fault::AllocWhite) {
            self.mark_map().set(self.granule_of(at));
            gcw.marked(class.slot(), 1);
        }
        if class.scan() != Scan::Data && !faults::active(Fault::InitUnshaded) {
            self.shade_new(gcw, class, at);
        }
    }
}

#[cfg(all(test, not(modelled)))]
mod tests {
    use super::*;

    /// What the slow path has put into the cache the fast path finds, by whichever copy of a type's descriptor they go.
    #[test]
    fn the_second_object_of_a_type_is_quick() {
        let heap = crate::testing::heap(64);
        let p = heap.new_p();
        heap.acquire_p(p);
        let TypeDesc { size, align, kind, fields, drop, name } = *u64::DESC;
        let copy = Box::leak(Box::new(TypeDesc { size, align, kind, fields, drop, name }));
        for desc in [u64::DESC, &*copy] {
            assert!(alloc_fast(desc, 1u64).is_err(), "nothing is cached yet");
            let first = alloc_slow(desc, 2u64).expect("room");
            let second = alloc_fast(desc, 3u64).expect("the cache has a slot");
            // SAFETY: two objects that were just made.
            assert_eq!(unsafe { (first.read(), second.read()) }, (2, 3));
        }
        heap.release_p(p);
    }
}
