//! The watcher: at most one idle M sleeps until the next timer is due or a file is ready, for all; the others sleep until
//! they are called. It sleeps in `netpoll`, or on its note while there is no epoll.
//!
//! ```text
//! until  0        nobody watches
//!        STARTING an M is about to: it will look at all timers, so nobody needs to tell it of any
//!        T        it sleeps, at most until T (NEVER: there is no timer)
//! ```
//! An M without work takes the word from 0 to STARTING by CAS, publishes T, and *then* looks at the timers again. Who has a
//! timer that the watcher may not know of has stored the timer's time first and reads the word second: it finds STARTING
//! or an early enough T (the watcher's second look, or its first one, has seen the timer), or a later T (it lowers the word
//! and wakes the watcher), or 0 (it wakes an M that finds nothing to do and becomes the watcher). All of these are SeqCst.
//! What would break without the second look: a timer armed between the computation of T and its publication would be late.
//!
//! The watcher holds no P. When it wakes it takes an idle one, and spins, so that it finds the timers that are due, wherever
//! they are; if no P is idle, whoever has one is about to look anyway, or will watch when it goes idle, since the word has
//! become 0 before the watcher looked for a P.

use super::netpoll;
use crate::proc::glist::GList;
use crate::proc::newm::wakep;
use crate::sched::Sched;
use crate::time::nanotime;
use crate::time::timers::{NEVER, earliest};
use barrier_lint::nowritebarrierrec;
use core::time::Duration;
use gc_core::faults::{self, Fault};
use gc_core::sync::{AtomicU64, Note, Ordering, modelled};

const NOBODY: u64 = 0;
const STARTING: u64 = 1;

/// See the module's text.
pub(crate) struct Watch {
    until: AtomicU64,
    note: Note,
}

impl Watch {
    pub(crate) fn new() -> Watch {
        Watch { until: AtomicU64::new(NOBODY), note: Note::new() }
    }

    /// Whether an M watches, and so sleeps or is about to. Under the scheduler lock, by an M without work.
    #[nowritebarrierrec]
    pub(crate) fn watched(&self) -> bool {
        self.until.load(Ordering::SeqCst) != NOBODY
    }

    /// Sees to it that an M wakes at `when`, the time of a timer that is in a heap. May run without a P.
    #[nowritebarrierrec]
    pub(crate) fn no_later_than(&self, sched: &'static Sched, when: u64) {
        modelled("Watch::no_later_than");
        loop {
            let until = self.until.load(Ordering::SeqCst);
            if until == NOBODY {
                return wakep(sched);
            }
            if until <= when {
                return;
            }
            // Lowered, so that the next one who comes does not wake it again.
            if self.until.compare_exchange(until, when, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
                return self.rouse(sched);
            }
        }
    }

    /// Wakes the watcher, wherever it sleeps. May run without a P.
    #[nowritebarrierrec]
    pub(crate) fn wake(&self, sched: &Sched) {
        if self.watched() {
            self.note.wakeup();
            self.rouse(sched);
        }
    }

    /// If the epoll is made just now, this may miss a watcher that takes the other place to sleep; who makes it calls `wake`.
    #[nowritebarrierrec]
    fn rouse(&self, sched: &Sched) {
        if sched.netpoll.is_open() {
            sched.netpoll.wake();
        } else {
            self.note.wakeup();
        }
    }
}

/// Sleeps as the watcher, if there is something to wait for and nobody else does. `Some`: it has, timers may be due, and
/// these goroutines wait no longer. Runs without a P.
#[nowritebarrierrec]
pub(crate) fn watch(sched: &'static Sched) -> Option<GList> {
    modelled("watch");
    let this = &sched.watch;
    let first = earliest(sched);
    if first == NEVER && !sched.netpoll.any_waiters() {
        return None;
    }
    if this.until.compare_exchange(NOBODY, STARTING, Ordering::SeqCst, Ordering::SeqCst).is_err() {
        if first != NEVER {
            this.no_later_than(sched, first);
        }
        return None;
    }
    // Before anybody can see that it sleeps.
    if !faults::active(Fault::WatchClearedLate) {
        this.note.clear();
    }
    if faults::active(Fault::WatchUnchecked) {
        faults::linger(200);
    }
    let mut until = first;
    loop {
        this.until.store(until, Ordering::SeqCst);
        let now = earliest(sched);
        if now >= until || faults::active(Fault::WatchUnchecked) {
            break;
        }
        until = now;
    }
    if faults::active(Fault::WatchClearedLate) {
        faults::linger(200);
        this.note.clear();
    }
    let now = nanotime();
    let mut list = GList::new();
    let delay = match until {
        _ if sched.exiting.load(Ordering::SeqCst) => 0,
        NEVER => NEVER,
        _ if until > now => until - now,
        _ => 0,
    };
    if sched.netpoll.is_open() {
        list = netpoll(sched, delay);
    } else if delay != 0 {
        this.note.sleep_for(Duration::from_nanos(delay));
    }
    this.until.store(NOBODY, Ordering::SeqCst);
    Some(list)
}
