//! Where grey objects wait: small buffers, two with each P, the rest in global lists that idle markers take from.
//!
//! The lists are Treiber stacks of buffer numbers with a tag in the upper half of the head, which grows at every
//! push and pop: a buffer that was popped, used and pushed again in between (ABA) changes the tag, so the exchange
//! fails. A buffer belongs to whoever popped it; its contents are published by the Release of the push and seen by
//! the Acquire of the pop.

use crate::faults::{self, Fault};
use crate::heap::Heap;
use crate::layout::GRANULE;
use crate::stress::Stress;
use crate::sync::{AtomicU32, AtomicU64, AtomicUsize, MapError, Ordering, Table, Zeroed};
use barrier_lint::{certify, nowritebarrierrec};
use core::cell::UnsafeCell;

/// What waits on the lists: a whole object; one piece of a large object that another marker began with; or a granule of a
/// marked object into which a pointer was stored between cycles.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Grey(usize);

#[nowritebarrierrec]
impl Grey {
    pub const NONE: Grey = Grey(0);
    /// Addresses of objects and pieces are multiples of 8.
    const PIECE: usize = 1;
    const STORED: usize = 2;

    #[inline(always)]
    pub fn object(base: usize) -> Grey {
        Grey(base)
    }

    /// The piece that starts at this address.
    #[inline]
    pub fn piece(start: usize) -> Grey {
        Grey(start | Grey::PIECE)
    }

    #[inline(always)]
    pub fn is_piece(self) -> bool {
        self.0 & Grey::PIECE != 0
    }

    /// The granule at this address.
    #[inline]
    pub fn stored(granule: usize) -> Grey {
        Grey(granule | Grey::STORED)
    }

    #[inline(always)]
    pub fn is_stored(self) -> bool {
        self.0 & Grey::STORED != 0
    }

    /// The object's base, or where the piece or granule starts.
    #[inline(always)]
    pub fn address(self) -> usize {
        self.0 & !(Grey::PIECE | Grey::STORED)
    }
}

/// Objects per buffer: with the header, 2 KiB.
pub(crate) const CAPACITY: usize = if cfg!(modelled) { 2 } else { 254 };
/// Most buffers. A small heap has fewer: half of its bytes, which is enough if all its objects are small and grey; under
/// `smallbuf` one for each object that it has room for, since a listed buffer holds at least one.
const MAX_BUFFERS: usize = if cfg!(modelled) { 8 } else { 1 << 20 };

/// A buffer of grey objects.
pub(crate) struct Buffer {
    next: AtomicU32,
    len: UnsafeCell<usize>,
    objects: UnsafeCell<[Grey; CAPACITY]>,
}

// SAFETY: the cells are touched only by the buffer's owner (the one that popped it).
unsafe impl Sync for Buffer {}
// SAFETY: integers.
unsafe impl Zeroed for Buffer {
    fn zeroed() -> Self {
        Buffer { next: AtomicU32::new(0), len: UnsafeCell::new(0), objects: UnsafeCell::new([Grey::NONE; CAPACITY]) }
    }
}

/// A lock-free stack of buffers (number + 1; 0: empty), tagged against ABA.
struct Stack {
    head: AtomicU64,
}

#[nowritebarrierrec]
impl Stack {
    fn new() -> Stack {
        Stack { head: AtomicU64::new(0) }
    }

    /// The head that names buffer `id` and comes after `old`.
    fn head_after(old: u64, id: u32) -> u64 {
        let tag = if faults::active(Fault::UntaggedBuffers) { 0 } else { (old >> 32).wrapping_add(1) };
        tag << 32 | u64::from(id)
    }

    fn is_empty(&self) -> bool {
        // Acquire: who sees it empty also sees what led to that.
        self.head.load(Ordering::Acquire) as u32 == 0
    }

    fn push(&self, buffers: &Table<Buffer>, id: u32) {
        crate::sync::modelled("Stack::push");
        let mut head = self.head.load(Ordering::Relaxed);
        loop {
            // Relaxed: published by the exchange.
            buffers[id as usize - 1].next.store(head as u32, Ordering::Relaxed);
            let new = Self::head_after(head, id);
            // Release: pairs with the Acquire of `pop`.
            let release = if faults::active(Fault::UnpublishedBuffers) { Ordering::Relaxed } else { Ordering::Release };
            match self.head.compare_exchange_weak(head, new, release, Ordering::Relaxed) {
                Ok(_) => return,
                Err(now) => head = now,
            }
        }
    }

    fn pop(&self, buffers: &Table<Buffer>) -> Option<u32> {
        crate::sync::modelled("Stack::pop");
        // Acquire: pairs with the Release of `push`, for `next` and for the contents.
        let mut head = self.head.load(Ordering::Acquire);
        loop {
            let id = head as u32;
            if id == 0 {
                return None;
            }
            let next = buffers[id as usize - 1].next.load(Ordering::Relaxed);
            if faults::active(Fault::UntaggedBuffers) {
                faults::linger(64);
            }
            let new = Self::head_after(head, next);
            match self.head.compare_exchange_weak(head, new, Ordering::Acquire, Ordering::Acquire) {
                Ok(_) => return Some(id),
                Err(now) => head = now,
            }
        }
    }
}

/// More grey objects than all buffers hold.
#[cold]
fn too_many_buffers(most: usize) -> ! {
    crate::throw!("more than {most} mark work buffers")
}

certify! {
    fn too_many_buffers: "ends the process";
    operators Grey: "derived";
}

/// The global side: all buffers, and the lists of full and empty ones.
pub(crate) struct Work {
    buffers: Table<Buffer>,
    made: AtomicUsize,
    full: Stack,
    empty: Stack,
    pub jobs: super::roots::Jobs,
}

impl Work {
    pub fn new(npages: usize, stress: &Stress) -> Result<Work, MapError> {
        let bytes = npages * crate::heap::PAGE_SIZE;
        let buffers = if cfg!(modelled) {
            MAX_BUFFERS
        } else {
            let most = if stress.small_buffers { bytes / GRANULE } else { bytes / 2 / size_of::<Buffer>() };
            most.clamp(64, MAX_BUFFERS)
        };
        Ok(Work {
            buffers: Table::new(buffers)?,
            made: AtomicUsize::new(0),
            full: Stack::new(),
            empty: Stack::new(),
            jobs: super::roots::Jobs::new(),
        })
    }

    #[nowritebarrierrec]
    /// Whether there is work for anyone.
    pub fn any_full(&self) -> bool {
        !self.full.is_empty()
    }

    /// Another value whenever somebody has handed out work, or taken some, since.
    pub fn handed_out(&self) -> u32 {
        // Acquire: pairs with the Release of `push`, as in `pop`.
        (self.full.head.load(Ordering::Acquire) >> 32) as u32
    }

    /// Bytes of all buffers that were ever used.
    pub fn table_bytes(&self) -> usize {
        self.made.load(Ordering::Relaxed).min(self.buffers.len()) * size_of::<Buffer>()
    }

    #[nowritebarrierrec]
    fn take_empty(&self) -> u32 {
        if let Some(id) = self.empty.pop(&self.buffers) {
            return id;
        }
        let n = self.made.fetch_add(1, Ordering::Relaxed);
        if n >= self.buffers.len() {
            too_many_buffers(self.buffers.len());
        }
        n as u32 + 1
    }
}

/// What changes with each object: the buffer in use, and what was marked.
#[derive(Clone, Copy)]
struct Top {
    /// What the buffer holds, and how many; `room` is its capacity, or 0 if there is none.
    objects: *mut Grey,
    len: usize,
    room: usize,
    /// Of objects that were marked and not yet added up.
    bytes: usize,
    count: usize,
}

#[nowritebarrierrec]
impl Top {
    /// Whether there was room for it.
    #[inline(always)]
    fn push(&mut self, grey: Grey) -> bool {
        if self.len >= self.room {
            return false;
        }
        // SAFETY: this P's own buffer, and it has room.
        unsafe { self.objects.add(self.len).write(grey) };
        self.len += 1;
        true
    }

    #[inline(always)]
    fn pop(&mut self) -> Grey {
        if self.len == 0 {
            return Grey::NONE;
        }
        self.len -= 1;
        // SAFETY: this P's own buffer, and it is not empty.
        unsafe { self.objects.add(self.len).read() }
    }

    #[inline(always)]
    fn marked(&mut self, bytes: usize, n: usize) {
        self.bytes += bytes * n;
        self.count += n;
    }
}

/// Where an object goes that has been marked.
#[nowritebarrierrec]
pub(crate) trait Shade {
    /// Enqueues it, or a piece of one.
    fn put(&mut self, heap: &Heap, grey: Grey);
    /// Counts `n` objects that were marked and scanned (or need no scan). Of a large one: with its first piece.
    fn marked(&mut self, bytes: usize, n: usize);
}

/// A P's side: the buffer in use and a spare, so that a marker at the edge of a buffer does not go to the global
/// lists for every object. Also what this P has marked since it was last counted.
pub(crate) struct GcWork {
    top: Top,
    /// Buffers by number + 1; 0: none.
    now: u32,
    spare: u32,
    /// Objects that a buffer takes: `CAPACITY`, or fewer under stress.
    capacity: usize,
    /// The longest scan of a piece of a large object, in bytes.
    largest_piece: usize,
    /// It has given away some of its work since somebody asked.
    shared: bool,
}

#[nowritebarrierrec]
impl Shade for GcWork {
    #[inline(always)]
    fn put(&mut self, heap: &Heap, grey: Grey) {
        if !self.top.push(grey) {
            self.put_slow(&heap.work, grey);
        }
    }

    #[inline(always)]
    fn marked(&mut self, bytes: usize, n: usize) {
        self.top.marked(bytes, n);
    }
}

/// A P's work as the marker's loop has it: inlined, so that what changes with each object is in registers.
pub(crate) struct AtHand<'a> {
    top: Top,
    gcw: &'a mut GcWork,
}

#[nowritebarrierrec]
impl Shade for AtHand<'_> {
    #[inline(always)]
    fn put(&mut self, heap: &Heap, grey: Grey) {
        if !self.top.push(grey) {
            self.lay_down().put_slow(&heap.work, grey);
            self.take_up();
        }
    }

    #[inline(always)]
    fn marked(&mut self, bytes: usize, n: usize) {
        self.top.marked(bytes, n);
    }
}

#[nowritebarrierrec]
impl<'a> AtHand<'a> {
    #[inline(always)]
    pub fn of(gcw: &'a mut GcWork) -> AtHand<'a> {
        AtHand { top: gcw.top, gcw }
    }

    /// The P's work, as all others know it, until [`take_up`](AtHand::take_up). Who has it at hand does this in the end.
    #[inline(always)]
    pub fn lay_down(&mut self) -> &mut GcWork {
        self.gcw.top = self.top;
        self.gcw
    }

    /// What others made of it is at hand again.
    #[inline(always)]
    pub fn take_up(&mut self) {
        self.top = self.gcw.top;
    }

    /// Takes a grey object: from here, else from the global list; [`Grey::NONE`] if there is none.
    #[inline(always)]
    pub fn get(&mut self, heap: &Heap) -> Grey {
        let mut grey = self.top.pop();
        if grey == Grey::NONE {
            grey = self.lay_down().get_slow(&heap.work);
            self.take_up();
        }
        grey
    }

    /// Bytes counted since [`dispose`](GcWork::dispose).
    #[inline(always)]
    pub fn marked_bytes(&self) -> usize {
        self.top.bytes
    }
}

#[nowritebarrierrec]
impl GcWork {
    pub fn new(stress: &Stress) -> GcWork {
        let capacity = if stress.small_buffers { 2 } else { CAPACITY };
        let top = Top { objects: core::ptr::null_mut(), len: 0, room: 0, bytes: 0, count: 0 };
        GcWork { top, now: 0, spare: 0, capacity, largest_piece: 0, shared: false }
    }

    #[cold]
    #[inline(never)]
    fn put_slow(&mut self, work: &Work, grey: Grey) {
        self.swap(work);
        if self.now != 0 && self.top.len >= self.capacity {
            let full = self.give_up(work);
            work.full.push(&work.buffers, full);
        }
        if self.now == 0 {
            self.take(work, work.take_empty());
        }
        let room = self.top.push(grey);
        debug_assert!(room, "a buffer that is not full");
    }

    #[cold]
    #[inline(never)]
    fn get_slow(&mut self, work: &Work) -> Grey {
        self.swap(work);
        if self.top.len == 0 {
            let Some(id) = work.full.pop(&work.buffers) else {
                return Grey::NONE;
            };
            if self.now != 0 {
                let empty = self.give_up(work);
                work.empty.push(&work.buffers, empty);
            }
            self.take(work, id);
        }
        self.top.pop()
    }

    /// The spare buffer comes into use, and the one in use becomes the spare.
    fn swap(&mut self, work: &Work) {
        let spare = self.spare;
        self.spare = self.give_up(work);
        self.take(work, spare);
    }

    /// Buffer `id`, which is this P's own, comes into use; 0: none does.
    fn take(&mut self, work: &Work, id: u32) {
        self.now = id;
        if id != 0 {
            let b = &work.buffers[id as usize - 1];
            // SAFETY: this P's own buffer.
            let len = unsafe { *b.len.get() };
            self.top = Top { objects: b.objects.get().cast(), len, room: self.capacity, ..self.top };
        }
    }

    /// The buffer in use (0: there is none) is in use no more, and says itself how much it holds.
    fn give_up(&mut self, work: &Work) -> u32 {
        if self.now != 0 {
            // SAFETY: this P's own buffer.
            unsafe { *work.buffers[self.now as usize - 1].len.get() = self.top.len };
        }
        (self.top.len, self.top.room) = (0, 0);
        core::mem::replace(&mut self.now, 0)
    }

    /// Hands all work to everyone.
    pub fn dispose(&mut self, heap: &Heap) {
        let work = &heap.work;
        let now = self.give_up(work);
        Self::hand_out(work, now);
        Self::hand_out(work, core::mem::replace(&mut self.spare, 0));
        if self.top.bytes > 0 {
            heap.cycle.count_marked(self.top.bytes, self.top.count);
            heap.cycle.largest_piece.fetch_max(self.largest_piece, Ordering::Relaxed);
            (self.top.bytes, self.top.count, self.largest_piece) = (0, 0, 0);
        }
    }

    /// Gives up a buffer of this P's.
    fn hand_out(work: &Work, id: u32) {
        if id == 0 {
            return;
        }
        // SAFETY: one of this P's own buffers.
        let any = unsafe { *work.buffers[id as usize - 1].len.get() } > 0;
        let list = if any { &work.full } else { &work.empty };
        list.push(&work.buffers, id);
    }

    /// Counts a further piece of a large object.
    pub fn marked_more(&mut self, bytes: usize) {
        self.top.bytes += bytes;
    }

    /// Notes how long a piece was.
    pub fn scanned_piece(&mut self, bytes: usize) {
        self.largest_piece = self.largest_piece.max(bytes);
    }

    /// Gives away about half of what there is when nobody else can have any, so that idle Ps find something (Go's
    /// `gcw.balance`).
    pub fn share(&mut self, heap: &Heap) {
        let work = &heap.work;
        if work.any_full() {
            return;
        }
        // SAFETY: one of this P's own buffers.
        if self.spare != 0 && unsafe { *work.buffers[self.spare as usize - 1].len.get() } > 0 {
            work.full.push(&work.buffers, self.spare);
            self.spare = 0;
        } else if self.top.len >= Self::WORTH_SHARING {
            let older = self.split(work);
            work.full.push(&work.buffers, older);
        } else {
            return;
        }
        self.shared = true;
    }

    /// Objects of which half is worth another P's while: what is oldest on a stack leads to most.
    const WORTH_SHARING: usize = if cfg!(modelled) { 2 } else { 4 };

    /// Keeps the newer half of its buffer, in another one, and returns this one.
    fn split(&mut self, work: &Work) -> u32 {
        let (older, fresh) = (self.give_up(work), work.take_empty());
        let (old, new) = (&work.buffers[older as usize - 1], &work.buffers[fresh as usize - 1]);
        // SAFETY: both are this P's own.
        unsafe {
            let (len, half) = (*old.len.get(), *old.len.get() / 2);
            (&mut *new.objects.get())[..len - half].copy_from_slice(&(&*old.objects.get())[half..len]);
            *new.len.get() = len - half;
            *old.len.get() = half;
        }
        self.take(work, fresh);
        older
    }

    /// Whether it has shared work since this was asked last.
    pub fn has_shared(&mut self) -> bool {
        let shared = self.shared;
        self.shared = false;
        shared
    }
}

#[cfg(all(test, not(modelled)))]
impl GcWork {
    /// Takes a grey object.
    pub fn get(&mut self, heap: &Heap) -> Option<Grey> {
        let mut work = AtHand::of(self);
        let grey = work.get(heap);
        work.lay_down();
        (grey != Grey::NONE).then_some(grey)
    }

    pub fn marked_bytes(&self) -> usize {
        self.top.bytes
    }
}

/// A list of buffers by itself, for its model.
#[cfg(modelled)]
pub struct BufferList {
    buffers: Table<Buffer>,
    list: Stack,
}

#[cfg(modelled)]
#[allow(missing_docs)]
impl BufferList {
    /// Buffers `1..=n`, the first one on top.
    pub fn new(n: u32) -> BufferList {
        let all = BufferList { buffers: Table::new(n as usize).expect("a small table"), list: Stack::new() };
        (1..=n).rev().for_each(|id| all.push(id));
        all
    }

    pub fn push(&self, id: u32) {
        self.list.push(&self.buffers, id);
    }

    pub fn pop(&self) -> Option<u32> {
        self.list.pop(&self.buffers)
    }
}

#[cfg(all(test, not(modelled)))]
mod tests {
    use super::*;
    use proptest::prelude::{Strategy, any, prop, prop_assert, prop_assert_eq, prop_oneof, proptest};
    use std::collections::BTreeSet;

    /// What one of two markers does.
    #[derive(Clone, Debug)]
    enum Step {
        Put(usize),
        Get(usize),
        Share,
        Dispose,
    }

    fn step() -> impl Strategy<Value = Step> {
        let most = if cfg!(miri) { 20 } else { 3 * CAPACITY };
        prop_oneof![
            3 => (1..most).prop_map(Step::Put),
            3 => (1..most).prop_map(Step::Get),
            1 => proptest::prelude::Just(Step::Share),
            1 => proptest::prelude::Just(Step::Dispose),
        ]
    }

    proptest! {
        #![proptest_config(crate::testing::cases(64))]
        /// What goes in comes out once, to whoever asks, unless the other one still has it to itself; and no buffer is
        /// lost.
        #[test]
        fn lists_agree_with_a_set(
            small_buffers in any::<bool>(),
            steps in prop::collection::vec((0..2_usize, step()), 1..60),
        ) {
            let heap = crate::testing::heap(64);
            let mut stress = Stress::default();
            stress.small_buffers = small_buffers;
            let mut markers = [GcWork::new(&stress), GcWork::new(&stress)];
            let capacity = markers[0].capacity;
            // A small heap has few buffers.
            let most = 8 * capacity;
            let (mut next, mut waiting) = (16, BTreeSet::new());
            let end = [(0, Step::Dispose), (1, Step::Dispose), (0, Step::Get(usize::MAX)), (0, Step::Dispose)];
            for (who, step) in steps.into_iter().chain(end) {
                let marker = &mut markers[who];
                match step {
                    Step::Put(n) => for _ in 0..n.min(most) {
                        marker.put(heap, Grey::object(next));
                        waiting.insert(next);
                        next += 16;
                    },
                    Step::Get(n) => for _ in 0..n {
                        let Some(grey) = marker.get(heap) else {
                            prop_assert!(waiting.len() <= 2 * capacity, "{} are not to be found", waiting.len());
                            break;
                        };
                        prop_assert!(waiting.remove(&grey.address()), "{:?} came out twice", grey);
                    },
                    Step::Share => marker.share(heap),
                    Step::Dispose => marker.dispose(heap),
                }
            }
            prop_assert!(waiting.is_empty(), "{} are lost", waiting.len());
            prop_assert!(heap.work.full.is_empty());
            let free = std::iter::from_fn(|| heap.work.empty.pop(&heap.work.buffers)).collect::<BTreeSet<_>>();
            prop_assert_eq!(free.len(), heap.work.made.load(Ordering::Relaxed), "a buffer is lost, or in a list twice");
        }
    }

    /// All objects of a small heap may be grey, however small the buffers are.
    #[test]
    #[cfg_attr(miri, ignore = "too slow")]
    fn small_buffers_are_enough_for_a_small_heap() {
        let mut stress = Stress::default();
        stress.small_buffers = true;
        let heap = crate::testing::heap_under(64, stress);
        let mut gcw = GcWork::new(&heap.config.stress);
        let objects = heap.bounds.bytes / 64;
        (0..objects).for_each(|i| gcw.put(heap, Grey::object(heap.bounds.base + i * 64)));
        assert_eq!((0..).take_while(|_| gcw.get(heap).is_some()).count(), objects);
    }

    #[test]
    fn stack_is_lifo_and_tags_grow() {
        let buffers = Table::new(4).unwrap();
        let s = Stack::new();
        assert!(s.pop(&buffers).is_none());
        (1..=3).for_each(|id| s.push(&buffers, id));
        assert_eq!([s.pop(&buffers), s.pop(&buffers)], [Some(3), Some(2)]);
        s.push(&buffers, 3);
        assert_eq!([s.pop(&buffers), s.pop(&buffers), s.pop(&buffers)], [Some(3), Some(1), None]);
        assert_eq!(s.head.load(Ordering::Relaxed) >> 32, 8);
    }
}
