//! Run queues (`proc::runq`), and who is woken for what is in them (`wakep`, `rest`).

use super::{World, current_m, find};
use crate::g::G;
use crate::m::M;
use crate::proc::locked::startlockedm;
use crate::proc::newm::{acquirep, handoffp, wakep};
use crate::proc::park::ready;
use crate::proc::runq::{runqget, runqput, runqsteal};
use crate::proc::schedule::{reset_spinning, rest, steal};
use core::sync::atomic::Ordering;
use gc_core::sync::current;

fn number(gp: &G) -> usize {
    gp.index
}

impl World {
    /// Puts a goroutine into the queue of the P of this number, which the M of this thread holds.
    pub fn put(self, p: usize, g: usize, next: bool) {
        runqput(self.sched, self.p(p), self.g(g), next);
    }

    /// Takes one out of it, likewise.
    pub fn take(self, p: usize) -> Option<usize> {
        runqget(self.p(p)).map(|(gp, _)| number(gp))
    }

    /// Takes half of another one's queue to it, and one of these.
    pub fn steal(self, p: usize, victim: usize, next: bool) -> Option<usize> {
        runqsteal(self.p(p), self.p(victim), next).map(number)
    }

    /// What an M with this P finds in the others' queues, in one look.
    pub fn steal_from_all(self, p: usize) -> Option<usize> {
        steal(self.sched, self.p(p)).map(number)
    }

    /// Hands over the P of this number, which nobody holds and which is not on the list.
    pub fn hand_off(self, p: usize) {
        handoffp(self.sched, self.p(p));
    }

    /// Takes one out of the global queue.
    pub fn take_global(self) -> Option<usize> {
        self.sched.globrunqpop(&mut self.sched.lock()).map(number)
    }

    /// Wakes an M for what was put.
    pub fn wake(self) {
        wakep(self.sched);
    }

    /// Readies a goroutine that is parked.
    pub fn ready(self, g: usize) {
        ready(self.g(g));
    }

    /// Says that this goroutine is parked; before the threads start.
    pub fn is_parked(self, g: usize) {
        self.g(g).status.store(crate::g::WAITING, Ordering::SeqCst);
    }

    /// The M of this thread counts as one that looks for work.
    pub fn spins(self) {
        current_m().spinning.store(true, Ordering::SeqCst);
        self.sched.nmspinning.fetch_add(1, Ordering::SeqCst);
    }

    /// Looks for work, resting where there is none, until it has found some. `None`: the world has ended.
    pub fn look(self) -> Option<usize> {
        let (sched, m) = (self.sched, current_m());
        loop {
            let p = m.p()?;
            if let Some(gp) = find(sched, p) {
                reset_spinning(sched, m);
                return Some(number(gp));
            }
            if !rest(sched, m) {
                return None;
            }
        }
    }

    /// If a thread was asked for: this one is it, and looks for work.
    pub fn new_thread(self) -> Option<usize> {
        self.become_new_thread(|| {}).and_then(|_| self.look())
    }

    /// Likewise, and does something first, when it has its P; then it gives its P to whose goroutine it finds, and sleeps
    /// until the world ends.
    pub fn new_thread_finds_for_others(self, first: impl FnOnce()) {
        let Some(m) = self.become_new_thread(first) else { return };
        if let Some(g) = self.look() {
            let other = self.g(g).lockedm().expect("whose goroutine it is");
            assert!(!startlockedm(self.sched, m, other, false), "nobody wakes it");
        }
    }

    /// As `new_thread`, and runs timers until this one has fired.
    pub fn new_thread_runs_timers_until(self, alarm: &super::timer::Alarm) -> bool {
        self.become_new_thread(|| {}).is_some() && self.runs_timers_until(alarm)
    }

    fn become_new_thread(self, first: impl FnOnce()) -> Option<&'static M> {
        let sched = self.sched;
        // SAFETY: null or an M that `newm` has put there.
        let m: &'static M = unsafe { sched.template.take().as_ref() }?;
        // SAFETY: `startm` has set it, to a P of `allps`.
        let p = unsafe { &*m.nextp.get() };
        current::set_locks(1);
        current::set_m(core::ptr::from_ref(m).cast_mut().cast());
        acquirep(sched, m, p).then(|| {
            first();
            m
        })
    }

    /// Sleeps until somebody wakes the thread that makes threads.
    pub fn await_template(self) {
        self.sched.template.sleep();
    }

    /// Wakes that.
    pub fn wake_template(self) {
        self.sched.template.end();
    }

    /// The world ends: who sleeps wakes up.
    pub fn end(self) {
        self.sched.exiting.store(true, Ordering::SeqCst);
        crate::stw::wake_for_the_end(self.sched);
    }
}
