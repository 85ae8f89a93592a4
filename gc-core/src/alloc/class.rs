//! Allocation classes: everything that shares spans.
//!
//! A type has a class of its own, so that its spans say what the objects are and no object needs a header word. What
//! has no single type shares classes by size: arrays with pointers (a header names the element type and the length),
//! arrays of data, and conservative objects (closures and values in transit).

use crate::faults::{self, Fault};
use crate::heap::{Heap, Span};
use crate::layout::{self, Mask, TypeDesc};
use crate::sync::{
    AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Guard, Lock, MapError, Ordering, Rank, Table, Zeroed, yield_now,
};
use barrier_lint::{certify, nowritebarrierrec};
use core::ptr::NonNull;

/// Most classes a heap can have: types plus the size classes of what has no single type.
const MAX_CLASSES: usize = if cfg!(modelled) {
    8
} else if cfg!(miri) {
    64
} else {
    1 << 16
};

/// How the marker reads the objects of a class.
#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Scan {
    /// Never.
    Data = 0,
    /// By the class's mask.
    Typed = 1,
    /// An array header, then elements by the mask of the class that the header names.
    Array = 2,
    /// Every word, by the conservative look-up.
    Conservative = 3,
}

certify! {
    operators Scan: "derived";
}

/// Spans of one kind, linked through `Span::next`, split by what the sweeper knows of them.
#[derive(Default)]
struct SpanSet {
    partial: u32,
    full: u32,
}

/// The lists of a class. `sets[sweepgen / 2 % 2]` holds swept spans, the other one those that need sweeping: the
/// flip that ends marking moves no list, it changes which is which.
#[derive(Default)]
struct Lists {
    sets: [SpanSet; 2],
}

/// One allocation class. Written once, before its index is handed out; then only the lists move. What the marker reads
/// comes first, in one cache line.
#[cfg_attr(not(modelled), repr(C, align(64)))]
pub(crate) struct Class {
    scan: AtomicU32,
    mask_words: AtomicU32,
    pub slot: AtomicUsize,
    pointers: AtomicU64,
    mask_bits: AtomicPtr<u64>,
    mask_stride: AtomicU32,
    lists: Lock<Lists>,
    desc: AtomicPtr<TypeDesc>,
}

// SAFETY: integers, null pointers, and a free lock around zeros (whose rank `find` says).
unsafe impl Zeroed for Class {
    fn zeroed() -> Self {
        Class {
            scan: AtomicU32::new(0),
            slot: AtomicUsize::new(0),
            pointers: AtomicU64::new(0),
            desc: AtomicPtr::new(core::ptr::null_mut()),
            mask_bits: AtomicPtr::new(core::ptr::null_mut()),
            mask_words: AtomicU32::new(0),
            mask_stride: AtomicU32::new(0),
            lists: Lock::new(Rank::Class, Lists::default()),
        }
    }
}

impl Class {
    // Relaxed: written before the class's index left `Classes::find`, through whose lock (or through a span's
    // publication) every reader got it.

    #[inline(always)]
    #[nowritebarrierrec(assoc)]
    pub fn scan(&self) -> Scan {
        match self.scan.load(Ordering::Relaxed) {
            0 => Scan::Data,
            1 => Scan::Typed,
            2 => Scan::Array,
            _ => Scan::Conservative,
        }
    }

    #[inline(always)]
    pub fn mask(&self) -> Mask {
        let bits = NonNull::new(self.mask_bits.load(Ordering::Relaxed)).unwrap_or(NonNull::dangling());
        Mask {
            words: self.mask_words.load(Ordering::Relaxed),
            stride: self.mask_stride.load(Ordering::Relaxed),
            pointers: self.pointers(),
            bits,
        }
    }

    /// See [`Mask::pointers`]; 0 of large objects, which are scanned in pieces.
    #[inline(always)]
    pub fn pointers(&self) -> u64 {
        self.pointers.load(Ordering::Relaxed)
    }

    /// Bytes of a slot; of a large object, which has a span of its own, the span says it.
    #[inline(always)]
    #[nowritebarrierrec(assoc)]
    pub fn slot(&self) -> usize {
        self.slot.load(Ordering::Relaxed)
    }

    /// The type of the objects, or of the elements of arrays of this type; `None` for shared classes.
    pub fn desc(&self) -> Option<&'static TypeDesc> {
        // SAFETY: null, or a `&'static TypeDesc` that `find` stored.
        unsafe { self.desc.load(Ordering::Relaxed).as_ref() }
    }
}

/// All classes of a heap.
pub(crate) struct Classes {
    pub table: Table<Class>,
    len: AtomicUsize,
    adding: Lock<()>,
    /// Where `sweep_one` looks next; behind the last class when all is swept.
    pub sweep_at: AtomicUsize,
}

impl Classes {
    pub fn new() -> Result<Classes, MapError> {
        Ok(Classes {
            table: Table::new(MAX_CLASSES)?,
            len: AtomicUsize::new(0),
            adding: Lock::new(Rank::Classes, ()),
            sweep_at: AtomicUsize::new(0),
        })
    }

    pub fn len(&self) -> usize {
        // Acquire: pairs with the Release in `find`: the class is filled in.
        self.len.load(Ordering::Acquire)
    }

    #[inline(always)]
    #[nowritebarrierrec(assoc)]
    pub fn get(&self, index: u32) -> &Class {
        &self.table[index as usize]
    }

    /// The class for objects that are read as `scan` in slots of `slot` bytes; typed ones have a class for each
    /// descriptor. Made at first use.
    pub fn find(&self, scan: Scan, desc: Option<&'static TypeDesc>, slot: usize) -> u32 {
        let desc_ptr = desc.map_or(core::ptr::null(), core::ptr::from_ref).cast_mut();
        let _guard = self.adding.lock();
        let len = self.len.load(Ordering::Relaxed);
        for i in 0..len {
            let c = &self.table[i];
            if c.desc.load(Ordering::Relaxed) == desc_ptr && c.slot.load(Ordering::Relaxed) == slot && c.scan() == scan
            {
                return i as u32;
            }
        }
        if len == MAX_CLASSES {
            crate::throw!("more than {MAX_CLASSES} types and size classes in one heap");
        }
        let c = &self.table[len];
        c.lists.set_rank(Rank::Class);
        c.scan.store(scan as u32, Ordering::Relaxed);
        c.slot.store(slot, Ordering::Relaxed);
        c.desc.store(desc_ptr, Ordering::Relaxed);
        if let Some(desc) = desc {
            let mask = Mask::flatten(desc);
            let pointers = if slot <= layout::SMALL_MAX { mask.pointers } else { 0 };
            c.pointers.store(pointers, Ordering::Relaxed);
            c.mask_bits.store(mask.bits.as_ptr(), Ordering::Relaxed);
            c.mask_words.store(mask.words, Ordering::Relaxed);
            c.mask_stride.store(mask.stride, Ordering::Relaxed);
        }
        // Release: pairs with `len()`: the sweeper may look at the class from now on.
        self.len.store(len + 1, Ordering::Release);
        len as u32
    }

    /// The class of a type's objects.
    pub fn typed(&self, desc: &'static TypeDesc) -> u32 {
        let slot = desc.size.max(layout::GRANULE).next_multiple_of(desc.align.max(layout::SLOT_ALIGN));
        let scan = if desc.has_pointers() { Scan::Typed } else { Scan::Data };
        self.find(scan, Some(desc), slot)
    }

    /// A class by size alone.
    pub fn sized(&self, scan: Scan, bytes: usize) -> u32 {
        let slot = if bytes > layout::SMALL_MAX {
            bytes.next_multiple_of(crate::heap::PAGE_SIZE)
        } else {
            layout::class_size(layout::class_of(bytes))
        };
        // Large objects of all sizes share one class per kind: their spans say how large they are.
        let key = if slot > layout::SMALL_MAX { layout::SMALL_MAX + layout::GRANULE } else { slot };
        self.find(scan, None, key)
    }
}

/// Which list of a class.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum List {
    /// Spans that may have a free slot.
    Partial,
    /// Spans without one.
    Full,
}

impl Heap {
    /// The index of the sets that hold swept spans.
    pub(crate) fn swept_set(&self) -> usize {
        self.sweepgen() as usize / 2 % 2
    }

    /// Puts a swept span, which the caller owns, into its class's list.
    pub(crate) fn push_swept(&self, span: &Span, list: List) {
        let class = self.classes.get(span.class.load(Ordering::Relaxed));
        let mut lists = class.lists.lock();
        let set = &mut lists.sets[self.swept_set()];
        let head = if list == List::Partial { &mut set.partial } else { &mut set.full };
        // Relaxed: under the class's lock.
        span.next.store(*head, Ordering::Relaxed);
        *head = self.span_id(span);
    }

    /// Takes a span of `class` out of a list; the caller then owns it.
    pub(crate) fn pop_span(&self, class: u32, swept: bool, list: List) -> Option<&Span> {
        let mut lists = self.classes.get(class).lists.lock();
        let set = &mut lists.sets[self.swept_set() ^ usize::from(!swept)];
        let head = if list == List::Partial { &mut set.partial } else { &mut set.full };
        if *head == 0 {
            return None;
        }
        let span = self.span_by_id(*head);
        if !swept && faults::active(Fault::SweepWithoutOwnership) {
            return self.pop_unowned(class, span, lists);
        }
        *head = span.next.load(Ordering::Relaxed);
        Some(span)
    }

    /// A planted fault: finds a span to sweep under the lock, and takes it off its list some time later.
    #[cold]
    fn pop_unowned<'a>(&'a self, class: u32, span: &'a Span, lists: Guard<'_, Lists>) -> Option<&'a Span> {
        drop(lists);
        yield_now();
        let mut lists = self.classes.get(class).lists.lock();
        let set = &mut lists.sets[self.swept_set() ^ 1];
        for head in [&mut set.partial, &mut set.full] {
            if *head == self.span_id(span) {
                *head = span.next.load(Ordering::Relaxed);
            }
        }
        Some(span)
    }
}

#[cfg(all(test, not(modelled)))]
mod tests {
    use super::*;
    use crate::heap::PAGE_SIZE;
    use crate::layout::Kind;
    use proptest::prelude::{prop_assert, prop_assert_eq, prop_oneof, proptest};

    proptest! {
        #![proptest_config(crate::testing::cases(256))]
        /// Spans start at a page, so slots that are a multiple of the alignment are aligned.
        #[test]
        fn slots_of_a_type_hold_it_aligned(log_align in 0..=12_u32, parts in prop_oneof![0..3_usize, 0..5000_usize]) {
            let align = 1 << log_align;
            let size = (parts % (layout::SMALL_MAX / align + 1)) * align;
            let kind = Kind::Data;
            let desc = Box::leak(Box::new(TypeDesc { size, align, kind, fields: &[], drop: None, name: "T" }));
            let classes = Classes::new().unwrap();
            let index = classes.typed(desc);
            let slot = classes.get(index).slot();
            prop_assert!(slot >= size.max(layout::GRANULE) && slot.is_multiple_of(align) && slot.is_multiple_of(layout::SLOT_ALIGN));
            prop_assert!(slot - size < align.max(layout::SLOT_ALIGN) || size < layout::GRANULE, "{} for {}", slot, size);
            let bytes = layout::span_pages(slot) * PAGE_SIZE;
            prop_assert!(bytes % slot <= bytes / 8);
            prop_assert_eq!(classes.typed(desc), index, "a type has one class");
        }

        #[test]
        fn slots_by_size_hold_it_with_little_waste(bytes in 1..=3 * layout::SMALL_MAX, other in 1..=layout::SMALL_MAX) {
            let classes = Classes::new().unwrap();
            let index = classes.sized(Scan::Array, bytes);
            let slot = classes.get(index).slot();
            if bytes > layout::SMALL_MAX {
                prop_assert!(slot > layout::SMALL_MAX);
            } else {
                prop_assert!(slot >= bytes && (slot - bytes < layout::GRANULE || (slot - bytes) * 8 <= slot));
                let second = classes.get(classes.sized(Scan::Array, other)).slot();
                prop_assert!((bytes <= other && slot <= second) || (bytes >= other && slot >= second));
            }
            prop_assert!(classes.sized(Scan::Conservative, bytes) != index, "read in another way");
        }
    }
}
