//! The segments of one goroutine's stack: its slot of the arena, and what has been added on top of it.
//!
//! ```text
//! slot     [guard|......... sp0 frames ]        sp0: where the code on the next segment returns to
//! segment  [guard|.................... sp1 frames | header]
//! segment  [guard|..................................... sp frames | header]   the top one
//! spare    [guard|.................................................. | header]   kept for the next growth
//! ```
//! A segment is a mapping of its own; its header lies in its last bytes. Only the goroutine itself adds and removes
//! segments, on g0 (`newstack`) or right after the switch back. The thread's sp says which segment is on top: code on a
//! newer one has returned, so newer ones are dead, although they may still be linked. Readers: whoever has the SCAN bit,
//! the signal handler on the goroutine's own thread.
//!
//! What would break if a segment were unmapped as soon as its function has returned: a loop at the edge of a segment would
//! make system calls in each round (Go's "hot split"); so the last one is kept.

use super::arena::{Stack, disown, map};
use super::guard::{self, GUARD, Guard, NoStack};
use barrier_lint::{NotInHeap, nowritebarrierrec};
use gc_core::sync::{AtomicPtr, AtomicUsize, Ordering};

/// Most bytes of address space for one goroutine's segments, unless the builder says otherwise (as in Go).
pub(crate) const DEFAULT_MAX_STACK: usize = 1 << 30;

/// At the upper end of a segment.
#[derive(NotInHeap)]
pub(crate) struct Segment {
    /// Without guard and header.
    range: Stack,
    below: AtomicPtr<Segment>,
    /// Saved sp in the segment below.
    sp_below: AtomicUsize,
    guard: Guard,
}

/// What a goroutine has beside its slot.
pub(crate) struct Segments {
    top: AtomicPtr<Segment>,
    spare: AtomicPtr<Segment>,
}

impl Segments {
    pub(crate) fn new() -> Segments {
        Segments { top: AtomicPtr::new(core::ptr::null_mut()), spare: AtomicPtr::new(core::ptr::null_mut()) }
    }

    /// The newest segment that is linked. May run without a P.
    #[nowritebarrierrec]
    fn top(&self) -> Option<&Segment> {
        // Acquire: pairs with the Release in `push`: the header is there.
        // SAFETY: null, or a segment that its goroutine has linked, and unmaps only when it is on no list.
        unsafe { self.top.load(Ordering::Acquire).as_ref() }
    }

    /// Calls `f` for each live part `[sp, hi)` of a stack whose slot is `slot` and whose sp is `sp`, newest first; whether
    /// `sp` lies on that stack.
    ///
    /// The segments do not change meanwhile: the caller has the SCAN bit, or is the goroutine's own thread.
    pub(crate) fn each_live(&self, slot: Stack, mut sp: usize, mut f: impl FnMut(Stack)) -> bool {
        let mut at = self.top();
        let mut found = false;
        while let Some(segment) = at {
            if found || segment.range.contains(sp) {
                found = true;
                f(Stack { lo: sp, hi: segment.range.hi });
                // Relaxed: as old as the segment, which `top` has acquired.
                sp = segment.sp_below.load(Ordering::Relaxed);
            }
            // SAFETY: as in `top`.
            at = unsafe { segment.below.load(Ordering::Relaxed).as_ref() };
        }
        if found || slot.contains(sp) {
            f(Stack { lo: sp, hi: slot.hi });
            found = true;
        }
        found
    }

    /// The segment or slot on which `address` lies. As [`each_live`](Segments::each_live).
    #[nowritebarrierrec]
    pub(crate) fn holding(&self, slot: Stack, address: usize) -> Option<Stack> {
        let mut at = self.top();
        while let Some(segment) = at {
            if segment.range.contains(address) {
                return Some(segment.range);
            }
            // SAFETY: as in `top`.
            at = unsafe { segment.below.load(Ordering::Relaxed).as_ref() };
        }
        slot.contains(address).then_some(slot)
    }

    /// The segment or slot below `stack` on which `address` lies. As [`each_live`](Segments::each_live).
    #[nowritebarrierrec]
    pub(crate) fn older(&self, slot: Stack, stack: Stack, address: usize) -> Option<Stack> {
        let mut at = self.top();
        let mut older = false;
        while let Some(segment) = at {
            if older && segment.range.contains(address) {
                return Some(segment.range);
            }
            older |= segment.range.lo == stack.lo;
            // SAFETY: as in `top`.
            at = unsafe { segment.below.load(Ordering::Relaxed).as_ref() };
        }
        (older && slot.contains(address)).then_some(slot)
    }

    /// The segment in whose guard `address` lies. As [`each_live`](Segments::each_live).
    #[nowritebarrierrec]
    pub(crate) fn guarding(&self, address: usize) -> Option<Stack> {
        let mut at = self.top();
        while let Some(segment) = at {
            if (segment.range.lo - GUARD..segment.range.lo).contains(&address) {
                return Some(segment.range);
            }
            // SAFETY: as in `top`.
            at = unsafe { segment.below.load(Ordering::Relaxed).as_ref() };
        }
        None
    }

    /// The range of the newest segment, or the slot. Only for the goroutine's own thread.
    pub(crate) fn current(&self, slot: Stack) -> Stack {
        self.top().map_or(slot, |segment| segment.range)
    }

    /// The spare segment's range. Only under the SCAN bit.
    pub(crate) fn spare(&self) -> Option<Stack> {
        // SAFETY: as in `top`.
        unsafe { self.spare.load(Ordering::Acquire).as_ref() }.map(|segment| segment.range)
    }

    /// Puts a segment with at least `bytes` on top, for code that returns to `sp`; at most `most` bytes in all. Its range.
    pub(crate) fn push(&self, slot: Stack, sp: usize, bytes: usize, most: usize) -> Result<Stack, Full> {
        let mut used = slot.hi - slot.lo;
        let mut at = self.top();
        while let Some(segment) = at {
            used += segment.range.hi - segment.range.lo;
            // SAFETY: as in `top`.
            at = unsafe { segment.below.load(Ordering::Relaxed).as_ref() };
        }
        let spare = self.spare.swap(core::ptr::null_mut(), Ordering::Relaxed);
        // SAFETY: null, or this goroutine's spare segment.
        let segment = match unsafe { spare.as_ref() } {
            Some(segment) if segment.range.hi - segment.range.lo >= bytes => segment,
            _ => {
                // SAFETY: it was on no other list.
                unsafe { unmap(spare) };
                let current = self.current(slot);
                let wanted = (2 * (current.hi - current.lo)).max(bytes.saturating_add(SLACK).next_multiple_of(GUARD));
                let left = most.saturating_sub(used);
                let bytes = wanted.min(left).max(bytes.saturating_add(SLACK));
                if bytes > left {
                    return Err(Full::Limit);
                }
                Segment::map(bytes.next_multiple_of(GUARD)).map_err(Full::NoStack)?
            }
        };
        // Relaxed: published by the next store.
        segment.below.store(self.top.load(Ordering::Relaxed), Ordering::Relaxed);
        segment.sp_below.store(sp, Ordering::Relaxed);
        // Release: pairs with the Acquire in `top`.
        self.top.store(core::ptr::from_ref(segment).cast_mut(), Ordering::Release);
        Ok(segment.range)
    }

    /// Takes the newest segment off: its code has returned. It becomes the spare one. On the goroutine's thread, in the
    /// runtime.
    pub(crate) fn pop(&self) {
        let Some(segment) = self.top() else { gc_core::throw!("a stack segment is left that is not there") };
        self.top.store(segment.below.load(Ordering::Relaxed), Ordering::Release);
        let old = self.spare.swap(core::ptr::from_ref(segment).cast_mut(), Ordering::Release);
        // SAFETY: a larger one, or none; on no list any more.
        unsafe { unmap(old) };
    }

    /// The goroutine has ended: its slot is enough for the next one.
    pub(crate) fn clear(&self) {
        // Relaxed: its own word. Mostly there is none, and a load costs a twentieth of an exchange.
        if !self.spare.load(Ordering::Relaxed).is_null() {
            // SAFETY: nobody runs on them; the goroutine is Dead, so nobody reads them either.
            unsafe { unmap(self.spare.swap(core::ptr::null_mut(), Ordering::Relaxed)) };
        }
        debug_assert!(self.top().is_none());
    }
}

/// Why a stack does not grow.
pub(crate) enum Full {
    Limit,
    NoStack(NoStack),
}

/// Bytes of a segment beyond what was asked for: the runtime's own frames, and those of a signal's injected call.
const SLACK: usize = 64 << 10;

/// Bytes at the end of a segment, with the header.
const HEADER: usize = 64;

impl Segment {
    fn map(bytes: usize) -> Result<&'static Segment, NoStack> {
        const { assert!(size_of::<Segment>() <= HEADER) };
        let start = map(bytes + GUARD).map_err(|_| NoStack::Memory)?;
        let guard = guard::install(start).inspect_err(|_| {
            disown(start);
            // SAFETY: just mapped.
            unsafe { libc::munmap(core::ptr::with_exposed_provenance_mut(start), bytes + GUARD) };
        })?;
        let hi = start + GUARD + bytes - HEADER;
        let header = core::ptr::with_exposed_provenance_mut::<Segment>(hi);
        // SAFETY: the last bytes of the new mapping, aligned to 64.
        unsafe {
            header.write(Segment {
                range: Stack { lo: start + GUARD, hi },
                below: AtomicPtr::new(core::ptr::null_mut()),
                sp_below: AtomicUsize::new(0),
                guard,
            });
            Ok(&*header)
        }
    }
}

/// # Safety
/// `segment` is null or on no list, and nobody runs on it.
unsafe fn unmap(segment: *mut Segment) {
    // SAFETY: the caller's contract.
    if let Some((range, guard)) = unsafe { segment.as_ref() }.map(|segment| (segment.range, segment.guard)) {
        let start = range.lo - GUARD;
        disown(start);
        // SAFETY: the mapping that `Segment::map` made.
        unsafe { libc::munmap(core::ptr::with_exposed_provenance_mut(start), range.hi + HEADER - start) };
        guard::removed(guard);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn live(segments: &Segments, slot: Stack, sp: usize) -> Vec<(usize, usize)> {
        let mut parts = Vec::new();
        segments.each_live(slot, sp, |part| parts.push((part.lo, part.hi)));
        parts
    }

    #[test]
    fn newer_segments_are_dead() {
        let (segments, slot) = (Segments::new(), Stack { lo: 0x10000, hi: 0x20000 });
        let first = segments.push(slot, 0x18000, 1 << 20, 1 << 30).ok().expect("room");
        let second = segments.push(slot, first.hi - 0x100, 1, 1 << 30).ok().expect("room");
        assert!(second.hi - second.lo >= 2 * (first.hi - first.lo) - HEADER, "it doubles");
        let top = second.hi - 0x40;
        let all = [(top, second.hi), (first.hi - 0x100, first.hi), (0x18000, slot.hi)];
        assert_eq!(live(&segments, slot, top), all);
        // Back on the first one, before anybody has unlinked the second.
        assert_eq!(live(&segments, slot, first.hi - 0x200), [(first.hi - 0x200, first.hi), (0x18000, slot.hi)]);
        assert_eq!(live(&segments, slot, 0x19000), [(0x19000, slot.hi)]);
        assert!(!segments.each_live(slot, 0x9000, |_| {}));
        assert_eq!(segments.guarding(first.lo - 1).map(|s| s.lo), Some(first.lo));

        segments.pop();
        assert_eq!(segments.current(slot).lo, first.lo);
        let again = segments.push(slot, first.hi - 0x100, 1, 1 << 30).ok().expect("room");
        assert_eq!(again.lo, second.lo, "the spare one");
        assert!(matches!(segments.push(slot, again.hi, 1 << 30, 1 << 30), Err(Full::Limit)));
        segments.pop();
        segments.pop();
        segments.clear();
    }
}
