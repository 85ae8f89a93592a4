//! `Root<T>`: keeps an object alive from where the collector does not look.
//!
//! A root is a slot in an off-heap table. Making one shades the object, as a pointer store does. Dropping one *only*
//! links its slot into the deferred list, whatever the phase, without a P and without malloc; the slot keeps its
//! value, so an object that was reachable when marking began is still found. Slots are taken from the deferred list
//! and cleared only by a thread with a P that has seen that marking is off (no flip can come in between: no
//! safepoint). What would break: a drop while marking that cleared the slot would hide an object whose `Gc` was
//! copied to a stack that is black already.
//!
//! Who holds a P while marking is off clears the slot of a root that he drops himself, and the P keeps a few such slots at
//! hand: a handle that lives for a moment, as that of a goroutine that is joined, takes no lock.

use crate::faults::{self, Fault};
use crate::gc::Gc;
use crate::heap::Heap;
use crate::mark::Scanner;
use crate::p::{GcP, forbidden};
use crate::sync::current::Region;
use crate::sync::{
    AtomicU32, AtomicU64, AtomicUsize, Lock, MapError, Ordering, Rank, Table, Zeroed, current, overwrite,
};
use barrier_lint::{nowritebarrierrec, writebarrier};
use core::fmt;
use core::marker::PhantomData;

/// Most roots that a heap can have. A small heap has fewer: an eighth of its bytes go into the table.
const MAX_ROOTS: usize = if cfg!(modelled) { 4 } else { 1 << 26 };
/// `next` of the slot of a handle's root, as long as it is one. No slot has this number.
const HANDLE: u32 = u32::MAX;
/// Slots per root job.
const PIECE: usize = 4096;

/// One root. Lives as long as its heap.
pub(crate) struct Slot {
    /// The object, or 0.
    pub object: AtomicUsize,
    /// Next in the deferred or the free list (index + 1); or [`HANDLE`].
    next: AtomicU32,
}

// SAFETY: integers.
unsafe impl Zeroed for Slot {
    fn zeroed() -> Self {
        Slot { object: AtomicUsize::new(0), next: AtomicU32::new(0) }
    }
}

/// Cleared slots that a P has at hand.
#[derive(Default)]
pub(crate) struct FreeRoots {
    /// Index + 1 of the first; 0: none.
    first: u32,
    len: u32,
}

/// Most slots that a P keeps.
const AT_HAND: u32 = if cfg!(modelled) { 1 } else { 64 };

pub(crate) struct RootTable {
    slots: Table<Slot>,
    /// Slots ever used.
    top: AtomicUsize,
    /// Dropped roots, not cleared yet: index + 1, tagged in the upper half.
    deferred: AtomicU64,
    /// Cleared slots.
    free: Lock<u32>,
}

impl RootTable {
    /// For a heap with `bytes` bytes of address space.
    pub fn new(bytes: usize) -> Result<RootTable, MapError> {
        Ok(RootTable {
            slots: Table::new(if cfg!(modelled) { MAX_ROOTS } else { (bytes / 8 / size_of::<Slot>()).min(MAX_ROOTS) })?,
            top: AtomicUsize::new(0),
            deferred: AtomicU64::new(0),
            free: Lock::new(Rank::RootTable, 0),
        })
    }

    /// Bytes of the slots ever used.
    pub fn bytes(&self) -> usize {
        // Relaxed: statistics.
        self.top.load(Ordering::Relaxed) * size_of::<Slot>()
    }

    /// Root jobs of a cycle. Slots made later hold what was shaded when it was stored.
    pub fn pieces(&self) -> usize {
        self.top.load(Ordering::Acquire).div_ceil(PIECE)
    }

    pub fn scan_piece(&self, piece: usize, scanner: &mut Scanner<'_>) {
        crate::sync::modelled("RootTable::scan_piece");
        if faults::active(Fault::RootsUnscanned) && !scanner.verifying() {
            return;
        }
        // What loses a pointer from a root to a black stack needs roots that are scanned late.
        let late = [Fault::CleanupUnshaded, Fault::RootCleared, Fault::RootCellUnshaded, Fault::WeakUpgradeUnshaded];
        faults::linger_for(&late, 5000);
        let end = ((piece + 1) * PIECE).min(self.top.load(Ordering::Acquire));
        for i in piece * PIECE..end {
            // Acquire: pairs with the Release in `add`: what the object holds is seen.
            let object = self.slots[i].object.load(Ordering::Acquire);
            scanner.object(core::ptr::with_exposed_provenance::<()>(object));
        }
    }

    /// Calls `f` with the object of each root, those of handles only `with_handles`. The world is stopped.
    pub fn each(&self, with_handles: bool, f: &mut dyn FnMut(usize)) {
        for slot in &self.slots.as_slice()[..self.top.load(Ordering::Acquire)] {
            // Relaxed: the stop orders them, but for roots that are dropped just now.
            if with_handles || slot.next.load(Ordering::Relaxed) != HANDLE {
                f(slot.object.load(Ordering::Relaxed));
            }
        }
    }

    /// The slot, if it is one of this table's.
    pub fn own(&'static self, slot: *const Slot) -> Option<&'static Slot> {
        let range = self.slots.as_slice().as_ptr_range();
        // SAFETY: inside the table, at a slot that `add_slot` handed out; tables of heaps are never freed.
        range.contains(&slot).then(|| unsafe { &*slot })
    }

    /// As `add`, but names the slot by its address.
    pub fn add_slot(&'static self, heap: &Heap, object: usize) -> &'static Slot {
        &self.slots[self.add(heap, object) as usize]
    }

    /// Gives a slot of this table back, to be cleared later. May run without a P.
    #[nowritebarrierrec]
    pub fn defer_slot(&self, slot: &Slot) {
        let at = core::ptr::from_ref(slot).addr() - self.slots.as_slice().as_ptr().addr();
        self.defer((at / size_of::<Slot>()) as u32);
    }

    /// As [`add`](RootTable::add), preferably one that the caller's P has at hand.
    #[inline]
    fn add_at_hand(&self, heap: &Heap, p: &GcP, object: usize) -> u32 {
        // SAFETY: the caller holds `p`, in a region.
        let at_hand = unsafe { p.roots() };
        if at_hand.first == 0 {
            return self.add(heap, object);
        }
        let index = at_hand.first - 1;
        let slot = &self.slots[index as usize];
        // Relaxed: the P's own.
        (at_hand.first, at_hand.len) = (slot.next.load(Ordering::Relaxed), at_hand.len - 1);
        // Release: as in `add`.
        slot.object.store(object, Ordering::Release);
        index
    }

    /// Clears a slot and keeps it at hand on this thread's P; whether it did. Only while marking is off (the barrier may be
    /// on: roots are scanned by every cycle).
    #[nowritebarrierrec]
    #[inline]
    fn clear_at_hand(&self, heap: &Heap, index: u32) -> bool {
        crate::sync::modelled("RootTable::clear_at_hand");
        let _region = Region::enter();
        let wrongly = if faults::active(Fault::RootCleared) { current::MARKING } else { 0 };
        if current::state() & !(current::BARRIER | wrongly) != 0 {
            // No P, or a cycle marks, or the world is stopped.
            return false;
        }
        let p = GcP::current();
        // SAFETY: this thread holds `p`, in a region.
        let at_hand = unsafe { p.roots() };
        if at_hand.len >= AT_HAND || !core::ptr::eq(p.heap(), heap) {
            return false;
        }
        let slot = &self.slots[index as usize];
        // Relaxed: marking is off and cannot begin in a region of a thread with a P; who reads them does so in a stop.
        overwrite(&slot.object, 0, Ordering::Relaxed);
        slot.next.store(at_hand.first, Ordering::Relaxed);
        at_hand.first = index + 1;
        at_hand.len += 1;
        true
    }

    /// Gives back what a P has at hand.
    pub fn take_back(&self, at_hand: &mut FreeRoots) {
        self.clear(&mut self.free.lock(), core::mem::take(at_hand).first);
    }

    /// A slot that holds `object`. The caller holds a P and has shaded the object if marking is on.
    fn add(&self, heap: &Heap, object: usize) -> u32 {
        let mut free = self.free.lock();
        if *free == 0 && !heap.marking() {
            self.reclaim(&mut free);
        }
        let index = match *free {
            0 => {
                let top = self.top.load(Ordering::Relaxed);
                if top == self.slots.len() {
                    crate::throw!(
                        "more than {top} roots are alive, of which a heap of {} bytes has no more",
                        heap.bounds.bytes
                    );
                }
                // Release: pairs with the Acquire in `pieces`.
                self.top.store(top + 1, Ordering::Release);
                top as u32
            }
            id => {
                *free = self.slots[id as usize - 1].next.load(Ordering::Relaxed);
                id - 1
            }
        };
        drop(free);
        // Release: pairs with the Acquire in `scan_piece`.
        self.slots[index as usize].object.store(object, Ordering::Release);
        index
    }

    /// Clears all dropped slots, so that the next cycle does not find what they held. The caller holds a P and has
    /// seen that marking is off.
    pub fn reclaim_dropped(&self) {
        self.reclaim(&mut self.free.lock());
    }

    fn reclaim(&self, free: &mut u32) {
        // Acquire: pairs with the Release in `defer`, for the links.
        self.clear(free, self.deferred.swap(0, Ordering::Acquire) as u32);
    }

    /// Clears the slots of the list that begins with `id`, and puts them among the free ones.
    fn clear(&self, free: &mut u32, mut id: u32) {
        while id != 0 {
            let slot = &self.slots[id as usize - 1];
            let next = slot.next.load(Ordering::Relaxed);
            slot.object.store(0, Ordering::Relaxed);
            slot.next.store(*free, Ordering::Relaxed);
            *free = id;
            id = next;
        }
    }

    /// Gives a slot back, to be cleared later. May run without a P.
    #[nowritebarrierrec]
    fn defer(&self, index: u32) {
        crate::sync::modelled("RootTable::defer");
        if faults::active(Fault::RootCleared) {
            // A swap, since loom would not show the marker's read between the owner's load and a store.
            self.slots[index as usize].object.swap(0, Ordering::Relaxed);
        }
        let mut head = self.deferred.load(Ordering::Relaxed);
        loop {
            self.slots[index as usize].next.store(head as u32, Ordering::Relaxed);
            // Release: pairs with the Acquire in `reclaim`. Pushes only and take-all: no ABA.
            match self.deferred.compare_exchange_weak(head, u64::from(index) + 1, Ordering::Release, Ordering::Relaxed)
            {
                Ok(_) => return,
                Err(now) => head = now,
            }
        }
    }
}

/// Keeps one object alive, from anywhere: malloc'd memory, statics, other threads.
///
/// Making, cloning and reading one needs a P; dropping one does not. Each costs a slot of 16 bytes.
pub struct Root<T: ?Sized> {
    heap: &'static Heap,
    slot: u32,
    target: PhantomData<*const T>,
}

// SAFETY: hands out a `Gc<T>`; the slot is atomic.
unsafe impl<T: ?Sized + Send + Sync> Send for Root<T> {}
// SAFETY: as above.
unsafe impl<T: ?Sized + Send + Sync> Sync for Root<T> {}

impl<T: ?Sized> Root<T> {
    /// Roots `object`.
    #[writebarrier(assoc)]
    pub fn new(object: Gc<T>) -> Root<T> {
        if current::state() & current::STOPPED != 0 {
            forbidden(format_args!("a root is made"));
        }
        let _region = Region::enter();
        let p = GcP::current();
        let heap = p.heap();
        if heap.marking() {
            // SAFETY: this thread holds `p` and borrows its work only here.
            heap.shade(unsafe { p.gcw() }, object.addr());
        }
        Root { heap, slot: heap.roots.add_at_hand(heap, p, object.addr()), target: PhantomData }
    }

    /// The object. Fatal on a thread without a P, in every build.
    #[inline]
    pub fn get(&self) -> Gc<T> {
        if current::state() & (current::NO_P | current::STOPPED) != 0 {
            forbidden(format_args!("a root is read"));
        }
        // Acquire: pairs with the Release in `add`.
        let addr = self.heap.roots.slots[self.slot as usize].object.load(Ordering::Acquire);
        // SAFETY: the slot keeps the object alive; it holds what `new` was given.
        unsafe { Gc::from_addr(addr) }
    }
}

impl<T: ?Sized> Root<T> {
    /// As [`new`](Root::new), for a handle that goes with a pointer to `object`, side by side wherever it is moved: whoever
    /// asks what can be reached finds the handle itself ([`Reach`](crate::Reach)).
    pub fn of_handle(object: Gc<T>) -> Root<T> {
        let root = Root::new(object);
        // Relaxed: read while the world is stopped.
        root.heap.roots.slots[root.slot as usize].next.store(HANDLE, Ordering::Relaxed);
        root
    }

    fn is_of_handle(&self) -> bool {
        self.heap.roots.slots[self.slot as usize].next.load(Ordering::Relaxed) == HANDLE
    }
}

impl<T: ?Sized> Root<T> {
    /// The slot, which keeps the object alive until it is made a root again.
    pub(crate) fn into_slot(self) -> u32 {
        core::mem::ManuallyDrop::new(self).slot
    }

    /// Back from [`into_slot`](Root::into_slot).
    ///
    /// # Safety
    /// `slot` came from a root of this type, in this heap, and is not used again.
    pub(crate) unsafe fn from_slot(heap: &'static Heap, slot: u32) -> Root<T> {
        Root { heap, slot, target: PhantomData }
    }
}

impl<T: ?Sized> Clone for Root<T> {
    fn clone(&self) -> Self {
        if self.is_of_handle() { Root::of_handle(self.get()) } else { Root::new(self.get()) }
    }
}

#[nowritebarrierrec]
impl<T: ?Sized> Drop for Root<T> {
    fn drop(&mut self) {
        if !self.heap.roots.clear_at_hand(self.heap, self.slot) {
            self.heap.roots.defer(self.slot);
        }
    }
}

impl<T: ?Sized> fmt::Debug for Root<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Root#{}", self.slot)
    }
}
