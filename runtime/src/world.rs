//! The scheduler as the collector sees it: `gc_core::World`.

use crate::g::{self, G, SCAN, getg};
use crate::proc::newm::this_m;
use crate::proc::schedule::{mcall, safepoint_m, wake_all};
use crate::sched::Sched;
use gc_core::faults::{self, Fault};
use gc_core::sync::{Ordering, modelled};
use gc_core::{Entered, Gc, GcP, Scanner, StopReason, World};

// SAFETY: an M uses the heap only between `acquire_p` and `release_p`; each method says how it keeps its promise.
unsafe impl World for Sched {
    fn stop_the_world(&self, why: StopReason) {
        crate::stw::stop_the_world(self.forever(), this_m(), why);
    }

    fn start_the_world(&self) {
        crate::stw::start_the_world(self.forever(), this_m());
    }

    fn for_each_p(&self, f: &(dyn Fn(&GcP) + Sync)) {
        crate::stw::for_each_p(self.forever(), this_m(), f);
    }

    fn at_safepoint(&self, work: &mut dyn FnMut()) {
        let Some(gp) = getg() else {
            // On g0 already (the first allocations of a runtime): there is no stack to scan.
            self.g0_door();
            work();
            self.g0_door();
            return;
        };
        let unwinding = std::thread::panicking();
        gp.noyield.store(unwinding, Ordering::Relaxed);
        if !unwinding {
            crate::proc::park::clear_panics(gp);
        }
        // SAFETY: only the lifetime changes; `safepoint_m` is done with it before this frame continues.
        let mut work = unsafe { core::mem::transmute::<&mut dyn FnMut(), &'static mut dyn FnMut()>(work) };
        gp.wanted.store((&raw mut work).cast(), Ordering::Relaxed);
        // SAFETY: a goroutine; `safepoint_m` makes it Waiting before anything else.
        unsafe { mcall(gp, safepoint_m) };
    }

    fn begin_mark(&self, cycle: u32) -> usize {
        self.cycle.store(cycle, Ordering::SeqCst);
        self.nallgs()
    }

    fn scan_stack(&self, i: usize, s: &mut Scanner<'_>) -> bool {
        match self.allg(i) {
            Some(gp) => {
                if s.verifying() || !faults::active(Fault::GUnscanned) {
                    s.object(Gc::as_ptr(gp));
                }
                scan_g(&gp, s)
            }
            // Being made since before the cycle began; it will be born with this cycle's stamp.
            None => true,
        }
    }

    fn scan_roots(&self, s: &mut Scanner<'_>) {
        // Gs are roots one by one through `scan_stack`. What the queues hold are Gs of `allgs`, waiters are held by their
        // own stacks. A G made after `begin_mark` counted is shaded by `spawn`.
        self.scan_tables(s);
    }

    fn entered(&self) -> &'static Entered {
        match getg() {
            Some(gp) => &gp.entered,
            None => gc_core::throw!("mutable access to a heap value (GcMut) outside a goroutine"),
        }
    }

    fn callers(&self, into: &mut [usize]) -> usize {
        getg().map_or(0, |gp| crate::walk::callers(gp, into))
    }

    fn wake_workers(&self) {
        wake_all(self.forever());
    }

    fn enlist_worker(&self) {
        crate::proc::newm::wakep(self.forever());
    }

    fn pause(&self) {
        if getg().is_some() {
            crate::proc::park::pause();
        } else {
            self.g0_door();
            gc_core::sync::yield_now();
        }
    }
}

impl Sched {
    /// The door, for g0 code that allocates. It has no time slice, and marking would stop early for a flag left set.
    fn g0_door(&self) {
        let (sched, m) = (self.forever(), this_m());
        crate::stw::door(sched, m, true);
        if let Some(p) = m.p() {
            p.slice_over.store(false, Ordering::SeqCst);
            crate::proc::schedule::clear_preempt(sched, m, p);
        }
    }

    /// A scheduler that runs is leaked (`runtime::enter`).
    fn forever(&self) -> &'static Sched {
        // SAFETY: a heap is only ever made with a leaked scheduler as its world.
        unsafe { &*core::ptr::from_ref(self) }
    }
}

/// Scans the stack of `gp` unless this cycle has, or it is running.
pub(crate) fn scan_g(gp: &G, s: &mut Scanner<'_>) -> bool {
    modelled("scan_g");
    loop {
        if !s.verifying() && gp.stamp.load(Ordering::SeqCst) == s.cycle() {
            return true;
        }
        let status = gp.status.load(Ordering::SeqCst);
        match status {
            g::IDLE | g::DEAD => {
                // No stack. If `spawn` revives it meanwhile it is born with this stamp.
                stamp(gp, s);
                return true;
            }
            g::RUNNING => {
                // SAFETY: null or an M, which `allms` keeps.
                if let Some(m) = unsafe { gp.m.get().as_ref() }
                    && let Some(p) = m.p()
                {
                    // If it has moved on meanwhile somebody else comes to a safepoint, which does no harm.
                    crate::suspend::ask(gp.sched, p);
                }
                return false;
            }
            g::RUNNABLE | g::SYSCALL | g::WAITING => {
                if gp.status.compare_exchange(status, status | SCAN, Ordering::SeqCst, Ordering::SeqCst).is_err() {
                    continue;
                }
                scan_at_rest(gp, s, status);
                return true;
            }
            // Somebody else scans it.
            _ => {
                if faults::active(Fault::ScanShared) {
                    scan_at_rest(gp, s, status & !SCAN);
                    return true;
                }
                core::hint::spin_loop();
                #[cfg(modelled)]
                gc_core::sync::yield_now();
            }
        }
    }
}

/// Scans the stack of `gp`, unless this cycle has, and lets go of it: its status is to be `status`. The caller has the SCAN
/// bit.
fn scan_at_rest(gp: &G, s: &mut Scanner<'_>, status: u32) {
    if s.verifying() || gp.stamp.load(Ordering::SeqCst) != s.cycle() {
        if faults::active(Fault::StatusIgnoresScan) || faults::active(Fault::ScanShared) {
            faults::linger(200);
        }
        let sp = gp.sp.load(Ordering::SeqCst);
        gp.segments.each_live(gp.stack, sp, |part| {
            let (lo, hi) = (part.lo, part.hi);
            // SAFETY: SCAN is ours, so nobody runs on this stack: its live parts are mapped and at rest.
            unsafe {
                s.conservative(core::ptr::with_exposed_provenance(lo), core::ptr::with_exposed_provenance(hi));
            }
        });
        // SAFETY: as above.
        unsafe {
            crate::suspend::scan_frame(gp, s);
            crate::xregs::scan(gp, s);
            s.entered(&gp.entered);
        }
        // Relaxed: as its stack, it is written by who runs on it.
        s.object(gp.sudog.load(Ordering::Relaxed));
        stamp(gp, s);
        if !s.verifying() && status != g::SYSCALL && gp.frame[0].load(Ordering::Relaxed) == 0 {
            crate::stack::give_back(gp, s.cycle());
        }
    }
    gp.status.store(status, Ordering::SeqCst);
}

fn stamp(gp: &G, s: &Scanner<'_>) {
    if !s.verifying() {
        gp.stamp.store(s.cycle(), Ordering::SeqCst);
    }
}
