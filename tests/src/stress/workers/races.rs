//! Who comes just when somebody else does: messages when the time for them is over, several at one socket, several that
//! stop the world; and more of them than there is room for.

use super::Worker;
use crate::oracle::rng::{Rng, mix};
use crate::stress::page::Count;
use std::hint::black_box;
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tricolor::chan::{self, RecvTimeoutError};
use tricolor::net::{UdpSocket, UnixStream};
use tricolor::{JoinHandle, gc, poll, spawn, yield_now};

/// Errors after which a read is tried again: the time is over, or a signal came while another one read.
const AGAIN: &[ErrorKind] = &[ErrorKind::WouldBlock, ErrorKind::TimedOut, ErrorKind::Interrupted];

/// Waits for a moment without giving the P away.
fn spin_until(when: Instant) {
    while Instant::now() < when {
        poll();
    }
}

/// Overwrites the frames of what has just returned.
#[inline(never)]
fn wipe() {
    black_box([0x5a_u8; 4096]);
}

fn join<R: Send>(w: Worker, goroutine: JoinHandle<R>) -> R {
    goroutine.join().unwrap_or_else(|_| w.broke(format_args!("a partner panicked")))
}

/// How long is waited, and how much earlier or later than that the other one is ready.
fn moment(rng: &mut Rng) -> (Duration, Instant) {
    let limit = rng.length(300) as u64;
    let off = rng.below(40) as u64;
    (Duration::from_micros(limit), Instant::now() + Duration::from_micros((limit + off).saturating_sub(15)))
}

/// A message comes through a channel about when the time for it is over: either way it comes once.
pub fn limits(w: Worker) {
    let mut rng = w.rng();
    let (order, orders) = chan::bounded::<(u64, Instant)>(1);
    let (tx, rx) = chan::bounded::<u64>(1);
    let partner = spawn(move || {
        while let Ok((n, when)) = orders.recv() {
            spin_until(when);
            if tx.send(n).is_err() {
                w.broke(format_args!("who waits for message {n} went away"));
            }
        }
    });
    let mut n = 0;
    while w.go() {
        let (limit, when) = moment(&mut rng);
        if order.send((n, when)).is_err() {
            w.broke(format_args!("who sends message {n} went away"));
        }
        let mut got = rx.recv_timeout(limit);
        wipe();
        if matches!(got, Err(RecvTimeoutError::Timeout)) {
            got = rx.recv().map_err(|_| RecvTimeoutError::Disconnected);
        }
        if !matches!(got, Ok(found) if found == n) {
            w.broke(format_args!("message {n} should come, and {got:?} did"));
        }
        w.count(Count::Messages, 1);
        n += 1;
    }
    drop(order);
    join(w, partner);
}

/// The same through a socket.
pub fn deadlines(w: Worker) {
    let (near, far) = pair(w);
    let mut rng = w.rng();
    let (order, orders) = chan::bounded::<(u64, Instant)>(1);
    let partner = spawn(move || {
        while let Ok((n, when)) = orders.recv() {
            spin_until(when);
            if let Err(why) = (&far).write_all(&n.to_le_bytes()) {
                w.broke(format_args!("message {n} does not go into a socket: {why}"));
            }
        }
    });
    let mut n = 0_u64;
    while w.go() {
        let (limit, when) = moment(&mut rng);
        if order.send((n, when)).is_err() {
            w.broke(format_args!("who sends message {n} went away"));
        }
        let mut got = [0; 8];
        let mut limit = Some(limit);
        loop {
            let _ = near.set_read_timeout(limit.take());
            let read = (&near).read(&mut got);
            wipe();
            match read {
                Ok(8) => break,
                Err(e) if AGAIN.contains(&e.kind()) => {}
                other => w.broke(format_args!("message {n} should come out of a socket: {other:?}")),
            }
        }
        if u64::from_le_bytes(got) != n {
            w.broke(format_args!("message {n} should come out of a socket, and {} did", u64::from_le_bytes(got)));
        }
        w.count(Count::Messages, 1);
        n += 1;
    }
    drop(order);
    join(w, partner);
}

fn pair(w: Worker) -> (UnixStream, UnixStream) {
    UnixStream::pair().unwrap_or_else(|why| w.broke(format_args!("no sockets: {why}")))
}

/// Goroutines read from one socket, each a message; some with a time limit, until it has come.
pub fn readers(w: Worker) {
    let (near, far) = pair(w);
    let far = Arc::new(far);
    let mut rng = w.rng();
    while w.go() {
        let n = 2 + rng.below(5) as u64;
        let limit = rng.one_in(2).then(|| Duration::from_micros(rng.length(200) as u64));
        let _ = far.set_read_timeout(limit);
        let readers: Vec<_> = (0..n)
            .map(|_| {
                let far = far.clone();
                spawn(move || one_message(w, &far))
            })
            .collect();
        for i in 0..n {
            match rng.below(3) {
                0 => yield_now(),
                1 => spin_until(Instant::now() + Duration::from_micros(rng.length(100) as u64)),
                _ => {}
            }
            if let Err(why) = (&near).write_all(&(1_u64 << i).to_le_bytes()) {
                w.broke(format_args!("a message does not go into a socket: {why}"));
            }
        }
        let sum = readers.into_iter().map(|reader| join(w, reader)).fold(0_u64, u64::wrapping_add);
        if sum != (1 << n) - 1 {
            w.broke(format_args!("of {n} messages to {n} readers came {sum:#b}"));
        }
        w.count(Count::Messages, n);
    }
    let _ = near.shutdown(Shutdown::Both);
}

fn one_message(w: Worker, stream: &UnixStream) -> u64 {
    let mut got = [0; 8];
    loop {
        let mut stream = stream;
        match stream.read(&mut got) {
            Ok(8) => return u64::from_le_bytes(got),
            Err(e) if AGAIN.contains(&e.kind()) => {}
            other => w.broke(format_args!("a message should come out of a socket: {other:?}")),
        }
    }
}

/// Nothing comes into a socket: who reads goes on all the same, when the time for it is over or somebody closes it.
pub fn silence(w: Worker) {
    let mut rng = w.rng();
    let (near, _far) = pair(w);
    while w.go() {
        let limit = Duration::from_micros(rng.length(100) as u64);
        let _ = near.set_read_timeout(Some(limit));
        let begin = Instant::now();
        match (&near).read(&mut [0; 8]) {
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) if AGAIN.contains(&e.kind()) && begin.elapsed() >= limit => {}
            other => {
                w.broke(format_args!("a read of nothing, for {limit:?} at most, took {:?}: {other:?}", begin.elapsed()))
            }
        }
        w.count(Count::Timers, 1);
        if rng.one_in(4) {
            closed(w, &mut rng);
        }
    }
}

/// Somebody reads, and somebody else closes.
fn closed(w: Worker, rng: &mut Rng) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap_or_else(|why| w.broke(format_args!("no socket: {why}")));
    let socket = Arc::new(socket);
    let reader = {
        let socket = socket.clone();
        spawn(move || socket.recv(&mut [0; 8]))
    };
    spin_until(Instant::now() + Duration::from_micros(rng.length(100) as u64));
    socket.close();
    match join(w, reader) {
        Err(_) => w.count(Count::Spawned, 1),
        Ok(n) => w.broke(format_args!("{n} bytes came out of a socket that was closed, into which went none")),
    }
}

/// Goroutines are born faster than a run queue takes them, while others take from it.
pub fn brood(w: Worker) {
    let mut rng = w.rng();
    while w.go() {
        let n = 200 + rng.below(800) as u64;
        let sum = Arc::new(AtomicU64::new(0));
        let born: Vec<_> = (0..n)
            .map(|i| {
                let sum = sum.clone();
                spawn(move || {
                    sum.fetch_add(mix(i), Relaxed);
                })
            })
            .collect();
        born.into_iter().for_each(|one| join(w, one));
        let expected = (0..n).map(mix).fold(0, u64::wrapping_add);
        if sum.load(Relaxed) != expected {
            w.broke(format_args!("{n} goroutines were joined, and not each has run once"));
        }
        w.count(Count::Spawned, n);
    }
}

/// Some goroutines that each stop the world once: each comes to its turn.
pub fn once(w: Worker) {
    let mut rng = w.rng();
    while w.go() {
        let n = 2 + rng.below(3) as u64;
        let stops: Vec<_> = (0..n)
            .map(|_| {
                let micros = rng.length(50) as u64;
                spawn(move || {
                    gc::with_stopped_world(|| {
                        let begin = Instant::now();
                        while begin.elapsed() < Duration::from_micros(micros) {
                            std::hint::spin_loop();
                        }
                    });
                })
            })
            .collect();
        stops.into_iter().for_each(|stop| join(w, stop));
        w.count(Count::Stops, n);
    }
}
