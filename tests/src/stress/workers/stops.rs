//! Who asks for stops, handshakes, collections and other numbers of Ps.

use super::{Worker, times};
use crate::stress::page::{Count, SLOTS};
use gc_core::GcP;
use gc_core::sync::current::Region;
use hdrhistogram::Histogram;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tricolor::{blocking, gc, set_procs, time, yield_now};

/// Sometimes at once, sometimes after a while.
fn pause(w: Worker, rng: &mut crate::oracle::rng::Rng) {
    match rng.below(4) {
        0 => {}
        1 => yield_now(),
        2 => time::sleep(Duration::from_micros(rng.below(1000) as u64)),
        _ => blocking((rng.below(500) as u64,), |(us,)| std::thread::sleep(Duration::from_micros(us))),
    }
    w.tick();
}

/// Nobody ticks while the world is stopped.
pub fn stopper(w: Worker) {
    let mut rng = w.rng();
    // Made beforehand: there is no malloc while the world is stopped.
    let mut before = vec![0_u64; SLOTS];
    while w.go() {
        for _ in 0..rng.length(16) {
            stop(w, Duration::from_micros(rng.length(200) as u64), &mut before);
        }
        pause(w, &mut rng);
    }
}

fn stop(w: Worker, length: Duration, before: &mut [u64]) {
    let slots = w.page.workers();
    let ran = gc::with_stopped_world(|| {
        for (slot, ticks) in slots.iter().zip(&mut *before) {
            *ticks = slot.ticks.load(Relaxed);
        }
        let begin = Instant::now();
        while begin.elapsed() < length {
            std::hint::spin_loop();
        }
        slots.iter().zip(&*before).position(|(slot, ticks)| slot.ticks.load(Relaxed) != *ticks)
    });
    if let Some(i) = ran {
        let slot = &slots[i];
        w.broke(format_args!(
            "{} on goroutine {} ran while the world was stopped",
            slot.kind().name(),
            slot.goroutine.load(Relaxed)
        ));
    }
    w.count(Count::Stops, 1);
    w.tick();
}

/// Ps looked at.
const PS: usize = 1024;
/// For which the function of a handshake runs now.
static SHAKEN: [AtomicBool; PS] = [const { AtomicBool::new(false) }; PS];

/// The function of a handshake runs for a P that nobody uses: not while this goroutine does.
pub(super) fn attend(w: Worker) {
    let region = Region::enter();
    let p = GcP::current().id as usize;
    // As long as it takes to see it, if it is so.
    let shaken = SHAKEN.get(p).is_some_and(|shaken| (0..64).any(|_| shaken.load(Relaxed)));
    drop(region);
    if shaken {
        w.broke(format_args!("a handshake's function runs for P{p}, which is in use"));
    }
}

/// Each P runs a function once; a P that has been there stays.
pub fn each_p(w: Worker) {
    let mut rng = w.rng();
    let runs: Vec<AtomicU32> = (0..PS).map(|_| AtomicU32::new(0)).collect();
    let mut known = vec![false; runs.len()];
    while w.go() {
        runs.iter().for_each(|n| n.store(0, Relaxed));
        let length = Duration::from_micros(rng.length(200) as u64);
        gc::for_each_p(&|p| {
            if let Some(n) = runs.get(p as usize) {
                n.fetch_add(1, Relaxed);
                SHAKEN[p as usize].store(true, Relaxed);
                let begin = Instant::now();
                while begin.elapsed() < length {
                    std::hint::spin_loop();
                }
                SHAKEN[p as usize].store(false, Relaxed);
            }
        });
        for (p, n) in runs.iter().enumerate() {
            match n.load(Relaxed) {
                0 if known[p] => w.broke(format_args!("a handshake has left P{p} out")),
                0 => {}
                1 => known[p] = true,
                n => w.broke(format_args!("a handshake ran its function {n} times for P{p}")),
            }
        }
        w.count(Count::Handshakes, 1);
        pause(w, &mut rng);
    }
}

/// The number of Ps goes up and down; only this worker changes it.
pub fn procs(w: Worker) {
    let mut rng = w.rng();
    let most = w.leg.procs;
    let mut now = most;
    let mut change = |to: usize| {
        let was = set_procs(to);
        if was != now {
            w.broke(format_args!("set_procs({to}) says that there were {was} Ps, not {now}"));
        }
        now = to;
        w.page.procs.store(to as u32, Relaxed);
        w.count(Count::SetProcs, 1);
    };
    while w.go() {
        change(1 + rng.below(most));
        time::sleep(Duration::from_micros(rng.length(5000) as u64));
    }
    change(most);
}

/// A collection that was asked for has run when the call returns.
pub fn collect(w: Worker) {
    let mut rng = w.rng();
    while w.go() {
        let before = gc::stats().cycles;
        gc::collect();
        let after = gc::stats().cycles;
        if after == before {
            w.broke(format_args!("a collection was asked for, and cycle {after} is still the last one"));
        }
        w.count(Count::Collections, 1);
        if rng.one_in(16) {
            let rows = gc::census();
            if rows.iter().map(|row| row.objects).sum::<usize>() == 0 {
                w.broke(format_args!("a census finds no object at all"));
            }
        }
        time::sleep(Duration::from_micros(rng.length(20_000) as u64));
    }
}

/// The clock, again and again. Gaps from 10 us on are noted.
pub fn hiccup(w: Worker) -> Histogram<u64> {
    let mut gaps = times();
    let mut last = Instant::now();
    while w.go() {
        for _ in 0..1000 {
            let now = Instant::now();
            let gap = now - last;
            last = now;
            if gap >= Duration::from_micros(10) {
                gaps.saturating_record(gap.as_nanos() as u64);
            }
        }
        w.tick();
    }
    gaps
}
