//! Stopping the world, and running a function on every P.

mod common;

use common::{run, with_procs};
use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;
use tricolor::{chan, gc, poll, spawn, yield_now};

/// Four Ps, and the four spare ones.
const ALL_OF_4: u32 = 0xff;
/// Eight Ps, and the four spare ones.
const ALL_OF_8: u32 = 0xfff;

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
                gc::with_stopped_world(&mut || {
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
        assert_eq!(stops.count, 200);
        assert!(stops.to_stop[1] < Duration::from_secs(1), "{stops:?}");
    }
}

#[test]
fn many_stoppers_take_turns() {
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
                            gc::with_stopped_world(&mut || {
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
    assert_eq!(stops.count, 400);
}

#[test]
fn a_function_runs_once_for_every_p_also_for_idle_and_blocked_ones() {
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
