//! The allocation path: current P, next free slot, write the value, publish. See the protocol in `alloc`.

use super::AllocError;
use super::cache::{Cache, Slots};
use super::class::{List, Scan};
use crate::faults::{self, Fault};
use crate::heap::{Heap, NoPages, PAGE_SIZE};
use crate::layout::{self, Kind, Trace, TypeDesc};
use crate::mark::Marker;
use crate::p::{GcP, forbidden};
use crate::sync::current::{self, Region};
use crate::sync::{Ordering, word};
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
    #[inline(always)]
    fn slots(self, heap: &Heap, cache: &mut Cache) -> *mut Slots {
        match self {
            Want::Typed(desc) => cache.typed(heap, desc),
            Want::Sized(scan, bytes) => cache.sized(heap, scan, bytes),
        }
    }
}

/// Puts `value` into a fresh object.
///
/// # Errors
/// There is no memory, not even after a collection.
#[inline]
pub(crate) fn alloc_value<T: Trace>(value: T) -> Result<NonNull<T>, AllocError> {
    const {
        assert!(align_of::<T>() <= 4096, "the heap aligns objects to 4096 bytes at most");
    }
    let desc = T::DESC;
    let scan = scan_of(desc);
    // What has no type of its own shares spans by size; what is to be dropped has one.
    let by_size = scan == Scan::Conservative && desc.align <= layout::GRANULE && desc.drop.is_none();
    if size_of::<T>() > layout::SMALL_MAX {
        let class = |heap: &Heap| {
            if by_size { heap.classes.sized(scan, desc.size) } else { heap.classes.typed(desc) }
        };
        // SAFETY: the closure fills the whole object.
        return unsafe { alloc_large(desc.size, class, |p: NonNull<T>| p.write(value)) };
    }
    let want = if by_size { Want::Sized(scan, desc.size.max(1)) } else { Want::Typed(desc) };
    loop {
        // From the look at the cache to publication.
        let _region = Region::enter();
        let p = GcP::current();
        let heap = p.heap();
        // SAFETY: this thread holds `p`, and no other borrow of its cache is alive.
        let slots = want.slots(heap, unsafe { p.cache() });
        // SAFETY: this P's slots; they have a free one; the value fills the object.
        unsafe {
            if (*slots).next != (*slots).end {
                let slot = (*slots).slot;
                let object = place(p, &mut *slots, desc.size, |at: NonNull<T>| {
                    at.write(value);
                    if by_size {
                        // The marker reads the whole slot: what lay in its tail before must not look alive.
                        at.cast::<u8>().add(size_of::<T>()).write_bytes(0, slot - size_of::<T>());
                    }
                });
                return Ok(object);
            }
        }
        make_room(want, desc.size)?;
    }
}

/// Claims, fills and publishes the next slot.
///
/// # Safety
/// `slots` has a free slot and belongs to `p`, which this thread holds; `fill` writes all `bytes` and runs no code
/// that could reach a safepoint.
#[inline(always)]
unsafe fn place<T>(p: &GcP, slots: &mut Slots, bytes: usize, fill: impl FnOnce(NonNull<T>)) -> NonNull<T> {
    let at = slots.next;
    slots.next = at + slots.slot;
    // SAFETY: a slot lies in the heap, which does not start at address 0.
    let object = unsafe { NonNull::new_unchecked(core::ptr::with_exposed_provenance_mut::<T>(at)) };
    if faults::active(Fault::PublishEarly) {
        // SAFETY: as below.
        unsafe { (*slots.published).store(slots.next, Ordering::Release) };
    }
    fill(object);
    // SAFETY: the object was just initialised and nobody else sees it.
    unsafe { word::adopt(at, bytes) };
    if current::state() != 0 {
        p.heap().blacken_new(p, at);
    }
    // Release: pairs with the Acquire in `find_object`. From here on the slot is an object.
    // SAFETY: a slot was free, so a span is cached and `published` is its word.
    unsafe { (*slots.published).store(slots.next, Ordering::Release) };
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
    if unsafe { (*slots).next != (*slots).end } { Ok(()) } else { cache.refill(p.heap(), slots) }
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
    if current::state() != 0 {
        heap.blacken_new(p, at);
    }
    // Release: as in `place`.
    span.published.store(at + slot, Ordering::Release);
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
            if (*slots).next != (*slots).end {
                return Ok(place(p, &mut *slots, bytes, |at| fill(heap, at)));
            }
        }
        make_room(want, bytes)?;
    }
}

impl Heap {
    /// A new object, not yet published, while marking: black, with all it points to shaded; or grey if it is large,
    /// since no goroutine should be held up for as long as the scan of it may take.
    #[cold]
    #[inline(never)]
    fn blacken_new(&self, p: &GcP, at: usize) {
        if current::state() & current::STOPPED != 0 {
            forbidden(format_args!("an object is allocated"));
        }
        // SAFETY: this thread holds `p`; no other borrow of its work is alive.
        let gcw = unsafe { p.gcw() };
        let class = self.class_of_object(at);
        if class.slot() > layout::SMALL_MAX {
            return self.greyobject(gcw, at);
        }
        if !faults::active(Fault::AllocWhite) {
            self.mark_map().set(self.granule_of(at));
            gcw.marked(class.slot(), 1);
        }
        if class.scan() != Scan::Data && !faults::active(Fault::InitUnshaded) {
            let mut marker = Marker::new(self, gcw);
            marker.scan_small(class, at);
            marker.settle();
        }
    }
}
