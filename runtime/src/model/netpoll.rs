//! The word of a file for which a goroutine waits (`netpoll::desc`).

use super::Goroutine;
use crate::netpoll::desc::{Ended, Mode, PollDesc};
use crate::netpoll::turn::retry;
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

fn end(out: Result<(), Ended>) -> End {
    match out {
        Ok(()) => End::Ready,
        Err(Ended::Closed) => End::Closed,
        Err(Ended::TimedOut) => End::TimedOut,
    }
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
        end(self.desc.wait(gp.0, Mode::Read, limit))
    }

    /// `gp`, the calling goroutine, reads: `attempt`, until there is something.
    pub fn read(self, gp: Goroutine, attempt: impl FnMut() -> Option<()>) -> End {
        end(retry(self.desc, gp.0, Mode::Read, || None, attempt))
    }

    /// Runs `f` in the turn of `gp`, the calling goroutine, to read; whether that has come before `limit`.
    pub fn in_turn(self, gp: Goroutine, limit: Option<u64>, f: impl FnOnce()) -> bool {
        let turn = self.desc.turn(Mode::Read);
        let its_turn = turn.take(gp.0, limit);
        if its_turn {
            f();
            turn.give();
        }
        its_turn
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
