//! `JoinHandle`: the result of a goroutine.
//!
//! The join object lies in the heap, of conservative kind: it holds the result between the end of the goroutine and
//! `join`.
//!
//! ```text
//! RUNNING --goroutine ends--> DONE | PANICKED --join, or the handle's drop--> TAKEN
//!    └──────goroutine ends, and the handle has gone (`detached`)──────────────► TAKEN
//! ```
//!
//! The goroutine leaves RUNNING under the lock, under which `waiter` and `detached` are written. From DONE and PANICKED on the
//! result belongs to the handle, of which there is one, so it is taken without the lock. What would break if the handle took
//! it before it has seen that state: the goroutine may still be writing it.

use crate::g::{G, WaitReason, getg};
use crate::panic::{Snapshot, nobody_can_join};
use crate::proc::park::{park, ready};
use core::cell::UnsafeCell;
use core::fmt;
use core::mem::{ManuallyDrop, MaybeUninit};
use gc_core::sync::current::Region;
use gc_core::sync::{AtomicPtr, AtomicU32, Ordering, Rank, RawLock};
use gc_core::{Conservative, Gc, GcCell, Root};
use std::any::Any;

const RUNNING: u32 = 0;
const DONE: u32 = 1;
const PANICKED: u32 = 2;
const TAKEN: u32 = 3;

type Payload = Box<dyn Any + Send>;

/// What a goroutine and its handle share.
pub(crate) struct Join<R> {
    lock: RawLock,
    state: AtomicU32,
    /// 0 or 1. As long as `state`: what is in padding may look like a pointer to the collector.
    detached: AtomicU32,
    /// Who waits in `join`. Kept alive by `allgs`.
    waiter: AtomicPtr<G>,
    goid: u64,
    result: UnsafeCell<MaybeUninit<R>>,
    payload: UnsafeCell<MaybeUninit<Payload>>,
    /// Copies of the payload's words.
    payload_words: GcCell<Option<Gc<Conservative<Snapshot>>>>,
}

// SAFETY: `result` and `payload` are written by the goroutine before the state says so, and taken by the only handle
// after it has seen that.
unsafe impl<R: Send> Sync for Join<R> {}
// SAFETY: as above.
unsafe impl<R: Send> Send for Join<R> {}

impl<R: Send + 'static> Join<R> {
    pub(crate) fn new(goid: u64) -> Join<R> {
        Join {
            lock: RawLock::new(Rank::Waited),
            state: AtomicU32::new(RUNNING),
            detached: AtomicU32::new(0),
            waiter: AtomicPtr::new(core::ptr::null_mut()),
            goid,
            // Zeroed: what this memory held before must not look like pointers to the collector.
            result: UnsafeCell::new(MaybeUninit::zeroed()),
            payload: UnsafeCell::new(MaybeUninit::zeroed()),
            payload_words: GcCell::new(None),
        }
    }

    /// The goroutine `gp` has ended with `out`.
    pub(crate) fn finish(&self, gp: &'static G, out: Result<R, Payload>) {
        let heap = gp.sched.heap();
        let mut unwanted = None;
        self.lock.lock();
        // Relaxed, here and in the handle's drop: under the lock.
        let detached = self.detached.load(Ordering::Relaxed) != 0;
        match out {
            Ok(value) if detached => {
                // Relaxed: nobody looks any more.
                self.state.store(TAKEN, Ordering::Relaxed);
                unwanted = Some(value);
            }
            Ok(value) => {
                let value = ManuallyDrop::new(value);
                // SAFETY: readable; nobody else sees `value`, and under the lock in state RUNNING the slot is ours.
                // The object may be black already: what goes in is shaded, with no safepoint before the store.
                unsafe {
                    heap.shade_value(&raw const *value);
                    (*self.result.get()).write(core::ptr::read(&raw const *value));
                }
                // Release, here and below: pairs with the Acquire in `ended`, for the result.
                self.state.store(DONE, Ordering::Release);
            }
            Err(payload) => {
                if detached {
                    nobody_can_join(self.goid);
                }
                // SAFETY: as above.
                unsafe { (*self.payload.get()).write(payload) };
                self.payload_words.set(gp.panics.get());
                gp.panics.set(None);
                self.state.store(PANICKED, Ordering::Release);
            }
        }
        // Relaxed, here and in `join`: under the lock.
        // SAFETY: null or a G of `allgs`.
        let waiter = unsafe { self.waiter.load(Ordering::Relaxed).as_ref() };
        waiter.inspect(|gp| gp.clear_awaits());
        self.lock.unlock();
        if let Some(gp) = waiter {
            ready(gp);
        }
        drop(unwanted);
    }

    /// Whether there is something to take, or never will be.
    fn ended(&self) -> bool {
        // Acquire: pairs with the Release in `finish`.
        self.state.load(Ordering::Acquire) != RUNNING
    }

    /// Takes what the goroutine left, if it has ended and nobody has. For the handle; needs a P.
    fn take(&self, gp: &'static G) -> Option<Result<R, Payload>> {
        // What moves out is shaded in the phase in which it is read.
        let _region = Region::enter();
        let out = match self.state.load(Ordering::Acquire) {
            DONE => {
                // SAFETY: written before the state became DONE; taken once. The reader's stack may be black already,
                // so what it gets is shaded.
                unsafe {
                    let slot = (*self.result.get()).as_ptr();
                    gp.sched.heap().shade_value(slot);
                    let value = slot.read();
                    // What is taken is no longer kept from here.
                    (*self.result.get()).as_mut_ptr().write_bytes(0, 1);
                    Some(Ok(value))
                }
            }
            PANICKED => {
                // SAFETY: written before the state became PANICKED; taken once.
                let payload = unsafe {
                    let payload = (*self.payload.get()).assume_init_read();
                    (*self.payload.get()).as_mut_ptr().write_bytes(0, 1);
                    payload
                };
                // The copy of its words goes along to the goroutine that takes it, which forgets it at its next
                // safepoint of its own: a signal may suspend it anywhere before.
                if let Some(words) = self.payload_words.swap(None) {
                    crate::panic::hand_on(gp, words);
                }
                shade_payload(gp, &*payload);
                Some(Err(payload))
            }
            _ => None,
        };
        if out.is_some() {
            // Relaxed: for this handle alone.
            self.state.store(TAKEN, Ordering::Relaxed);
        }
        out
    }
}

/// Shades the words of a payload that leaves the runtime's care.
fn shade_payload(gp: &'static G, payload: &(dyn Any + Send)) {
    if align_of_val(payload) >= align_of::<usize>() {
        let words = core::ptr::from_ref(payload).cast::<usize>();
        // SAFETY: that many aligned words, which nobody writes.
        unsafe { gp.sched.heap().shade_words(words, size_of_val(payload) / size_of::<usize>()) };
    }
}

/// Owns the right to a goroutine's result, as `std::thread::JoinHandle`.
///
/// Dropping it detaches the goroutine: it runs on, its result is dropped, and if it panics, or has panicked already, the
/// process aborts, since nobody could learn of it. The handle may lie in any memory.
pub struct JoinHandle<R: Send + 'static> {
    root: Root<Conservative<Join<R>>>,
    /// The object that `root` keeps; for `drop`, which may run without a P.
    join: *const Join<R>,
    goid: u64,
}

// SAFETY: the shared object is Sync; the pointer goes with the root.
unsafe impl<R: Send> Send for JoinHandle<R> {}
// SAFETY: as above.
unsafe impl<R: Send> Sync for JoinHandle<R> {}

impl<R: Send + 'static> JoinHandle<R> {
    pub(crate) fn new(join: Gc<Conservative<Join<R>>>) -> JoinHandle<R> {
        JoinHandle { root: Root::of_handle(join), join: &raw const **join, goid: join.goid }
    }

    /// Waits until the goroutine has ended and returns its result.
    ///
    /// Needs a P: call it on a goroutine. Source: Go has none; the semantics are those of `std::thread`.
    ///
    /// # Errors
    /// The payload, if the goroutine panicked.
    ///
    /// # Panics
    /// Outside a goroutine.
    pub fn join(self) -> Result<R, Payload> {
        let gp = getg().expect("`join` is called on a goroutine");
        crate::proc::park::poll();
        let join = self.root.get();
        if !join.ended() {
            join.lock.lock();
            if join.ended() {
                join.lock.unlock();
            } else {
                join.waiter.store(core::ptr::from_ref(gp).cast_mut(), Ordering::Relaxed);
                gp.set_awaits(&join.lock);
                park(gp, &join.lock, WaitReason::Join);
            }
        }
        let Some(out) = join.take(gp) else { gc_core::throw!("the result of goroutine {} is gone", self.goid) };
        // What the handle's drop is for is done; the root alone is left.
        let this = ManuallyDrop::new(self);
        // SAFETY: `this` is not used again.
        drop(unsafe { core::ptr::read(&raw const this.root) });
        out
    }

    /// Whether the goroutine has ended, so that `join` would not wait. Does not need a P.
    pub fn is_finished(&self) -> bool {
        // SAFETY: `root` keeps the object.
        unsafe { &*self.join }.ended()
    }

    /// The goroutine's number, as in dumps. Does not need a P.
    pub fn id(&self) -> u64 {
        self.goid
    }
}

impl<R: Send + 'static> Drop for JoinHandle<R> {
    fn drop(&mut self) {
        // SAFETY: `root` keeps the object until its own drop, after this.
        let join = unsafe { &*self.join };
        if !join.ended() {
            join.lock.lock();
            join.detached.store(1, Ordering::Relaxed);
            join.lock.unlock();
        }
        // Without a P the value stays where it is and is lost with the object.
        if let Some(gp) = getg()
            && crate::p::holds_one()
        {
            match join.take(gp) {
                // It panicked while the handle was still there, but nobody has asked. One panic at a time.
                Some(Err(_)) if !std::thread::panicking() => nobody_can_join(self.goid),
                unwanted => drop(unwanted),
            }
        }
    }
}

impl<R: Send + 'static> fmt::Debug for JoinHandle<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinHandle").field("goroutine", &self.goid).field("finished", &self.is_finished()).finish()
    }
}
