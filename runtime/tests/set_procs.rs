//! The number of Ps changes while the program runs.

mod common;
#[path = "common/list.rs"]
mod list;

use common::{needs, run, with_procs};
use list::{Node, watched};
use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tricolor::{Gc, GcCell, JoinHandle, blocking, chan, gc, poll, set_procs, spawn, sync, yield_now};

/// What the goroutines of a test share.
#[derive(Clone, Default)]
struct Shared {
    over: Arc<AtomicBool>,
    ticks: Arc<AtomicU64>,
}

impl Shared {
    fn goes_on(&self) -> bool {
        !self.over.load(Ordering::SeqCst)
    }
}

#[test]
fn the_old_number_comes_back() {
    needs!(Procs(3..=3));
    run(with_procs(3), || {
        assert_eq!(set_procs(3), 3);
        assert_eq!(set_procs(256), 3);
        assert_eq!(set_procs(1), 256);
        assert_eq!(set_procs(2), 1);
        assert_eq!(set_procs(2), 2);
        // Spawned and found on whatever P.
        let handles: Vec<_> = (0..100_u64).map(|i| spawn(move || i)).collect();
        assert_eq!(handles.into_iter().map(|h| h.join().expect("no panic")).sum::<u64>(), 4950);
    });
}

#[test]
fn a_wrong_number_is_refused_by_name() {
    needs!(Procs(1..=1));
    run(with_procs(1), || {
        for n in [0, 257] {
            let refused = spawn(move || set_procs(n)).join().expect_err("refused");
            let text = refused.downcast_ref::<String>().expect("a message");
            assert_eq!(*text, format!("set_procs({n}): 1 to 256 are allowed"));
        }
        assert_eq!(set_procs(2), 1, "a refused call changes nothing");
    });
    let outside = std::panic::catch_unwind(|| set_procs(2)).expect_err("refused");
    let text = outside.downcast_ref::<String>().cloned().or(outside.downcast_ref::<&str>().map(|s| (*s).to_owned()));
    assert_eq!(text.expect("a message"), "`set_procs` is called on a goroutine");
}

/// Without signals nobody takes the P from a goroutine that comes to no safepoint: then, on the only P, it is alone.
#[test]
fn no_more_run_than_there_are_ps() {
    run(with_procs(4).async_preempt(false), || {
        let shared = Shared::default();
        let handles: Vec<_> = (0..6)
            .map(|_| {
                let s = shared.clone();
                spawn(move || {
                    while s.goes_on() {
                        s.ticks.fetch_add(1, Ordering::SeqCst);
                        poll();
                    }
                })
            })
            .collect();
        let wait = |time: Duration| {
            let begin = Instant::now();
            while begin.elapsed() < time {
                std::hint::spin_loop();
            }
        };
        for round in 0..15 {
            set_procs(2 + round % 7);
            let before = shared.ticks.load(Ordering::SeqCst);
            let begin = Instant::now();
            while shared.ticks.load(Ordering::SeqCst) == before {
                assert!(begin.elapsed() < Duration::from_secs(60), "the other Ps run nothing");
            }
            set_procs(1);
            let before = shared.ticks.load(Ordering::SeqCst);
            wait(Duration::from_micros(500));
            assert_eq!(shared.ticks.load(Ordering::SeqCst), before, "another goroutine runs beside the only P's");
        }
        shared.over.store(true, Ordering::SeqCst);
        handles.into_iter().for_each(|h| h.join().expect("no panic"));
    });
}

/// Goroutines of all kinds. Each returns how often it went round; what they hand over is counted by `hand_over`.
fn all_kinds(shared: &Shared) -> Vec<JoinHandle<u64>> {
    let mut handles = Vec::new();
    let mut go = |f: fn(&Shared, u64)| {
        let s = shared.clone();
        handles.push(spawn(move || {
            let mut rounds = 0;
            while s.goes_on() || rounds == 0 {
                f(&s, rounds);
                rounds += 1;
                // Short turns, or most of the test's time is waiting for one.
                if rounds % 4 == 0 {
                    yield_now();
                }
            }
            rounds
        }));
    };
    // Allocating: a list that is checked.
    for _ in 0..2 {
        go(|_, round| {
            let mut list: Option<Gc<Node>> = None;
            for i in 0..200 {
                list = Some(Gc::new(Node { id: round + i, next: GcCell::new(list) }));
            }
            let (mut n, mut at) = (0, list);
            while let Some(node) = at {
                assert_eq!(node.id, round + 199 - n);
                (n, at) = (n + 1, node.next.get());
            }
            assert_eq!(n, 200);
        });
    }
    // Blocking: the P is left behind.
    for _ in 0..2 {
        go(|_, _| {
            let (rx, tx) = std::io::pipe().expect("a pipe");
            blocking((rx, tx), |(mut rx, mut tx)| {
                tx.write_all(&[1]).expect("room");
                std::thread::sleep(Duration::from_micros(50));
                rx.read_exact(&mut [0]).expect("a byte");
            });
        });
    }
    // Spinning without safepoints, and with.
    go(|s, _| {
        for _ in 0..20_000 {
            s.ticks.fetch_add(1, Ordering::Relaxed);
        }
    });
    go(|_, _| (0..1000).for_each(|_| poll()));
    // Many that are born and die.
    go(|_, round| {
        let handles: Vec<_> = (0..20).map(|i| spawn(move || round + i)).collect();
        let sum: u64 = handles.into_iter().map(|h| h.join().expect("no panic")).sum();
        assert_eq!(sum, 20 * round + 190);
    });
    go(|_, _| gc::collect());
    go(|_, _| {
        tricolor::lock_os_thread();
        yield_now();
        tricolor::unlock_os_thread();
    });
    handles
}

/// Numbers go from three goroutines through a channel to two others; all of them arrive.
fn hand_over(shared: &Shared) -> impl FnOnce() {
    let (tx, rx) = chan::bounded(2);
    let senders: Vec<_> = (0..3_u64)
        .map(|_| {
            let (s, tx) = (shared.clone(), tx.clone());
            spawn(move || {
                let mut n = 0;
                while s.goes_on() {
                    n += 1;
                    tx.send(Gc::new(n)).expect("somebody listens");
                }
                (n, n * (n + 1) / 2)
            })
        })
        .collect();
    drop(tx);
    let sums = sync::Mutex::new((0_u64, 0_u64));
    let receivers: Vec<_> = (0..2)
        .map(|_| {
            let (rx, sums) = (rx.clone(), sums.clone());
            spawn(move || {
                for n in rx {
                    sums.with(|s| *s = (s.0 + 1, s.1 + *n));
                }
            })
        })
        .collect();
    move || {
        let sent = senders.into_iter().map(|h| h.join().expect("no panic"));
        let sent = sent.fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1));
        receivers.into_iter().for_each(|h| h.join().expect("no panic"));
        assert_eq!(sums.with(|s| *s), sent, "messages are lost");
        assert!(sent.0 > 0);
    }
}

fn up_and_down(changes: u64) {
    let shared = Shared::default();
    let handles = all_kinds(&shared);
    let received = hand_over(&shared);
    let mut n = 2;
    for i in 0..changes {
        let next = 1 + (i * 7 + i / 16) as usize % 16;
        assert_eq!(set_procs(next), n);
        n = next;
        if i % 3 == 0 {
            yield_now();
        }
    }
    shared.over.store(true, Ordering::SeqCst);
    for h in handles {
        assert!(h.join().expect("no panic") > 0, "one of them never ran");
    }
    received();
}

#[test]
fn up_and_down_with_goroutines_of_all_kinds() {
    needs!(Procs(2..=2));
    run(watched(2), || up_and_down(250));
}

/// Several at once: the last one wins, and nobody waits for ever.
#[test]
fn several_change_it_at_once() {
    run(watched(2), || {
        let shared = Shared::default();
        let handles = all_kinds(&shared);
        let setters: Vec<_> = (0..4)
            .map(|i| {
                spawn(move || {
                    for k in 0..25 {
                        set_procs(1 + (i + k) % 8);
                    }
                })
            })
            .collect();
        setters.into_iter().for_each(|h| h.join().expect("no panic"));
        shared.over.store(true, Ordering::SeqCst);
        handles.into_iter().for_each(|h| assert!(h.join().expect("no panic") > 0));
        assert!((1..=8).contains(&set_procs(2)));
    });
}
