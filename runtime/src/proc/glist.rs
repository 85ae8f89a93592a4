//! A list of goroutines that are to run, linked through themselves (Go's `gList`): no allocation, no barrier.

use super::newm::wakep;
use super::runq::runqput;
use crate::g::{self, G, set_g_no_write_barrier};
use crate::m::{M, getm};
use crate::sched::Sched;
use barrier_lint::{NotInHeap, nowritebarrierrec};
use gc_core::sync::current::Region;
use gc_core::sync::modelled;

/// First in, first out. The goroutines are Waiting, and nobody else can wake them.
#[derive(NotInHeap)]
pub(crate) struct GList {
    /// Kept alive by `allgs`.
    first: *mut G,
    last: *mut G,
    len: usize,
}

#[nowritebarrierrec]
impl GList {
    pub(crate) fn new() -> GList {
        GList { first: core::ptr::null_mut(), last: core::ptr::null_mut(), len: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn push(&mut self, gp: &'static G) {
        let at = core::ptr::from_ref(gp).cast_mut();
        set_g_no_write_barrier(&gp.schedlink, core::ptr::null_mut());
        // SAFETY: null or a G of `allgs`.
        match unsafe { self.last.as_ref() } {
            Some(last) => set_g_no_write_barrier(&last.schedlink, at),
            None => self.first = at,
        }
        self.last = at;
        self.len += 1;
    }

    fn pop(&mut self) -> Option<&'static G> {
        // SAFETY: null or a G of `allgs`.
        let gp = unsafe { self.first.as_ref() }?;
        self.first = gp.schedlink.get();
        if self.first.is_null() {
            self.last = core::ptr::null_mut();
        }
        self.len -= 1;
        Some(gp)
    }
}

/// Makes the goroutines runnable, in their order: on this thread's P, the first one to run next, or in the global queue
/// if it has none. May run without a P.
#[nowritebarrierrec]
pub(crate) fn injectglist(sched: &'static Sched, mut list: GList) {
    if list.len() == 0 {
        return;
    }
    modelled("injectglist");
    let _region = Region::enter();
    let m = getm();
    let p = match m {
        Some(m) => M::p(m),
        None => None,
    };
    match p {
        Some(p) => {
            let next = list.pop();
            while let Some(gp) = list.pop() {
                crate::trace::ready(m, gp);
                gp.casgstatus(g::WAITING, g::RUNNABLE);
                runqput(sched, p, gp, false);
            }
            if let Some(gp) = next {
                crate::trace::ready(m, gp);
                gp.casgstatus(g::WAITING, g::RUNNABLE);
                runqput(sched, p, gp, true);
            }
        }
        None => {
            let mut global = sched.lock();
            while let Some(gp) = list.pop() {
                crate::trace::ready(m, gp);
                gp.casgstatus(g::WAITING, g::RUNNABLE);
                sched.globrunqput(&mut global, gp);
            }
        }
    }
    wakep(sched);
}
