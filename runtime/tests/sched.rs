//! Goroutines, channels, locks and blocking calls, without a busy collector.

#[path = "common/checked.rs"]
mod checked;
mod common;

use common::{needs, run, with_procs};
use std::collections::HashSet;
use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tricolor::{chan, poll, spawn, sync, yield_now};

#[test]
fn main_returns_its_value() {
    assert_eq!(run(with_procs(1), || 42), 42);
    let text = String::from("borrowed");
    assert_eq!(run(with_procs(2), || text.len()), 8);
}

#[test]
fn ten_thousand_goroutines_are_joined() {
    for procs in [1, 2, 8] {
        let sum: usize = run(with_procs(procs), || {
            let handles: Vec<_> = (0..10_000_usize).map(|i| spawn(move || i)).collect();
            handles.into_iter().map(|h| h.join().expect("no panic")).sum()
        });
        assert_eq!(sum, 10_000 * 9_999 / 2);
    }
}

#[test]
fn a_goroutine_spawns_goroutines() {
    fn tree(depth: u32) -> u64 {
        if depth == 0 {
            return 1;
        }
        let (a, b) = (spawn(move || tree(depth - 1)), spawn(move || tree(depth - 1)));
        a.join().expect("no panic") + b.join().expect("no panic")
    }
    assert_eq!(run(with_procs(4), || tree(12)), 1 << 12);
}

#[test]
fn ping_pong() {
    for procs in [1, 2] {
        let n = run(with_procs(procs), || {
            let (ping, pong) = (chan::bounded::<u32>(0), chan::bounded::<u32>(0));
            let (ping_rx, pong_tx) = (ping.1, pong.0);
            let h = spawn(move || {
                for v in ping_rx.iter() {
                    pong_tx.send(v + 1).expect("main listens");
                }
            });
            let mut v = 0;
            for _ in 0..20_000 {
                ping.0.send(v).expect("the other one listens");
                v = pong.1.recv().expect("the other one answers");
            }
            drop(ping.0);
            h.join().expect("no panic");
            v
        });
        assert_eq!(n, 20_000);
    }
}

#[test]
fn every_value_arrives_once() {
    for cap in [0, 1, 7, 16, 100] {
        let (got, unique) = run(with_procs(4), move || {
            let (tx, rx) = chan::bounded::<(usize, usize)>(cap);
            let producers: Vec<_> = (0..8)
                .map(|p| {
                    let tx = tx.clone();
                    spawn(move || (0..1_000).for_each(|i| tx.send((p, i)).expect("consumers listen")))
                })
                .collect();
            drop(tx);
            let consumers: Vec<_> = (0..6)
                .map(|_| {
                    let rx = rx.clone();
                    spawn(move || {
                        let mut last = [None; 8];
                        let mut got = Vec::new();
                        for (p, i) in rx {
                            assert!(last[p] < Some(i), "values of one producer overtake each other");
                            last[p] = Some(i);
                            got.push((p, i));
                        }
                        got
                    })
                })
                .collect();
            producers.into_iter().for_each(|h| h.join().expect("no panic"));
            let all: Vec<_> = consumers.into_iter().flat_map(|h| h.join().expect("no panic")).collect();
            (all.len(), all.into_iter().collect::<HashSet<_>>().len())
        });
        assert_eq!((got, unique), (8_000, 8_000), "capacity {cap}");
    }
}

#[test]
fn channel_ends_tell_of_each_other() {
    run(with_procs(2), || {
        let (tx, rx) = chan::bounded(2);
        assert_eq!(rx.try_recv(), Err(chan::TryRecvError::Empty));
        tx.try_send(String::from("a")).expect("room");
        tx.try_send(String::from("b")).expect("room");
        assert!(matches!(tx.try_send(String::from("c")), Err(chan::TrySendError::Full(s)) if s == "c"));
        assert_eq!((rx.len(), rx.capacity()), (2, 2));
        drop(tx);
        assert_eq!(rx.recv().as_deref(), Ok("a"));
        assert_eq!(rx.recv().as_deref(), Ok("b"));
        assert_eq!(rx.recv(), Err(chan::RecvError));
        assert_eq!(rx.try_recv(), Err(chan::TryRecvError::Disconnected));

        let (tx, rx) = chan::bounded(0);
        let waits = spawn(move || tx.send(7));
        yield_now();
        drop(rx);
        assert_eq!(waits.join().expect("no panic"), Err(chan::SendError(7)));
        let (tx, rx) = chan::bounded::<u8>(0);
        let waits = spawn(move || rx.recv());
        yield_now();
        drop(tx);
        assert_eq!(waits.join().expect("no panic"), Err(chan::RecvError));
    });
}

#[test]
fn what_is_left_in_a_channel_is_dropped_with_its_last_receiver() {
    let probe = Arc::new(());
    let probe2 = probe.clone();
    run(with_procs(2), move || {
        let (tx, rx) = chan::bounded(10);
        (0..10).for_each(|_| tx.send(probe2.clone()).expect("room"));
        drop(rx);
        assert!(tx.send(probe2).is_err());
    });
    assert_eq!(Arc::strong_count(&probe), 1);
}

#[test]
fn a_mutex_counts() {
    for procs in [1, 2, 4] {
        let (n, most) = run(with_procs(procs), || {
            let m = sync::Mutex::new(0_u64);
            let inside = Arc::new(AtomicUsize::new(0));
            let most = Arc::new(AtomicUsize::new(0));
            let handles: Vec<_> = (0..50)
                .map(|_| {
                    let (m, inside, most) = (m.clone(), inside.clone(), most.clone());
                    spawn(move || {
                        for i in 0..200 {
                            m.with(|n| {
                                most.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                                let v = *n;
                                if i % 50 == 0 {
                                    yield_now();
                                }
                                *n = v + 1;
                                inside.fetch_sub(1, Ordering::SeqCst);
                            });
                        }
                    })
                })
                .collect();
            handles.into_iter().for_each(|h| h.join().expect("no panic"));
            (m.with(|n| *n), most.load(Ordering::SeqCst))
        });
        assert_eq!((n, most), (50 * 200, 1));
    }
}

/// A goroutine waits with what it has waited with before, of which nothing may be left.
#[test]
fn a_wait_has_nothing_of_the_one_before() {
    run(with_procs(1), || {
        let (a_tx, a_rx) = chan::bounded::<u64>(0);
        let (b_tx, b_rx) = chan::bounded::<u64>(0);
        let (c_tx, c_rx) = chan::bounded::<u64>(0);
        let (d_tx, d_rx) = chan::bounded::<u64>(0);
        let waits = spawn(move || {
            assert_eq!(a_rx.recv(), Ok(7));
            assert_eq!(b_rx.recv(), Err(chan::RecvError), "the first wait got a value, this one gets none");
            assert_eq!(c_rx.recv_timeout(Duration::from_millis(2)), Err(chan::RecvTimeoutError::Timeout));
            assert_eq!(c_rx.recv(), Ok(8), "the wait before has timed out, this one has no limit");
            d_tx.send(9).expect("main listens");
            let (e_tx, e_rx) = chan::bounded::<u64>(0);
            assert_eq!(e_rx.recv_timeout(Duration::from_millis(2)), Err(chan::RecvTimeoutError::Timeout));
            assert_eq!(
                e_tx.try_send(1),
                Err(chan::TrySendError::Full(1)),
                "who has waited is off the queue of receivers"
            );
            assert!(e_tx.send_timeout(1, Duration::from_millis(2)).is_err());
            assert_eq!(e_rx.try_recv(), Err(chan::TryRecvError::Empty), "who has waited is off the queue of senders");
        });
        yield_now();
        a_tx.send(7).expect("it listens");
        yield_now();
        drop(b_tx);
        tricolor::time::sleep(Duration::from_millis(6));
        c_tx.send(8).expect("it listens");
        yield_now();
        assert_eq!(d_rx.recv(), Ok(9));
        waits.join().expect("no panic");
    });
}

#[test]
fn who_has_waited_with_a_small_value_waits_with_a_large_one() {
    run(with_procs(1), || {
        let ends: Vec<_> = (0..10_u64)
            .map(|k| {
                let ((small, got), (large, gets)) = (chan::bounded::<u8>(0), chan::bounded::<[u64; 16]>(0));
                let h = spawn(move || {
                    small.send(k as u8).expect("main listens");
                    large.send([k; 16]).map_err(drop).expect("main listens");
                    small.send(!k as u8).expect("main listens");
                });
                (k, got, gets, h)
            })
            .collect();
        yield_now();
        ends.iter().for_each(|(k, got, ..)| assert_eq!(got.recv(), Ok(*k as u8)));
        yield_now();
        ends.iter().for_each(|(k, _, gets, _)| assert_eq!(gets.recv().ok(), Some([*k; 16])));
        yield_now();
        ends.into_iter().for_each(|(k, got, _, h)| {
            assert_eq!(got.recv(), Ok(!k as u8));
            h.join().expect("no panic");
        });
    });
}

#[test]
fn a_panic_gives_the_mutex_back_with_what_was_changed() {
    let n = run(with_procs(2), || {
        let m = sync::Mutex::new(1);
        let m2 = m.clone();
        let h = spawn(move || {
            m2.with(|n| {
                *n = 5;
                std::panic::panic_any("on purpose");
            })
        });
        assert_eq!(h.join().expect_err("it panics").downcast_ref(), Some(&"on purpose"));
        m.with(|n| *n)
    });
    assert_eq!(n, 5);
}

#[test]
fn a_mutex_drops_its_value_once() {
    let probe = Arc::new(());
    let inner = probe.clone();
    run(with_procs(1), move || {
        let m = sync::Mutex::new(inner);
        let m2 = m.clone();
        m.with(|v| assert_eq!(Arc::strong_count(v), 2));
        drop(m);
        m2.with(|v| assert_eq!(Arc::strong_count(v), 2));
    });
    assert_eq!(Arc::strong_count(&probe), 1);
}

#[test]
fn a_wait_group_waits_for_all() {
    let n = run(with_procs(2), || {
        let (wg, n) = (sync::WaitGroup::new(), Arc::new(AtomicUsize::new(0)));
        wg.wait(); // nothing to do
        wg.add(500);
        for _ in 0..500 {
            let (wg, n) = (wg.clone(), n.clone());
            spawn(move || {
                yield_now();
                n.fetch_add(1, Ordering::SeqCst);
                wg.done();
            });
        }
        let (wg2, n2) = (wg.clone(), n.clone());
        let other = spawn(move || {
            wg2.wait();
            n2.load(Ordering::SeqCst)
        });
        wg.wait();
        assert_eq!(other.join().expect("no panic"), 500);
        n.load(Ordering::SeqCst)
    });
    assert_eq!(n, 500);
}

#[test]
fn yield_is_fair() {
    needs!(Procs(1..=1));
    let counts = run(with_procs(1), || {
        let stop = Arc::new(AtomicBool::new(false));
        let handles: Vec<_> = (0..10)
            .map(|_| {
                let stop = stop.clone();
                spawn(move || {
                    let mut n = 0_u32;
                    while !stop.load(Ordering::SeqCst) {
                        n += 1;
                        yield_now();
                    }
                    n
                })
            })
            .collect();
        (0..1_000).for_each(|_| yield_now());
        stop.store(true, Ordering::SeqCst);
        handles.into_iter().map(|h| h.join().expect("no panic")).collect::<Vec<_>>()
    });
    let (min, max) = (counts.iter().min().expect("ten"), counts.iter().max().expect("ten"));
    assert!(*min > 900 && *max < 1_100, "turns: {counts:?}");
}

#[test]
fn a_goroutine_that_polls_gives_way() {
    let start = Instant::now();
    run(with_procs(1), || {
        let stop = Arc::new(AtomicBool::new(false));
        let stop2 = stop.clone();
        let spins = spawn(move || {
            while !stop2.load(Ordering::SeqCst) {
                poll();
            }
        });
        yield_now(); // it runs now, on the only P
        stop.store(true, Ordering::SeqCst);
        spins.join().expect("no panic");
    });
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[test]
fn two_ps_run_at_the_same_time() {
    needs!(Procs(2..=256));
    let met = run(with_procs(2), || {
        let inside = Arc::new(AtomicUsize::new(0));
        let go = |inside: Arc<AtomicUsize>| {
            move || {
                inside.fetch_add(1, Ordering::SeqCst);
                let start = Instant::now();
                // Never a safepoint: the other one has to come in on another P.
                while inside.load(Ordering::SeqCst) < 2 {
                    if start.elapsed() > Duration::from_secs(10) {
                        return false;
                    }
                    std::hint::spin_loop();
                }
                true
            }
        };
        let (a, b) = (spawn(go(inside.clone())), spawn(go(inside)));
        a.join().expect("no panic") && b.join().expect("no panic")
    });
    assert!(met, "two goroutines were never inside at once");
}

#[test]
fn blocking_gives_the_p_away() {
    let progress = run(with_procs(1), || {
        let (rx, mut tx) = std::io::pipe().expect("a pipe");
        let reader = spawn(move || {
            tricolor::blocking(rx, |mut rx| {
                let mut b = [0];
                rx.read_exact(&mut b).map(|()| b[0])
            })
        });
        let mut n = 0_u32;
        let start = Instant::now();
        // The only P: this makes progress only because the reader, stuck in `read`, has given it up.
        while start.elapsed() < Duration::from_millis(100) {
            n += 1;
            yield_now();
        }
        assert!(!reader.is_finished());
        tx.write_all(&[9]).expect("the reader is there");
        assert_eq!(reader.join().expect("no panic").expect("a byte"), 9);
        n
    });
    assert!(progress > 100, "only {progress} turns beside a blocked reader");
}

#[test]
fn many_blocking_calls_at_once() {
    let n = run(with_procs(2), || {
        let pipes: Vec<_> = (0..40).map(|_| std::io::pipe().expect("a pipe")).collect();
        let (mut writers, mut handles) = (Vec::new(), Vec::new());
        for (rx, tx) in pipes {
            writers.push(tx);
            handles.push(spawn(move || {
                tricolor::blocking(rx, |mut rx| {
                    let mut b = [0];
                    rx.read_exact(&mut b).expect("a byte");
                    u32::from(b[0])
                })
            }));
        }
        (0..20).for_each(|_| yield_now());
        for mut w in writers {
            w.write_all(&[3]).expect("the reader is there");
        }
        handles.into_iter().map(|h| h.join().expect("no panic")).sum::<u32>()
    });
    assert_eq!(n, 120);
}

#[test]
fn a_panic_in_a_blocking_call_is_the_callers() {
    let text = run(with_procs(2), || {
        let h = spawn(|| tricolor::blocking(7, |n| -> u32 { panic!("in the kernel {n}") }));
        *h.join().expect_err("it panics").downcast::<String>().expect("a message")
    });
    assert_eq!(text, "in the kernel 7");
}

#[test]
fn panics_reach_the_join_handle() {
    run(with_procs(2), || {
        for i in 0..100_u32 {
            let h = spawn(move || {
                if i % 2 == 1 {
                    std::panic::panic_any(i);
                }
                i
            });
            match h.join() {
                Ok(v) => assert!(v == i && i % 2 == 0),
                Err(p) => assert!(p.downcast_ref() == Some(&i) && i % 2 == 1),
            }
        }
    });
}

#[test]
fn a_panic_of_main_reaches_the_caller() {
    let _turn = common::turn();
    let out = std::panic::catch_unwind(|| {
        // SAFETY: no `Gc` anywhere.
        unsafe { with_procs(2).run(|| std::panic::panic_any(5_u8)) }
    });
    assert_eq!(out.expect_err("it panics").downcast_ref(), Some(&5_u8));
}

#[test]
fn a_second_runtime_is_refused() {
    run(with_procs(1), || {
        // SAFETY: it does not start.
        let out = std::panic::catch_unwind(|| unsafe { with_procs(1).run(|| ()) });
        let text = *out.expect_err("one at a time").downcast::<&str>().expect("a message");
        assert!(text.contains("already running"), "{text}");
    });
}

#[test]
fn one_runtime_after_the_other() {
    for i in 0..50_usize {
        let n = run(with_procs(1 + i % 4), move || {
            let handles: Vec<_> = (0..20).map(|j| spawn(move || i + j)).collect();
            spawn(|| std::thread::sleep(Duration::from_millis(1))); // still runs when main ends
            handles.into_iter().map(|h| h.join().expect("no panic")).sum::<usize>()
        });
        assert_eq!(n, 20 * i + 190);
    }
}

#[test]
fn handles_may_outlive_the_runtime() {
    let (tx, rx, h, m) = run(with_procs(2), || {
        let (tx, rx) = chan::bounded::<u8>(1);
        tx.send(1).expect("room");
        (tx, rx, spawn(|| 1), sync::Mutex::new(String::from("x")))
    });
    drop((tx, rx, h, m));
}

/// Time slices of who never waits are for those in the P's own queue, too.
#[test]
fn who_never_waits_lets_others_run() {
    run(with_procs(1), || {
        let ran = Arc::new(AtomicBool::new(false));
        let (mine, begin) = (ran.clone(), Instant::now());
        spawn(move || mine.store(true, Ordering::SeqCst));
        while !ran.load(Ordering::SeqCst) {
            assert!(begin.elapsed() < Duration::from_secs(60), "the other goroutine did not run in a minute");
            poll();
        }
    });
}
