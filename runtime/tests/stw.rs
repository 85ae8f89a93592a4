//! Stopping the world, and running a function on every P.

#[path = "common/checked.rs"]
mod checked;
mod common;

use common::{needs, run, with_procs};
use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tricolor::gc::{StopReason, StopRow};
use tricolor::{Gc, blocking, chan, gc, poll, spawn, yield_now};

/// Four Ps, and the eight spare ones.
const ALL_OF_4: u32 = 0xfff;
/// Eight Ps, and the eight spare ones.
const ALL_OF_8: u32 = 0xffff;

fn row(stops: &[StopRow], reason: StopReason) -> &StopRow {
    stops.iter().find(|row| row.reason == reason).expect("a row for each reason")
}

/// Goroutines that keep busy in every way until told to stop: polling, channels, blocking calls.
fn busy(stop: &Arc<AtomicBool>, ticks: &Arc<AtomicU64>) -> Vec<tricolor::JoinHandle<()>> {
    let mut handles = Vec::new();
    for _ in 0..2 {
        let (stop, ticks) = (stop.clone(), ticks.clone());
        handles.push(spawn(move || {
            while !stop.load(Ordering::SeqCst) {
                // Mostly polls: a stop has to catch it there. Now and then it lets the others run.
                if ticks.fetch_add(1, Ordering::SeqCst) % 1024 == 0 {
                    yield_now();
                }
                poll();
            }
        }));
    }
    let (tx, rx) = chan::bounded(3);
    for _ in 0..2 {
        let (stop, tx) = (stop.clone(), tx.clone());
        handles.push(spawn(move || {
            while !stop.load(Ordering::SeqCst) {
                tx.send(1_u64).expect("somebody listens");
            }
        }));
    }
    drop(tx);
    let n = ticks.clone();
    handles.push(spawn(move || {
        for v in rx {
            if n.fetch_add(v, Ordering::SeqCst).is_multiple_of(64) {
                yield_now();
            }
        }
    }));
    let (stop, ticks) = (stop.clone(), ticks.clone());
    handles.push(spawn(move || {
        let (mut rx, mut tx) = std::io::pipe().expect("a pipe");
        while !stop.load(Ordering::SeqCst) {
            (rx, tx) = tricolor::blocking((rx, tx), |(mut rx, mut tx)| {
                tx.write_all(&[1]).expect("room");
                std::thread::sleep(Duration::from_micros(50));
                rx.read_exact(&mut [0]).expect("a byte");
                (rx, tx)
            });
            ticks.fetch_add(1, Ordering::SeqCst);
            yield_now();
        }
    }));
    handles
}

#[test]
fn nothing_moves_while_the_world_is_stopped() {
    for procs in [1, 2, 4] {
        let stops = run(with_procs(procs).gc_percent(None), || {
            let (stop, ticks) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
            let handles = busy(&stop, &ticks);
            for i in 0..200 {
                gc::with_stopped_world(|| {
                    let before = ticks.load(Ordering::SeqCst);
                    if i % 20 == 0 {
                        std::thread::sleep(Duration::from_millis(1));
                    }
                    assert_eq!(before, ticks.load(Ordering::SeqCst), "a goroutine ran in a stopped world");
                });
                yield_now();
            }
            stop.store(true, Ordering::SeqCst);
            handles.into_iter().for_each(|h| h.join().expect("no panic"));
            assert!(ticks.load(Ordering::SeqCst) > 0);
            gc::stops()
        });
        let user = row(&stops, StopReason::User);
        assert_eq!((user.count, user.to_stop.count(), user.stopped.count()), (200, 200, 200), "{stops:?}");
        // Ten of them slept.
        assert!(user.stopped.total() >= Duration::from_millis(10), "{user:?}");
        assert!(user.stopped.quantile(0.96) >= Duration::from_millis(1), "{user:?}");
        assert!(user.stopped.quantile(0.5) <= user.stopped.quantile(0.99), "{user:?}");
        assert!(user.to_stop.max() < Duration::from_secs(60), "{user:?}");
        assert_eq!(stops.iter().map(|row| row.count).sum::<u64>(), 200, "{stops:?}");
    }
}

/// They come by no safepoint of their own: the scheduler's loop has to see the request.
#[test]
fn goroutines_that_do_nothing_but_yield_hold_up_no_stop() {
    needs!(Procs(2..=256));
    let stops = run(with_procs(2).gc_percent(None).async_preempt(false), || {
        let stop = Arc::new(AtomicBool::new(false));
        let yielders: Vec<_> = (0..4)
            .map(|_| {
                let stop = stop.clone();
                spawn(move || {
                    while !stop.load(Ordering::SeqCst) {
                        yield_now();
                    }
                })
            })
            .collect();
        // SAFETY: ends the process if the stops do not come.
        unsafe { libc::alarm(60) };
        for _ in 0..100 {
            gc::with_stopped_world(|| {});
            gc::for_each_p(&|_| {});
        }
        // SAFETY: takes that back.
        unsafe { libc::alarm(0) };
        stop.store(true, Ordering::SeqCst);
        yielders.into_iter().for_each(|y| y.join().expect("no panic"));
        gc::stops()
    });
    assert_eq!(row(&stops, StopReason::User).count, 100);
}

#[test]
fn many_stoppers_take_turns() {
    needs!(Procs(4..=4));
    let stops = run(with_procs(4).gc_percent(None), || {
        let (stop, ticks) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let handles = busy(&stop, &ticks);
        let inside = Arc::new(AtomicUsize::new(0));
        let stoppers: Vec<_> = (0..6)
            .map(|i| {
                let (inside, ticks) = (inside.clone(), ticks.clone());
                spawn(move || {
                    for _ in 0..100 {
                        if i % 3 == 2 {
                            let seen = AtomicU32::new(0);
                            gc::for_each_p(&|id| {
                                assert_eq!(seen.fetch_or(1 << id, Ordering::SeqCst) & 1 << id, 0, "P{id} twice");
                            });
                            assert_eq!(seen.load(Ordering::SeqCst), ALL_OF_4, "for_each_p left a P out");
                        } else {
                            gc::with_stopped_world(|| {
                                assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "two stops at once");
                                let before = ticks.load(Ordering::SeqCst);
                                std::hint::spin_loop();
                                assert_eq!(before, ticks.load(Ordering::SeqCst), "a goroutine ran");
                                inside.fetch_sub(1, Ordering::SeqCst);
                            });
                        }
                        yield_now();
                    }
                })
            })
            .collect();
        stoppers.into_iter().for_each(|h| h.join().expect("no panic"));
        stop.store(true, Ordering::SeqCst);
        handles.into_iter().for_each(|h| h.join().expect("no panic"));
        gc::stops()
    });
    assert_eq!(row(&stops, StopReason::User).count, 400);
}

/// Eight requesters at once, while loops without calls, blocking calls, channels and allocation go on.
#[test]
fn stops_are_counted_by_reason() {
    needs!(Signals);
    const ROUNDS: u64 = 25;
    let stops = run(with_procs(3), || {
        let (stop, ticks) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let mut handles = busy(&stop, &ticks);
        let loops = stop.clone();
        handles.push(spawn(move || {
            while !loops.load(Ordering::Relaxed) {
                std::hint::spin_loop(); // no safepoint
            }
        }));
        let allocates = stop.clone();
        handles.push(spawn(move || {
            while !allocates.load(Ordering::Relaxed) {
                std::hint::black_box(Gc::new([1_u64; 8]));
            }
        }));
        let requesters: Vec<_> = (0..8)
            .map(|i| {
                spawn(move || {
                    for _ in 0..ROUNDS {
                        match i % 4 {
                            0 => assert!(!gc::census().is_empty()),
                            1 => gc::collect(),
                            _ => gc::with_stopped_world(std::hint::spin_loop),
                        }
                    }
                })
            })
            .collect();
        requesters.into_iter().for_each(|h| h.join().expect("no panic"));
        stop.store(true, Ordering::SeqCst);
        handles.into_iter().for_each(|h| h.join().expect("no panic"));
        gc::stops()
    });
    assert_eq!(row(&stops, StopReason::User).count, 4 * ROUNDS);
    assert_eq!(row(&stops, StopReason::Census).count, 2 * ROUNDS);
    // Two that ask for a collection at once may share one.
    assert!(row(&stops, StopReason::GcStart).count >= ROUNDS, "{stops:?}");
    assert!(row(&stops, StopReason::MarkTermination).count >= ROUNDS, "{stops:?}");
    for row in &stops {
        assert_eq!((row.to_stop.count(), row.stopped.count()), (row.count, row.count), "{row:?}");
    }
}

/// A stop that comes while somebody reads is in both columns of its row, or in none.
#[test]
fn stops_are_read_whole() {
    needs!(Signals);
    run(with_procs(2), || {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let stops = spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                gc::with_stopped_world(std::hint::spin_loop);
            }
        });
        for _ in 0..2_000 {
            for row in gc::stops() {
                assert_eq!((row.to_stop.count(), row.stopped.count()), (row.count, row.count), "{row:?}");
            }
        }
        stop.store(true, Ordering::Relaxed);
        stops.join().expect("no panic");
    });
}

/// Who waits for a turn to stop the world gives its P away.
#[test]
fn requesters_that_wait_leave_their_ps_to_others() {
    needs!(Procs(4..=256));
    run(with_procs(4), || {
        let (go, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (asking, ticks) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicU64::new(0)));
        let requesters: Vec<_> = (0..5)
            .map(|_| {
                let (go, asking) = (go.clone(), asking.clone());
                spawn(move || {
                    while !go.load(Ordering::SeqCst) {
                        yield_now();
                    }
                    asking.fetch_add(1, Ordering::SeqCst);
                    gc::with_stopped_world(|| 7)
                })
            })
            .collect();
        let (n, end) = (ticks.clone(), done.clone());
        let ticker = spawn(move || {
            while !end.load(Ordering::SeqCst) {
                n.fetch_add(1, Ordering::SeqCst);
                yield_now();
            }
        });
        let first = AtomicBool::new(true);
        // Nobody stops the world while this goes on; the first call is on the caller's own P.
        gc::for_each_p(&|_| {
            if !first.swap(false, Ordering::SeqCst) {
                return;
            }
            go.store(true, Ordering::SeqCst);
            let limit = Instant::now() + Duration::from_secs(60);
            let wait_until = |what: &str, f: &dyn Fn() -> bool| {
                while !f() {
                    assert!(Instant::now() < limit, "waited for {what}");
                    std::thread::sleep(Duration::from_millis(1));
                }
            };
            wait_until("five requesters", &|| asking.load(Ordering::SeqCst) == 5);
            std::thread::sleep(Duration::from_millis(20));
            let before = ticks.load(Ordering::SeqCst);
            wait_until("another goroutine to run", &|| ticks.load(Ordering::SeqCst) > before + 100);
        });
        requesters.into_iter().for_each(|h| assert_eq!(h.join().expect("no panic"), 7));
        done.store(true, Ordering::SeqCst);
        ticker.join().expect("no panic");
    });
}

#[test]
fn a_function_runs_once_for_every_p_also_for_idle_and_blocked_ones() {
    needs!(Procs(8..=8));
    run(with_procs(8), || {
        let (rx, mut tx) = std::io::pipe().expect("a pipe");
        let blocked = spawn(move || {
            tricolor::blocking(rx, |mut rx| {
                rx.read_exact(&mut [0]).expect("a byte");
            })
        });
        (0..10).for_each(|_| yield_now());
        for _ in 0..50 {
            let seen = AtomicU32::new(0);
            gc::for_each_p(&|id| {
                assert_eq!(seen.fetch_or(1 << id, Ordering::SeqCst) & 1 << id, 0, "P{id} twice");
            });
            assert_eq!(seen.load(Ordering::SeqCst), ALL_OF_8);
        }
        tx.write_all(&[1]).expect("the reader is there");
        blocked.join().expect("no panic");
    });
}

#[test]
fn the_longest_stops_say_how_each_p_came_to_stand() {
    needs!(Signals);
    needs!(Procs(4..=4));
    run(with_procs(4), || {
        let over = Arc::new(AtomicBool::new(false));
        let inside = Arc::new(AtomicU64::new(0));
        let (turning, blocked) = (over.clone(), over.clone());
        let (n, m) = (inside.clone(), inside.clone());
        let loops = spawn(move || {
            n.fetch_add(1, Ordering::SeqCst);
            while !turning.load(Ordering::Relaxed) {}
        });
        let blocks = spawn(move || {
            blocking((blocked, m), |(over, m)| {
                m.fetch_add(1, Ordering::SeqCst);
                while !over.load(Ordering::Relaxed) {
                    std::thread::sleep(Duration::from_millis(1));
                }
            });
        });
        while inside.load(Ordering::SeqCst) < 2 {
            yield_now();
        }
        gc::with_stopped_world(|| {
            let begin = Instant::now();
            while begin.elapsed() < Duration::from_millis(60) {}
        });
        (0..30).for_each(|_| gc::with_stopped_world(|| ()));
        over.store(true, Ordering::Relaxed);
        let longest = gc::longest_stops();
        loops.join().expect("no panic");
        blocks.join().expect("no panic");

        assert_eq!(longest.len(), 10);
        assert!(longest.is_sorted_by_key(|stop| std::cmp::Reverse(stop.to_stop + stop.stopped)), "{longest:#?}");
        let first = &longest[0];
        assert_eq!((first.reason, first.name), (StopReason::User, "user"));
        assert!(first.stopped >= Duration::from_millis(60), "{first:?}");
        assert!(first.ps.iter().all(|p| p.after <= first.to_stop), "{first:?}");
        assert!(first.ps.is_sorted_by_key(|p| std::cmp::Reverse(p.after)), "{first:?}");
        let suspended = first.ps.iter().find(|p| p.how == "suspended by a signal").expect("the loop");
        assert!(suspended.goroutine.is_some() && suspended.m.is_some(), "{first:?}");
        // Sysmon has taken the P of the blocking call by then, or it has not; threads may be awake that have nothing to do.
        for other in first.ps.iter().filter(|p| p.p != suspended.p) {
            assert_eq!(other.goroutine, None, "{first:?}");
            assert!(["in a blocking call", "looking for work"].contains(&other.how), "{first:?}");
        }
    });
}
