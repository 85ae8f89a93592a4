//! How long goroutines wait for the scheduler and the collector, by `gc::latencies()`.

#[path = "common/checked.rs"]
mod checked;
mod common;

use common::{LIFE, ms, needs, run, with_procs};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tricolor::gc::{self, Distribution, Latency};
use tricolor::{Gc, GcCell, JoinHandle, Root, poll, spawn, yield_now};

/// Of what happens at every switch one in so many is measured.
const ONE_IN: u64 = 64;

/// The times of one row so far.
fn times(latency: Latency) -> Distribution {
    gc::latencies().into_iter().find(|row| row.latency == latency).expect("a row for each").times
}

/// Keeps the P, without a safepoint.
fn spin(time: Duration) {
    let begin = Instant::now();
    while begin.elapsed() < time {
        std::hint::spin_loop();
    }
}

/// Waits for what others do.
fn until(mut done: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !done() {
        assert!(begin.elapsed() < LIFE, "it never comes about: {:#?}", gc::latencies());
        yield_now();
    }
}

#[test]
fn there_is_a_row_for_each_and_nothing_in_it_at_first() {
    run(with_procs(1), || {
        let rows = gc::latencies();
        assert_eq!(rows.len(), Latency::ALL.len());
        for (row, latency) in rows.iter().zip(Latency::ALL) {
            assert_eq!((row.latency, row.name), (*latency, latency.name()));
            assert!(row.times.count() <= 2, "{row:?}");
            assert!(row.one_in == 1 || u64::from(row.one_in) == ONE_IN, "{row:?}");
        }
        assert!(gc::off_heap().histograms > rows.len() * 8 * 1024);
    });
}

/// About one goroutine in 64 is measured, and waits as long as the one before keeps the P.
#[test]
fn goroutines_wait_in_the_queue() {
    const N: u64 = 100 * ONE_IN;
    needs!(Procs(1..=1));
    run(with_procs(1).async_preempt(false), || {
        let begin = Instant::now();
        let (mut spawned, before) = (0, times(Latency::RunQueue).count());
        // The first ones run, and are used again, where a time slice of this one ends.
        while times(Latency::RunQueue).max() < ms(20) {
            assert!(begin.elapsed() < LIFE, "{:?}", times(Latency::RunQueue));
            let handles: Vec<_> = (0..N).map(|_| spawn(|| ())).collect();
            spawned += N;
            spin(ms(20));
            handles.into_iter().for_each(|h| h.join().expect("no panic"));
        }
        // And this one, each time that it has waited for another.
        let measured = (times(Latency::RunQueue).count() - before) * ONE_IN;
        assert!((spawned / 2..=spawned * 5 / 2).contains(&measured), "{measured} of {spawned}");
    });
}

#[test]
fn calls_end_at_once_where_the_p_is_still_there() {
    const N: u64 = 8_000;
    run(with_procs(2), || {
        (0..N).for_each(|_| tricolor::blocking((), |()| ()));
        let exits = gc::latencies().into_iter().filter(|row| row.name.starts_with("syscall exit"));
        // sysmon may have taken the P now and then.
        let n: u64 = exits.map(|row| u64::from(row.one_in) * row.times.count()).sum();
        assert!((N * 9 / 10..=N * 11 / 10).contains(&n), "{n}: {:#?}", gc::latencies());
        let fast = times(Latency::SyscallExit);
        assert!(fast.quantile(0.5) < ms(1), "{fast:?}");
    });
}

#[test]
fn a_call_waits_for_a_p_that_others_keep() {
    needs!(Procs(1..=1));
    static INSIDE: AtomicBool = AtomicBool::new(false);
    static BACK: AtomicBool = AtomicBool::new(false);
    run(with_procs(1).async_preempt(false), || {
        let calls = spawn(|| {
            tricolor::blocking((), |()| {
                INSIDE.store(true, Ordering::SeqCst);
                std::thread::sleep(ms(50));
                BACK.store(true, Ordering::SeqCst);
            });
        });
        // It enters its call, and sysmon takes the P for this one.
        until(|| INSIDE.load(Ordering::SeqCst));
        while !BACK.load(Ordering::SeqCst) {
            spin(ms(1));
        }
        spin(ms(20));
        calls.join().expect("no panic");
        let queued = times(Latency::SyscallExitQueued);
        assert_eq!(queued.count(), 1, "{:#?}", gc::latencies());
        // It was set shortly before the call returned.
        assert!(queued.max() >= ms(15), "{queued:?}");
    });
}

#[test]
fn who_is_asked_comes_to_a_safepoint_or_leaves() {
    // Who leaves by itself is asked by who runs on another P.
    needs!(Procs(2..=256));
    run(with_procs(2), || {
        let busy = |stop: &Arc<AtomicBool>, f: fn()| {
            let stop = stop.clone();
            spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    f();
                }
            })
        };
        let seen = |row| {
            until(|| {
                gc::with_stopped_world(|| ());
                times(row).count() > 0
            });
        };
        let end = |stop: Arc<AtomicBool>, all: Vec<JoinHandle<()>>| {
            stop.store(true, Ordering::Relaxed);
            all.into_iter().for_each(|h| h.join().expect("no panic"));
        };
        let stop = Arc::new(AtomicBool::new(false));
        let all = vec![busy(&stop, || (0..1000).for_each(|_| poll())), busy(&stop, || tricolor::blocking((), |()| ()))];
        seen(Latency::PreemptSafepoint);
        seen(Latency::PreemptSyscall);
        end(stop, all);
        // By themselves: beside goroutines that never leave, these might be where the stopper is. Not so long that a signal
        // comes first, nor so short that nobody ever asks.
        let stop = Arc::new(AtomicBool::new(false));
        let yields = [(); 4].map(|()| {
            busy(&stop, || {
                spin(Duration::from_micros(50));
                yield_now();
            })
        });
        seen(Latency::PreemptLeft);
        end(stop, yields.into());
    });
}

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
#[test]
fn who_does_not_come_is_suspended_or_descheduled() {
    needs!(Signals);
    // Who stops the world, and who has to be stopped.
    needs!(Procs(2..=256));
    run(with_procs(2), || {
        let stop = Arc::new(AtomicBool::new(false));
        let loops: Vec<_> = (0..3)
            .map(|_| {
                let stop = stop.clone();
                spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        std::hint::spin_loop();
                    }
                })
            })
            .collect();
        for row in [Latency::PreemptSuspended, Latency::PreemptDescheduled] {
            until(|| {
                gc::with_stopped_world(|| ());
                times(row).count() > 0
            });
        }
        let suspended = times(Latency::PreemptSuspended);
        // A stopper waits that long before it sends a signal. One that was sent for one thing may find another, which is
        // younger; not always.
        assert!(suspended.max() >= Duration::from_micros(5), "{suspended:?}");
        stop.store(true, Ordering::Relaxed);
        loops.into_iter().for_each(|h| h.join().expect("no panic"));
    });
}

/// A time stays with the request that it is of.
#[test]
fn no_latency_is_longer_than_what_there_was() {
    run(with_procs(2), || {
        for _ in 0..20 {
            gc::with_stopped_world(|| ());
            tricolor::time::sleep(ms(1));
        }
        // Nobody runs, so nobody is asked.
        tricolor::time::sleep(ms(1500));
        (0..20).for_each(|_| gc::with_stopped_world(|| ()));
        for row in gc::latencies().iter().filter(|row| row.name.starts_with("preemption")) {
            assert!(row.times.max() < ms(1000), "{row:?}");
        }
    });
}

#[test]
fn assists_are_those_that_are_counted() {
    run(with_procs(2), || {
        // A live heap, so that marking takes its time while others allocate.
        let cells = |_| Root::new(Gc::<[GcCell<Option<Gc<u64>>>]>::cells(1_000, None));
        let keep: Vec<_> = (0..2_000).map(cells).collect();
        until(|| {
            (0..100_000_u64).for_each(|n| _ = std::hint::black_box(Gc::new(n)));
            gc::stats().assists > 10
        });
        gc::collect();
        let (assists, stats) = (times(Latency::Assist), gc::stats());
        assert_eq!(assists.count(), stats.assists);
        assert!(assists.max() <= stats.longest_slice && assists.total() > Duration::ZERO, "{assists:?}");
        drop(keep);
    });
}
