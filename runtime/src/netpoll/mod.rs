//! Waiting for sockets, without a thread for each (Go's `netpoll`): the kernel's epoll, edge-triggered.
//!
//! ```text
//! a goroutine's system call would block ──► parks in the file's PollDesc (`desc`)
//! netpoll: epoll_wait ──► netpollready: takes it out ──► a list of goroutines to run
//! ```
//! Who calls `netpoll`, and when: an M with a P that has nothing else to run, without waiting; the M that watches
//! (`watch`), which sleeps in it; sysmon, if nobody has for 10 ms. All but the first hold no P, so nothing here has a
//! barrier.
//!
//! There is no epoll until the first socket: before that the watcher sleeps on its note. `open` makes it and then wakes
//! the watcher, so that it changes over; whoever wakes the watcher later writes to `wakefd`, which ends its `epoll_wait`.
//!
//! `waiters` counts goroutines from before they park until they run again: while it is not 0 somebody watches, and
//! nothing is a deadlock.

pub(crate) mod desc;
pub(crate) mod turn;
pub(crate) mod watch;

use crate::proc::glist::{GList, injectglist};
use crate::proc::park::ready;
use crate::sched::Sched;
use crate::time::nanotime;
use crate::time::timers::NEVER;
use barrier_lint::{certify, nowritebarrierrec};
use desc::{Cache, Mode, PollDesc};
use gc_core::sync::{AtomicBool, AtomicU32, AtomicU64, Lock, Ordering, Rank, modelled};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};

/// No file.
const NONE: u32 = u32::MAX;

/// Reports that are taken from the kernel at once.
const EVENTS: usize = 128;

const SECOND: u64 = 1_000_000_000;

/// How long goroutines that wait for files may be forgotten where all Ps are busy, in nanoseconds.
const LATE: u64 = 10_000_000;

/// What the kernel hands back for `wakefd`; no descriptor is at address 0.
const WAKE: u64 = 0;

certify! {
    use libc::{epoll_wait, read as sys_read, syscall, write as sys_write, __errno_location}: "system calls";
}

/// The poller of a scheduler.
pub(crate) struct Netpoll {
    epfd: AtomicU32,
    wakefd: AtomicU32,
    /// The kernel has no `epoll_pwait2`.
    coarse: AtomicBool,
    opening: Lock<()>,
    cache: Cache,
    waiters: AtomicU32,
    /// When somebody looked last.
    last_poll: AtomicU64,
}

#[nowritebarrierrec]
fn raw(fd: &AtomicU32) -> RawFd {
    fd.load(Ordering::SeqCst) as RawFd
}

impl Netpoll {
    pub(crate) fn new() -> Netpoll {
        Netpoll {
            epfd: AtomicU32::new(NONE),
            wakefd: AtomicU32::new(NONE),
            coarse: AtomicBool::new(false),
            opening: Lock::new(Rank::NetpollOpen, ()),
            cache: Cache::new(),
            waiters: AtomicU32::new(0),
            last_poll: AtomicU64::new(0),
        }
    }

    /// Whether goroutines wait for files. May run without a P.
    #[nowritebarrierrec]
    pub(crate) fn any_waiters(&self) -> bool {
        self.waiters.load(Ordering::SeqCst) != 0
    }

    /// Whether there is an epoll. May run without a P.
    #[nowritebarrierrec]
    fn is_open(&self) -> bool {
        self.epfd.load(Ordering::SeqCst) != NONE
    }

    /// Ends a sleep in `netpoll`, now or the next one. May run without a P.
    #[nowritebarrierrec]
    fn wake(&self) {
        let one = 1_u64;
        // SAFETY: eight live bytes. An error means that the counter is full: then it wakes already.
        unsafe { sys_write(raw(&self.wakefd), (&raw const one).cast(), 8) };
    }

    /// Makes the epoll, if there is none.
    fn open(&self) -> io::Result<()> {
        let _opening = self.opening.lock();
        if self.is_open() {
            return Ok(());
        }
        // SAFETY: makes a file.
        let epfd = owned(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        // SAFETY: makes a file.
        let wakefd = owned(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })?;
        control(epfd.as_raw_fd(), libc::EPOLL_CTL_ADD, wakefd.as_raw_fd(), libc::EPOLLIN, WAKE)?;
        self.wakefd.store(wakefd.into_raw_fd() as u32, Ordering::SeqCst);
        self.epfd.store(epfd.into_raw_fd() as u32, Ordering::SeqCst);
        Ok(())
    }

    /// Waits for reports at most `delay` nanoseconds (0: not at all; [`NEVER`]: for ever); how many there are.
    #[nowritebarrierrec]
    fn wait(&self, events: &mut [libc::epoll_event; EVENTS], delay: u64) -> usize {
        let (epfd, at, most) = (raw(&self.epfd), events.as_mut_ptr(), EVENTS as libc::c_int);
        if delay != 0 && delay != NEVER && !self.coarse.load(Ordering::Relaxed) {
            let limit =
                libc::timespec { tv_sec: (delay / SECOND) as libc::time_t, tv_nsec: (delay % SECOND) as libc::c_long };
            let no_mask: *const libc::sigset_t = core::ptr::null();
            // SAFETY: room for that many reports; a live limit.
            let n = unsafe { syscall(libc::SYS_epoll_pwait2, epfd, at, most, &raw const limit, no_mask, 0_usize) };
            if n >= 0 {
                return n as usize;
            }
            // SAFETY: this thread's errno.
            if unsafe { *__errno_location() } == libc::EINTR {
                return 0;
            }
            self.coarse.store(true, Ordering::Relaxed);
        }
        let millis = if delay == NEVER { -1 } else { delay.div_ceil(1_000_000).min(1 << 30) as libc::c_int };
        // SAFETY: room for that many reports.
        let n = unsafe { epoll_wait(epfd, at, most, millis) };
        // Negative: interrupted, as a rule; who waits looks again.
        if n < 0 { 0 } else { n as usize }
    }
}

fn owned(fd: RawFd) -> io::Result<OwnedFd> {
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: just made, nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn control(epfd: RawFd, what: libc::c_int, fd: RawFd, events: libc::c_int, data: u64) -> io::Result<()> {
    let mut event = libc::epoll_event { events: events as u32, u64: data };
    // SAFETY: a live event.
    match unsafe { libc::epoll_ctl(epfd, what, fd, &raw mut event) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Tells the kernel to report on `fd`, which does not block. Needs no P.
pub(crate) fn register(sched: &'static Sched, fd: RawFd) -> io::Result<&'static PollDesc> {
    let this = &sched.netpoll;
    if !this.is_open() {
        this.open()?;
        // It may sleep on its note.
        sched.watch.wake(sched);
    }
    let desc = this.cache.take()?;
    let events = libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLRDHUP | libc::EPOLLET;
    if let Err(e) = control(raw(&this.epfd), libc::EPOLL_CTL_ADD, fd, events, desc.data()) {
        this.cache.give_back(desc);
        return Err(e);
    }
    Ok(desc)
}

#[cfg(modelled)]
impl Netpoll {
    /// A descriptor, as [`register`] takes one.
    pub(crate) fn take_desc(&self) -> &'static PollDesc {
        self.cache.take().expect("a descriptor")
    }
}

/// The end of [`register`]; nobody waits. Needs no P.
pub(crate) fn unregister(sched: &'static Sched, fd: RawFd, desc: &'static PollDesc) {
    let this = &sched.netpoll;
    // An error means that it is not there: then that is that.
    let _ = control(raw(&this.epfd), libc::EPOLL_CTL_DEL, fd, 0, 0);
    this.cache.give_back(desc);
}

/// Wakes all that wait for the file, in vain; from now on nobody does. Needs no P.
pub(crate) fn close(desc: &'static PollDesc) {
    for gp in desc.close().into_iter().flatten() {
        ready(gp);
    }
}

/// Looks what has become ready, waiting for that at most `delay` nanoseconds (0: not at all; [`NEVER`]: for ever). The
/// goroutines are still Waiting. May run without a P.
#[nowritebarrierrec]
pub(crate) fn netpoll(sched: &'static Sched, delay: u64) -> GList {
    let this = &sched.netpoll;
    let mut list = GList::new();
    let mut events = [libc::epoll_event { events: 0, u64: 0 }; EVENTS];
    let n = this.wait(&mut events, delay);
    this.last_poll.store(nanotime(), Ordering::SeqCst);
    let mut next = 0;
    while next < n {
        let (bits, data) = (events[next].events as libc::c_int, events[next].u64);
        next += 1;
        if data == WAKE {
            // Left for the one who sleeps.
            if delay != 0 {
                let mut count = 0_u64;
                // SAFETY: eight live bytes.
                unsafe { sys_read(raw(&this.wakefd), (&raw mut count).cast(), 8) };
            }
            continue;
        }
        if let Some(desc) = PollDesc::from_data(data) {
            let broken = bits & (libc::EPOLLHUP | libc::EPOLLERR) != 0;
            let read = broken || bits & (libc::EPOLLIN | libc::EPOLLRDHUP) != 0;
            let write = broken || bits & libc::EPOLLOUT != 0;
            netpollready(&mut list, desc, read, write);
        }
    }
    list
}

/// The file is ready: adds the goroutines that wait for that to `list`. May run without a P, and while the world is stopped:
/// the links are written without a barrier, since `allgs` keeps every G.
#[nowritebarrierrec]
pub(crate) fn netpollready(list: &mut GList, desc: &PollDesc, read: bool, write: bool) {
    modelled("netpollready");
    if read && let Some(gp) = desc.ready(Mode::Read) {
        list.push(gp);
    }
    if write && let Some(gp) = desc.ready(Mode::Write) {
        list.push(gp);
    }
}

/// Looks without waiting, if somebody waits for files and nobody watches; whether goroutines were put on this M's P.
pub(crate) fn look(sched: &'static Sched) -> bool {
    if !sched.netpoll.any_waiters() || sched.watch.watched() {
        return false;
    }
    let list = netpoll(sched, 0);
    let any = list.len() > 0;
    injectglist(sched, list);
    any
}

/// Looks if nobody has for long: all Ps have goroutines to run. By sysmon, without a P.
#[nowritebarrierrec]
pub(crate) fn look_if_late(sched: &'static Sched, now: u64) {
    let this = &sched.netpoll;
    let last = this.last_poll.load(Ordering::SeqCst);
    if this.any_waiters() && !sched.watch.watched() && now > last + LATE {
        injectglist(sched, netpoll(sched, 0));
    }
}
