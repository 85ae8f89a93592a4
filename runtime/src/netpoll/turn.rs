//! Goroutines that would wait for the same end of the same file: one at a time does, the others queue here for their turn,
//! in order. (Go's `fdMutex` has this part.)
//!
//! Who gets its turn tries its system call again before it waits, unless nobody has had the turn since it tried before
//! (`rounds`): what the one before it was woken for may not be used up, and the kernel does not tell twice.

use super::desc::{Ended, Mode, PollDesc};
use crate::g::{G, WaitReason};
use crate::proc::park::{park, ready};
use crate::time::timers::Timer;
use core::cell::Cell;
use gc_core::faults::{self, Fault};
use gc_core::sync::{AtomicU32, Ordering, Rank, RawLock, modelled};

/// See the module's text. All zero when new.
pub(crate) struct Turn {
    lock: RawLock,
    taken: Cell<bool>,
    /// How often it was given back.
    rounds: AtomicU32,
    first: Cell<*const Waiting>,
    last: Cell<*const Waiting>,
}

/// One that queues; on its stack. Cells are under the lock.
#[repr(C)]
struct Waiting {
    timer: Timer,
    turn: *const Turn,
    gp: &'static G,
    /// Kept alive by that one's stack.
    next: Cell<*const Waiting>,
    queued: Cell<bool>,
    its_turn: Cell<bool>,
    expired: Cell<bool>,
}

fn expire(timer: &Timer) -> Option<&'static G> {
    // SAFETY: the first field of a `Waiting` (repr(C)), whose goroutine stops the timer before it leaves the frame.
    let (w, turn) = unsafe {
        let w = &*core::ptr::from_ref(timer).cast::<Waiting>();
        (w, &*w.turn)
    };
    turn.lock.lock();
    w.expired.set(true);
    modelled("turn::expire");
    let out = turn.remove(w) || faults::active(Fault::TurnExpiryUnchecked);
    turn.lock.unlock();
    out.then_some(w.gp)
}

impl Turn {
    pub(crate) fn new() -> Turn {
        Turn {
            lock: RawLock::new(Rank::Waited),
            taken: Cell::new(false),
            rounds: AtomicU32::new(0),
            first: Cell::new(core::ptr::null()),
            last: Cell::new(core::ptr::null()),
        }
    }

    /// Says the rank of the lock of a turn in zeroed memory.
    pub(super) fn set_rank(&self) {
        self.lock.set_rank(Rank::Waited);
    }

    /// Waits for the turn of `gp`, no longer than `until`; whether it has come. Whoever has it gives it back.
    pub(crate) fn take(&self, gp: &'static G, until: Option<u64>) -> bool {
        modelled("Turn::take");
        self.lock.lock();
        let free = !self.taken.replace(true);
        self.lock.unlock();
        if free {
            return true;
        }
        let w = Waiting {
            timer: Timer::new(expire),
            turn: self,
            gp,
            next: Cell::new(core::ptr::null()),
            queued: Cell::new(false),
            its_turn: Cell::new(false),
            expired: Cell::new(false),
        };
        if let Some(when) = until {
            // SAFETY: it stays in this frame, and is stopped at its end.
            unsafe { w.timer.arm(when) }
        }
        if faults::active(Fault::TurnUnchecked) {
            faults::linger(64);
        }
        self.lock.lock();
        if !self.taken.get() && !faults::active(Fault::TurnUnchecked) {
            self.taken.set(true);
            self.lock.unlock();
            w.its_turn.set(true);
        } else if w.expired.get() {
            self.lock.unlock();
        } else {
            self.push(&w);
            park(gp, &self.lock, WaitReason::Io);
        }
        if faults::active(Fault::TurnExpiryUnchecked) {
            faults::linger(200);
        }
        w.timer.stop();
        w.its_turn.get()
    }

    /// How often it was given back: unchanged, if nobody has had it in between.
    fn rounds(&self) -> u32 {
        self.rounds.load(Ordering::SeqCst)
    }

    /// Hands the turn to the next one.
    pub(crate) fn give(&self) {
        modelled("Turn::give");
        self.lock.lock();
        self.rounds.fetch_add(1, Ordering::SeqCst);
        // SAFETY: who is queued is parked, and leaves its frame after it was taken out.
        let next = unsafe { self.first.get().as_ref() }.map(|w| {
            self.remove(w);
            w.its_turn.set(true);
            w.gp
        });
        if next.is_none() || faults::active(Fault::TurnFreed) {
            self.taken.set(false);
        }
        self.lock.unlock();
        if let Some(gp) = next {
            ready(gp);
        }
    }

    fn push(&self, w: &Waiting) {
        w.queued.set(true);
        // SAFETY: as in `give`.
        match unsafe { self.last.get().as_ref() } {
            Some(last) => last.next.set(w),
            None => self.first.set(w),
        }
        self.last.set(w);
    }

    /// Takes `w` out; whether it was in. The queue is short: it is walked.
    fn remove(&self, w: &Waiting) -> bool {
        if !w.queued.replace(false) {
            return false;
        }
        let mut before: *const Waiting = core::ptr::null();
        let mut at = self.first.get();
        while !core::ptr::eq(at, w) {
            before = at;
            // SAFETY: as in `give`; `w` is in the queue.
            at = unsafe { (*at).next.get() };
        }
        // SAFETY: as in `give`.
        match unsafe { before.as_ref() } {
            Some(before) => before.next.set(w.next.get()),
            None => self.first.set(w.next.get()),
        }
        if w.next.get().is_null() {
            self.last.set(before);
        }
        true
    }
}

/// Gives a turn back.
struct Give<'a>(&'a Turn);

impl Drop for Give<'_> {
    fn drop(&mut self) {
        self.0.give();
    }
}

/// Does `attempt` until there is something, on `gp`, which waits its turn and for the file in between, until `limit` has
/// passed. Needs a P. A safepoint where it waits.
pub(crate) fn retry<R>(
    desc: &PollDesc,
    gp: &'static G,
    mode: Mode,
    limit: impl FnOnce() -> Option<u64>,
    mut attempt: impl FnMut() -> Option<R>,
) -> Result<R, Ended> {
    modelled("turn::retry");
    let turn = desc.turn(mode);
    let rounds = turn.rounds();
    if let Some(out) = attempt() {
        return Ok(out);
    }
    let until = limit();
    if faults::active(Fault::TurnUntried) {
        faults::linger(64);
    }
    if !turn.take(gp, until) {
        return Err(Ended::TimedOut);
    }
    let _give = Give(turn);
    let mut again = turn.rounds() != rounds && !faults::active(Fault::TurnUntried);
    loop {
        if again && let Some(out) = attempt() {
            return Ok(out);
        }
        desc.wait(gp, mode, until)?;
        again = true;
    }
}
