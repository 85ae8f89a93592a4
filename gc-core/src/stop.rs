//! Stops of the world, as the collector makes them.
//!
//! The host stops its threads; here it is made sure that they stay so (I2: while the world is stopped, nobody else is
//! between "mark" and "enqueue"). Between the host's stop and its start `Heap::stopper` names the stopper's P, and
//! the state word of every thread that holds another one has the bit `STOPPED`; who acquires a P meanwhile gets it
//! too. So the test that every store and allocation makes anyway also catches a thread that runs when it should not,
//! and that is fatal, in every build. A thread that gave its P up has `NO_P` in its word, which is as good.
//!
//! What would break without it: the race of `mark::grey`, silently.

use crate::faults::{self, Fault};
use crate::heap::Heap;
use crate::p::GcP;
use crate::stress::Window;
use crate::sync::{Ordering, current};
use crate::world::StopReason;
use barrier_lint::nowritebarrierrec;

impl Heap {
    /// Stops the world for the caller, which holds a P, on a stack that is no root. Afterwards a heap access by anyone
    /// else is a fatal error.
    pub fn stop_the_world(&self, why: StopReason) {
        self.world.stop_the_world(why);
        // Relaxed, here and below: the host's stop and start order it.
        self.stopper.store(core::ptr::from_ref(GcP::current()).cast_mut(), Ordering::Relaxed);
        self.write_states();
        crate::sync::step("stopped", 0);
        self.window(Window::PhaseFlips);
    }

    /// Ends the caller's stop.
    pub fn start_the_world(&self) {
        self.window(Window::PhaseFlips);
        self.stopper.store(core::ptr::null_mut(), Ordering::Relaxed);
        crate::sync::step("started", 0);
        self.write_states();
        self.world.start_the_world();
    }

    /// Tells every thread that holds a P what it may do. The world is stopped.
    pub(crate) fn write_states(&self) {
        crate::sync::modelled("Heap::write_states");
        self.ps().for_each(|q| q.write_state(self.state_bits(q)));
    }

    /// The state word of a thread that holds `p`.
    #[nowritebarrierrec]
    pub(crate) fn state_bits(&self, p: &GcP) -> u32 {
        let stopper = self.stopper.load(Ordering::Relaxed);
        let phase = match (self.marking(), self.marks_stay()) {
            (true, _) => current::PHASE,
            (false, true) if !faults::active(Fault::YoungUnremembered) => current::BARRIER,
            _ => 0,
        };
        if stopper.is_null() || core::ptr::eq(stopper, p) { phase } else { phase | current::STOPPED }
    }
}
