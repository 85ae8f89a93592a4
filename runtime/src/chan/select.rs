//! Waiting for several channels at once, as Go's `select`.
//!
//! A goroutine that selects has a Sudog in the queue of each of its channels, and one word in its frame, [`Chosen`]:
//!
//! ```text
//! WAIT     its Sudogs are queued, or about to be; it will park
//! G        it is parked: from WAIT, by its M, once its stack is at rest (`park_in`)
//! a Sudog  somebody has come by that one's channel: from either, under the channel's lock
//! LATE     its time limit has passed: from either, by the timer
//! ```
//!
//! - Every change is a CAS. So of all who find the goroutine in different queues one hands over a value, and who has taken G
//!   out of the word readies it (Go's `selectDone`); the others drop that Sudog and look at the next in the queue. What
//!   would break otherwise: two senders would each believe that their value was taken, and ready the goroutine twice.
//! - The value is handed over after the CAS and before the channel's lock is given back. The goroutine takes that lock, of
//!   each channel in turn, to take its Sudogs off the queues: so it sees the value, and afterwards nobody looks at the word
//!   or at the Sudogs any more, and the frame may end.
//! - Before it queues, the goroutine looks once more whether one of its cases is ready, and for that it holds the locks of
//!   *all* its channels, taken in the order of their addresses. What would break with one lock at a time: of two goroutines
//!   that select from the same two channels, each could look at the first before the other is queued there, and at the second
//!   likewise; or each finds the other one while it is itself on offer, and must win two words to go on.
//! - Nobody acts while it is queued, so nobody ever has more than one word to win.
//!
//! **First a look without locks**: if one case seems ready, chosen at random where several are, it is tried under its
//! channel's lock alone. That is no protocol, only the fast path: it allocates nothing and takes one lock. A goroutine that
//! does not want to wait goes on from there to all locks as well, so "none is ready" is said of one moment.
//!
//! **What the collector sees.** Values to be sent lie in the caller's frame at first, then in the Sudogs, heap objects, and
//! come back if another case is chosen; each copy shades. Each Sudog points to the one before, and this frame to the last;
//! so it does not matter where the caller has its cases.

use super::queue::Wake;
use crate::g::{G, WaitReason};
use crate::p::cheaprand_below;
use crate::proc::park::{WAIT, park_in, poll};
use crate::time::timers::Timer;
use core::time::Duration;
use gc_core::faults::{self, Fault};
use gc_core::sync::{AtomicPtr, Ordering, RawLock, modelled};

/// Who has come for a goroutine that selects; see the module's text.
pub struct Chosen(AtomicPtr<G>);

/// The time limit has passed; no G and no Sudog is at this address.
const LATE: *const () = core::ptr::without_provenance(4);

impl Chosen {
    fn new() -> Chosen {
        Chosen(AtomicPtr::new(WAIT))
    }

    /// Comes for `gp`, whose word this is, with `by`; `None`: somebody else has come first.
    pub(super) fn claim(&self, gp: &'static G, by: *const ()) -> Option<Wake> {
        modelled("Chosen::claim");
        let (parked, by) = (core::ptr::from_ref(gp).cast_mut(), by.cast_mut().cast::<G>());
        let mut old = self.0.load(Ordering::SeqCst);
        while core::ptr::eq(old, WAIT) || core::ptr::eq(old, parked) {
            let blind = faults::active(Fault::SelectDoneUnclaimed);
            if blind {
                faults::linger(64);
                self.0.store(by, Ordering::SeqCst);
            }
            match self.0.compare_exchange(old, by, Ordering::SeqCst, Ordering::SeqCst) {
                Err(now) if !blind => old = now,
                _ => return Some(Wake(core::ptr::eq(old, parked).then_some(gp))),
            }
        }
        None
    }
}

/// One of the operations between which a [`select`](macro@super::select) chooses: a [`Receiving`](super::Receiving) or a
/// [`Sending`](super::Sending). No other type can be one.
pub trait Case: Operation {}

/// What `select` does with a case. None of it runs code of the caller's, except `begin`.
pub trait Operation {
    /// Forgets what came of the select before; this one names it `place`. Whether it seems ready: a hint.
    fn begin(&mut self, place: usize) -> bool;
    /// See `begin`.
    fn place(&self) -> usize;
    /// The channel's lock; `None`: it is never ready.
    fn lock(&self) -> Option<&RawLock>;
    /// Whether it is ready, unless all who queue at the other side have been woken elsewhere. Under the lock.
    fn ready(&self) -> bool;
    /// Under the lock, which it gives back: does it; false: it would have to wait.
    fn act(&mut self) -> bool;
    /// Makes a Sudog, which keeps `before` alive; returns it, or `before` if it is never ready. A safepoint.
    fn prepare(&mut self, chosen: &Chosen, before: *const ()) -> *const ();
    /// Under the lock: into the queue.
    fn enqueue(&self);
    /// Out of the queue. Takes what came, if it is the one that was `chosen`, and else its value back; whether it is.
    fn leave(&mut self, chosen: *const ()) -> bool;
}

/// The cases of a goroutine that waits without a limit, in its frame: for those who ask what could wake it.
#[cfg_attr(not(feature = "profile"), expect(dead_code, reason = "the search for leaks asks"))]
pub(crate) struct Cases<'a>(*const [&'a mut (dyn Case + 'a)]);

impl Cases<'_> {
    /// The locks of its channels, inside of them. The goroutine still waits.
    #[cfg(feature = "profile")]
    pub(crate) fn locks(&self) -> impl Iterator<Item = &RawLock> {
        // SAFETY: a goroutine that waits leaves its cases alone.
        locks(unsafe { &*self.0 })
    }
}

/// What to do if no case is ready.
enum Otherwise {
    GoOn,
    Wait,
    WaitUntil(u64),
}

/// Waits until one of the cases can be done, does it, and returns its place. What came of it the case itself says
/// (`take`). Where several are ready one is chosen at random, each with the same chance. With no case, or none that is
/// switched on, it waits for ever.
///
/// The macro [`select!`](macro@super::select) is shorter. This function is for cases that are made at run time.
///
/// ```
/// use tricolor::chan::{self, Case, Receiving};
/// # unsafe { tricolor::Runtime::builder().run(|| {
/// let ends: Vec<_> = (0..8).map(|_| chan::bounded::<usize>(1)).collect();
/// ends[5].0.send(42).unwrap();
///
/// let mut cases: Vec<Receiving<usize>> = ends.iter().map(|(_, rx)| rx.receiving()).collect();
/// let mut list: Vec<&mut dyn Case> = cases.iter_mut().map(|case| case as &mut dyn Case).collect();
/// let chosen = chan::select(&mut list);
/// assert_eq!((chosen, cases[5].take()), (5, Some(Ok(42))));
/// # }) }
/// ```
///
/// Only what may lie in malloc'd memory may be received so: not a `Gc`, for which the cases must lie on the stack.
///
/// A safepoint; needs a P. Source: Go's `selectgo` and `reflect.Select`.
///
/// # Panics
/// Outside a goroutine.
pub fn select(cases: &mut [&mut dyn Case]) -> usize {
    match choose("select", cases, Otherwise::Wait) {
        Some(place) => place,
        None => unreachable!("there was no time limit"),
    }
}

/// As [`select`](fn@select), if one of the cases can be done at once; `None`: at one moment none could. A safepoint; needs
/// a P. Source: Go's `select` with `default`.
///
/// # Panics
/// Outside a goroutine.
pub fn try_select(cases: &mut [&mut dyn Case]) -> Option<usize> {
    choose("try_select", cases, Otherwise::GoOn)
}

/// As [`select`](fn@select), waiting no longer than `limit`; `None`: the time has passed. A safepoint; needs a P. Source:
/// Go's `select` with `time.After`.
///
/// # Panics
/// Outside a goroutine.
pub fn select_timeout(cases: &mut [&mut dyn Case], limit: Duration) -> Option<usize> {
    choose("select_timeout", cases, Otherwise::WaitUntil(crate::time::deadline(limit)))
}

fn choose(what: &str, cases: &mut [&mut dyn Case], otherwise: Otherwise) -> Option<usize> {
    let gp = super::ends::goroutine(what);
    poll();
    let seem_ready = cases.iter_mut().enumerate().filter_map(|(at, case)| case.begin(at).then_some(at));
    if let Some(at) = any_of(seem_ready) {
        let case = &mut cases[at];
        case.lock().inspect(|lock| lock.lock());
        if case.act() {
            return Some(at);
        }
    }
    choose_slowly(gp, cases, otherwise)
}

/// One of these, each with the same chance.
fn any_of(all: impl Iterator<Item = usize>) -> Option<usize> {
    let mut any = None;
    for (before, at) in all.enumerate() {
        if before == 0 || cheaprand_below(before + 1) == 0 {
            any = Some(at);
        }
    }
    any
}

#[inline(never)]
fn choose_slowly(gp: &'static G, cases: &mut [&mut dyn Case], otherwise: Otherwise) -> Option<usize> {
    modelled("choose_slowly");
    let chosen = Chosen::new();
    let waits = !matches!(otherwise, Otherwise::GoOn);
    let mut last: *const () = core::ptr::null();
    if waits {
        // Before the locks are taken: allocation is a safepoint.
        last = cases.iter_mut().fold(last, |before, case| case.prepare(&chosen, before));
    }
    // Those of one channel in any order, so that none of them is always the first in the queue.
    let mask = cheaprand_below(1 << 16);
    cases.sort_unstable_by_key(|case| {
        (case.lock().map_or(0, |lock| core::ptr::from_ref(lock).addr()), case.place() ^ mask)
    });
    let mut place = act_or_lock_all(cases).map(|at| cases[at].place());
    if place.is_none() {
        let all = Cases(&raw const *cases);
        if waits {
            cases.iter().for_each(|case| case.enqueue());
        }
        if matches!(otherwise, Otherwise::Wait) {
            gp.set_awaits_any(&all);
        }
        unlock_all(cases, None);
        match otherwise {
            Otherwise::GoOn => {}
            Otherwise::Wait => park_in(gp, &chosen.0, WaitReason::Select),
            Otherwise::WaitUntil(when) => park_until(gp, &chosen, when),
        }
    }
    if waits {
        // WAIT still, if it has not queued.
        let by = chosen.0.load(Ordering::SeqCst).cast_const().cast::<()>();
        for case in cases.iter_mut() {
            if case.leave(by) {
                place = Some(case.place());
            }
        }
    }
    core::hint::black_box(last);
    cases.sort_unstable_by_key(|case| case.place());
    place
}

/// The time limit of a goroutine that selects; in its frame.
#[repr(C)]
struct Limit<'a> {
    timer: Timer,
    chosen: &'a Chosen,
    gp: &'static G,
}

fn park_until(gp: &'static G, chosen: &Chosen, when: u64) {
    let limit = Limit { timer: Timer::new(expire), chosen, gp };
    // SAFETY: it stays in this frame, and is stopped at its end.
    unsafe { limit.timer.arm(when) }
    park_in(gp, &chosen.0, WaitReason::Select);
    limit.timer.stop();
}

fn expire(timer: &Timer) -> Option<&'static G> {
    modelled("select::expire");
    // SAFETY: the first field of a `Limit` (repr(C)), whose goroutine stops the timer before it leaves the frame.
    let limit = unsafe { &*core::ptr::from_ref(timer).cast::<Limit<'_>>() };
    limit.chosen.claim(limit.gp, LATE).and_then(|wake| wake.0)
}

/// Does one that is ready; where it is says the result. `None`: none is, and the locks of all are held.
fn act_or_lock_all(cases: &mut [&mut dyn Case]) -> Option<usize> {
    loop {
        lock_all(cases);
        let at = any_of(cases.iter().enumerate().filter_map(|(at, case)| case.ready().then_some(at)))?;
        unlock_all(cases, cases[at].lock());
        if cases[at].act() {
            return Some(at);
        }
        // All who queued there had been woken elsewhere. They are off that queue now, so this ends.
    }
}

/// The locks of these cases, each once; `cases` is in the order of their addresses.
fn locks<'a>(cases: &'a [&mut dyn Case]) -> impl Iterator<Item = &'a RawLock> {
    let mut last: *const RawLock = core::ptr::null();
    cases
        .iter()
        .filter_map(|case| case.lock())
        .filter(move |lock| !core::ptr::eq(core::mem::replace(&mut last, *lock), *lock))
}

fn lock_all(cases: &[&mut dyn Case]) {
    let mut last: Option<&RawLock> = None;
    for lock in locks(cases) {
        match last.replace(lock) {
            None => lock.lock(),
            Some(below) => lock.lock_above(below),
        }
    }
}

/// All but one.
fn unlock_all(cases: &[&mut dyn Case], but: Option<&RawLock>) {
    locks(cases).filter(|lock| but.is_none_or(|but| !core::ptr::eq(*lock, but))).for_each(RawLock::unlock_kept);
}
