//! `select`: what is ready is chosen, fairly; what is not chosen has not happened; whoever comes for a goroutine that waits
//! for several channels, one of them gets it.

#[path = "common/checked.rs"]
mod checked;
mod common;
#[path = "common/object.rs"]
mod object;

use common::{HOUR, child, gc_always, is_child, long_tier, ms, run, with_procs};
use object::{Object, churn, id, object};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tricolor::chan::{self, Case, Receiver, RecvError, SendError, Sender, TryRecvError, TrySendError, select};
use tricolor::{Builder, Gc, gc, spawn, time, yield_now};

/// Uniform enough.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

#[test]
fn what_is_ready_is_done() {
    run(with_procs(2), || {
        let (_idle, never) = chan::bounded::<u8>(1);
        let (tx, rx) = chan::bounded::<u64>(1);
        // Room; a value.
        select! {
            recv(never) -> _ => panic!("nobody has sent"),
            send(tx, 1) -> sent => assert_eq!(sent, Ok(())),
        }
        select! {
            recv(never) -> _ => panic!("nobody has sent"),
            recv(rx) -> got => assert_eq!(got, Ok(1)),
        }
        // A sender that waits, a receiver that waits.
        let (tx, rx) = chan::bounded::<u64>(0);
        let (back, replies) = chan::bounded::<u64>(0);
        let echo = spawn(move || {
            tx.send(2).expect("somebody listens");
            replies.recv()
        });
        while rx.try_recv().map(|got| assert_eq!(got, 2)).is_err() {
            yield_now();
        }
        loop {
            // The other one queues, sooner or later.
            let sent = select! {
                recv(never) -> _ => panic!("nobody has sent"),
                send(back, 3) -> sent => { sent.expect("it listens"); true }
                default => false,
            };
            if sent {
                break;
            }
            yield_now();
        }
        assert_eq!(echo.join().expect("no panic"), Ok(3));
        // Nobody at the other side.
        let closed = select! {
            recv(never) -> _ => panic!("nobody has sent"),
            recv(rx) -> got => got,
        };
        assert_eq!(closed, Err(RecvError));
        let (tx, rx) = chan::bounded::<u64>(0);
        drop(rx);
        select! {
            send(tx, 4) -> sent => assert_eq!(sent, Err(SendError(4))),
            recv(never) -> _ => panic!("nobody has sent"),
        }
    });
}

#[test]
fn what_is_not_ready_is_waited_for() {
    for procs in [1, 2] {
        run(with_procs(procs), || {
            let (_idle, never) = chan::bounded::<u8>(1);
            let (tx, rx) = chan::bounded::<u64>(0);
            let (back, replies) = chan::bounded::<u64>(0);
            let other = spawn(move || {
                time::sleep(ms(5));
                tx.send(1).expect("somebody listens");
                time::sleep(ms(5));
                let got = replies.recv();
                time::sleep(ms(5));
                got
            });
            // A value comes; it is taken; the other side goes.
            for wanted in [Some(Ok(1)), None, Some(Err(RecvError))] {
                let on = wanted.is_none();
                let got = select! {
                    recv(never) -> _ => panic!("nobody has sent"),
                    recv(rx, if !on) -> got => Some(got),
                    send(back, 2, if on) -> sent => { sent.expect("it listens"); None }
                };
                assert_eq!(got, wanted);
            }
            assert_eq!(other.join().expect("no panic"), Ok(2));
            let (tx, rx) = chan::bounded::<u64>(0);
            let other = spawn(move || {
                time::sleep(ms(5));
                drop(rx);
            });
            select! {
                send(tx, 5) -> sent => assert_eq!(sent, Err(SendError(5))),
                recv(never) -> _ => panic!("nobody has sent"),
            }
            other.join().expect("no panic");
        });
    }
}

#[test]
fn nothing_ready() {
    run(with_procs(2), || {
        let (full, rx) = chan::bounded::<u64>(1);
        let (_tx, empty) = chan::bounded::<u64>(1);
        full.send(1).expect("room");
        let (mut receives, mut sends) = (empty.receiving(), full.sending(2));
        assert_eq!(chan::try_select(&mut [&mut receives, &mut sends]), None);
        assert_eq!((receives.take(), sends.take()), (None, None));
        let begin = Instant::now();
        assert_eq!(chan::select_timeout(&mut [&mut receives, &mut sends], ms(5)), None);
        assert!(begin.elapsed() >= ms(5), "early");
        assert_eq!(chan::select_timeout(&mut [&mut receives, &mut sends], Duration::ZERO), None);
        assert_eq!((receives.take(), sends.take()), (None, None));
        // Room comes: the same case once more, with the value that it has kept.
        assert_eq!(rx.recv(), Ok(1));
        assert_eq!(chan::select_timeout(&mut [&mut receives, &mut sends], HOUR), Some(1));
        assert_eq!((receives.take(), sends.take(), sends.take()), (None, Some(Ok(())), None));
        assert_eq!(rx.recv(), Ok(2));
        // What was sent is not sent again.
        assert_eq!(chan::try_select(&mut [&mut sends]), None);
        assert_eq!(sends.into_unsent(), None);
        assert_eq!(full.sending(3).into_unsent(), Some(3));
        // Cases that are switched off, ready as they may be.
        let late = select! {
            recv(rx, if false) -> _ => false,
            send(full, 4, if false) -> _ => false,
            after(ms(1)) => true,
        };
        assert!(late && rx.is_empty());
        assert_eq!(chan::try_select(&mut []), None);
        assert_eq!(time::pending(), 0);
    });
}

/// A goroutine that was woken by one channel, or by none, is in no queue any more.
#[test]
fn who_has_gone_on_is_in_no_queue() {
    run(with_procs(2), || {
        let (to_a, a) = chan::bounded::<u64>(0);
        let (to_b, b) = chan::bounded::<u64>(0);
        for round in 0..100 {
            let (to_a2, got) = (to_a.clone(), round);
            let sender = spawn(move || to_a2.send(got));
            select! {
                recv(b) -> _ => panic!("nobody has sent"),
                recv(a) -> value => assert_eq!(value, Ok(round)),
                send(to_b, 7) -> _ => panic!("nobody receives"),
            }
            sender.join().expect("no panic").expect("received");
            select! {
                recv(b) -> _ => panic!("nobody has sent"),
                send(to_b, 7) -> _ => panic!("nobody receives"),
                after(Duration::from_micros(1)) => {}
            }
            assert_eq!(to_a.try_send(1), Err(TrySendError::Full(1)));
            assert_eq!(to_b.try_send(1), Err(TrySendError::Full(1)));
            assert_eq!(b.try_recv(), Err(TryRecvError::Empty));
        }
        assert_eq!(time::pending(), 0);
    });
}

/// Of 8,000 choices among four each gets a quarter, give or take a standard deviation of 39.
#[test]
fn each_gets_its_share() {
    run(with_procs(2), || {
        let ends: Vec<_> = (0..2).map(|_| chan::bounded::<u64>(8)).collect();
        let [(to_a, a), (to_b, b)] = &ends[..] else { unreachable!() };
        (0..4).for_each(|i| _ = (to_a.send(i).expect("room"), to_b.send(i).expect("room")));
        let mut chosen = [0; 4];
        for _ in 0..8_000 {
            let which = select! {
                recv(a) -> value => { to_a.send(value.expect("a value")).expect("room"); 0 }
                recv(b) -> value => { to_b.send(value.expect("a value")).expect("room"); 1 }
                send(to_a, 9) -> sent => { sent.expect("room"); a.recv().expect("a value"); 2 }
                send(to_b, 9) -> sent => { sent.expect("room"); b.recv().expect("a value"); 3 }
            };
            chosen[which] += 1;
        }
        println!("of 8000 choices: {chosen:?}");
        assert!(chosen.iter().all(|n| *n > 1_000), "{chosen:?}");
    });
}

/// Who offers both sides of a channel does not deal with itself, and with others once.
#[test]
fn both_sides_of_one_channel() {
    for procs in [1, 2, 4] {
        run(with_procs(procs), || {
            let (tx, rx) = chan::bounded::<u64>(0);
            select! {
                send(tx, 1) -> _ => panic!("nobody receives"),
                recv(rx) -> _ => panic!("nobody sends"),
                after(Duration::from_micros(10)) => {}
            }
            let deals = |me: u64| {
                let (tx, rx) = (tx.clone(), rx.clone());
                spawn(move || {
                    let mut net = 0_i64;
                    for _ in 0..2_000 {
                        select! {
                            send(tx, me) -> sent => { sent.expect("an end is here"); net += 1; }
                            recv(rx) -> got => { assert_eq!(got, Ok(1 - me)); net -= 1; }
                        }
                    }
                    net
                })
            };
            let (first, second) = (deals(0), deals(1));
            let net = first.join().expect("no panic") + second.join().expect("no panic");
            assert_eq!(net, 0, "what was sent was received");
        });
    }
}

/// The same end in several cases.
#[test]
fn one_end_in_two_cases() {
    run(with_procs(2), || {
        let (tx, rx) = chan::bounded::<u64>(0);
        let sender = spawn(move || (0..2_000).for_each(|i| tx.send(i).expect("somebody listens")));
        let mut which = [0; 2];
        for i in 0..2_000 {
            let at = select! {
                recv(rx) -> got => { assert_eq!(got, Ok(i)); 0 }
                recv(&rx) -> got => { assert_eq!(got, Ok(i)); 1 }
            };
            which[at] += 1;
        }
        println!("which of the two: {which:?}");
        assert!(which.iter().all(|n| *n > 500), "{which:?}");
        sender.join().expect("no panic");
        assert_eq!(rx.recv(), Err(RecvError));
    });
}

/// Sends all of `values`, each by the channel that takes it.
fn send_somewhere(to: &[Sender<Gc<Object>>; 3], values: std::ops::Range<u64>) {
    for value in values {
        let o = object(value);
        let sent = select! {
            send(to[0], o) -> sent => sent,
            send(to[1], o) -> sent => sent,
            send(to[2], o) -> sent => sent,
        };
        assert!(sent.is_ok(), "a receiver is left");
    }
}

/// Receives from all until no sender is left.
fn receive_everything(from: &[Receiver<Gc<Object>>; 3]) -> BTreeSet<u64> {
    let (mut all, mut open) = (BTreeSet::new(), [true; 3]);
    while open.contains(&true) {
        let (at, got) = select! {
            recv(from[0], if open[0]) -> got => (0, got),
            recv(from[1], if open[1]) -> got => (1, got),
            recv(from[2], if open[2]) -> got => (2, got),
        };
        match got {
            Ok(o) => assert!(all.insert(id(o)), "message {} came twice", o.id),
            Err(RecvError) => open[at] = false,
        }
    }
    all
}

/// Goroutines that select at both sides of three channels: each message comes once, and is what it was.
fn crowd(cap: usize, each: u64) {
    let ends: [_; 3] = std::array::from_fn(|_| chan::bounded::<Gc<Object>>(cap));
    let (to, from) = (ends.each_ref().map(|(tx, _)| tx.clone()), ends.each_ref().map(|(_, rx)| rx.clone()));
    drop(ends);
    let senders: Vec<_> = (0..4)
        .map(|i| {
            let to = to.clone();
            spawn(move || send_somewhere(&to, i * each..(i + 1) * each))
        })
        .collect();
    drop(to);
    let receivers: Vec<_> = (0..4)
        .map(|_| {
            let from = from.clone();
            spawn(move || receive_everything(&from).into_iter().collect::<Vec<_>>())
        })
        .collect();
    drop(from);
    senders.into_iter().for_each(|sender| sender.join().expect("no panic"));
    let mut all: Vec<u64> = receivers.into_iter().flat_map(|r| r.join().expect("no panic")).collect();
    all.sort_unstable();
    assert!(all.iter().copied().eq(0..4 * each), "{} messages of {} came: {all:?}", all.len(), 4 * each);
}

#[test]
fn selectors_at_both_sides() {
    let each = if long_tier() { 20_000 } else { 1_000 };
    for procs in [1, 2, 16] {
        for cap in [0, 2] {
            run(with_procs(procs).gc_every(1_000).verify(true), move || crowd(cap, each));
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[test]
fn selectors_at_both_sides_in_a_storm_of_signals() {
    let each = if long_tier() { 5_000 } else { 300 };
    for procs in [1, 2, 16] {
        let stormy = with_procs(procs).gc_every(500).verify(true).preempt_storm(Duration::from_micros(50));
        run(stormy, move || (0..2).for_each(|cap| crowd(cap, each)));
    }
}

/// Limits that pass just as the other side comes: each value has been sent and received, or neither.
#[test]
fn a_limit_against_the_other_side() {
    for procs in [1, 4] {
        run(with_procs(procs), || {
            let (to_a, a) = chan::bounded::<u64>(0);
            let (to_b, b) = chan::bounded::<u64>(1);
            let senders: Vec<_> = (0..3)
                .map(|i| {
                    let (to_a, to_b) = (to_a.clone(), to_b.clone());
                    spawn(move || {
                        let (mut random, mut sum) = (Random(i), (0_u64, 0_u64));
                        for v in 0..1_500 {
                            let (mut first, mut second) = (to_a.sending(v), to_b.sending(v));
                            let limit = Duration::from_micros(random.below(6));
                            match chan::select_timeout(&mut [&mut first, &mut second], limit) {
                                None => assert_eq!((first.into_unsent(), second.into_unsent()), (Some(v), Some(v))),
                                Some(at) => {
                                    sum = (sum.0 + 1, sum.1 + v);
                                    let results = [first.take(), second.take()];
                                    assert_eq!((results[at], results[1 - at]), (Some(Ok(())), None));
                                    let unsent = [first.into_unsent(), second.into_unsent()];
                                    assert_eq!((unsent[at], unsent[1 - at]), (None, Some(v)));
                                }
                            }
                        }
                        sum
                    })
                })
                .collect();
            drop((to_a, to_b));
            let receivers: Vec<_> = (0..3)
                .map(|i| {
                    let (a, b) = (a.clone(), b.clone());
                    spawn(move || {
                        let (mut random, mut sum, mut open) = (Random(100 + i), (0_u64, 0_u64), [true; 2]);
                        while open.contains(&true) {
                            let limit = Duration::from_micros(random.below(6));
                            let got = select! {
                                recv(a, if open[0]) -> got => Some((0, got)),
                                recv(b, if open[1]) -> got => Some((1, got)),
                                after(limit) => None,
                            };
                            match got {
                                Some((_, Ok(v))) => sum = (sum.0 + 1, sum.1 + v),
                                Some((at, Err(RecvError))) => open[at] = false,
                                None => {}
                            }
                        }
                        sum
                    })
                })
                .collect();
            let add = |a: (u64, u64), b: (u64, u64)| (a.0 + b.0, a.1 + b.1);
            let sent = senders.into_iter().map(|h| h.join().expect("no panic")).fold((0, 0), add);
            let got = receivers.into_iter().map(|h| h.join().expect("no panic")).fold((0, 0), add);
            println!("{procs} Ps: {} of 4500 values were in time", sent.0);
            assert_eq!(sent, got);
            assert_eq!(time::pending(), 0);
        });
    }
}

/// What waits in a select is the only reference to an object, with a collection at every allocation.
#[test]
fn values_on_their_way() {
    let configs: [fn() -> Builder; 3] = [gc_always, || gc_always().procs(1), || with_procs(4).gc_every(7).verify(true)];
    for builder in configs {
        run(builder(), || {
            for n in 0..4 {
                let (to_a, a) = chan::bounded::<Gc<Object>>(0);
                let (to_b, b) = chan::bounded::<Gc<Object>>(0);
                let other = spawn(move || {
                    churn();
                    gc::collect();
                    // Takes one of two values that wait; the other one goes back.
                    assert_eq!(a.recv().map(id), Ok(2 * n));
                    churn();
                    b
                });
                let (mut first, mut second) = (to_a.sending(object(2 * n)), to_b.sending(object(2 * n + 1)));
                assert_eq!(chan::select(&mut [&mut second, &mut first]), 1);
                churn();
                assert_eq!(second.into_unsent().map(id), Some(2 * n + 1));
                let b = other.join().expect("no panic");
                // And one comes, to who waits for two.
                let (to_c, c) = chan::bounded::<Gc<Object>>(0);
                let sender = spawn(move || {
                    churn();
                    to_c.send(object(n)).expect("it is received");
                    to_b
                });
                let mut receives = c.receiving();
                assert_eq!(chan::select(&mut [&mut b.receiving(), &mut receives]), 1);
                churn();
                assert_eq!(receives.take().map(|got| got.map(id)), Some(Ok(n)));
                sender.join().expect("no panic");
            }
        });
    }
}

/// Every value is dropped, once, whatever becomes of it.
#[test]
fn drops() {
    run(with_procs(2), || {
        let value = Arc::new(());
        let again = || value.clone();
        let (to_a, a) = chan::bounded::<Arc<()>>(0);
        let (to_b, b) = chan::bounded::<Arc<()>>(1);
        // Sent; not sent, without and with having waited; not taken; refused.
        select! {
            send(to_a, again()) -> _ => panic!("nobody receives"),
            send(to_b, again()) -> sent => sent.expect("room"),
        }
        assert_eq!(Arc::strong_count(&value), 2);
        select! {
            send(to_a, again()) -> _ => panic!("nobody receives"),
            send(to_b, again()) -> _ => panic!("no room"),
            after(Duration::from_micros(10)) => assert_eq!(Arc::strong_count(&value), 4),
        }
        assert_eq!(Arc::strong_count(&value), 2);
        let (mut from_a, mut from_b) = (a.receiving(), b.receiving());
        assert_eq!(chan::select(&mut [&mut from_a, &mut from_b]), 1);
        assert_eq!(Arc::strong_count(&value), 2);
        assert_eq!(chan::try_select(&mut [&mut from_a, &mut from_b]), None);
        assert_eq!(Arc::strong_count(&value), 1, "what was not taken goes with the next select");
        drop((a, b));
        select! {
            send(to_a, again()) -> sent => assert!(sent.is_err()),
            send(to_b, again()) -> sent => assert!(sent.is_err()),
        }
        assert_eq!(Arc::strong_count(&value), 1);
    });
}

/// What stands behind an arrow belongs to the function around, and a panic there is an ordinary one.
#[test]
fn behind_the_arrows() {
    fn first(rx: &Receiver<u32>) -> Result<u32, RecvError> {
        loop {
            select! {
                recv(rx) -> got => match got? {
                    1 => continue,
                    2 => break,
                    n => return Ok(n),
                },
            }
        }
        Ok(0)
    }
    run(with_procs(2), || {
        let (tx, rx) = chan::bounded::<u32>(8);
        [1, 1, 7, 1, 2, 3].into_iter().for_each(|n| tx.send(n).expect("room"));
        assert_eq!((first(&rx), first(&rx), first(&rx)), (Ok(7), Ok(0), Ok(3)));
        let value = Arc::new(());
        let (held, kept) = chan::bounded::<Arc<()>>(0);
        tx.send(5).expect("room");
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            select! {
                recv(rx) -> got => panic!("{got:?}"),
                send(held, value.clone()) -> _ => {}
            }
        }));
        assert_eq!(panicked.expect_err("it panics").downcast_ref::<String>().map(String::as_str), Some("Ok(5)"));
        assert_eq!(Arc::strong_count(&value), 1);
        assert_eq!(kept.try_recv(), Err(TryRecvError::Empty));
        // An end may go where it was selected from.
        select! {
            send(tx, 6) -> sent => { sent.expect("room"); drop(tx) }
            recv(kept) -> _ => drop(held),
        }
        assert_eq!((first(&rx), first(&rx)), (Ok(6), Err(RecvError)));
    });
}

/// More cases than any macro has, of two types.
#[test]
fn cases_made_at_run_time() {
    run(with_procs(2), || {
        let ends: Vec<_> = (0..100).map(|_| chan::bounded::<usize>(0)).collect();
        let (tx, rx) = chan::bounded::<u8>(0);
        let senders = ends.iter().enumerate().map(|(i, (tx, _))| (i, tx.clone())).collect::<Vec<_>>();
        let sender = spawn(move || {
            for (i, tx) in senders.iter().rev() {
                tx.send(*i).expect("it is received");
            }
            assert_eq!(rx.recv(), Ok(8));
        });
        let mut seen = BTreeSet::new();
        let mut cases: Vec<_> = ends.iter().map(|(_, rx)| rx.receiving()).collect();
        let mut last = tx.sending(8);
        while seen.len() <= 100 {
            let mut list: Vec<&mut dyn Case> = cases.iter_mut().map(|case| case as &mut dyn Case).collect();
            list.push(&mut last);
            let at = chan::select(&mut list);
            assert!(seen.insert(at));
            match cases.get_mut(at) {
                Some(case) => assert_eq!(case.take(), Some(Ok(at))),
                None => assert_eq!((at, last.take()), (100, Some(Ok(())))),
            }
        }
        sender.join().expect("no panic");
    });
}

#[test]
fn no_goroutine_no_select() {
    let _turn = common::turn();
    let refused = std::panic::catch_unwind(|| chan::select(&mut [])).expect_err("it is no goroutine");
    let text = refused.downcast::<String>().expect("a text");
    assert!(text.contains("`select` on a channel is called on a goroutine"), "{text}");
}

#[test]
fn nobody_comes() {
    let name = "nobody_comes";
    if is_child(name) {
        run(with_procs(2), || {
            let (tx, rx) = chan::bounded::<u32>(0);
            select! {
                recv(rx) -> _ => {}
                send(tx, 1) -> _ => {}
            }
        });
        return;
    }
    let (code, err) = child(name, &[]);
    assert_eq!(code, Some(2), "{err}");
    assert!(err.contains("all goroutines are asleep") && err.contains("goroutine 1 [select, "), "{err}");
}
