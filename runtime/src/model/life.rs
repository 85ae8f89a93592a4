//! Goroutines that begin and end on an M (`proc::spawn`), and scans of their stacks by others (`world`).

use super::{Goroutine, World, continues, current_m, find};
use crate::g;
use crate::proc::spawn::{begin, gfput, goexit0};
use core::sync::atomic::Ordering;
use gc_core::WorkKind;
use gc_core::sync::current;

impl World {
    /// Runs `f` as the goroutine of this number, which is Runnable, on the M of this thread, until it ends as any other does.
    pub fn lives<R>(self, g: usize, f: impl FnOnce(Goroutine) -> R) -> R {
        let (m, gp) = (current_m(), self.g(g));
        continues(m, gp);
        current::set_locks(0);
        let out = f(Goroutine(gp));
        self.ends(gp);
        out
    }

    /// The calling goroutine spawns one, which runs `f`.
    pub fn spawn(self, f: impl FnOnce() + Send + 'static) {
        drop(crate::spawn(f));
    }

    /// The M of this thread runs a goroutine that was spawned, to its end.
    pub fn runs_spawned(self) {
        let m = current_m();
        let gp = m.p().and_then(|p| find(self.sched, p)).expect("one was spawned");
        continues(m, gp);
        begin(gp);
        self.ends(gp);
    }

    /// What `mcall(goexit0)` does, but for the switches.
    fn ends(self, gp: &'static g::G) {
        current::lock();
        current::set_g(core::ptr::null_mut());
        // SAFETY: on the M of `gp`, whose code has ended.
        let next = unsafe { goexit0(self.sched, current_m(), gp, 0) };
        assert!(next.is_null(), "a dead goroutine is to continue");
    }

    /// The goroutine of this number is dead from the start, and lies in the list of this P. Before the threads start.
    pub fn is_dead(self, g: usize, p: usize) {
        let gp = self.g(g);
        gp.status.store(g::DEAD, Ordering::SeqCst);
        gfput(self.sched, self.p(p), gp);
    }

    /// Whether some dead goroutine is for all to use.
    pub fn any_dead(self) -> bool {
        let mut global = self.sched.lock();
        self.sched.gfget_global(&mut global).is_some_and(|gp| {
            self.sched.gfput_global(&mut global, gp);
            true
        })
    }

    /// How often the P of this number has switched to a goroutine that begins a new time slice.
    pub fn switches(self, p: usize) -> u32 {
        self.p(p).schedtick.load(Ordering::SeqCst)
    }

    /// As sysmon looks at all Ps, at that time; by a thread that is no M.
    pub fn end_slices(self, now: u64) {
        crate::sysmon::retake(self.sched, now);
    }

    /// A cycle begins; on a goroutine, or in the scheduler.
    pub fn start_cycle(self) {
        gc_core::World::at_safepoint(self.sched, &mut || gc_core::model::start_cycle(self.sched.heap()));
    }

    /// The cycle that runs comes to its end, in the scheduler.
    pub fn finish_cycle(self) {
        let p = current_m().p().expect("the scheduler has a P").gcp();
        self.until(|| {
            self.sched.heap().mark_slice(p, WorkKind::Idle);
            !self.sched.heap().marking()
        });
    }

    /// Scans the stack of goroutine number `g`, when `begin` says so, and as soon as that comes about; on a goroutine, or in
    /// the scheduler.
    pub fn scan(self, g: usize, mut begin: impl FnMut() -> bool) {
        gc_core::World::at_safepoint(self.sched, &mut || {
            let (m, heap) = (current_m(), self.sched.heap());
            self.until(&mut begin);
            self.until(|| {
                let p = m.p().expect("the scheduler has a P").gcp();
                // SAFETY: this M holds the P, marking is on, and nothing else of the collector runs here.
                let done = gc_core::World::scan_stack(self.sched, g, &mut unsafe { heap.scanner(p) });
                if !done {
                    assert!(crate::stw::door(self.sched, m, true), "the world goes on");
                    gc_core::model::pass(crate::suspend::PATIENCE);
                }
                done
            });
        });
    }

    /// Whether a stop is announced.
    pub fn stop_announced(self) -> bool {
        self.sched.gcwaiting.load(Ordering::SeqCst)
    }
}
