//! What all sockets here have in common: a socket that does not block, its place in the poller, and its time limits.

use crate::g::{G, getg};
use crate::m::getm;
use crate::netpoll::desc::{Ended, Mode, PollDesc};
use crate::netpoll::turn::retry;
use crate::netpoll::{close, register, unregister};
use crate::proc::park::poll;
use crate::sched::Sched;
use crate::time::{deadline, nanotime};
use core::mem::ManuallyDrop;
use core::time::Duration;
use gc_core::sync::{AtomicBool, AtomicU64, Ordering};
use socket2::SockRef;
use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// A socket of std's, in the poller.
pub(super) struct Socket<S: AsFd + AsRawFd> {
    io: ManuallyDrop<S>,
    sched: &'static Sched,
    desc: &'static PollDesc,
    /// The user has asked for errors in the place of waiting.
    nonblocking: AtomicBool,
    /// Nanoseconds that reading and writing may wait; 0: no limit.
    limits: [AtomicU64; 2],
}

fn would_block(e: &io::Error) -> bool {
    e.kind() == io::ErrorKind::WouldBlock
}

/// What std's sockets return when their time limit has passed.
fn timed_out() -> io::Error {
    io::Error::from_raw_os_error(libc::EAGAIN)
}

fn closed() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, "the socket was closed by another goroutine")
}

impl<S: AsFd + AsRawFd> Socket<S> {
    /// Puts `io` into the poller of this thread's runtime.
    pub(super) fn new(io: S) -> io::Result<Socket<S>> {
        let Some(m) = getm() else {
            panic!("a socket of `tricolor::net` is made in a runtime, not on another thread");
        };
        // SAFETY: an M's scheduler lives for ever.
        Socket::of(unsafe { &*m.sched.load(Ordering::Relaxed) }, io)
    }

    fn of(sched: &'static Sched, io: S) -> io::Result<Socket<S>> {
        SockRef::from(&io).set_nonblocking(true)?;
        let desc = register(sched, io.as_raw_fd())?;
        Ok(Socket {
            io: ManuallyDrop::new(io),
            sched,
            desc,
            nonblocking: AtomicBool::new(false),
            limits: [AtomicU64::new(0), AtomicU64::new(0)],
        })
    }

    pub(super) fn io(&self) -> &S {
        &self.io
    }

    /// Another handle to the same socket, which `io` is, with the same settings.
    pub(super) fn again(&self, io: S) -> io::Result<Socket<S>> {
        let new = Socket::of(self.sched, io)?;
        new.nonblocking.store(self.nonblocking.load(Ordering::Relaxed), Ordering::Relaxed);
        for (new, old) in new.limits.iter().zip(&self.limits) {
            new.store(old.load(Ordering::Relaxed), Ordering::Relaxed);
        }
        Ok(new)
    }

    /// Takes it out of the poller: a socket that blocks, as std's do.
    pub(super) fn into_std(self) -> io::Result<S> {
        let mut this = ManuallyDrop::new(self);
        unregister(this.sched, this.io.as_raw_fd(), this.desc);
        // SAFETY: `this` is not dropped, so this happens once.
        let io = unsafe { ManuallyDrop::take(&mut this.io) };
        SockRef::from(&io).set_nonblocking(this.nonblocking.load(Ordering::Relaxed))?;
        Ok(io)
    }

    /// Ends all waiting, now and later, with an error.
    pub(super) fn close(&self) {
        close(self.desc);
    }

    pub(super) fn set_nonblocking(&self, on: bool) {
        self.nonblocking.store(on, Ordering::Relaxed);
    }

    pub(super) fn set_limit(&self, mode: Mode, limit: Option<Duration>) -> io::Result<()> {
        if limit.is_some_and(|limit| limit.is_zero()) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "cannot set a 0 duration timeout"));
        }
        let nanos = limit.map_or(0, |limit| u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX));
        self.limits[mode as usize].store(nanos, Ordering::Relaxed);
        Ok(())
    }

    pub(super) fn limit(&self, mode: Mode) -> Option<Duration> {
        match self.limits[mode as usize].load(Ordering::Relaxed) {
            0 => None,
            nanos => Some(Duration::from_nanos(nanos)),
        }
    }

    /// Does `f` until it does not say that it would block; parks the goroutine in between. A safepoint.
    pub(super) fn run<R>(&self, mode: Mode, f: impl FnMut(&S) -> io::Result<R>) -> io::Result<R> {
        self.run_within(mode, self.limit(mode), f)
    }

    /// As [`run`](Socket::run), for at most `limit`.
    pub(super) fn run_within<R>(
        &self,
        mode: Mode,
        limit: Option<Duration>,
        mut f: impl FnMut(&S) -> io::Result<R>,
    ) -> io::Result<R> {
        poll();
        if self.desc.closing() {
            return Err(closed());
        }
        if self.nonblocking.load(Ordering::Relaxed) {
            return f(&self.io);
        }
        let until = || limit.map(deadline);
        let Some(gp) = self.goroutine() else { return self.block(mode, until(), f) };
        let attempt = || match f(&self.io) {
            Err(e) if would_block(&e) => None,
            out => Some(out),
        };
        retry(self.desc, gp, mode, until, attempt).unwrap_or_else(|ended| {
            Err(match ended {
                Ended::Closed => closed(),
                Ended::TimedOut => timed_out(),
            })
        })
    }

    /// The calling goroutine, if it can park and this socket's runtime is its own.
    fn goroutine(&self) -> Option<&'static G> {
        getg().filter(|gp| core::ptr::eq(gp.sched, self.sched) && getm().is_some_and(|m| m.p().is_some()))
    }

    /// As `run`, where there is no goroutine that could park: the thread waits.
    fn block<R>(&self, mode: Mode, until: Option<u64>, mut f: impl FnMut(&S) -> io::Result<R>) -> io::Result<R> {
        loop {
            match f(&self.io) {
                Err(e) if would_block(&e) => {}
                out => return out,
            }
            let millis = match until {
                None => -1,
                Some(when) => match when.saturating_sub(nanotime()) {
                    0 => return Err(timed_out()),
                    nanos => nanos.div_ceil(1_000_000).min(1 << 30) as libc::c_int,
                },
            };
            let events = if mode == Mode::Read { libc::POLLIN } else { libc::POLLOUT };
            let mut file = libc::pollfd { fd: self.io.as_raw_fd(), events, revents: 0 };
            // SAFETY: one live entry. Errors show with the next try.
            unsafe { libc::poll(&raw mut file, 1, millis) };
        }
    }
}

impl<S: AsFd + AsRawFd> Drop for Socket<S> {
    fn drop(&mut self) {
        // Nobody waits: they would borrow it.
        unregister(self.sched, self.io.as_raw_fd(), self.desc);
        // SAFETY: once, here.
        unsafe { ManuallyDrop::drop(&mut self.io) };
    }
}
