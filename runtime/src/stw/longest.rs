//! The longest stops so far: how each P came to stand, and when.
//!
//! Whoever moves a P to `GcStop` notes the time in the P. The stopper makes a row out of that before the world runs again,
//! while nothing of it can change, if the stop was long enough to be among the [`KEPT`] longest. It holds a lock for that
//! which no stopped thread can have: whoever reads the rows is inside the runtime meanwhile.

use crate::m::Door;
use crate::p::{self, P};
use crate::sched::Sched;
use core::time::Duration;
use gc_core::StopReason;
use gc_core::sync::{AtomicU64, Lock, Ordering, Rank};

/// Stops that are kept.
const KEPT: usize = if cfg!(modelled) { 1 } else { 10 };
/// Ps of each that are.
const SHOWN: usize = if cfg!(modelled) { 2 } else { 32 };

#[derive(Clone, Copy)]
struct Row {
    why: StopReason,
    /// When it was asked for, by the scheduler's clock.
    at: u64,
    to_stop: u64,
    stopped: u64,
    ps: [Option<Seen>; SHOWN],
}

impl Row {
    fn long(&self) -> u64 {
        self.to_stop + self.stopped
    }
}

#[derive(Clone, Copy)]
struct Seen {
    p: u32,
    m: Option<u32>,
    goid: Option<u64>,
    after: u64,
    how: &'static str,
}

/// The rows.
pub(crate) struct Longest {
    rows: Lock<[Option<Row>; KEPT]>,
    /// What is not longer than this, in nanoseconds, has no place in there.
    least: AtomicU64,
}

impl Longest {
    pub(crate) fn new() -> Longest {
        Longest { rows: Lock::new(Rank::LongStops, [None; KEPT]), least: AtomicU64::new(0) }
    }

    /// The world is about to run again. By the stopper, whose P is `own`; before any P changes.
    pub(super) fn note(&self, sched: &Sched, own: &P, why: StopReason, at: u64, to_stop: u64, stopped: u64) {
        // Relaxed: only stoppers write it, one after the other.
        if to_stop + stopped <= self.least.load(Ordering::Relaxed) {
            return;
        }
        let mut ps = [None; SHOWN];
        let others = sched.ps().filter(|p| !core::ptr::eq(*p, own));
        ps.iter_mut().zip(others.filter_map(|p| Seen::at_rest(p, at))).for_each(|(place, seen)| *place = Some(seen));
        let row = Row { why, at: at - sched.began, to_stop, stopped, ps };
        let mut rows = self.rows.lock();
        if let Some(shortest) = rows.iter_mut().min_by_key(|row| row.as_ref().map_or(0, Row::long)) {
            *shortest = Some(row);
        }
        let least = rows.iter().map(|row| row.as_ref().map_or(0, Row::long)).min();
        self.least.store(least.unwrap_or(0), Ordering::Relaxed);
    }

    /// A copy for the program, the longest first. Allocates.
    pub(crate) fn read(&self) -> Vec<LongStop> {
        let rows = *self.rows.lock();
        let mut rows: Vec<Row> = rows.into_iter().flatten().collect();
        rows.sort_by_key(|row| core::cmp::Reverse(row.long()));
        rows.iter().map(Row::shown).collect()
    }
}

impl Seen {
    /// `None`: it was idle.
    fn at_rest(p: &P, asked: u64) -> Option<Seen> {
        // SAFETY: null or an M, which `allms` keeps.
        let m = unsafe { p.m.get().as_ref() };
        let how = match (p.stop_from.load(Ordering::SeqCst), m) {
            (p::SYSCALL, _) => "in a blocking call",
            (p::RUNNING, Some(m)) => match m.door.load(Ordering::Relaxed) {
                door if m.curg().is_some() || door == Door::Mark as u8 => Door::name(door),
                _ => "looking for work",
            },
            _ => return None,
        };
        Some(Seen {
            p: p.id.load(Ordering::Relaxed),
            m: m.map(|m| m.id.load(Ordering::Relaxed)),
            goid: m.and_then(|m| m.curg()).map(|gp| gp.id.load(Ordering::Relaxed)),
            after: p.stopped_at.load(Ordering::Relaxed).saturating_sub(asked),
            how,
        })
    }
}

impl Row {
    fn shown(&self) -> LongStop {
        let ns = Duration::from_nanos;
        let mut ps: Vec<StoppedP> = self
            .ps
            .iter()
            .flatten()
            .map(|seen| StoppedP { p: seen.p, m: seen.m, goroutine: seen.goid, after: ns(seen.after), how: seen.how })
            .collect();
        ps.sort_by_key(|p| core::cmp::Reverse(p.after));
        LongStop {
            reason: self.why,
            name: self.why.name(),
            at: ns(self.at),
            to_stop: ns(self.to_stop),
            stopped: ns(self.stopped),
            ps,
        }
    }
}

/// One of the longest stops of the world.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LongStop {
    /// Why the world was stopped.
    pub reason: StopReason,
    /// The reason's name, as in reports.
    pub name: &'static str,
    /// When it was asked for: since the runtime was made.
    pub at: Duration,
    /// From the request, once it was this requester's turn, until the last P had stopped.
    pub to_stop: Duration,
    /// From then until the world ran again.
    pub stopped: Duration,
    /// The Ps that were not idle, the requester's aside; at most 32. The one that stopped last is the first.
    pub ps: Vec<StoppedP>,
}

/// How a P came to stand.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StoppedP {
    /// Its number.
    pub p: u32,
    /// The number of the thread that had it; `None`: none.
    pub m: Option<u32>,
    /// The goroutine that ran there; `None`: none did.
    pub goroutine: Option<u64>,
    /// How long after the request.
    pub after: Duration,
    /// Where: `a poll`, `an allocation`, `suspended by a signal`, `in a blocking call`, `looking for work`, …
    pub how: &'static str,
}
