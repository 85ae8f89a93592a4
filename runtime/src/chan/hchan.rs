//! The channel itself, as Go's `hchan`.
//!
//! Everything is under `lock`, which is given back without an exchange (`unlock_kept`) by everybody who has a reference to
//! the channel, which its end of it keeps alive; not by `park`, whose goroutine may be gone by then. Invariants: waiting
//! receivers and buffered values, or waiting senders and free places, never exist together; so a send looks first for a
//! waiting receiver, and a receive that finds the buffer full takes the oldest value and moves the first waiting sender's
//! value into the place it leaves.
//!
//! What would break if a value were written to a waiter's stack instead of its Sudog: the stack may have been scanned
//! already, and the value would be lost in this cycle (I4).

use super::queue::{Cursor, Piece, Sudog, WaitQ, ring};
use crate::g::{G, WaitReason};
use crate::proc::park::{park, poll};
use crate::time::timers::Timer;
use core::mem::{ManuallyDrop, MaybeUninit};
use gc_core::sync::current::Region;
use gc_core::sync::{AtomicUsize, Ordering, Rank, RawLock};
use gc_core::{Conservative, Gc, GcCell, Heap};

pub(super) struct Hchan<T: 'static> {
    pub(super) lock: RawLock,
    cap: usize,
    /// Written under the lock.
    len: AtomicUsize,
    /// Keeps the buffer alive.
    _ring: GcCell<Option<Gc<Conservative<Piece<T>>>>>,
    send_at: Cursor<T>,
    recv_at: Cursor<T>,
    pub(super) sendq: WaitQ<T>,
    pub(super) recvq: WaitQ<T>,
    pub(super) senders: AtomicUsize,
    pub(super) receivers: AtomicUsize,
    sched: &'static crate::sched::Sched,
}

// SAFETY: all cells are under `lock`; values of `T` only move through.
unsafe impl<T: Send> Sync for Hchan<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Send for Hchan<T> {}

pub(super) enum Refused {
    /// The other side is gone.
    Closed,
    /// It would have to wait.
    WouldWait,
}

/// Why a wait has ended without what it was for.
pub(super) enum Ended {
    /// The other side is gone.
    Closed,
    /// The time limit has passed.
    TimedOut,
}

/// The time limit of a goroutine that waits; on its stack.
#[repr(C)]
struct Limit<T: 'static> {
    timer: Timer,
    chan: *const Hchan<T>,
    sudog: *const Sudog<T>,
}

impl<T: 'static> Limit<T> {
    fn new(chan: &Hchan<T>, sudog: &Sudog<T>) -> Limit<T> {
        Limit { timer: Timer::new(expire::<T>), chan, sudog }
    }

    /// From now on `expire` may come.
    ///
    /// # Safety
    /// This stays where it is and is dropped, while channel and Sudog live.
    unsafe fn arm(&self, until: Option<u64>) {
        if let Some(when) = until {
            // SAFETY: the caller's contract.
            unsafe { self.timer.arm(when) }
        }
    }
}

/// The time limit has passed: the goroutine is woken by it unless somebody else has come first. One that is not queued yet
/// will find out before it parks.
fn expire<T: 'static>(timer: &Timer) -> Option<&'static G> {
    // SAFETY: the first field of a `Limit` (repr(C)), whose frame keeps both alive until the timer is stopped.
    let (chan, s) = unsafe {
        let limit = &*core::ptr::from_ref(timer).cast::<Limit<T>>();
        (&*limit.chan, &*limit.sudog)
    };
    chan.lock.lock();
    // It is in one of them, and off both the same way.
    let queue = if s.sends.get() { &chan.sendq } else { &chan.recvq };
    let waits = queue.remove(s);
    s.expired.set(true);
    chan.lock.unlock();
    waits.then_some(s.g)
}

/// Copies `value` into a heap slot: shades its words, then stores it.
///
/// # Safety
/// `slot` is a free slot of a live heap object; the caller has exclusive use of it, holds a P, and is in a region, for which a
/// lock will do.
pub(super) unsafe fn put<T>(heap: &Heap, slot: *mut MaybeUninit<T>, value: &ManuallyDrop<T>) {
    // SAFETY: the caller's contract; `value` is not used again by whoever passed it.
    unsafe {
        heap.shade_value(&raw const **value);
        slot.write(MaybeUninit::new(core::ptr::read(&raw const **value)));
    }
}

/// As [`take`], for a caller that has given the lock back.
///
/// # Safety
/// As `take`.
pub(super) unsafe fn get<T>(heap: &Heap, slot: *mut MaybeUninit<T>) -> T {
    let _region = Region::enter();
    // SAFETY: the caller's contract.
    unsafe { take(heap, slot) }
}

/// Copies the value out of a heap slot: shades its words first, since the reader's stack may be black. The caller is in a
/// region, for which a lock will do.
///
/// # Safety
/// `slot` holds a value that nobody else takes; the caller holds a P.
unsafe fn take<T>(heap: &Heap, slot: *mut MaybeUninit<T>) -> T {
    // SAFETY: the caller's contract.
    unsafe {
        heap.shade_value(slot.cast::<T>());
        let value = slot.cast::<T>().read();
        // The channel no longer keeps what it has handed on.
        slot.write_bytes(0, 1);
        value
    }
}

impl<T: Send + 'static> Hchan<T> {
    /// A safepoint.
    pub(super) fn new(sched: &'static crate::sched::Sched, cap: usize) -> Gc<Conservative<Hchan<T>>> {
        let ring = ring(cap);
        Gc::new(Conservative(Hchan {
            lock: RawLock::kept(Rank::Waited),
            cap,
            len: AtomicUsize::new(0),
            _ring: GcCell::new(ring),
            send_at: Cursor::new(ring),
            recv_at: Cursor::new(ring),
            sendq: WaitQ::new(),
            recvq: WaitQ::new(),
            senders: AtomicUsize::new(1),
            receivers: AtomicUsize::new(1),
            sched,
        }))
    }

    pub(super) fn heap(&self) -> &'static Heap {
        self.sched.heap()
    }

    pub(super) fn len(&self) -> usize {
        // Relaxed: a number that may have changed when the caller looks at it, or the lock is held.
        self.len.load(Ordering::Relaxed)
    }

    /// Under the lock.
    fn set_len(&self, n: usize) {
        self.len.store(n, Ordering::Relaxed);
    }

    /// Whether a send need not wait. Under the lock, except that who queues may have been woken by another channel; without
    /// it, a hint.
    pub(super) fn may_send(&self) -> bool {
        self.receivers.load(Ordering::SeqCst) == 0 || self.recvq.any() || self.len() < self.cap
    }

    /// As `may_send`, for a receive.
    pub(super) fn may_recv(&self) -> bool {
        self.len() > 0 || self.sendq.any() || self.senders.load(Ordering::SeqCst) == 0
    }

    pub(super) fn cap(&self) -> usize {
        self.cap
    }

    /// Sends without waiting, under the lock, which it gives back if it succeeds.
    pub(super) fn send_now(&self, value: &ManuallyDrop<T>) -> Result<(), Refused> {
        // SeqCst: with the counter's last decrement, which is followed by taking this lock.
        if self.receivers.load(Ordering::SeqCst) == 0 {
            return Err(Refused::Closed);
        }
        if let Some((w, wake)) = self.recvq.pop() {
            // SAFETY: a waiting receiver's slot is empty and, off the queue, ours.
            unsafe { put(self.heap(), w.elem.get(), value) };
            w.success.set(true);
            self.lock.unlock_kept();
            wake.ready();
            return Ok(());
        }
        if self.len() < self.cap {
            self.put_last(value);
            self.lock.unlock_kept();
            return Ok(());
        }
        Err(Refused::WouldWait)
    }

    pub(super) fn try_send(&self, value: T) -> Result<(), (T, Refused)> {
        let value = ManuallyDrop::new(value);
        self.lock.lock();
        self.send_now(&value).map_err(|why| {
            self.lock.unlock_kept();
            (ManuallyDrop::into_inner(value), why)
        })
    }

    /// Puts the value into the buffer, which has room for it. Under the lock.
    #[inline]
    fn put_last(&self, value: &ManuallyDrop<T>) {
        // SAFETY: fewer values than places: the slot at `send_at` is free.
        unsafe { put(self.heap(), self.send_at.advance(), value) };
        self.set_len(self.len() + 1);
    }

    /// Puts the value into the buffer, if there is room and nobody waits for it.
    #[inline]
    fn buffer(&self, value: &ManuallyDrop<T>) -> bool {
        self.lock.lock();
        // SeqCst: as in `send_now`.
        let free = self.len() < self.cap && !self.recvq.any() && self.receivers.load(Ordering::SeqCst) != 0;
        if free {
            self.put_last(value);
        }
        self.lock.unlock_kept();
        free
    }

    /// Sends; waits for that, if there is a limit no longer than until then.
    #[inline]
    pub(super) fn send(&self, gp: &'static G, value: T, until: Option<u64>) -> Result<(), (T, Ended)> {
        poll();
        let value = ManuallyDrop::new(value);
        if self.cap > 0 && self.buffer(&value) {
            return Ok(());
        }
        self.send_otherwise(gp, ManuallyDrop::into_inner(value), until)
    }

    #[inline(never)]
    fn send_otherwise(&self, gp: &'static G, value: T, until: Option<u64>) -> Result<(), (T, Ended)> {
        // Where it looks as if it must wait, the lock is taken once, for good.
        let first = if self.may_send() { self.try_send(value) } else { Err((value, Refused::WouldWait)) };
        let value = match first {
            Ok(()) => return Ok(()),
            Err((value, Refused::Closed)) => return Err((value, Ended::Closed)),
            Err((value, Refused::WouldWait)) => value,
        };
        // The waiter's object is made before the lock is taken: allocation is a safepoint. The value moves into it
        // there, shaded; from here on it lives in the object.
        let s = Sudog::of(gp, Some(value));
        let limit = Limit::new(self, &s);
        // SAFETY: it stays in this frame, and `s` as well.
        unsafe { limit.arm(until) };
        self.lock.lock();
        // SAFETY: the Sudog is ours until it is queued; `ManuallyDrop` is as `T`.
        let value = unsafe { &*s.elem.get().cast::<ManuallyDrop<T>>() };
        let sent = match self.send_now(value) {
            Ok(()) => {
                // SAFETY: it has moved, and its goroutine keeps the Sudog.
                unsafe { s.elem.get().write_bytes(0, 1) };
                true
            }
            Err(Refused::WouldWait) if !s.expired.get() => {
                self.sendq.push(&s);
                if until.is_none() {
                    gp.set_awaits(&self.lock);
                }
                park(gp, &self.lock, WaitReason::ChanSend);
                s.success.get()
            }
            Err(_) => {
                self.lock.unlock_kept();
                false
            }
        };
        limit.timer.stop();
        if sent {
            gc_core::keep_alive(s);
            return Ok(());
        }
        // SAFETY: nobody took the value.
        let value = unsafe { get(self.heap(), s.elem.get()) };
        Err((value, if s.expired.get() { Ended::TimedOut } else { Ended::Closed }))
    }

    /// Receives without waiting, under the lock, which it gives back if it succeeds.
    pub(super) fn recv_now(&self) -> Result<T, Refused> {
        if self.len() > 0 {
            // SAFETY: the oldest value lies at `recv_at`.
            let value = unsafe { take(self.heap(), self.recv_at.advance()) };
            if let Some((w, wake)) = self.sendq.pop() {
                // The buffer was full: the waiting sender's value takes the place just left.
                // SAFETY: a waiting sender's slot holds its value, which moves; the slot at `send_at` is the one left.
                unsafe {
                    let from = &*w.elem.get().cast::<ManuallyDrop<T>>();
                    put(self.heap(), self.send_at.advance(), from);
                    w.elem.get().write_bytes(0, 1);
                }
                w.success.set(true);
                self.lock.unlock_kept();
                wake.ready();
            } else {
                self.set_len(self.len() - 1);
                self.lock.unlock_kept();
            }
            return Ok(value);
        }
        if let Some((w, wake)) = self.sendq.pop() {
            // SAFETY: as above.
            let value = unsafe { take(self.heap(), w.elem.get()) };
            w.success.set(true);
            self.lock.unlock_kept();
            wake.ready();
            return Ok(value);
        }
        if self.senders.load(Ordering::SeqCst) == 0 { Err(Refused::Closed) } else { Err(Refused::WouldWait) }
    }

    pub(super) fn try_recv(&self) -> Result<T, Refused> {
        self.lock.lock();
        self.recv_now().inspect_err(|_| self.lock.unlock_kept())
    }

    /// Takes a value out of the buffer, if there is one and nobody waits for its place.
    #[inline]
    fn unbuffer(&self) -> Option<T> {
        self.lock.lock();
        let value = if self.len() > 0 && !self.sendq.any() {
            self.set_len(self.len() - 1);
            // SAFETY: as in `recv_now`.
            Some(unsafe { take(self.heap(), self.recv_at.advance()) })
        } else {
            None
        };
        self.lock.unlock_kept();
        value
    }

    /// Receives; waits for that, if there is a limit no longer than until then.
    #[inline]
    pub(super) fn recv(&self, gp: &'static G, until: Option<u64>) -> Result<T, Ended> {
        poll();
        if self.cap > 0
            && let Some(value) = self.unbuffer()
        {
            return Ok(value);
        }
        self.recv_otherwise(gp, until)
    }

    #[inline(never)]
    fn recv_otherwise(&self, gp: &'static G, until: Option<u64>) -> Result<T, Ended> {
        // As in `send`.
        match if self.may_recv() { self.try_recv() } else { Err(Refused::WouldWait) } {
            Ok(value) => return Ok(value),
            Err(Refused::Closed) => return Err(Ended::Closed),
            Err(Refused::WouldWait) => {}
        }
        let s = Sudog::<T>::of(gp, None);
        let limit = Limit::new(self, &s);
        // SAFETY: it stays in this frame, and `s` as well.
        unsafe { limit.arm(until) };
        self.lock.lock();
        let got = match self.recv_now() {
            Ok(value) => Some(value),
            Err(Refused::WouldWait) if !s.expired.get() => {
                self.recvq.push(&s);
                if until.is_none() {
                    gp.set_awaits(&self.lock);
                }
                park(gp, &self.lock, WaitReason::ChanRecv);
                // SAFETY: a sender has put a value there and said so.
                s.success.get().then(|| unsafe { get(self.heap(), s.elem.get()) })
            }
            Err(_) => {
                self.lock.unlock_kept();
                None
            }
        };
        limit.timer.stop();
        got.ok_or(if s.expired.get() { Ended::TimedOut } else { Ended::Closed })
    }

    /// The last sender or the last receiver has gone: wakes the other side, empty-handed. May run without a P.
    pub(super) fn close(&self) {
        loop {
            self.lock.lock();
            // With no sender left nobody waits in `sendq`, and the same for receivers.
            let w = self.recvq.pop().or_else(|| self.sendq.pop());
            self.lock.unlock_kept();
            match w {
                Some((_, wake)) => wake.ready(),
                None => return,
            }
        }
    }

    /// Takes what is left; for the last receiver. Needs a P.
    pub(super) fn drain(&self) {
        while self.try_recv().is_ok() {}
    }
}
