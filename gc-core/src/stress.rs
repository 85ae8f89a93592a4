//! Stress switches: they make rare interleavings common, and misuse of memory visible. All are chosen at run time.
//!
//! | switch | what it does |
//! |---|---|
//! | `poison` | the sweeper fills freed slots with a pattern, which is checked when a slot is used again (`poison`) |
//! | `eagerbarrier` | the barrier buffer is flushed at every store |
//! | `smallbuf` | barrier and work buffers have two entries |
//! | `partial` | three cycles of four are partial, whether that pays or not |
//! | `delay=WINDOW:USEC` | threads wait up to so many microseconds, at random, in a named [`Window`] |

use crate::heap::Heap;
use crate::sync::{Ordering, nanos, yield_now};
use barrier_lint::nowritebarrierrec;

macro_rules! windows {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, one in $one_in:literal;)*) => {
        /// A place where a delay lets others in.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Window {
            $($(#[$doc])* $variant,)*
        }

        impl Window {
            /// All windows, by the name under which they are chosen.
            pub const ALL: &[(&str, Window)] = &[$(($name, Window::$variant)),*];
            /// How often a thread that comes by waits: once in this many times.
            const ONE_IN: &[u64] = &[$($one_in),*];
        }
    };
}
windows! {
    /// An object is marked and on no list yet.
    AfterMark = "after-mark-before-enqueue", one in 256;
    /// The barrier is known to be on, and the store is still to come.
    FlagCheckToStore = "between-flag-check-and-store", one in 64;
    /// The world is stopped: before and after a flip.
    PhaseFlips = "phase-flips", one in 1;
    /// Marking has begun, and a stack is to be scanned: until then its owner goes on with a stack that is grey.
    BeforeStackScan = "before-stack-scan", one in 2;
    /// Every P has handed out its work, and the world is to be stopped.
    RaggedBarrierToStop = "ragged-barrier-to-stop", one in 1;
    /// A span is swept, and nobody knows.
    SweepToPublish = "sweep-to-publish", one in 64;
    /// Some dead objects are about to be dropped.
    BeforeDrop = "before-drop", one in 4;
}

/// Longest delay, in microseconds.
const LONGEST: u32 = 1_000_000;

/// Which switches are on. The default: none.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Stress {
    /// Fill freed slots with a pattern, and check it when they are used again. A write to a freed slot is fatal then,
    /// and so is reading a pointer from one.
    pub poison: bool,
    /// Flush the barrier buffer at every store.
    pub eager_barrier: bool,
    /// Barrier and work buffers of two entries.
    pub small_buffers: bool,
    /// Let marks stay in three cycles of four, whether that pays or not; see [`Config::partial`](crate::Config::partial).
    pub partial: bool,
    /// Longest delay in each window, in microseconds; 0: none.
    delays: [u32; Window::ALL.len()],
}

impl Stress {
    /// The names that [`set`](Stress::set) knows.
    pub const NAMES: &[&str] = &["poison", "eagerbarrier", "smallbuf", "partial", "delay"];

    /// Lets threads wait up to `micros` microseconds in a window; 0: not at all.
    ///
    /// # Panics
    /// If it is more than a second.
    #[must_use]
    pub fn delay(mut self, window: Window, micros: u32) -> Stress {
        assert!(micros <= LONGEST, "a delay of {micros} us: at most {LONGEST}");
        self.delays[window as usize] = micros;
        self
    }

    /// Sets a switch as text says it: `poison`, `eagerbarrier`, `smallbuf` or `partial` with `0` or `1`, or `delay` with
    /// `WINDOW:USEC`.
    ///
    /// # Errors
    /// What is allowed.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let flag = match name {
            "poison" => &mut self.poison,
            "eagerbarrier" => &mut self.eager_barrier,
            "smallbuf" => &mut self.small_buffers,
            "partial" => &mut self.partial,
            "delay" => return self.set_delay(value),
            _ => return Err(format!("a switch among {}", Stress::NAMES.join(", "))),
        };
        *flag = match value {
            "0" => false,
            "1" => true,
            _ => return Err(format!("{name}=0 or {name}=1")),
        };
        Ok(())
    }

    fn set_delay(&mut self, value: &str) -> Result<(), String> {
        let window = |name: &str| Window::ALL.iter().find(|(n, _)| *n == name).map(|(_, w)| *w);
        let micros = |text: &str| {
            let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            text.parse::<u32>().ok().filter(|n| plain && *n <= LONGEST)
        };
        let parsed = value.split_once(':').and_then(|(name, us)| Some((window(name)?, micros(us)?)));
        let Some((window, micros)) = parsed else {
            let names: Vec<&str> = Window::ALL.iter().map(|(n, _)| *n).collect();
            return Err(format!(
                "delay=WINDOW:USEC with a number from 0 to {LONGEST} and one of the windows {}",
                names.join(", ")
            ));
        };
        *self = self.delay(window, micros);
        Ok(())
    }
}

#[nowritebarrierrec]
impl Stress {
    /// Whether a window is to take time.
    #[inline(always)]
    pub(crate) fn delays(&self, window: Window) -> bool {
        self.delays[window as usize] != 0
    }
}

#[nowritebarrierrec]
impl Heap {
    /// A named window: waits for a random time, now and then, if that is wanted. May run without a P.
    #[inline(always)]
    pub(crate) fn window(&self, window: Window) {
        let longest = self.config.stress.delays[window as usize];
        if longest != 0 {
            self.linger(longest, Window::ONE_IN[window as usize]);
        }
    }

    #[cold]
    #[inline(never)]
    fn linger(&self, micros: u32, one_in: u64) {
        // Relaxed: random numbers.
        let mut x = self.lingered.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        if !(x >> 40).is_multiple_of(one_in) {
            return;
        }
        let end = nanos() + (x & 0xff_ffff) * u64::from(micros) * 1000 / 0xff_ffff;
        while nanos() < end {
            yield_now();
        }
    }
}

#[cfg(all(test, not(modelled)))]
mod tests {
    use super::*;

    #[test]
    fn switches_are_set_by_name() {
        let mut stress = Stress::default();
        for (name, value) in [("poison", "1"), ("smallbuf", "1"), ("smallbuf", "0"), ("delay", "phase-flips:20")] {
            stress.set(name, value).expect("allowed");
        }
        let wanted = Stress { poison: true, ..Stress::default() }.delay(Window::PhaseFlips, 20);
        assert_eq!(stress, wanted);
    }

    #[test]
    fn what_is_not_understood_is_refused_with_what_is_allowed() {
        let refused = |name, value| Stress::default().set(name, value).expect_err(value);
        for value in ["phase-flips", "phase-flips:", "phase-flips:-1", "phase-flips:1000001", "phase-flop:5", ":5"] {
            let why = refused("delay", value);
            for (name, _) in Window::ALL {
                assert!(why.contains(name), "{value}: {why}");
            }
        }
        assert!(refused("poison", "2").contains("poison=0 or poison=1"));
        assert!(refused("posion", "1").contains("poison, eagerbarrier, smallbuf, partial, delay"));
    }
}
