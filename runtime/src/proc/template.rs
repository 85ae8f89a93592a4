//! Making threads: the template thread, as Go's `templateThread`. It alone calls `pthread_create`, and never has a P.
//!
//! ```text
//! newm (any M, or sysmon; with a P or without)       the template thread
//! links the M into the list, by CAS                  sleeps on `note`
//! wakes `note`, and goes on                   ───►   clears it, takes the whole list, makes the threads
//! ```
//! `pthread_create` takes locks of malloc and of the loader, whose holder may be suspended or descheduled, so nobody whom
//! that holder may wait for can call it (I8). While the template thread waits for such a holder:
//!
//! - **No stop waits with it.** The P that is on its way to the new thread is `Idle`, which a stopper claims by itself; an
//!   M without a thread is none that anybody asks to stop. So if the holder is suspended for that stop, the stop ends, the
//!   holder goes on, and then so does this thread.
//! - **No P waits for ever.** A holder in a blocking call, or on a foreign thread, is stopped by nobody. One that was
//!   descheduled (possible only if the program brings a malloc of its own: `preempt` leaves libc's alone) waits in the
//!   global queue for whoever has a P. If nobody has, since the others are on the way to unmade threads, or idle because
//!   one of these was to look for work, or asleep in the kernel, sysmon notices ([`Template::late`]) and gives an idle or
//!   a spare P to such a goroutine. It has its thread already.
//!
//! What would break if the list were taken before the note is cleared: a wake-up in between is lost.

use crate::m::{M, set_m_no_write_barrier};
use crate::sched::Sched;
use barrier_lint::{certify, nowritebarrierrec};
use gc_core::faults::{self, Fault};
use gc_core::sync::{AtomicPtr, AtomicU64, Note, Ordering, current};

certify! {
    use libc::{
        pthread_attr_destroy, pthread_attr_init, pthread_attr_setdetachstate, pthread_attr_setstacksize, pthread_create,
    }: "the C library, which runs no code of ours on this thread";
    use libc::getrlimit: "a system call";
    use libc::prctl as name_thread: "a system call";
    trait CStrings { as_ptr } for core::ffi::CStr: "reads a field";
}

/// Where a thread of the runtime begins: a plain code pointer, so that no closure is allocated.
pub(crate) type Start = extern "C" fn(*mut libc::c_void) -> *mut libc::c_void;

/// Ms that wait for their threads.
pub(crate) struct Template {
    /// The last one, linked through `schedlink`. Kept alive by `allms`.
    list: AtomicPtr<M>,
    note: Note,
    /// Since when it has been making a thread ([`nanotime`](crate::time::nanotime)); 0: it has nothing to do.
    since: AtomicU64,
}

impl Template {
    pub(crate) fn new() -> Template {
        Template { list: AtomicPtr::new(core::ptr::null_mut()), note: Note::new(), since: AtomicU64::new(0) }
    }

    /// Whether a thread has been in the making for more than `limit` nanoseconds. May run without a P.
    #[nowritebarrierrec]
    pub(crate) fn late(&self, now: u64, limit: u64) -> bool {
        // Relaxed: a look at a clock.
        let since = self.since.load(Ordering::Relaxed);
        since != 0 && now.saturating_sub(since) > limit
    }

    /// Ends the thread, whose scheduler is `exiting`.
    pub(crate) fn end(&self) {
        self.note.wakeup();
    }
}

#[cfg(modelled)]
impl Template {
    /// As the template thread waits.
    pub(crate) fn sleep(&self) {
        self.note.sleep();
        self.note.clear();
    }

    /// As the template thread takes it.
    pub(crate) fn take(&self) -> *mut M {
        self.list.swap(core::ptr::null_mut(), Ordering::AcqRel)
    }
}

/// Has the thread of `m` made, whose `nextp` is set. May run without a P.
#[nowritebarrierrec]
pub(crate) fn newm(sched: &'static Sched, m: &'static M) {
    if faults::active(Fault::NewmDirect) {
        // SAFETY: `mstart` takes an M of `allms`.
        unsafe { make_thread(super::newm::mstart, core::ptr::from_ref(m).cast_mut().cast()) };
        return;
    }
    let template = &sched.template;
    let me = core::ptr::from_ref(m).cast_mut();
    loop {
        // Relaxed: the exchange below says whether it still holds. The list is only ever taken as a whole, so an entry
        // that comes back is no danger.
        let first = template.list.load(Ordering::Relaxed);
        set_m_no_write_barrier(&m.schedlink, first);
        // Release: the M and its link, for the taker. Acquire, with the taker's Release: if its swap came first, so did
        // its clearing of the note, and the wake-up below stays.
        if template.list.compare_exchange(first, me, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
            break;
        }
    }
    template.note.wakeup();
}

/// The template thread.
#[nowritebarrierrec]
pub(crate) extern "C" fn template_thread(sched: *mut libc::c_void) -> *mut libc::c_void {
    // SAFETY: `enter` passes the scheduler, which lives for ever.
    let sched = unsafe { &*sched.cast::<Sched>() };
    current::set_locks(1);
    // SAFETY: a name of less than 16 bytes, ended by 0.
    unsafe { name_thread(libc::PR_SET_NAME, c"tricolor-new".as_ptr()) };
    let template = &sched.template;
    loop {
        template.note.sleep();
        template.note.clear();
        if sched.exiting.load(Ordering::SeqCst) {
            return core::ptr::null_mut();
        }
        // Acquire and Release: as `newm` says.
        let mut m = template.list.swap(core::ptr::null_mut(), Ordering::AcqRel);
        // SAFETY: null or an entry of `allms`, linked by `newm`.
        while let Some(next) = unsafe { m.as_ref() } {
            m = next.schedlink.get();
            set_m_no_write_barrier(&next.schedlink, core::ptr::null_mut());
            // Relaxed: for sysmon, which looks again.
            template.since.store(crate::time::nanotime(), Ordering::Relaxed);
            // SAFETY: `mstart` takes an M of `allms`.
            let error = unsafe { make_thread(super::newm::mstart, core::ptr::from_ref(next).cast_mut().cast()) };
            if error != 0 {
                no_thread(sched, next, error);
            }
            template.since.store(0, Ordering::Relaxed);
        }
    }
}

/// Makes a detached thread that runs `start(arg)`; the error number, 0 for none.
///
/// # Safety
/// `start` may be called so, at any later time.
#[nowritebarrierrec]
#[expect(clippy::disallowed_methods, reason = "on threads that never have a P and that no signal suspends")]
pub(crate) unsafe fn make_thread(start: Start, arg: *mut libc::c_void) -> libc::c_int {
    // SAFETY: the attributes live until the thread is made; the rest is the caller's contract.
    unsafe {
        let mut attr: libc::pthread_attr_t = core::mem::zeroed();
        pthread_attr_init(&raw mut attr);
        pthread_attr_setstacksize(&raw mut attr, super::newm::G0_STACK);
        pthread_attr_setdetachstate(&raw mut attr, libc::PTHREAD_CREATE_DETACHED);
        let mut thread: libc::pthread_t = 0;
        let error = pthread_create(&raw mut thread, &raw const attr, start, arg);
        pthread_attr_destroy(&raw mut attr);
        error
    }
}

/// There is no thread to be had for `m`.
#[nowritebarrierrec]
fn no_thread(sched: &Sched, m: &M, error: libc::c_int) {
    let id = m.id.load(Ordering::SeqCst);
    let why = super::newm::why_so_many(sched);
    if error != libc::EAGAIN {
        gc_core::throw!("cannot make thread number {id}: error {error}");
    }
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: fills it.
    unsafe { getrlimit(libc::RLIMIT_NPROC, &raw mut limit) };
    let max = limit.rlim_cur;
    if max == libc::RLIM_INFINITY {
        gc_core::throw!(
            "cannot make thread number {id}: the system allows no more (EAGAIN; RLIMIT_NPROC is unlimited, so it is \
             memory, the cgroup's pids.max or kernel.threads-max); {why}"
        );
    }
    gc_core::throw!(
        "cannot make thread number {id}: the system allows no more (EAGAIN; RLIMIT_NPROC allows this user {max} \
         processes and threads; or it is memory, the cgroup's pids.max or kernel.threads-max); {why}"
    );
}
