//! The order of the runtime's locks, checked where debug assertions are on (Go's `lockrank`).
//!
//! Every lock has a [`Rank`]. A thread that holds one takes only locks of later ranks, and a second one of the same only by
//! `lock_above`, in the order of their addresses: so no circle of waiting threads can close. A bit set of each thread says
//! which ranks it holds; a lock that waits is checked *before* it waits, so an order that could deadlock is reported also
//! when it does not. `try_lock` waits for nobody and is only recorded, also as the second one of its rank. Of several of a
//! rank the first that is given back ends the record of all: what is taken until the last one's end is checked for less. In
//! other builds, in models and under Miri there is neither set nor rank.
//!
//! What would break the record: a lock that is given back by another thread than took it. `park` gives one back after a
//! switch to g0, which is on the same thread.

use barrier_lint::nowritebarrierrec;

macro_rules! ranks {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Which lock it is, in the order in which a thread may take them: outermost first (HACKING.md, "Locks").
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Rank {
            $($(#[$doc])* $name,)*
        }

        impl Rank {
            /// All of them, in order; the last one is no part of the order.
            pub const ALL: &[Rank] = &[$(Rank::$name,)*];

            /// As it is written here and in HACKING.md. May run without a P.
            #[nowritebarrierrec(assoc)]
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Rank::$name => stringify!($name),)*
                }
            }
        }
    };
}

ranks! {
    /// Whose turn it is to stop the world.
    StopTurn,
    /// A P's timers; held while one fires.
    Timers,
    /// The state of one object for which goroutines wait: a channel, mutex, wait group, result, end of a file.
    Waited,
    /// Making the epoll.
    NetpollOpen,
    /// The slot of a `RootCell`.
    RootCell,
    /// The scheduler.
    Sched,
    /// The main goroutine's function.
    Boot,
    /// Spans with doomed slots.
    Custody,
    /// Free areas for vector registers.
    VectorAreas,
    /// The longest stops.
    LongStops,
    /// Weak pointers and cleanups.
    Records,
    /// Sites of the heap profile.
    Profile,
    /// Stacks to scan again.
    RootRetry,
    /// Free roots.
    RootTable,
    /// Descriptors of files that are free.
    PollCache,
    /// The pacer's past cycles.
    Pacer,
    /// The limiter's bucket.
    Limiter,
    /// The times of a cycle.
    Stats,
    /// Spans of one allocation class.
    Class,
    /// Who gives pages back or makes them warm.
    PagesAway,
    /// Free runs of pages.
    Pages,
    /// Which Ps a heap has.
    Ps,
    /// New classes.
    Classes,
    /// Functions by address, for dumps.
    Symbols,
    /// The trace's events of threads that are no Ms.
    TraceRing,
    /// Memory that is never freed.
    Chunk,
    /// No lock of the runtime's: a test's, a benchmark's. Not checked.
    Unranked,
}

#[cfg(all(debug_assertions, not(any(modelled, miri))))]
pub(super) use checked::Ranked;
#[cfg(not(all(debug_assertions, not(any(modelled, miri)))))]
pub(super) use unchecked::Ranked;

#[cfg(all(debug_assertions, not(any(modelled, miri))))]
mod checked {
    use super::Rank;
    use barrier_lint::{certify, nowritebarrierrec};
    use core::cell::Cell;
    use core::sync::atomic::{AtomicU8, Ordering};

    std::thread_local! {
        /// A bit for each rank that this thread holds. Constant and without drop: a plain thread-local word.
        static HELD: Cell<u32> = const { Cell::new(0) };
    }

    // The three are not inlined: no caller carries the word's address across a switch to another thread.

    #[inline(never)]
    fn held() -> u32 {
        HELD.with(Cell::get)
    }

    #[inline(never)]
    fn hold(bit: u32) {
        HELD.with(|held| held.set(held.get() | bit));
    }

    #[inline(never)]
    fn release(bit: u32) {
        HELD.with(|held| held.set(held.get() & !bit));
    }

    certify! {
        fn held: "reads a thread-local word";
        fn hold: "writes a thread-local word";
        fn release: "writes a thread-local word";
    }

    /// The rank of a lock, plus 1. 0 in zeroed memory: nobody has said it yet.
    #[repr(transparent)]
    pub struct Ranked(AtomicU8);

    // Relaxed throughout: written before other threads see the lock.
    #[nowritebarrierrec]
    impl Ranked {
        pub const fn new(rank: Rank) -> Ranked {
            Ranked(AtomicU8::new(rank as u8 + 1))
        }

        pub fn set(&self, rank: Rank) {
            self.0.store(rank as u8 + 1, Ordering::Relaxed);
        }

        fn rank(&self) -> Rank {
            match self.0.load(Ordering::Relaxed) {
                0 => crate::throw!("a lock in zeroed memory is taken that was given no rank"),
                n => Rank::ALL[n as usize - 1],
            }
        }

        fn bit(&self) -> u32 {
            match self.rank() {
                Rank::Unranked => 0,
                rank => 1 << rank as u32,
            }
        }

        /// This thread is about to wait for the lock.
        pub fn check(&self) {
            // It, and all that are inner to it.
            let wrong = held() & self.bit().wrapping_neg();
            if wrong != 0 && !crate::fatal::under_way() {
                self.out_of_order(Rank::ALL[wrong.trailing_zeros() as usize]);
            }
        }

        /// As `check`, for a second lock of the rank of `below`, which this thread holds.
        pub fn check_above(&self, below: &Ranked) {
            let (bit, from) = (self.bit(), core::ptr::from_ref(below).addr());
            let ordered = bit == below.bit() && from < core::ptr::from_ref(self).addr();
            let inner = held() & !bit & bit.wrapping_neg();
            if (!ordered || inner != 0) && !crate::fatal::under_way() {
                let (new, old) = (self.rank().name(), below.rank().name());
                crate::throw!(
                    "lock order: a {new} lock is taken on top of a {old} lock; allowed is one of the same rank at a higher address, and none of a later rank in between"
                );
            }
        }

        #[cold]
        fn out_of_order(&self, held: Rank) {
            let (new, held) = (self.rank().name(), held.name());
            if new == held {
                crate::throw!("lock order: a {new} lock is taken by a thread that holds one; allowed is one at a time");
            }
            crate::throw!(
                "lock order: a {new} lock is taken by a thread that holds a {held} lock; allowed is first {new}, then {held}"
            );
        }

        /// This thread has the lock.
        pub fn taken(&self) {
            hold(self.bit());
        }

        /// This thread gives the lock back.
        pub fn given_back(&self) {
            release(self.bit());
        }
    }
}

#[cfg(not(all(debug_assertions, not(any(modelled, miri)))))]
mod unchecked {
    use super::Rank;
    use barrier_lint::nowritebarrierrec;

    /// Nothing.
    pub struct Ranked(());

    #[nowritebarrierrec]
    impl Ranked {
        #[inline(always)]
        pub const fn new(_: Rank) -> Ranked {
            Ranked(())
        }

        #[inline(always)]
        pub fn set(&self, _: Rank) {}

        #[inline(always)]
        pub fn check(&self) {}

        #[inline(always)]
        pub fn check_above(&self, _: &Ranked) {}

        #[inline(always)]
        pub fn taken(&self) {}

        #[inline(always)]
        pub fn given_back(&self) {}
    }

    // It costs nothing where it is not checked.
    #[cfg(not(any(modelled, miri)))]
    const _: () = assert!(size_of::<super::super::RawLock>() == size_of::<super::super::futex_lock::FutexLock>());
}

#[cfg(all(test, not(modelled)))]
mod tests {
    use super::*;

    #[test]
    fn hacking_md_has_this_order() {
        let text = include_str!("../../../HACKING.md");
        let section = text.split("\n## ").find(|s| s.starts_with("Locks\n")).expect("a section on locks");
        let rows = section.lines().filter_map(|l| l.strip_prefix("| `")?.split_once('`')).map(|(name, _)| name);
        let ranks: Vec<&str> = Rank::ALL.iter().map(|r| r.name()).filter(|name| *name != "Unranked").collect();
        assert_eq!(rows.collect::<Vec<_>>(), ranks);
    }

    #[cfg(all(debug_assertions, not(miri)))]
    mod checked {
        use super::super::*;
        use crate::sync::{Lock, RawLock};
        use std::panic::{AssertUnwindSafe, catch_unwind};

        /// What a thread of its own is told that does this. (In unit tests `throw!` panics.)
        fn told(f: impl FnOnce() + Send) -> Option<String> {
            std::thread::scope(|s| {
                let told = s.spawn(|| catch_unwind(AssertUnwindSafe(f)).err()).join().expect("caught");
                told.map(|why| *why.downcast::<String>().expect("a message"))
            })
        }

        #[test]
        fn all_pairs() {
            let locks: Vec<RawLock> = Rank::ALL.iter().map(|r| RawLock::new(*r)).collect();
            for (i, outer) in Rank::ALL.iter().enumerate() {
                for (j, inner) in Rank::ALL.iter().enumerate() {
                    let other = RawLock::new(*inner);
                    let told = told(|| {
                        locks[i].lock();
                        let _back = Back(&locks[i]);
                        other.lock();
                        other.unlock();
                    });
                    let allowed = i < j || *inner == Rank::Unranked || *outer == Rank::Unranked;
                    assert_eq!(told.is_none(), allowed, "{outer:?}, then {inner:?}: {told:?}");
                }
            }
        }

        /// Gives a lock back, also when a panic goes by.
        struct Back<'a>(&'a RawLock);

        impl Drop for Back<'_> {
            fn drop(&mut self) {
                self.0.unlock();
            }
        }

        #[test]
        fn a_tried_lock_is_recorded_and_not_checked() {
            let (pages, sched) = (Lock::new(Rank::Pages, ()), Lock::new(Rank::Sched, ()));
            assert_eq!(told(|| drop((pages.lock(), sched.try_lock().expect("free")))), None);
            let told = told(|| drop((pages.try_lock().expect("free"), sched.lock())));
            assert!(told.expect("refused").contains("allowed is first Sched, then Pages"));
            // The second of a rank, too: two threads that try cannot wait for each other.
            let others = [Lock::new(Rank::Pages, ()), Lock::new(Rank::Pages, ())];
            assert_eq!(super::checked::told(|| drop((others[0].lock(), others[1].try_lock().expect("free")))), None);
        }

        #[test]
        fn several_of_a_rank_by_address() {
            let locks = [0; 3].map(|_| RawLock::new(Rank::Pages));
            let takes = |order: [usize; 3], between: Option<Rank>| {
                told(|| {
                    let [first, second, third] = order.map(|i| &locks[i]);
                    let between = between.map(RawLock::new);
                    first.lock();
                    let _first = Back(first);
                    let _between = between.as_ref().map(|lock| (lock.lock(), Back(lock)).1);
                    second.lock_above(first);
                    let _second = Back(second);
                    third.lock_above(second);
                    drop(Back(third));
                })
            };
            assert_eq!(takes([0, 1, 2], None), None);
            let lower = takes([0, 2, 1], None).expect("refused");
            assert!(lower.contains("a Pages lock is taken on top of a Pages lock"), "{lower}");
            assert!(takes([0, 1, 2], Some(Rank::Ps)).is_some(), "one of a later rank in between");
        }

        #[test]
        fn zeroed_memory_is_no_rank() {
            // SAFETY: a free lock.
            let lock = unsafe { core::mem::zeroed::<RawLock>() };
            assert!(told(|| lock.lock()).expect("refused").contains("no rank"));
            lock.set_rank(Rank::Class);
            assert_eq!(told(|| (lock.lock(), lock.unlock()).0), None);
        }
    }
}
