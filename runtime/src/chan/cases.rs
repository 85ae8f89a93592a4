//! What a goroutine can select from: a receive, a send.

use super::ends::{Receiver, RecvError, SendError, Sender};
use super::hchan::{Hchan, Refused, get};
use super::queue::Sudog;
use super::select::{Case, Chosen, Operation};
use crate::g::getg;
use core::fmt;
use core::mem::{ManuallyDrop, MaybeUninit};
use gc_core::sync::RawLock;
use gc_core::{Conservative, Gc};

impl<T: Send + 'static> Receiver<T> {
    /// A receive, as a case of [`select`](macro@super::select). Does not need a P.
    pub fn receiving(&self) -> Receiving<'_, T> {
        Receiving { from: self.chan(), on: true, place: 0, waiter: core::ptr::null(), result: None }
    }
}

impl<T: Send + 'static> Sender<T> {
    /// A send of `value`, as a case of [`select`](macro@super::select). Does not need a P.
    pub fn sending(&self, value: T) -> Sending<'_, T> {
        Sending { to: self.chan(), on: true, place: 0, value: Some(value), waiter: core::ptr::null(), result: None }
    }
}

/// A receive between which and other cases [`select`](macro@super::select) chooses; it may be used again.
///
/// It holds what was received until that is taken, so it lies where such a value may lie: on the stack, if it is a `Gc`.
pub struct Receiving<'a, T: Send + 'static> {
    from: &'a Hchan<T>,
    on: bool,
    place: usize,
    /// In a select that waits. Kept alive by its frame.
    waiter: *const Sudog<T>,
    result: Option<Result<T, RecvError>>,
}

/// A send between which and other cases [`select`](macro@super::select) chooses. It may be used again until the value was
/// sent; after that it is never ready.
///
/// It holds the value until that is sent, so it lies where such a value may lie: on the stack, if it is a `Gc`.
pub struct Sending<'a, T: Send + 'static> {
    to: &'a Hchan<T>,
    on: bool,
    place: usize,
    /// In a select that waits, it is in the Sudog.
    value: Option<T>,
    /// In a select that waits. Kept alive by its frame.
    waiter: *const Sudog<T>,
    result: Option<Result<(), SendError<T>>>,
}

impl<T: Send + 'static> Receiving<'_, T> {
    /// Whether it can be chosen; if not it is never ready (Go's `nil` channel). At first it can.
    #[must_use]
    pub fn only_if(mut self, on: bool) -> Self {
        self.on = on;
        self
    }

    /// If the last select chose this case: the value, or that no sender is left and the channel empty. Once; what is not
    /// taken is dropped by the next select.
    pub fn take(&mut self) -> Option<Result<T, RecvError>> {
        self.result.take()
    }
}

impl<T: Send + 'static> Sending<'_, T> {
    /// Whether it can be chosen; if not it is never ready (Go's `nil` channel). At first it can.
    #[must_use]
    pub fn only_if(mut self, on: bool) -> Self {
        self.on = on;
        self
    }

    /// If the last select chose this case: whether the value was sent, or comes back since no receiver is left. Once; what
    /// is not taken is dropped by the next select.
    pub fn take(&mut self) -> Option<Result<(), SendError<T>>> {
        self.result.take()
    }

    /// The value, if no select has chosen this case.
    pub fn into_unsent(self) -> Option<T> {
        self.value
    }
}

/// A Sudog of the calling goroutine, which keeps `before` alive. A safepoint.
fn waiter<T: Send + 'static>(sends: bool, elem: MaybeUninit<T>, chosen: &Chosen, before: *const ()) -> *const Sudog<T> {
    let Some(gp) = getg() else { gc_core::throw!("select: no goroutine") };
    let s: Gc<Conservative<Sudog<T>>> = Gc::new(Conservative(Sudog::new(gp, sends, elem).among(chosen, before)));
    &raw const **s
}

impl<T: Send + 'static> Case for Receiving<'_, T> {}

impl<T: Send + 'static> Operation for Receiving<'_, T> {
    fn begin(&mut self, place: usize) -> bool {
        self.place = place;
        self.result = None;
        self.ready()
    }

    fn place(&self) -> usize {
        self.place
    }

    fn lock(&self) -> Option<&RawLock> {
        self.on.then_some(&self.from.lock)
    }

    fn ready(&self) -> bool {
        self.on && self.from.may_recv()
    }

    fn act(&mut self) -> bool {
        let result = match self.from.recv_now() {
            Ok(value) => Some(Ok(value)),
            Err(why) => {
                self.from.lock.unlock_kept();
                matches!(why, Refused::Closed).then_some(Err(RecvError))
            }
        };
        self.result = result;
        self.result.is_some()
    }

    fn prepare(&mut self, chosen: &Chosen, before: *const ()) -> *const () {
        if !self.on {
            return before;
        }
        self.waiter = waiter(false, MaybeUninit::zeroed(), chosen, before);
        self.waiter.cast()
    }

    fn enqueue(&self) {
        // SAFETY: null, or kept alive by the caller.
        if let Some(s) = unsafe { self.waiter.as_ref() } {
            self.from.recvq.push(s);
        }
    }

    fn leave(&mut self, chosen: *const ()) -> bool {
        // SAFETY: null, or kept alive by the caller.
        let Some(s) = (unsafe { core::mem::replace(&mut self.waiter, core::ptr::null()).as_ref() }) else {
            return false;
        };
        self.from.lock.lock();
        self.from.recvq.remove(s);
        self.from.lock.unlock_kept();
        let mine = core::ptr::eq(core::ptr::from_ref(s).cast(), chosen);
        if mine {
            // SAFETY: a sender has put a value there and said so.
            let value = s.success.get().then(|| unsafe { get(self.from.heap(), s.elem.get()) });
            self.result = Some(value.ok_or(RecvError));
        }
        mine
    }
}

impl<T: Send + 'static> Sending<'_, T> {
    /// Where the value is; null: there is none any more.
    fn at(&self) -> *const T {
        // SAFETY: null, or kept alive by the select that waits.
        match unsafe { self.waiter.as_ref() } {
            Some(s) => s.elem.get().cast::<T>(),
            None => self.value.as_ref().map_or(core::ptr::null(), core::ptr::from_ref),
        }
    }

    /// The value, which nobody has taken.
    fn take_back(&mut self) -> Option<T> {
        // SAFETY: null, or kept alive by the select that waits.
        match unsafe { core::mem::replace(&mut self.waiter, core::ptr::null()).as_ref() } {
            // SAFETY: it is there, and this side's.
            Some(s) => Some(unsafe { get(self.to.heap(), s.elem.get()) }),
            None => self.value.take(),
        }
    }

    /// Somebody has the value.
    fn sent(&mut self) {
        self.waiter = core::ptr::null();
        core::mem::forget(self.value.take());
        self.result = Some(Ok(()));
    }

    /// Nobody will have the value.
    fn refused(&mut self) {
        self.result = self.take_back().map(|value| Err(SendError(value)));
    }
}

impl<T: Send + 'static> Case for Sending<'_, T> {}

impl<T: Send + 'static> Operation for Sending<'_, T> {
    fn begin(&mut self, place: usize) -> bool {
        self.place = place;
        self.result = None;
        self.ready()
    }

    fn place(&self) -> usize {
        self.place
    }

    fn lock(&self) -> Option<&RawLock> {
        (self.on && !self.at().is_null()).then_some(&self.to.lock)
    }

    fn ready(&self) -> bool {
        self.on && self.to.may_send() && !self.at().is_null()
    }

    fn act(&mut self) -> bool {
        // SAFETY: a case that has no value is not ready. `ManuallyDrop` is as `T`, and the value is this side's until it is
        // sent.
        let value = unsafe { &*self.at().cast::<ManuallyDrop<T>>() };
        match self.to.send_now(value) {
            Ok(()) => self.sent(),
            Err(why) => {
                self.to.lock.unlock_kept();
                if matches!(why, Refused::WouldWait) {
                    return false;
                }
                self.refused();
            }
        }
        true
    }

    fn prepare(&mut self, chosen: &Chosen, before: *const ()) -> *const () {
        match self.value.take() {
            Some(value) if self.on => {
                self.waiter = waiter(true, MaybeUninit::new(value), chosen, before);
                self.waiter.cast()
            }
            value => {
                self.value = value;
                before
            }
        }
    }

    fn enqueue(&self) {
        // SAFETY: null, or kept alive by the caller.
        if let Some(s) = unsafe { self.waiter.as_ref() } {
            self.to.sendq.push(s);
        }
    }

    fn leave(&mut self, chosen: *const ()) -> bool {
        // SAFETY: null, or kept alive by the caller.
        let Some(s) = (unsafe { self.waiter.as_ref() }) else { return false };
        self.to.lock.lock();
        self.to.sendq.remove(s);
        self.to.lock.unlock_kept();
        let mine = core::ptr::eq(core::ptr::from_ref(s).cast(), chosen);
        if !mine {
            self.value = self.take_back();
        } else if s.success.get() {
            self.sent();
        } else {
            self.refused();
        }
        mine
    }
}

impl<T: Send + 'static> fmt::Debug for Receiving<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiving").field("on", &self.on).field("done", &self.result.is_some()).finish_non_exhaustive()
    }
}

impl<T: Send + 'static> fmt::Debug for Sending<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sending").field("on", &self.on).field("done", &self.result.is_some()).finish_non_exhaustive()
    }
}
