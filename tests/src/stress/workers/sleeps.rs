//! Who sleeps, or depends on somebody who does.

use super::Worker;
use crate::stress::page::Count;
use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use std::time::{Duration, Instant};
use tricolor::net::UnixStream;
use tricolor::{chan, poll, spawn, time};

/// By how much a short sleep may be too long where nobody else does anything, and this process was let run.
const TOO_LONG: Duration = Duration::from_millis(400);

/// Steps of the thread that tells the time, each of which takes a millisecond or more, after which a time slice should long
/// be over, if this process was let run for as long for each that waits ([`processor_time`]).
const FOR_EVER: u64 = 300;

/// Short sleeps. In between another goroutine is woken, so that two threads run out of work at about the same time.
pub fn naps(w: Worker) {
    let mut rng = w.rng();
    let (tx, rx) = chan::bounded::<u64>(1);
    let partner = spawn(move || {
        while let Ok(micros) = rx.recv() {
            let begin = Instant::now();
            while begin.elapsed() < Duration::from_micros(micros) {
                poll();
            }
        }
    });
    // Later somebody waits for a file as well, in vain.
    let silent = (w.number == 0 && w.phase > 0).then(|| {
        let (near, far) = UnixStream::pair().unwrap_or_else(|why| w.broke(format_args!("no sockets: {why}")));
        (near, spawn(move || (&far).read(&mut [0; 1]).unwrap_or(1)))
    });
    while w.go() {
        if tx.send(rng.below(60) as u64).is_err() {
            w.broke(format_args!("the partner went away"));
        }
        let begin = Instant::now();
        let busy = Duration::from_micros(rng.below(60) as u64);
        while begin.elapsed() < busy {
            poll();
        }
        let limit = Duration::from_micros(rng.length(300) as u64);
        let (begin, steps) = (Instant::now(), w.page.steps.load(Relaxed));
        time::sleep(limit);
        let took = begin.elapsed();
        // Each of these took a millisecond at least, on a thread that is none of the runtime's.
        let let_run = Duration::from_millis(w.page.steps.load(Relaxed) - steps);
        if took > limit + TOO_LONG && let_run > took / 2 {
            w.broke(format_args!("a sleep of {limit:?} took {took:?}, in which nobody kept this process from running"));
        }
        w.count(Count::Timers, 1);
    }
    drop(tx);
    if let Some((near, reader)) = silent {
        drop(near);
        if !matches!(reader.join(), Ok(0)) {
            w.broke(format_args!("a read of nothing did not give 0 bytes"));
        }
    }
    if partner.join().is_err() {
        w.broke(format_args!("a partner panicked"));
    }
}

/// What this process has used so far.
fn processor_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes the struct.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Goroutines that each wait, without a call, until all have come: one more than there are Ps, so the last one comes only
/// if another one's time slice ends. Between two rounds there is nothing to do, and nobody looks after time slices.
pub fn fair(w: Worker) {
    let mut rng = w.rng();
    let n = w.leg.procs as u64 + 1;
    // Under a storm of signals most of it goes into these; who then hangs for good is left to the watcher.
    let long = Duration::from_millis(FOR_EVER) * n as u32 * if w.leg.storm == 0 { 1 } else { 20 };
    let come = Arc::new(AtomicU64::new(0));
    let (done, all_done) = chan::bounded::<()>(n as usize);
    let mut round = 0;
    let others: Vec<_> = (0..n)
        .map(|_| {
            let (tx, rx) = chan::bounded::<u64>(1);
            let (come, done) = (come.clone(), done.clone());
            let goroutine = spawn(move || {
                while let Ok(round) = rx.recv() {
                    let (mut steps, used) = (w.page.steps.load(Relaxed), processor_time());
                    come.fetch_add(1, SeqCst);
                    while come.load(SeqCst) < round * n {
                        std::hint::spin_loop();
                        if w.page.steps.load(Relaxed) - steps > FOR_EVER {
                            if processor_time() - used > long {
                                w.broke(format_args!("in round {round} somebody waits for a P that nobody gives up"));
                            }
                            // Not let run: it is looked again as much later.
                            steps += FOR_EVER / 4;
                        }
                    }
                    if done.send(()).is_err() {
                        return;
                    }
                }
            });
            (tx, goroutine)
        })
        .collect();
    while w.go() {
        time::sleep(Duration::from_micros(rng.length(4000) as u64));
        round += 1;
        let sent = others.iter().all(|(tx, _)| tx.send(round).is_ok());
        let came = (0..n).all(|_| all_done.recv().is_ok());
        if !sent || !came {
            w.broke(format_args!("a partner went away in round {round}"));
        }
        w.count(Count::Messages, n);
    }
    for (tx, goroutine) in others {
        drop(tx);
        if goroutine.join().is_err() {
            w.broke(format_args!("a partner panicked"));
        }
    }
}
