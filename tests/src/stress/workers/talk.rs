//! Who waits for others: channels, locks, timers.

use super::heap::outlast;
use super::{Worker, times};
use crate::oracle::rng::{Rng, mix};
use crate::stress::page::Count;
use hdrhistogram::Histogram;
use std::time::{Duration, Instant};
use tricolor::chan::{self, RecvTimeoutError, Sender, select};
use tricolor::sync::{Mutex, WaitGroup};
use tricolor::{Gc, JoinHandle, Trace, spawn, time, yield_now};

/// What goes through channels.
#[derive(Trace)]
struct Token {
    number: u64,
    scattered: u64,
    before: Option<Gc<Token>>,
}

fn token(number: u64, before: Option<Gc<Token>>) -> Gc<Token> {
    Gc::new(Token { number, scattered: mix(number), before })
}

/// A token should be this one.
fn check(w: Worker, token: Gc<Token>, number: u64) {
    if token.number != number || token.scattered != mix(number) {
        w.broke(format_args!(
            "message {number} should hold {:#x}, and says that it is {} with {:#x}",
            mix(number),
            token.number,
            token.scattered
        ));
    }
}

/// A worker's partner has ended.
fn end<R: Send>(w: Worker, partner: JoinHandle<R>) -> R {
    let id = partner.id();
    partner.join().unwrap_or_else(|_| w.broke(format_args!("goroutine {id}, a partner, panicked")))
}

/// Values in their order, through a channel with some room or none.
pub fn channel(w: Worker) {
    let mut rng = w.rng();
    while w.go() {
        let (tx, rx) = chan::bounded::<Gc<Token>>(rng.below(4));
        let n = rng.length(2000) as u64;
        let mut far = Rng::new(rng.draw());
        let receiver = spawn(move || {
            let rng = &mut far;
            let mut got = 0;
            while let Ok(token) = rx.recv() {
                if got % 16 == 5 {
                    outlast(rng);
                }
                check(w, token, got);
                if let Some(before) = token.before {
                    check(w, before, got.wrapping_sub(1));
                }
                got += 1;
                w.tick();
            }
            got
        });
        let (mut sent, mut before) = (0, None);
        while sent < n && !w.over.load(std::sync::atomic::Ordering::Relaxed) {
            let new = token(sent, before);
            if tx.send(new).is_err() {
                w.broke(format_args!("the receiver went away after {sent} messages"));
            }
            // A chain of two: older ones die.
            before = Some(token(sent, None));
            sent += 1;
        }
        drop(tx);
        let got = end(w, receiver);
        if got != sent {
            w.broke(format_args!("{sent} messages were sent, and {got} received"));
        }
        w.count(Count::Messages, sent);
    }
}

/// One of two goroutines waits at any time.
pub fn ping_pong(w: Worker) {
    let (to, inbox) = chan::bounded::<Gc<Token>>(0);
    let (back, outbox) = chan::bounded::<Gc<Token>>(0);
    let partner = spawn(move || {
        while let Ok(ping) = inbox.recv() {
            if back.send(token(mix(ping.number), Some(ping))).is_err() {
                break;
            }
        }
    });
    let mut n = 0;
    while w.go() {
        if to.send(token(n, None)).is_err() {
            w.broke(format_args!("the partner went away after {n} rounds"));
        }
        match outbox.recv() {
            Ok(pong) => {
                check(w, pong, mix(n));
                pong.before.into_iter().for_each(|ping| check(w, ping, n));
            }
            Err(_) => w.broke(format_args!("the partner went away in round {n}")),
        }
        n += 1;
        w.count(Count::Messages, 2);
    }
    drop(to);
    end(w, partner);
}

/// Some senders, some receivers: what comes out is what went in.
pub fn crowd(w: Worker) {
    let mut rng = w.rng();
    while w.go() {
        let (tx, rx) = chan::bounded::<Gc<Token>>(rng.below(8));
        let (senders, receivers, each) = (1 + rng.below(5), 1 + rng.below(5), rng.length(300) as u64);
        let from: Vec<_> = (0..senders as u64)
            .map(|s| {
                let tx = tx.clone();
                spawn(move || {
                    for i in 0..each {
                        if tx.send(token(s * each + i, None)).is_err() {
                            w.broke(format_args!("all receivers went away"));
                        }
                    }
                })
            })
            .collect();
        drop(tx);
        let to: Vec<_> = (0..receivers)
            .map(|_| {
                let rx = rx.clone();
                spawn(move || {
                    let (mut n, mut sum) = (0_u64, 0_u64);
                    while let Ok(token) = rx.recv() {
                        check(w, token, token.number);
                        (n, sum) = (n + 1, sum + token.number);
                        w.tick();
                    }
                    (n, sum)
                })
            })
            .collect();
        drop(rx);
        from.into_iter().for_each(|sender| end(w, sender));
        let (n, sum) = to.into_iter().map(|receiver| end(w, receiver)).fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1));
        let all = senders as u64 * each;
        let expected = all * all.saturating_sub(1) / 2;
        if (n, sum) != (all, expected) {
            w.broke(format_args!("{all} messages with sum {expected} were sent; received: {n} with sum {sum}"));
        }
        w.count(Count::Messages, n);
    }
}

/// Sends the tokens from `numbers`, each by the channel that takes it.
fn spread(w: Worker, mut rng: Rng, to: &[Sender<Gc<Token>>; 3], numbers: std::ops::Range<u64>) {
    for number in numbers {
        let new = token(number, None);
        // Not all of them each time, and not always willing to wait.
        let (on, waits) = (rng.below(3), rng.below(4) > 0);
        let sent = loop {
            let sent = if waits {
                select! {
                    send(to[0], new, if on != 0) -> sent => Some(sent),
                    send(to[1], new, if on != 1) -> sent => Some(sent),
                    send(to[2], new) -> sent => Some(sent),
                }
            } else {
                select! {
                    send(to[0], new) -> sent => Some(sent),
                    send(to[1], new) -> sent => Some(sent),
                    default => None,
                }
            };
            match sent {
                Some(sent) => break sent,
                None => yield_now(),
            }
        };
        if sent.is_err() {
            w.broke(format_args!("the receiver went away before message {number}"));
        }
    }
}

/// Some senders and a receiver select from the same three channels: of each sender what comes by one channel comes in order,
/// and so does all that comes by channels without room.
pub fn selects(w: Worker) {
    let mut rng = w.rng();
    while w.go() {
        let room = rng.below(3);
        let ends: [_; 3] = std::array::from_fn(|_| chan::bounded::<Gc<Token>>(room));
        let (to, from) = (ends.each_ref().map(|(tx, _)| tx.clone()), ends.each_ref().map(|(_, rx)| rx.clone()));
        drop(ends);
        let (senders, each) = (1 + rng.below(5) as u64, rng.length(300) as u64);
        let partners: Vec<_> = (0..senders)
            .map(|s| {
                let (to, far) = (to.clone(), Rng::new(rng.draw()));
                spawn(move || spread(w, far, &to, s * each..(s + 1) * each))
            })
            .collect();
        drop(to);
        // What may come next, of each sender, by each channel.
        let mut next = vec![[0; 3]; senders as usize];
        let (mut got, mut open) = (0, [true; 3]);
        while open.contains(&true) {
            let (at, token) = select! {
                recv(from[0], if open[0]) -> token => (0, token),
                recv(from[1], if open[1]) -> token => (1, token),
                recv(from[2], if open[2]) -> token => (2, token),
            };
            let Ok(token) = token else {
                open[at] = false;
                continue;
            };
            if got % 16 == 5 {
                outlast(&mut rng);
            }
            let number = token.number;
            check(w, token, number);
            let Some(next) = next.get_mut((number / each) as usize) else {
                w.broke(format_args!("message {number} came of {senders} senders with {each} each"));
            };
            let (i, first) = (number % each, next[at]);
            if i < first || room == 0 && i != first {
                w.broke(format_args!("message {i} of sender {} came where {first} could", number / each));
            }
            // One by another channel may have room to wait.
            if room == 0 {
                *next = [i + 1; 3]
            } else {
                next[at] = i + 1
            }
            got += 1;
            w.tick();
        }
        partners.into_iter().for_each(|sender| end(w, sender));
        if got != senders * each {
            w.broke(format_args!("{} messages were sent, and {got} received", senders * each));
        }
        w.count(Count::Messages, got);
    }
}

/// One goroutine at a time is behind a lock; a wait group lets nobody through early.
pub fn locks(w: Worker) {
    let mut rng = w.rng();
    while w.go() {
        let (n, each) = (1 + rng.below(6), rng.length(100) as u64);
        let pair = Mutex::new((0_u64, 0_u64));
        let group = WaitGroup::new();
        for _ in 0..n {
            group.add(1);
            let (pair, group) = (pair.clone(), group.clone());
            spawn(move || {
                for i in 0..each {
                    pair.with(|(a, b)| {
                        if a != b {
                            w.broke(format_args!("a second goroutine is behind a lock: {a} and {b}"));
                        }
                        *a += 1;
                        if i.is_multiple_of(8) {
                            yield_now();
                        }
                        *b += 1;
                    });
                    w.tick();
                }
                group.done();
            });
        }
        group.wait();
        let (a, b) = pair.with(|(a, b)| (*a, *b));
        let all = n as u64 * each;
        if (a, b) != (all, all) {
            w.broke(format_args!("the wait group let through at {a} and {b} of {all}"));
        }
        w.count(Count::Spawned, n as u64);
    }
}

/// No timer fires early. How late they are is noted.
pub fn timer(w: Worker) -> Histogram<u64> {
    let mut rng = w.rng();
    let mut late = times();
    let (_tx, rx) = chan::bounded::<u64>(1);
    while w.go() {
        let limit = Duration::from_micros(rng.length(5000) as u64);
        let begin = Instant::now();
        let what = match rng.below(3) {
            0 => {
                let early = rx.recv_timeout(limit);
                if !matches!(early, Err(RecvTimeoutError::Timeout)) {
                    w.broke(format_args!("an empty channel gave {early:?}"));
                }
                "a receive with a limit"
            }
            1 => {
                let mut ticks = time::interval(limit);
                // The first one is at once.
                (0..3).map(|_| ticks.tick()).for_each(|due| {
                    if Instant::now() < due {
                        w.broke(format_args!("a tick came early"));
                    }
                });
                "an interval"
            }
            _ => {
                time::sleep(limit);
                "a sleep"
            }
        };
        let took = begin.elapsed();
        if took < limit {
            w.broke(format_args!("{what} of {limit:?} took {took:?}"));
        }
        if what != "an interval" {
            late.saturating_record((took - limit).as_nanos() as u64);
        }
        w.count(Count::Timers, 1);
    }
    late
}
