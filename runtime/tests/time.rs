//! Sleeping goroutines, waits with a limit, intervals: none early, none lost, no thread for any.

#[path = "common/checked.rs"]
mod checked;
mod common;

use common::{HOUR, LIFE, child, is_child, long_tier, ms, needs, run, threads, with_procs};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tricolor::chan::{RecvTimeoutError, SendTimeoutError};
use tricolor::{chan, spawn, sync, time, yield_now};

/// Uniform enough.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

/// Counts by powers of ten, in microseconds.
#[derive(Default)]
struct Histogram([AtomicU32; 7]);

impl Histogram {
    fn add(&self, late: Duration) {
        let digits = late.as_micros().max(1).ilog10().min(6);
        self.0[digits as usize].fetch_add(1, Ordering::Relaxed);
    }

    fn print(&self, what: &str) {
        let rows = ["< 10 us", "< 100 us", "< 1 ms", "< 10 ms", "< 100 ms", "< 1 s", "more"];
        let counts = rows.iter().zip(&self.0).map(|(row, n)| format!("{row}: {}", n.load(Ordering::Relaxed)));
        println!("{what}: {}", counts.collect::<Vec<_>>().join(", "));
    }
}

#[test]
fn none_wakes_early_and_none_is_lost() {
    let n = if long_tier() { 100_000 } else { 20_000 };
    for procs in [1, 2, 4] {
        let late = Arc::new(Histogram::default());
        let woken = Arc::new(AtomicUsize::new(0));
        run(with_procs(procs), || {
            let all = sync::WaitGroup::new();
            let mut random = Random(procs as u64);
            for _ in 0..n {
                let (late, woken, all) = (late.clone(), woken.clone(), all.clone());
                let after = Duration::from_micros(random.below(500_000));
                all.add(1);
                spawn(move || {
                    let due = Instant::now() + after;
                    time::sleep(after);
                    let now = Instant::now();
                    assert!(now >= due, "early by {:?}", due - now);
                    late.add(now - due);
                    woken.fetch_add(1, Ordering::SeqCst);
                    all.done();
                });
            }
            all.wait();
            assert_eq!(time::pending(), 0);
        });
        assert_eq!(woken.load(Ordering::SeqCst), n);
        late.print(&format!("{n} sleepers on {procs} Ps were late by"));
    }
}

/// Nobody spins while everybody sleeps.
#[test]
fn an_idle_process_uses_no_processor() {
    let cpu = || {
        // SAFETY: all zero is a valid value, which the kernel fills.
        let usage = unsafe {
            let mut usage: libc::rusage = core::mem::zeroed();
            libc::getrusage(libc::RUSAGE_SELF, &raw mut usage);
            usage
        };
        let micros = |t: libc::timeval| t.tv_sec * 1_000_000 + t.tv_usec;
        micros(usage.ru_utime) + micros(usage.ru_stime)
    };
    let late = Histogram::default();
    let used = run(with_procs(2), || {
        for _ in 0..100 {
            let due = Instant::now() + ms(1);
            time::sleep(ms(1));
            late.add(Instant::now() - due);
        }
        let before = cpu();
        time::sleep(ms(500));
        cpu() - before
    });
    late.print("on an idle process sleepers were late by");
    println!("{used} us of processor time in half a second of sleep");
    assert!(used < 50_000, "{used} us of processor time in half a second of sleep");
}

#[test]
fn sleepers_cost_no_thread() {
    run(with_procs(2), || {
        let (all, woken) = (sync::WaitGroup::new(), Arc::new(AtomicUsize::new(0)));
        for i in 0..10_000_u64 {
            let (all, woken) = (all.clone(), woken.clone());
            all.add(1);
            spawn(move || {
                time::sleep(ms(500 + i % 7));
                woken.fetch_add(1, Ordering::SeqCst);
                all.done();
            });
        }
        // On a machine that is busy the first ones are awake before the last ones sleep.
        while time::pending() + woken.load(Ordering::SeqCst) < 10_000 {
            yield_now();
        }
        let n = threads();
        assert!(n < 64, "{n} threads for 10000 sleepers");
        all.wait();
    });
}

#[test]
fn cancelled_timers_are_gone() {
    run(with_procs(4), || {
        let (tx, rx) = chan::bounded::<u32>(0);
        let waiters: Vec<_> = (0..1_000)
            .map(|_| {
                let rx = rx.clone();
                spawn(move || rx.recv_timeout(HOUR).expect("a value for each"))
            })
            .collect();
        while time::pending() < 1_000 {
            yield_now();
        }
        (0..1_000).for_each(|i| tx.send(i).expect("they wait"));
        let sum: u32 = waiters.into_iter().map(|w| w.join().expect("no panic")).sum();
        assert_eq!(sum, 999 * 1_000 / 2);
        assert_eq!(time::pending(), 0);
    });
}

#[test]
fn waits_with_a_limit() {
    run(with_procs(2), || {
        let (tx, rx) = chan::bounded::<u8>(1);
        let begin = Instant::now();
        assert_eq!(rx.recv_timeout(ms(5)), Err(RecvTimeoutError::Timeout));
        assert!(begin.elapsed() >= ms(5));
        assert_eq!(rx.recv_timeout(Duration::ZERO), Err(RecvTimeoutError::Timeout));
        tx.send_timeout(1, HOUR).expect("room");
        let begin = Instant::now();
        assert_eq!(tx.send_timeout(2, ms(5)), Err(SendTimeoutError::Timeout(2)));
        assert!(begin.elapsed() >= ms(5));
        assert_eq!(rx.recv_timeout(HOUR), Ok(1));
        assert_eq!(rx.len(), 0, "what was not sent in time is not there");

        let late = spawn(move || {
            time::sleep(ms(5));
            drop(tx);
        });
        assert_eq!(rx.recv_timeout(HOUR), Err(RecvTimeoutError::Disconnected));
        late.join().expect("no panic");
        let (tx, rx) = chan::bounded::<u8>(0);
        let late = spawn(move || {
            time::sleep(ms(5));
            drop(rx);
        });
        assert_eq!(tx.send_timeout(3, HOUR), Err(SendTimeoutError::Disconnected(3)));
        late.join().expect("no panic");
        assert_eq!(time::pending(), 0);
    });
}

/// Limits that pass just as the other side comes: each value has been sent and received, or neither.
#[test]
fn a_limit_against_the_other_side() {
    for cap in [0, 3] {
        let (sent, got) = run(with_procs(4), move || {
            let (tx, rx) = chan::bounded::<u64>(cap);
            let senders: Vec<_> = (0..4_u64)
                .map(|i| {
                    let tx = tx.clone();
                    spawn(move || {
                        let (mut random, mut sum) = (Random(i), (0_u64, 0_u64));
                        for v in 0..3_000 {
                            match tx.send_timeout(v, Duration::from_micros(random.below(6))) {
                                Ok(()) => sum = (sum.0 + 1, sum.1 + v),
                                Err(SendTimeoutError::Timeout(back)) => assert_eq!(back, v),
                                Err(SendTimeoutError::Disconnected(_)) => unreachable!("a receiver is left"),
                            }
                        }
                        sum
                    })
                })
                .collect();
            drop(tx);
            let receivers: Vec<_> = (0..4_u64)
                .map(|i| {
                    let rx = rx.clone();
                    spawn(move || {
                        let (mut random, mut sum) = (Random(100 + i), (0_u64, 0_u64));
                        loop {
                            match rx.recv_timeout(Duration::from_micros(random.below(6))) {
                                Ok(v) => sum = (sum.0 + 1, sum.1 + v),
                                Err(RecvTimeoutError::Timeout) => {}
                                Err(RecvTimeoutError::Disconnected) => return sum,
                            }
                        }
                    })
                })
                .collect();
            let add = |a: (u64, u64), b: (u64, u64)| (a.0 + b.0, a.1 + b.1);
            let sent = senders.into_iter().map(|h| h.join().expect("no panic")).fold((0, 0), add);
            let got = receivers.into_iter().map(|h| h.join().expect("no panic")).fold((0, 0), add);
            assert_eq!(time::pending(), 0);
            (sent, got)
        });
        println!("capacity {cap}: {} of 12000 values were in time", sent.0);
        assert_eq!(sent, got, "capacity {cap}");
    }
}

/// Loops without calls on all Ps, and more of them than Ps.
#[test]
fn sleep_against_a_busy_process() {
    needs!(Signals);
    let late = Arc::new(Histogram::default());
    let (stop, over) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let (stop2, over2) = (stop.clone(), over.clone());
    let watchdog = std::thread::spawn(move || {
        let begin = Instant::now();
        while !over2.load(Ordering::SeqCst) && begin.elapsed() < LIFE {
            std::thread::sleep(ms(10));
        }
        stop2.store(true, Ordering::SeqCst);
        begin.elapsed() < LIFE
    });
    run(with_procs(2), || {
        let spinners: Vec<_> = (0..4)
            .map(|_| {
                let stop = stop.clone();
                spawn(move || while !stop.load(Ordering::Relaxed) {})
            })
            .collect();
        for i in 0..20 {
            let due = Instant::now() + ms(i);
            time::sleep(ms(i));
            let now = Instant::now();
            assert!(now >= due, "early by {:?}", due - now);
            late.add(now - due);
        }
        assert!(!stop.load(Ordering::SeqCst), "the loops ended before the sleeper woke");
        stop.store(true, Ordering::SeqCst);
        spinners.into_iter().for_each(|s| s.join().expect("no panic"));
    });
    over.store(true, Ordering::SeqCst);
    assert!(watchdog.join().expect("no panic"));
    late.print("beside loops on all Ps sleepers were late by");
}

/// A P whose goroutine is stuck in the kernel, outside `blocking`, has a timer. Others run it: another P, or a spare one.
#[test]
fn the_timers_of_a_stuck_p_are_run_by_others() {
    for procs in [1, 2] {
        run(with_procs(procs), || {
            for _ in 0..3 {
                let (awake, wait) = std::sync::mpsc::channel();
                let sleeper = spawn(move || {
                    time::sleep(ms(2));
                    awake.send(()).expect("somebody waits for it");
                });
                // Until it has armed its timer, on this P or another.
                while time::pending() == 0 && !sleeper.is_finished() {
                    yield_now();
                }
                assert_eq!(wait.recv_timeout(LIFE), Ok(()), "{procs} Ps");
                sleeper.join().expect("no panic");
            }
        });
    }
}

#[test]
fn an_interval_keeps_step() {
    run(with_procs(2), || {
        let begin = Instant::now();
        let mut every = time::interval(ms(2));
        let mut last = every.tick();
        assert!(Instant::now() >= last && last >= begin);
        for i in 0..50 {
            if i % 10 == 9 {
                time::sleep(ms(7)); // misses some
            }
            let due = every.tick();
            assert!(Instant::now() >= due, "early");
            let apart = (due - last).as_nanos();
            assert!(apart > 0 && apart.is_multiple_of(ms(2).as_nanos()), "{apart} ns between ticks");
            last = due;
        }
    });
}

#[test]
fn a_function_with_a_limit() {
    run(with_procs(2), || {
        assert_eq!(time::timeout(HOUR, || String::from("in time")).as_deref(), Ok("in time"));
        let (tx, rx) = chan::bounded::<()>(0);
        let begin = Instant::now();
        assert_eq!(time::timeout(ms(5), move || rx.recv()), Err(time::Elapsed));
        assert!(begin.elapsed() >= ms(5));
        drop(tx);
        let caught = std::panic::catch_unwind(|| time::timeout(HOUR, || panic!("its own")));
        let payload = caught.expect_err("it panics").downcast::<&str>().expect("a text");
        assert_eq!(*payload, "its own");
        assert_eq!(time::pending(), 0);
    });
}

#[test]
fn no_goroutine_no_sleep() {
    let _turn = common::turn();
    let refused = std::panic::catch_unwind(|| time::sleep(ms(1))).expect_err("it is no goroutine");
    let text = refused.downcast::<String>().expect("a text");
    assert!(text.contains("`sleep` is called on a goroutine"), "{text}");
}

/// In the child: a runtime and `f` in it; if that hangs the child ends with status 3.
fn here(f: impl FnOnce() + Send) {
    std::thread::spawn(|| {
        std::thread::sleep(LIFE);
        std::process::exit(3);
    });
    run(with_procs(2), f);
}

#[test]
fn a_timer_is_not_a_deadlock_and_without_one_it_is() {
    let name = "a_timer_is_not_a_deadlock_and_without_one_it_is";
    if is_child(name) {
        here(|| {
            let (tx, rx) = chan::bounded::<()>(0);
            let waits = spawn(move || rx.recv());
            // Every thread sleeps meanwhile.
            time::sleep(ms(50));
            assert_eq!(tx.send_timeout((), HOUR), Ok(()));
            waits.join().expect("no panic").expect("a value");
            eprintln!("so far so good");
            let (_tx, rx) = chan::bounded::<()>(0);
            let _ = rx.recv();
        });
        return;
    }
    let (code, err) = child(name, &[]);
    assert_eq!(code, Some(2), "{err}");
    let (before, after) = err.split_once("so far so good").expect("it got there");
    assert!(!before.contains("deadlock"), "{err}");
    assert!(after.contains("all goroutines are asleep") && after.contains("goroutine 1 [chan receive, "), "{err}");
}

/// An M watches for a timer that is cancelled. It would sleep for an hour, but all the same nobody can run any more.
#[test]
fn a_cancelled_timer_hides_no_deadlock() {
    let name = "a_cancelled_timer_hides_no_deadlock";
    if is_child(name) {
        here(|| {
            let (tx, rx) = chan::bounded::<()>(0);
            let waits = spawn(move || rx.recv_timeout(HOUR));
            time::sleep(ms(50));
            tx.send(()).expect("it waits");
            waits.join().expect("no panic").expect("a value");
            let (_tx, rx) = chan::bounded::<()>(0);
            let _ = rx.recv();
        });
        return;
    }
    let (code, err) = child(name, &[]);
    assert_eq!(code, Some(2), "{err}");
    assert!(err.contains("all goroutines are asleep"), "{err}");
}
