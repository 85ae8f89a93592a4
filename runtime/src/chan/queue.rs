//! Waiters and buffers of a channel.
//!
//! A waiter's value lies in its `Sudog`, never on another goroutine's stack. The links between Sudogs have no
//! barrier: each is kept alive by the stack of the goroutine that waits in it, which points to it until it is off the
//! queue.

use crate::g::G;
use core::cell::{Cell, UnsafeCell};
use core::mem::MaybeUninit;
use gc_core::{Conservative, Gc, GcCell};

/// A goroutine that waits in a channel, with its value (Go's `sudog`). Its cells are under the channel's lock.
pub(crate) struct Sudog<T> {
    pub(super) g: &'static G,
    /// Kept alive by the waiter's stack.
    next: Cell<*const Sudog<T>>,
    /// Likewise.
    prev: Cell<*const Sudog<T>>,
    queued: Cell<bool>,
    /// It waits to send; else to receive.
    pub(super) sends: bool,
    /// Its time limit has passed before anybody came.
    pub(super) expired: Cell<bool>,
    pub(super) elem: UnsafeCell<MaybeUninit<T>>,
    /// Whether a value was handed over; false: the other side is gone.
    pub(super) success: Cell<bool>,
}

impl<T> Sudog<T> {
    pub(super) fn new(g: &'static G, sends: bool, elem: MaybeUninit<T>) -> Sudog<T> {
        Sudog {
            g,
            next: Cell::new(core::ptr::null()),
            prev: Cell::new(core::ptr::null()),
            queued: Cell::new(false),
            sends,
            expired: Cell::new(false),
            elem: UnsafeCell::new(elem),
            success: Cell::new(false),
        }
    }
}

/// First in, first out. Under the channel's lock.
pub(super) struct WaitQ<T> {
    first: Cell<*const Sudog<T>>,
    last: Cell<*const Sudog<T>>,
}

impl<T> WaitQ<T> {
    pub(super) fn new() -> WaitQ<T> {
        WaitQ { first: Cell::new(core::ptr::null()), last: Cell::new(core::ptr::null()) }
    }

    pub(super) fn push(&self, s: &Sudog<T>) {
        s.next.set(core::ptr::null());
        s.prev.set(self.last.get());
        s.queued.set(true);
        // SAFETY: a queued Sudog is alive (see the module's text).
        match unsafe { self.last.get().as_ref() } {
            Some(last) => last.next.set(s),
            None => self.first.set(s),
        }
        self.last.set(s);
    }

    /// The first waiter, off the queue. It stays parked, and its Sudog alive, until it is readied.
    pub(super) fn pop<'a>(&self) -> Option<&'a Sudog<T>> {
        // SAFETY: as in `push`.
        let s = unsafe { self.first.get().as_ref() }?;
        self.remove(s);
        Some(s)
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
            None => self.first.set(s.next.get()),
        }
        match next {
            Some(next) => next.prev.set(s.prev.get()),
            None => self.last.set(s.prev.get()),
        }
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
