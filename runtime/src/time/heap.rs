//! The heap of a P's timers, soonest first: four children per node, as Go's. Off heap; under the lock of its `Timers`.
//!
//! Each entry has a copy of its time, so that sifting looks at the timers themselves only to tell them their new place.

use super::timers::Timer;
use gc_core::Pile;

/// Children of a node.
const ARITY: usize = 4;

/// A timer and when it fires.
#[derive(Clone, Copy)]
pub(super) struct Entry {
    pub(super) when: u64,
    pub(super) timer: *const Timer,
}

// SAFETY: timers are reached under the lock only.
unsafe impl Send for Entry {}

/// See the module's text. All zero when new.
pub(super) struct TimerHeap(Pile<Entry>);

impl TimerHeap {
    pub(super) fn new() -> TimerHeap {
        TimerHeap(Pile::new())
    }

    pub(super) fn first(&self) -> Option<Entry> {
        self.0.as_slice().first().copied()
    }

    pub(super) fn len(&self) -> usize {
        self.0.as_slice().len()
    }

    /// Adds a timer, which stays where it is until it is removed.
    pub(super) fn push(&mut self, entry: Entry) {
        self.0.push(entry);
        self.up(self.len() - 1);
    }

    /// Takes out the timer at `at`.
    pub(super) fn remove(&mut self, at: usize) -> Option<Entry> {
        let gone = self.0.as_slice().get(at).copied();
        let last = self.0.pop()?;
        if at < self.len() {
            self.put(at, last);
            // At most one of the two moves it.
            self.up(at);
            self.down(at);
        }
        gone
    }

    fn put(&mut self, at: usize, entry: Entry) {
        self.0.as_mut_slice()[at] = entry;
        // SAFETY: a timer in a heap lives until it is removed (`Timer`).
        unsafe { (*entry.timer).place.set(at) };
    }

    fn up(&mut self, mut at: usize) {
        let entry = self.0.as_slice()[at];
        while at > 0 {
            let parent = (at - 1) / ARITY;
            let above = self.0.as_slice()[parent];
            if above.when <= entry.when {
                break;
            }
            self.put(at, above);
            at = parent;
        }
        self.put(at, entry);
    }

    fn down(&mut self, mut at: usize) {
        let entry = self.0.as_slice()[at];
        loop {
            let children = at * ARITY + 1;
            let slice = self.0.as_slice();
            let end = (children + ARITY).min(slice.len());
            let Some(least) = (children..end).min_by_key(|&i| slice[i].when) else { break };
            let below = slice[least];
            if entry.when <= below.when {
                break;
            }
            self.put(at, below);
            at = least;
        }
        self.put(at, entry);
    }
}

#[cfg(all(test, not(modelled)))]
mod tests {
    use super::*;

    fn never(_: &Timer) -> Option<&'static crate::g::G> {
        None
    }

    /// A few thousand random steps; after each the heap is in order, knows where everything is, and gives up its least.
    #[test]
    fn a_heap_in_any_order() {
        let timers: Vec<Timer> = (0..500).map(|_| Timer::new(never)).collect();
        let (mut heap, mut inside) = (TimerHeap::new(), Vec::<(u64, usize)>::new());
        let mut seed = 7_u64;
        let mut random = |n: usize| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) as usize % n
        };
        for step in 0..20_000 {
            let growing = step / 500 % 2 == 0;
            if inside.len() < timers.len() && (inside.is_empty() || random(3) < if growing { 2 } else { 1 }) {
                let Some(free) = (0..timers.len()).find(|i| inside.iter().all(|(_, at)| at != i)) else { continue };
                let when = random(100) as u64;
                inside.push((when, free));
                heap.push(Entry { when, timer: &raw const timers[free] });
            } else if random(2) == 0 {
                let least = inside.iter().map(|(when, _)| *when).min();
                let first = heap.remove(0).expect("not empty");
                assert_eq!(Some(first.when), least);
                inside.retain(|(_, i)| !core::ptr::eq(&raw const timers[*i], first.timer));
            } else {
                let (when, i) = inside.swap_remove(random(inside.len()));
                let gone = heap.remove(timers[i].place.get()).expect("it is there");
                assert_eq!((gone.when, gone.timer), (when, &raw const timers[i]));
            }
            assert_eq!(heap.len(), inside.len());
            for (at, entry) in heap.0.as_slice().iter().enumerate() {
                // SAFETY: all timers live until the end of the test.
                assert_eq!(unsafe { (*entry.timer).place.get() }, at);
                assert!(at == 0 || heap.0.as_slice()[(at - 1) / ARITY].when <= entry.when);
            }
        }
    }
}
