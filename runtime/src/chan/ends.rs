//! The two ends of a channel.

use super::hchan::{Ended, Hchan, Refused};
use crate::g::{G, getg};
use crate::sched::Sched;
use core::fmt;
use core::time::Duration;
use gc_core::sync::Ordering;
use gc_core::{Conservative, Gc, Root};

/// A channel with room for `cap` values; 0: each send waits for its receive.
///
/// Needs a P: call it on a goroutine. A safepoint. Source: Go's `makechan`.
///
/// # Panics
/// Outside a goroutine.
pub fn bounded<T: Send + 'static>(cap: usize) -> (Sender<T>, Receiver<T>) {
    make(goroutine("bounded").sched, cap)
}

/// A channel of a scheduler. Needs a P; a safepoint.
pub(crate) fn make<T: Send + 'static>(sched: &'static Sched, cap: usize) -> (Sender<T>, Receiver<T>) {
    let chan = Hchan::new(sched, cap);
    (Sender(End::new(chan)), Receiver(End::new(chan)))
}

#[inline]
pub(super) fn goroutine(what: &str) -> &'static G {
    match getg() {
        Some(gp) if crate::p::holds_one() => gp,
        _ => not_a_goroutine(what),
    }
}

#[cold]
fn not_a_goroutine(what: &str) -> ! {
    panic!("`{what}` on a channel is called on a goroutine, not in a blocking call or on another thread")
}

/// A rooted channel. The pointer is for `clone` and `drop`, which may run without a P.
struct End<T: Send + 'static> {
    root: Root<Conservative<Hchan<T>>>,
    chan: *const Hchan<T>,
}

// SAFETY: the channel is Sync for values that are Send; the pointer goes with the root.
unsafe impl<T: Send> Send for End<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for End<T> {}

impl<T: Send + 'static> End<T> {
    fn new(chan: Gc<Conservative<Hchan<T>>>) -> End<T> {
        End { root: Root::of_handle(chan), chan: &raw const **chan }
    }

    fn again(&self) -> End<T> {
        End { root: self.root.clone(), chan: self.chan }
    }

    fn chan(&self) -> &Hchan<T> {
        // SAFETY: `root` keeps it.
        unsafe { &*self.chan }
    }
}

/// The sending end; clone it for more senders. When the last one goes, receivers get what is left and then an error.
pub struct Sender<T: Send + 'static>(End<T>);

/// The receiving end; clone it for more receivers, each value goes to one. When the last one goes, what is left is
/// dropped and senders get their values back.
pub struct Receiver<T: Send + 'static>(End<T>);

impl<T: Send + 'static> Sender<T> {
    pub(super) fn chan(&self) -> &Hchan<T> {
        self.0.chan()
    }

    /// Sends, waiting for room. A safepoint; needs a P. Source: Go's `chansend`.
    ///
    /// # Errors
    /// The value, if no receiver is left.
    ///
    /// # Panics
    /// Outside a goroutine.
    pub fn send(&self, value: T) -> Result<(), SendError<T>> {
        self.0.chan().send(goroutine("send"), value, None).map_err(|(value, _)| SendError(value))
    }

    /// Sends, waiting for room no longer than `limit`. A safepoint; needs a P. Source: Go's `select` with `time.After`.
    ///
    /// # Errors
    /// The value, and why it was not sent.
    ///
    /// # Panics
    /// Outside a goroutine.
    pub fn send_timeout(&self, value: T, limit: Duration) -> Result<(), SendTimeoutError<T>> {
        let until = Some(crate::time::deadline(limit));
        self.0.chan().send(goroutine("send_timeout"), value, until).map_err(|(value, why)| match why {
            Ended::Closed => SendTimeoutError::Disconnected(value),
            Ended::TimedOut => SendTimeoutError::Timeout(value),
        })
    }

    /// Sends if there is room or a waiting receiver. Needs a P.
    ///
    /// # Errors
    /// The value, and why.
    ///
    /// # Panics
    /// Outside a goroutine.
    pub fn try_send(&self, value: T) -> Result<(), TrySendError<T>> {
        goroutine("try_send");
        self.0.chan().try_send(value).map_err(|(value, why)| match why {
            Refused::Closed => TrySendError::Disconnected(value),
            Refused::WouldWait => TrySendError::Full(value),
        })
    }

    /// Values in the buffer now. Does not need a P.
    pub fn len(&self) -> usize {
        self.0.chan().len()
    }

    /// Whether the buffer is empty now. Does not need a P.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Size of the buffer. Does not need a P.
    pub fn capacity(&self) -> usize {
        self.0.chan().cap()
    }
}

impl<T: Send + 'static> Receiver<T> {
    pub(super) fn chan(&self) -> &Hchan<T> {
        self.0.chan()
    }

    /// Receives, waiting for a value. A safepoint; needs a P. Source: Go's `chanrecv`.
    ///
    /// # Errors
    /// If the channel is empty and no sender is left.
    ///
    /// # Panics
    /// Outside a goroutine.
    pub fn recv(&self) -> Result<T, RecvError> {
        self.0.chan().recv(goroutine("recv"), None).map_err(|_| RecvError)
    }

    /// Receives, waiting for a value no longer than `limit`. A safepoint; needs a P. Source: Go's `select` with
    /// `time.After`.
    ///
    /// # Errors
    /// Why there is none.
    ///
    /// # Panics
    /// Outside a goroutine.
    pub fn recv_timeout(&self, limit: Duration) -> Result<T, RecvTimeoutError> {
        let until = Some(crate::time::deadline(limit));
        self.0.chan().recv(goroutine("recv_timeout"), until).map_err(|why| match why {
            Ended::Closed => RecvTimeoutError::Disconnected,
            Ended::TimedOut => RecvTimeoutError::Timeout,
        })
    }

    /// Receives if a value is there. Needs a P.
    ///
    /// # Errors
    /// Why there is none.
    ///
    /// # Panics
    /// Outside a goroutine.
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        goroutine("try_recv");
        self.0.chan().try_recv().map_err(|why| match why {
            Refused::Closed => TryRecvError::Disconnected,
            Refused::WouldWait => TryRecvError::Empty,
        })
    }

    /// Receives until no sender is left.
    pub fn iter(&self) -> Iter<'_, T> {
        Iter(self)
    }

    /// Values in the buffer now. Does not need a P.
    pub fn len(&self) -> usize {
        self.0.chan().len()
    }

    /// Whether the buffer is empty now. Does not need a P.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Size of the buffer. Does not need a P.
    pub fn capacity(&self) -> usize {
        self.0.chan().cap()
    }
}

/// See [`Receiver::iter`].
pub struct Iter<'a, T: Send + 'static>(&'a Receiver<T>);

impl<T: Send + 'static> Iterator for Iter<'_, T> {
    type Item = T;
    fn next(&mut self) -> Option<T> {
        self.0.recv().ok()
    }
}

/// As [`Iter`], owning the receiver.
pub struct IntoIter<T: Send + 'static>(Receiver<T>);

impl<T: Send + 'static> Iterator for IntoIter<T> {
    type Item = T;
    fn next(&mut self) -> Option<T> {
        self.0.recv().ok()
    }
}

impl<T: Send + 'static> IntoIterator for Receiver<T> {
    type Item = T;
    type IntoIter = IntoIter<T>;
    fn into_iter(self) -> IntoIter<T> {
        IntoIter(self)
    }
}

impl<'a, T: Send + 'static> IntoIterator for &'a Receiver<T> {
    type Item = T;
    type IntoIter = Iter<'a, T>;
    fn into_iter(self) -> Iter<'a, T> {
        self.iter()
    }
}

impl<T: Send + 'static> Clone for Sender<T> {
    fn clone(&self) -> Self {
        let end = self.0.again();
        end.chan().senders.fetch_add(1, Ordering::SeqCst);
        Sender(end)
    }
}

impl<T: Send + 'static> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        let end = self.0.again();
        end.chan().receivers.fetch_add(1, Ordering::SeqCst);
        Receiver(end)
    }
}

impl<T: Send + 'static> Drop for Sender<T> {
    fn drop(&mut self) {
        if self.0.chan().senders.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.chan().close();
        }
    }
}

impl<T: Send + 'static> Drop for Receiver<T> {
    fn drop(&mut self) {
        let chan = self.0.chan();
        if chan.receivers.fetch_sub(1, Ordering::SeqCst) == 1 {
            chan.close();
            if getg().is_some() && crate::p::holds_one() {
                chan.drain();
            }
        }
    }
}

impl<T: Send + 'static> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("capacity", &self.capacity()).finish_non_exhaustive()
    }
}

impl<T: Send + 'static> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").field("capacity", &self.capacity()).finish_non_exhaustive()
    }
}

/// No receiver is left; the value comes back.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SendError<T>(pub T);

/// The channel is empty and no sender is left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RecvError;

/// Why a value was not sent; it comes back.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum TrySendError<T> {
    /// No room.
    Full(T),
    /// No receiver is left.
    Disconnected(T),
}

/// Why there is no value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TryRecvError {
    /// None yet.
    Empty,
    /// None, and no sender is left.
    Disconnected,
}

/// Why a value was not sent in time; it comes back.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum SendTimeoutError<T> {
    /// There was no room for so long.
    Timeout(T),
    /// No receiver is left.
    Disconnected(T),
}

/// Why there was no value in time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RecvTimeoutError {
    /// None came for so long.
    Timeout,
    /// None came, and no sender is left.
    Disconnected,
}

impl<T> fmt::Debug for SendTimeoutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SendTimeoutError::Timeout(_) => "Timeout(..)",
            SendTimeoutError::Disconnected(_) => "Disconnected(..)",
        })
    }
}

impl<T> fmt::Display for SendTimeoutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SendTimeoutError::Timeout(_) => "no room in the channel within the time limit",
            SendTimeoutError::Disconnected(_) => "sending on a channel without receivers",
        })
    }
}

impl fmt::Display for RecvTimeoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RecvTimeoutError::Timeout => "no value within the time limit",
            RecvTimeoutError::Disconnected => "receiving on an empty channel without senders",
        })
    }
}

impl<T> std::error::Error for SendTimeoutError<T> {}
impl std::error::Error for RecvTimeoutError {}

impl<T> fmt::Debug for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SendError(..)")
    }
}

impl<T> fmt::Debug for TrySendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TrySendError::Full(_) => "Full(..)",
            TrySendError::Disconnected(_) => "Disconnected(..)",
        })
    }
}

impl<T> fmt::Display for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sending on a channel without receivers")
    }
}

impl fmt::Display for RecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("receiving on an empty channel without senders")
    }
}

impl<T> fmt::Display for TrySendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TrySendError::Full(_) => "sending on a full channel",
            TrySendError::Disconnected(_) => "sending on a channel without receivers",
        })
    }
}

impl fmt::Display for TryRecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TryRecvError::Empty => "receiving on an empty channel",
            TryRecvError::Disconnected => "receiving on an empty channel without senders",
        })
    }
}

impl<T> std::error::Error for SendError<T> {}
impl std::error::Error for RecvError {}
impl<T> std::error::Error for TrySendError<T> {}
impl std::error::Error for TryRecvError {}
