//! Waiters and buffers of a channel.
//!
//! A waiter's value lies in its `Sudog`, never on another goroutine's stack. The links between Sudogs have no
//! barrier: each is kept alive by the stack of the goroutine that waits in it, which points to it until it is off the
//! queue (or, where it waits for several channels, to another that points to it). A goroutine keeps the one that it has
//! waited with in one channel for the next time ([`Sudog::of`]): off the queue, without a value, and so without a pointer but
//! to itself.

use super::hchan::put;
use super::select::Chosen;
use crate::g::G;
use core::cell::{Cell, UnsafeCell};
use core::mem::{ManuallyDrop, MaybeUninit};
use gc_core::sync::current::Region;
use gc_core::sync::{AtomicPtr, Ordering};
use gc_core::{Conservative, Gc, GcCell};

/// What every Sudog begins with, whatever it is of.
pub(crate) struct Head {
    bytes: u32,
}

/// A goroutine that waits in a channel, with its value (Go's `sudog`). Its cells are under the channel's lock.
#[repr(C)]
pub(crate) struct Sudog<T> {
    head: Head,
    queued: Cell<bool>,
    /// It waits to send; else to receive.
    pub(super) sends: Cell<bool>,
    /// Its time limit has passed before anybody came.
    pub(super) expired: Cell<bool>,
    /// Whether a value was handed over; false: the other side is gone.
    pub(super) success: Cell<bool>,
    pub(super) g: &'static G,
    /// Kept alive by the waiter's stack.
    next: Cell<*const Sudog<T>>,
    /// Likewise.
    prev: Cell<*const Sudog<T>>,
    /// What whoever comes for it must win first, in the frame of a goroutine that waits for several channels; else null.
    chosen: *const Chosen,
    /// Another Sudog of that goroutine, or null: keeps it alive.
    _before: *const (),
    pub(super) elem: UnsafeCell<MaybeUninit<T>>,
}

/// Larger ones are not kept.
const KEPT_MAX: usize = 256;

impl<T: 'static> Sudog<T> {
    const BYTES: u32 = size_of::<Self>() as u32;
    /// Objects without a type of their own are as large and as aligned as these are.
    const KEPT: bool = size_of::<Self>() <= KEPT_MAX && align_of::<Self>() <= align_of::<usize>();

    /// One for the goroutine that calls this to wait with in one channel: to send the value, or to receive one. The last one,
    /// if that was as large. A safepoint.
    #[inline(always)]
    pub(super) fn of(gp: &'static G, value: Option<T>) -> Gc<Conservative<Sudog<T>>> {
        let Some(s) = Self::kept(gp) else { return Self::make(gp, value) };
        s.sends.set(value.is_some());
        s.expired.set(false);
        s.success.set(false);
        if let Some(value) = value.map(ManuallyDrop::new) {
            let _region = Region::enter();
            // SAFETY: nobody else knows of it: who took it off its queue was done with it before he readied this goroutine, and
            // its time limit was stopped.
            unsafe { put(gp.sched.heap(), s.elem.get(), &value) };
        }
        s
    }

    /// The last one, if it was of this size: off every queue, and without a value.
    #[inline(always)]
    fn kept(gp: &G) -> Option<Gc<Conservative<Sudog<T>>>> {
        let last = gp.sudog.load(Ordering::Relaxed);
        // SAFETY: null, or a Sudog, which the scan of this goroutine's stack has kept alive. One of the same size is as good.
        unsafe {
            last.as_ref().filter(|head| Self::KEPT && head.bytes == Self::BYTES).map(|_| Gc::from_ptr(last.cast()))
        }
    }

    #[cold]
    #[inline(never)]
    fn make(gp: &'static G, value: Option<T>) -> Gc<Conservative<Sudog<T>>> {
        let sends = value.is_some();
        let elem = value.map_or(MaybeUninit::zeroed(), MaybeUninit::new);
        let made = Gc::new(Conservative(Sudog::new(gp, sends, elem)));
        if Self::KEPT {
            gp.sudog.store(Gc::as_ptr(made).cast(), Ordering::Relaxed);
        }
        made
    }

    pub(super) fn new(g: &'static G, sends: bool, elem: MaybeUninit<T>) -> Sudog<T> {
        Sudog {
            head: Head { bytes: Self::BYTES },
            g,
            next: Cell::new(core::ptr::null()),
            prev: Cell::new(core::ptr::null()),
            queued: Cell::new(false),
            sends: Cell::new(sends),
            expired: Cell::new(false),
            elem: UnsafeCell::new(elem),
            success: Cell::new(false),
            chosen: core::ptr::null(),
            _before: core::ptr::null(),
        }
    }

    /// It is one of several of its goroutine.
    pub(super) fn among(self, chosen: &Chosen, before: *const ()) -> Sudog<T> {
        Sudog { chosen, _before: before, ..self }
    }

    /// Comes for it, which has just been taken off its queue; the queue's lock is held. `None`: somebody else has come for that
    /// goroutine, by another channel.
    fn claim(&self) -> Option<Wake> {
        // SAFETY: null, or in the frame of the goroutine, which it leaves when it has seen to it, under this lock, that this
        // is off the queue.
        match unsafe { self.chosen.as_ref() } {
            Some(chosen) => chosen.claim(self.g, core::ptr::from_ref(self).cast()),
            None => Some(Wake(Some(self.g))),
        }
    }
}

/// Who is to be readied when the channel's lock has been given back; nobody, if it has not parked yet, and will not.
#[must_use]
pub(super) struct Wake(pub(super) Option<&'static G>);

impl Wake {
    pub(super) fn ready(self) {
        if let Some(gp) = self.0 {
            crate::proc::park::ready(gp);
        }
    }
}

/// First in, first out. Under the channel's lock.
pub(super) struct WaitQ<T> {
    first: AtomicPtr<Sudog<T>>,
    last: Cell<*const Sudog<T>>,
}

impl<T: 'static> WaitQ<T> {
    pub(super) fn new() -> WaitQ<T> {
        WaitQ { first: AtomicPtr::new(core::ptr::null_mut()), last: Cell::new(core::ptr::null()) }
    }

    /// Whether somebody is queued, who may have been woken by another channel. Without the lock: a hint.
    pub(super) fn any(&self) -> bool {
        !self.first().is_null()
    }

    // Relaxed, both: written and followed under the lock only.
    fn first(&self) -> *const Sudog<T> {
        self.first.load(Ordering::Relaxed)
    }

    fn set_first(&self, s: *const Sudog<T>) {
        self.first.store(s.cast_mut(), Ordering::Relaxed);
    }

    pub(super) fn push(&self, s: &Sudog<T>) {
        s.next.set(core::ptr::null());
        s.prev.set(self.last.get());
        s.queued.set(true);
        // SAFETY: a queued Sudog is alive (see the module's text).
        match unsafe { self.last.get().as_ref() } {
            Some(last) => last.next.set(s),
            None => self.set_first(s),
        }
        self.last.set(s);
    }

    /// The first waiter for whom nobody else has come, off the queue. It stays parked, or on its way, and its Sudog alive until
    /// it is readied and this lock given back.
    pub(super) fn pop<'a>(&self) -> Option<(&'a Sudog<T>, Wake)> {
        loop {
            // SAFETY: as in `push`.
            let s = unsafe { self.first().as_ref() }?;
            self.remove(s);
            if let Some(wake) = s.claim() {
                return Some((s, wake));
            }
        }
    }

    /// Takes `s` out; whether it was in.
    pub(super) fn remove(&self, s: &Sudog<T>) -> bool {
        if !s.queued.replace(false) {
            return false;
        }
        s.g.clear_awaits();
        // SAFETY: as in `push`.
        let (prev, next) = unsafe { (s.prev.get().as_ref(), s.next.get().as_ref()) };
        match prev {
            Some(prev) => prev.next.set(s.next.get()),
            None => self.set_first(s.next.get()),
        }
        match next {
            Some(next) => next.prev.set(s.prev.get()),
            None => self.last.set(s.prev.get()),
        }
        s.prev.set(core::ptr::null());
        s.next.set(core::ptr::null());
        true
    }
}

/// Values per piece of a buffer.
const PIECE: usize = 16;

/// A piece of a buffer; the pieces form a ring that never changes.
pub(super) struct Piece<T> {
    next: GcCell<Option<Gc<Conservative<Piece<T>>>>>,
    slots: [UnsafeCell<MaybeUninit<T>>; PIECE],
}

/// A place in the ring. Its pointer has no barrier: the channel's `ring` keeps all pieces alive.
pub(super) struct Cursor<T> {
    piece: Cell<*const Piece<T>>,
    at: Cell<usize>,
}

impl<T: 'static> Cursor<T> {
    pub(super) fn new(ring: Option<Gc<Conservative<Piece<T>>>>) -> Cursor<T> {
        let piece = ring.map_or(core::ptr::null(), |p| &raw const **p);
        Cursor { piece: Cell::new(piece), at: Cell::new(0) }
    }

    /// The slot here; moves on.
    ///
    /// # Safety
    /// The ring is not empty and alive.
    pub(super) unsafe fn advance(&self) -> *mut MaybeUninit<T> {
        // SAFETY: the caller's contract.
        let piece = unsafe { &*self.piece.get() };
        let slot = piece.slots[self.at.get()].get();
        let mut at = self.at.get() + 1;
        if at == PIECE {
            at = 0;
            let next = piece.next.get().map_or(core::ptr::null(), |p| &raw const **p);
            self.piece.set(next);
        }
        self.at.set(at);
        slot
    }
}

/// A ring of pieces with room for at least `cap` values; `None` for 0. A safepoint.
pub(super) fn ring<T: 'static>(cap: usize) -> Option<Gc<Conservative<Piece<T>>>> {
    let new = |next| {
        Gc::new(Conservative(Piece {
            next: GcCell::new(next),
            slots: core::array::from_fn(|_| UnsafeCell::new(MaybeUninit::zeroed())),
        }))
    };
    if cap == 0 {
        return None;
    }
    let last = new(None);
    let mut first = last;
    for _ in 1..cap.div_ceil(PIECE) {
        first = new(Some(first));
    }
    last.next.set(Some(first));
    Some(first)
}
