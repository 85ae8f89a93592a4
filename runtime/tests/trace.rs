//! The flight recorder: what each thread did last.

#[path = "common/checked.rs"]
mod checked;
mod common;

use common::{child, is_child, needs, run, with_procs};
use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tricolor::trace::{Event, Kind, recent};
use tricolor::{Gc, GcCell, Runtime, gc, spawn, yield_now};

const LIMIT: Duration = Duration::from_secs(120);

fn place(events: &[Event], what: &str, is: impl Fn(&Event) -> bool) -> usize {
    events.iter().position(is).unwrap_or_else(|| {
        let all: String = events.iter().map(|e| format!("{e}\n")).collect();
        panic!("no event: {what}. There are:\n{all}")
    })
}

/// The slow way out of a blocking call, whose tracing the first commit of this protocol's model had to switch off: the
/// thread has no P there.
#[test]
fn the_slow_end_of_a_blocking_call_is_seen() {
    needs!(Procs(1..=1));
    run(with_procs(1).verify(true).gc_percent(None).trace(true), || {
        let (rx, mut tx) = std::io::pipe().expect("a pipe");
        let blocked = spawn(move || tricolor::blocking(rx, |mut rx| rx.read_exact(&mut [0]).expect("a byte")));
        // It enters the call, sysmon takes its P, this goroutine goes on, and from now on keeps the only P busy: with
        // collections, whose verifier sees what a write without a barrier would break.
        let left = |events: &[Event]| events.iter().find(|e| e.kind == Kind::Retake).copied();
        let begin = Instant::now();
        while left(&recent()).is_none() {
            assert!(begin.elapsed() < LIMIT, "sysmon has taken no P");
            yield_now();
        }
        let list: Gc<[GcCell<Option<Gc<u64>>>]> = Gc::cells(1000, None);
        let mut events = recent();
        let retake = left(&events).expect("just seen");
        tx.write_all(&[1]).expect("room");
        let queued = |e: &Event| e.kind == Kind::SyscallExitQueued && e.at > retake.at;
        while !events.iter().any(queued) {
            assert!(begin.elapsed() < LIMIT, "nothing is queued: {events:?}");
            (0..1000).for_each(|i| list[i].set(Some(Gc::new(i as u64))));
            gc::collect();
            events = recent();
        }
        let cycles = gc::stats().cycles;
        blocked.join().expect("no panic");
        let last = recent();
        gc::keep_alive(list);

        let queued = events[place(&events, "queued", queued)];
        let goid = queued.goroutine.expect("a goroutine is queued");
        let own = |e: &Event, kind| e.kind == kind && e.goroutine == Some(goid);
        let enter = place(&events, "enter", |e| own(e, Kind::SyscallEnter) && e.m == queued.m);
        let again = place(&last, "running again", |e| own(e, Kind::GoStart) && e.at > queued.at);

        assert!(cycles > 0);
        assert!(events[enter].at < retake.at && retake.at < queued.at && queued.at < last[again].at);
        // By the thread that came back, without a P; the call had left P0 behind, which sysmon took.
        assert_eq!((queued.p, events[enter].p, retake.p, retake.m), (None, Some(0), Some(0), None));
        // With P0 again, or a spare one, if sysmon found this goroutine's thread asleep for a moment.
        assert!(queued.m.is_some() && last[again].p.is_some());
        // No collection's stop is cut in two, and they stand in the order of the clock.
        assert!(events.is_sorted_by_key(|e| e.at));
        let request = place(&events, "a stop", |e| e.kind == Kind::StopRequest);
        let stopped = request + place(&events[request..], "stopped", |e| e.kind == Kind::WorldStopped);
        let started = stopped + place(&events[stopped..], "started", |e| e.kind == Kind::WorldStarted);
        assert!(!events[request].detail().is_empty() && events[request].arg == events[started].arg, "{events:?}");
    });
}

/// One thread keeps the last 256 events, and what a reader sees of it while it goes on has no holes.
#[test]
fn a_busy_thread_keeps_its_newest_events() {
    const KEPT: usize = 256;
    run(with_procs(2).trace(true), || {
        let stop = Arc::new(AtomicBool::new(false));
        let busy = spawn({
            let stop = stop.clone();
            move || {
                while !stop.load(Ordering::SeqCst) {
                    tricolor::blocking((), |()| ());
                }
            }
        });
        let (mut full, mut fast) = (0, false);
        let (begin, mut last) = (Instant::now(), Duration::ZERO);
        while full < 200 || !fast {
            assert!(begin.elapsed() < LIMIT, "{full} of 200; a short call found its P where it was: {fast}");
            let events = recent();
            let newest = events.last().expect("at least its own").at;
            assert!(newest >= last, "it goes backwards");
            last = newest;
            let is_enter = |e: &&Event| e.kind == Kind::SyscallEnter;
            // The newest: a thread that has lost the goroutine to another one sleeps with the few events that it has.
            let Some(enter) = events.iter().rfind(is_enter).copied() else {
                yield_now();
                continue;
            };
            let own: Vec<_> = events.iter().filter(|e| e.m == enter.m).collect();
            assert!(own.len() <= KEPT, "{}", own.len());
            // What is left: entered, P acquired, back; in this order unless something else came between.
            for pair in own.windows(2) {
                if pair[0].kind == Kind::SyscallEnter {
                    assert_ne!(pair[1].kind, Kind::SyscallEnter, "a hole after {}", pair[0]);
                }
            }
            fast |= own.iter().any(|e| e.kind == Kind::SyscallExit && e.p.is_some() && e.goroutine == enter.goroutine);
            full += usize::from(own.len() > KEPT / 2);
            yield_now();
        }
        stop.store(true, Ordering::SeqCst);
        busy.join().expect("no panic");
        let bytes = gc::off_heap().trace;
        assert!(bytes >= 2 * KEPT * 32, "{bytes}");
    });
}

#[test]
fn off_it_costs_nothing_and_says_nothing() {
    run(with_procs(1), || {
        tricolor::blocking((), |()| ());
        assert!(recent().is_empty());
        assert_eq!(gc::off_heap().trace, 0);
    });
}

#[test]
fn a_fatal_error_says_what_its_thread_did_last() {
    const NAME: &str = "a_fatal_error_says_what_its_thread_did_last";
    if is_child(NAME) {
        // SAFETY: ends the process.
        unsafe {
            Runtime::builder().procs(1).run(|| {
                tricolor::blocking((), |()| ());
                tricolor::blocking((), |()| {
                    Gc::new(1_u64);
                });
            });
        }
        return;
    }
    let (_, said) = child(NAME, &[("TRICOLOR_DEBUG", "trace=1")]);
    let at = |what: &str| said.rfind(what).unwrap_or_else(|| panic!("no {what:?} in:\n{said}"));
    assert!(at("syscall exit, goroutine") < at("syscall enter, goroutine"), "{said}");
    let (_, said) = child(NAME, &[("TRICOLOR_DEBUG", "trace=0")]);
    assert!(said.contains("fatal error") && !said.contains("syscall enter"), "{said}");
    let (code, said) = child(NAME, &[("TRICOLOR_DEBUG", "trace=2")]);
    assert!(code != Some(0) && said.contains("\"trace=2\"") && said.contains("trace=0 or trace=1"), "{said}");
}
