//! The word of a file for which a goroutine waits (`netpoll::desc`).

use super::Goroutine;
use crate::netpoll::desc::{Ended, Mode, PollDesc};
use crate::proc::glist::{GList, injectglist};
use crate::sched::Sched;

/// A descriptor of a file that is in use.
#[derive(Clone, Copy)]
pub struct File {
    sched: &'static Sched,
    desc: &'static PollDesc,
}

/// How a wait ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// The file is ready, or was.
    Ready,
    /// Somebody has closed it.
    Closed,
    /// The limit has passed.
    TimedOut,
}

impl super::World {
    /// A file.
    pub fn file(self) -> File {
        File { sched: self.sched, desc: self.sched.netpoll.take_desc() }
    }
}

impl File {
    /// `gp`, the calling goroutine, waits until it can be read, or until `limit`.
    pub fn wait(self, gp: Goroutine, limit: Option<u64>) -> End {
        match self.desc.wait(gp.0, Mode::Read, limit) {
            Ok(()) => End::Ready,
            Err(Ended::Closed) => End::Closed,
            Err(Ended::TimedOut) => End::TimedOut,
        }
    }

    /// The kernel has reported it; by whoever polls, with a P or without.
    pub fn ready(self) {
        let mut list = GList::new();
        crate::netpoll::netpollready(&mut list, self.desc, true, true);
        injectglist(self.sched, list);
    }

    /// Closes it.
    pub fn close(self) {
        crate::netpoll::close(self.desc);
    }
}
