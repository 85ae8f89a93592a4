//! Scanning: what turns a grey object black. Reads bitmaps and headers; never calls code of the type.

use super::work::GcWork;
use crate::alloc::Scan;
use crate::heap::Heap;
use crate::layout::Mask;
use crate::p::GcP;
use crate::sync::{Ordering, word};

/// Objects between a marker's pop and its scan: each is prefetched when it enters, so that this many cache misses
/// overlap.
const RING: usize = if cfg!(loom) { 2 } else { 16 };
/// How many objects are scanned between two looks at the clock and at `preempt`.
const BATCH: usize = if cfg!(loom) { 4 } else { 256 };

#[inline(always)]
fn load(addr: usize) -> usize {
    // SAFETY: a word inside a live object of the heap.
    // Acquire: pairs with the Release of pointer stores: what the object there holds is seen.
    unsafe { word::at(addr) }.load(Ordering::Acquire)
}

#[inline(always)]
fn prefetch(addr: usize) {
    #[cfg(all(target_arch = "x86_64", not(any(loom, miri))))]
    // SAFETY: a prefetch has no effect but on time.
    unsafe {
        core::arch::x86_64::_mm_prefetch::<{ core::arch::x86_64::_MM_HINT_T0 }>(core::ptr::with_exposed_provenance(
            addr,
        ));
    }
    #[cfg(not(all(target_arch = "x86_64", not(any(loom, miri)))))]
    let _ = addr;
}

impl Heap {
    /// Shades everything that the object at `base` points to.
    pub(crate) fn scan_object(&self, gcw: &mut GcWork, base: usize) {
        let span = self.span_of_object(base);
        let class = self.classes.get(span.class.load(Ordering::Relaxed));
        match class.scan() {
            Scan::Data => {}
            Scan::Typed => self.scan_typed(gcw, base, class.mask()),
            Scan::Array => {
                let mask = self.classes.get(load(base + size_of::<usize>()) as u32).mask();
                let (first, stride) = (base + crate::alloc::ARRAY_HEADER, mask.stride as usize * size_of::<usize>());
                for i in 0..load(base) {
                    self.scan_typed(gcw, first + i * stride, mask);
                }
            }
            Scan::Conservative => {
                let bytes = span.slot.load(Ordering::Relaxed);
                for addr in (base..base + bytes).step_by(size_of::<usize>()) {
                    self.shade_conservatively(gcw, load(addr));
                }
            }
        }
    }

    #[inline]
    fn scan_typed(&self, gcw: &mut GcWork, base: usize, mask: Mask) {
        let mut group = 0;
        while group * Mask::PER_WORD < mask.words as usize {
            let mut bits = mask.group(group);
            while bits != 0 {
                let index = bits.trailing_zeros() as usize / 2;
                let code = bits >> (index * 2) & 3;
                bits &= !(3 << (index * 2));
                let value = load(base + (group * Mask::PER_WORD + index) * size_of::<usize>());
                if code == 1 {
                    self.shade(gcw, value);
                } else {
                    self.shade_conservatively(gcw, value);
                }
            }
            group += 1;
        }
    }

    /// Scans one grey object and counts it. Returns its size in bytes.
    #[inline]
    fn blacken(&self, gcw: &mut GcWork, base: usize) -> usize {
        let span = self.span_of_object(base);
        // A large object's slot is its span.
        let bytes = span.slot.load(Ordering::Relaxed);
        gcw.marked(bytes);
        self.scan_object(gcw, base);
        bytes
    }

    /// Scans grey objects until there are none, `enough(bytes so far)` says so, or the P's owner is wanted elsewhere.
    /// Returns how many bytes were scanned.
    ///
    /// The caller holds `p`.
    pub(crate) fn drain(&self, p: &GcP, enough: &mut dyn FnMut(usize) -> bool) -> usize {
        // SAFETY: this thread holds `p` and borrows its work only here.
        let gcw = unsafe { p.gcw() };
        let mut ring = [0; RING];
        let (mut at, mut scanned) = (0, 0);
        loop {
            for _ in 0..BATCH {
                let next = gcw.get(self).unwrap_or(0);
                if next != 0 {
                    prefetch(next);
                }
                let mut base = core::mem::replace(&mut ring[at], next);
                at = (at + 1) % RING;
                if base == 0 && next == 0 {
                    // The lists are empty; what is left in the ring may fill them again.
                    match ring.iter_mut().find(|b| **b != 0) {
                        Some(b) => base = core::mem::take(b),
                        None => return scanned,
                    }
                }
                if base != 0 {
                    scanned += self.blacken(gcw, base);
                }
            }
            gcw.share(self);
            // Relaxed: a hint; the stop itself synchronises.
            if p.preempt.load(Ordering::Relaxed) || enough(scanned) {
                // Grey objects leave through the lists: they are marked, so nobody else would enqueue them.
                ring.into_iter().filter(|b| *b != 0).for_each(|b| gcw.put(self, b));
                return scanned;
            }
        }
    }
}
