//! Goroutines as a profile shows them, copied while the world is stopped, into memory outside the heap.

use crate::g::{self, G, WaitReason};
use crate::sched::Sched;
use core::panic::Location;
use gc_core::sync::Ordering;
use gc_core::{Pile, StopReason, World};

/// Most return addresses of a goroutine.
const FRAMES: usize = 64;

/// One goroutine.
#[derive(Clone, Copy)]
pub(super) struct Row {
    pub(super) goid: u64,
    /// Since when it waits, if it does, by [`nanotime`](crate::time::nanotime).
    pub(super) since: u64,
    /// The call of `spawn` that has made it.
    pub(super) created_at: Option<&'static Location<'static>>,
    status: u32,
    wait: u8,
    depth: usize,
    stack: [usize; FRAMES],
}

impl Row {
    /// What it is while the world is stopped by `own`, which asks.
    pub(super) fn of(gp: &G, own: &G) -> Row {
        let status = gp.status();
        let mut wait = WaitReason::None as u8;
        let mut row_status = status;
        if status == g::WAITING {
            wait = gp.wait_reason.load(Ordering::Relaxed);
            // Stopped where it ran, for us.
            if core::ptr::eq(gp, own) || wait == WaitReason::Safepoint as u8 || wait == WaitReason::Suspended as u8 {
                (row_status, wait) = (g::RUNNING, WaitReason::None as u8);
            }
        }
        let mut row = Row {
            goid: gp.id.load(Ordering::Relaxed),
            since: gp.since.load(Ordering::Relaxed),
            created_at: gp.created_at(),
            status: row_status,
            wait,
            depth: 0,
            stack: [0; FRAMES],
        };
        crate::walk::at_rest(gp, status, |pc, exact| {
            let room = row.depth < FRAMES;
            if room {
                // All are addresses behind an instruction.
                row.stack[row.depth] = pc + usize::from(exact);
                row.depth += 1;
            }
            room
        });
        row
    }

    /// Addresses behind the calls, or the interrupted instruction, innermost first.
    pub(super) fn stack(&self) -> &[usize] {
        &self.stack[..self.depth]
    }

    pub(super) fn status(&self) -> &'static str {
        match self.status {
            g::RUNNABLE => "runnable",
            g::RUNNING => "running",
            g::SYSCALL => "blocking call",
            _ => "waiting",
        }
    }

    /// What it waits for, or nothing.
    pub(super) fn wait(&self) -> &'static str {
        WaitReason::name(self.wait)
    }
}

/// All goroutines that have not ended, at one moment. `gp` is the caller's. A safepoint.
pub(super) fn all(gp: &'static G) -> Pile<Row> {
    let mut rows = Pile::new();
    stopped(gp, &mut || each(gp.sched, |one| rows.push(Row::of(one, gp))));
    rows
}

/// Calls `f` for each goroutine that has not ended and is not the runtime's own with nothing to do.
pub(super) fn each(sched: &Sched, mut f: impl FnMut(&G)) {
    for i in 0..sched.nallgs() {
        let Some(gp) = sched.allg(i) else { continue };
        let status = gp.status();
        let left_out = matches!(status, g::IDLE | g::DEAD) || status == g::WAITING && crate::deadlock::idle(&gp);
        if !left_out {
            f(&gp);
        }
    }
}

/// Runs `f` on g0 while the world is stopped. `gp` is the caller's. A safepoint.
pub(super) fn stopped(gp: &'static G, f: &mut dyn FnMut()) {
    gp.sched.stop_turn.with(gp, || {
        World::at_safepoint(gp.sched, &mut || {
            gp.sched.heap().stop_the_world(StopReason::Profile);
            f();
            gp.sched.heap().start_the_world();
        });
    });
}
