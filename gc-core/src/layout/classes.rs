//! Size classes and span sizes.
//!
//! What has no type of its own shares classes by size: multiples of 16 up to 128 bytes; above that eight classes for each
//! doubling, so that at most 12.5 % of a slot is waste; up to 32 KiB. A type's slots are as long as its objects, in whole words,
//! but two words at least. A span has as few pages as keep its tail waste at or below 12.5 %.

use crate::heap::PAGE_SIZE;
use barrier_lint::nowritebarrierrec;

/// One mark bit stands for this many bytes. The smallest slot has as many, so at most one begins in them.
pub const GRANULE: usize = 16;

/// Every slot is a multiple of this, and so is every object's address.
pub const SLOT_ALIGN: usize = 8;

/// Largest object that shares a span with others, in bytes. Larger ones have a span of their own.
#[cfg(not(modelled))]
pub const SMALL_MAX: usize = 32 << 10;
/// Largest object that shares a span with others, in bytes.
#[cfg(modelled)]
pub const SMALL_MAX: usize = PAGE_SIZE;

/// Classes per doubling above 128 bytes.
const STEPS: usize = 8;
const LINEAR_MAX: usize = 128;

/// Number of size classes.
pub const fn class_count() -> usize {
    class_of(SMALL_MAX) + 1
}

/// The smallest class whose slots hold `size` bytes. `size` is at most [`SMALL_MAX`].
#[inline]
pub const fn class_of(size: usize) -> usize {
    if size <= LINEAR_MAX {
        return if size == 0 { 0 } else { (size - 1) / GRANULE };
    }
    // 2^k < size <= 2^(k+1); eight steps of 2^(k-3) lead from the one to the other.
    let k = (size - 1).ilog2() as usize;
    let step = 1 << (k - 3);
    let within = (size - 1 - (1 << k)) / step;
    (k - LINEAR_MAX.ilog2() as usize) * STEPS + within + LINEAR_MAX / GRANULE
}

/// Slot size of a class, in bytes.
#[inline]
pub const fn class_size(class: usize) -> usize {
    if class < LINEAR_MAX / GRANULE {
        return (class + 1) * GRANULE;
    }
    let c = class - LINEAR_MAX / GRANULE;
    let k = c / STEPS + LINEAR_MAX.ilog2() as usize;
    (1 << k) + (c % STEPS + 1) * (1 << (k - 3))
}

/// How many pages a span of `slot`-byte slots has.
pub const fn span_pages(slot: usize) -> usize {
    if slot > SMALL_MAX {
        return slot.div_ceil(PAGE_SIZE);
    }
    let mut pages = slot.div_ceil(PAGE_SIZE);
    while (pages * PAGE_SIZE) % slot > pages * PAGE_SIZE / 8 {
        pages += 1;
    }
    pages
}

/// The multiplier with which [`index_of`] divides by `slot`; 0 for spans with a single object.
pub const fn div_magic(slot: usize) -> u32 {
    if slot > SMALL_MAX { 0 } else { (u32::MAX / slot as u32).wrapping_add(1) }
}

/// `offset / slot` for an offset inside a span, without a division.
#[nowritebarrierrec]
#[inline(always)]
pub const fn index_of(offset: usize, magic: u32) -> usize {
    ((offset as u64 * magic as u64) >> 32) as usize
}

#[cfg(all(test, not(modelled)))]
mod tests {
    use super::*;

    #[test]
    fn classes_hold_their_sizes_with_little_waste() {
        for size in 1..=SMALL_MAX {
            let slot = class_size(class_of(size));
            assert!(slot >= size && slot.is_multiple_of(GRANULE), "{size} -> {slot}");
            if size > LINEAR_MAX {
                assert!((slot - size) * 8 <= slot, "{size} -> {slot}");
            } else {
                assert!(slot - size < GRANULE);
            }
        }
        assert!((1..SMALL_MAX).all(|size| class_of(size) <= class_of(size + 1)));
        assert_eq!(class_size(class_count() - 1), SMALL_MAX);
        for c in 0..class_count() {
            assert_eq!(class_of(class_size(c)), c);
        }
    }

    #[test]
    fn spans_waste_an_eighth_at_most_and_divide_right() {
        for slot in (GRANULE..=SMALL_MAX).step_by(if cfg!(miri) { 97 * SLOT_ALIGN } else { SLOT_ALIGN }) {
            let bytes = span_pages(slot) * PAGE_SIZE;
            assert!(bytes % slot <= bytes / 8, "{slot}");
            assert!(bytes <= 16 * PAGE_SIZE, "{slot} needs {bytes}");
            let magic = div_magic(slot);
            for offset in (0..bytes).step_by(8) {
                assert_eq!(index_of(offset, magic), offset / slot, "{offset} / {slot}");
            }
        }
    }
}
