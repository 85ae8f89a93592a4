//! Traces in files have what has happened, and nothing that happens to a file is the program's.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tricolor::gc::{self, Latency, StopReason};
use tricolor::{Builder, Gc, GcCell, Root, Runtime, chan, spawn, trace, yield_now};

use traces::{Decoded, Item, decode};

static TURN: Mutex<()> = Mutex::new(());

/// One runtime at a time.
fn run<R: Send>(builder: Builder, f: impl FnOnce() -> R + Send) -> R {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    // SAFETY: no `Gc` lies in malloc'd memory, nothing of the thread is carried across a safepoint.
    unsafe { builder.run(f) }
}

/// A file that is gone in the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        Scratch(std::env::temp_dir().join(format!("tricolor-{}-{name}.pftrace", std::process::id())))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// What the runtime itself has counted.
#[derive(Debug)]
struct Counted {
    cycles: u64,
    assists: u64,
    stops: Vec<(StopReason, u64)>,
    suspended: u64,
    descheduled: u64,
    queued_exits: u64,
}

fn counted() -> Counted {
    let (stats, signals) = (gc::stats(), gc::suspensions());
    let queued = gc::latencies().into_iter().find(|row| row.latency == Latency::SyscallExitQueued).expect("a row");
    Counted {
        cycles: stats.cycles.into(),
        assists: stats.assists,
        stops: gc::stops().iter().map(|row| (row.reason, row.count)).collect(),
        suspended: signals.suspended,
        descheduled: signals.descheduled,
        queued_exits: queued.times.count(),
    }
}

type List = Gc<[GcCell<Option<Gc<u64>>>]>;

/// A bit of everything; how many goroutines it makes.
fn work() -> u64 {
    const ROUNDS: u64 = 30;
    let stop = Arc::new(AtomicBool::new(false));
    let spinner = {
        let stop = stop.clone();
        spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                std::hint::spin_loop();
            }
        })
    };
    let keep: Vec<_> = (0..500).map(|_| Root::new(List::cells(1_000, None))).collect();
    for round in 0..ROUNDS {
        let (tx, rx) = chan::bounded::<u64>(0);
        let sender = spawn(move || (0..20).for_each(|n| tx.send(n).expect("a receiver")));
        let caller = spawn(|| {
            (0..5).for_each(|_| tricolor::blocking((), |()| std::thread::sleep(Duration::from_micros(300))));
        });
        let garbage = spawn(|| {
            (0..20_000_u64).for_each(|n| _ = std::hint::black_box(Gc::new(n)));
            yield_now();
        });
        assert_eq!(rx.into_iter().sum::<u64>(), 190);
        [sender, caller, garbage].into_iter().for_each(|h| h.join().expect("no panic"));
        if round % 10 == 0 {
            gc::with_stopped_world(|| ());
            gc::for_each_p(&|_| ());
            tricolor::time::sleep(Duration::from_millis(12));
        }
    }
    stop.store(true, Ordering::Relaxed);
    spinner.join().expect("no panic");
    gc::collect();
    drop(keep);
    3 * ROUNDS + 1
}

#[test]
fn it_has_what_the_runtime_has_counted() {
    let file = Scratch::new("counted");
    let path = file.0.clone();
    let (made, before, after, summary) = run(Runtime::builder().procs(2).min_heap(1 << 20), move || {
        // No cycle is under way when the trace begins and ends.
        gc::collect();
        trace::start(&path).expect("a trace");
        assert!(trace::start(&path).expect_err("one at a time").to_string().contains("a trace is on"));
        let before = counted();
        let made = work();
        let after = counted();
        let summary = trace::stop().expect("all is written");
        assert!(trace::stop().expect_err("it is over").to_string().contains("no trace is on"));
        spawn(|| ()).join().expect("no panic");
        (made, before, after, summary)
    });
    let seen = Decoded::read(&file.0);
    seen.slices_are_whole();
    seen.flows_match(2, 2);
    assert_eq!(summary.lost, 0);
    assert!(summary.events > 1_000, "{summary:?}");

    assert_eq!(seen.instants("goroutine created"), made);
    assert_eq!(seen.instants("goroutine ended"), made);
    assert!(after.cycles > before.cycles);
    assert_eq!(seen.slices("mark"), {
        let workers = seen.items.iter().filter(|i| i.name == "mark" && seen.tracks[&i.track] != "collector").count();
        after.cycles - before.cycles + workers as u64
    });
    assert_eq!(seen.instants("cycle starts"), after.cycles - before.cycles);
    assert_eq!(seen.slices("assist"), after.assists - before.assists, "{before:?} {after:?}");
    for ((reason, then), (_, now)) in before.stops.iter().zip(&after.stops) {
        for name in ["stop requested", "world stopped"] {
            let of = |i: &&Item| i.name == name && i.notes.get("reason").is_some_and(|why| why == reason.name());
            let n = seen.items.iter().filter(of).count() as u64;
            assert_eq!(n, now - then, "{name} for {}", reason.name());
        }
    }
    // Each cycle has one before its end, and a round of `work` in ten.
    let handshakes = seen.slices("handshake");
    assert!(handshakes >= after.cycles - before.cycles + 3, "{handshakes} handshakes, {before:?} {after:?}");
    // A signal may come between the looks at these figures and the trace's ends.
    for (name, n) in [
        ("suspended in place", after.suspended - before.suspended),
        ("preempt injected", after.descheduled - before.descheduled),
    ] {
        let seen = seen.instants(name);
        assert!((n..=n + 2).contains(&seen), "{name}: {seen}, not {n}");
    }
    let queued = |i: &&Item| i.notes.get("then").is_some_and(|then| then == "syscall exit queued");
    let queued = seen.items.iter().filter(queued).count() as u64;
    let n = after.queued_exits - before.queued_exits;
    assert!((n..=n + 2).contains(&queued), "{queued}, not {n}");
    for name in ["goroutine ready", "goroutine queued", "preemption requested", "suspended in place", "sweep"] {
        assert!(seen.instants(name) > 0, "no event: {name}");
    }
    assert!(seen.slices("syscall") >= 150, "{}", seen.slices("syscall"));
    for name in ["P0", "P1"] {
        let runs = |i: &Item| seen.tracks[&i.track] == name && i.name.starts_with("goroutine ");
        assert!(seen.items.iter().any(runs), "nobody runs on {name}");
    }
    // From the first time that it changes hands.
    assert!(seen.slices("P0") + seen.slices("P1") > 0);
}

/// Runs this test binary again with only the test `name`; exit code and standard error.
fn child(name: &str, trace: &Path) -> (Option<i32>, String) {
    let out = std::process::Command::new(std::env::current_exe().expect("own path"))
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env("TRICOLOR_CHILD", name)
        .env("TRICOLOR_TRACE", trace)
        .output()
        .expect("the test binary runs");
    (out.status.code(), String::from_utf8_lossy(&out.stderr).into_owned())
}

fn is_child() -> bool {
    std::env::var_os("TRICOLOR_CHILD").is_some()
}

/// From the first goroutine to the end of the last one.
#[test]
fn a_whole_run() {
    const N: u64 = 100;
    if is_child() {
        return run(Runtime::builder().procs(2), || {
            (0..N).for_each(|_| spawn(yield_now).join().expect("no panic"));
        });
    }
    let file = Scratch::new("whole");
    let (code, said) = child("a_whole_run", &file.0);
    assert_eq!(code, Some(0), "{said}");
    let line = format!("tricolor: trace: {} has ", file.0.display());
    assert!(said.contains(&line) && said.contains(" events, 0 were lost"), "{said}");
    let seen = Decoded::read(&file.0);
    seen.slices_are_whole();
    seen.flows_match(0, 1);
    // The main goroutine as well, and the one that drops objects, which never ends.
    assert_eq!((seen.instants("goroutine created"), seen.instants("goroutine ended")), (N + 2, N + 1));
    let last = seen.items.iter().rev().find(|i| i.name == "stop requested").expect("the end is a stop");
    assert_eq!(last.notes["reason"], StopReason::End.name());
}

#[test]
fn a_fatal_error_leaves_what_there_was() {
    if is_child() {
        return run(Runtime::builder().procs(1), || {
            tricolor::blocking((), |()| ());
            tricolor::blocking((), |()| {
                Gc::new(1_u64);
            });
        });
    }
    let file = Scratch::new("fatal");
    let (code, said) = child("a_fatal_error_leaves_what_there_was", &file.0);
    assert!(code == Some(2) && said.contains("fatal error"), "{code:?}: {said}");
    let seen = Decoded::read(&file.0);
    seen.slices_are_whole();
    assert_eq!(seen.slices("syscall"), 2, "{:?}", seen.items);
}

#[test]
fn a_full_disk_ends_the_trace_and_nothing_else() {
    if is_child() {
        return run(Runtime::builder().procs(2), || {
            let begin = Instant::now();
            // Until it must have been written.
            while begin.elapsed() < Duration::from_millis(50) {
                spawn(|| ()).join().expect("no panic");
            }
            eprintln!("the program has ended");
        });
    }
    let (code, said) = child("a_full_disk_ends_the_trace_and_nothing_else", Path::new("/dev/full"));
    assert_eq!(code, Some(0), "{said}");
    let line = "tricolor: trace: cannot write /dev/full: No space left on device (os error 28)";
    assert_eq!(said.matches(line).count(), 1, "{said}");
    assert!(said.contains("the program has ended") && !said.contains("were lost"), "{said}");
    run(Runtime::builder().procs(1), || {
        trace::start("/dev/full").expect("it can be opened");
        spawn(|| ()).join().expect("no panic");
        assert_eq!(trace::stop().expect_err("it cannot be written").raw_os_error(), Some(28));
    });
}

#[test]
fn a_file_that_cannot_be_made_is_no_reason_not_to_run() {
    let path = Path::new("/nonexistent/tricolor.pftrace");
    if is_child() {
        return run(Runtime::builder().procs(1), || eprintln!("the program has ended"));
    }
    let (code, said) = child("a_file_that_cannot_be_made_is_no_reason_not_to_run", path);
    assert_eq!(code, Some(0), "{said}");
    let line = format!("tricolor: no trace: cannot write {}: No such file or directory (os error 2)", path.display());
    assert!(said.contains(&line) && said.contains("the program has ended"), "{said}");
    let (code, said) = child("a_file_that_cannot_be_made_is_no_reason_not_to_run", Path::new(""));
    assert!(code == Some(2) && said.contains("TRICOLOR_TRACE=\"\"") && said.contains("the path of a file"), "{said}");
    run(Runtime::builder().procs(1), || {
        assert_eq!(trace::start("/nonexistent/x").expect_err("no such folder").raw_os_error(), Some(2));
    });
}

/// The file is a pipe that nobody reads, until the rings have overrun.
#[test]
fn lost_events_are_counted() {
    let pipe = Scratch::new("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe.0).status().expect("mkfifo");
    assert!(made.success());
    let (path, read) = (pipe.0.clone(), Arc::new(AtomicBool::new(false)));
    let reader = std::thread::spawn({
        let (path, read) = (path.clone(), read.clone());
        move || {
            let mut pipe = std::fs::File::open(path).expect("opens as soon as somebody writes");
            while !read.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(1));
            }
            let mut bytes = Vec::new();
            pipe.read_to_end(&mut bytes).expect("a pipe can be read");
            bytes
        }
    });
    let summary = run(Runtime::builder().procs(1), move || {
        trace::start(&path).expect("a trace");
        // Two events each.
        (0..200_000).for_each(|_| yield_now());
        read.store(true, Ordering::SeqCst);
        trace::stop().expect("it could be written")
    });
    let seen = decode(&reader.join().expect("no panic"));
    assert!(summary.lost > 100_000, "{summary:?}");
    let lost = seen.items.iter().filter(|i| i.name == "events lost");
    assert_eq!(lost.map(|i| i.notes["events"].parse::<u64>().expect("a number")).sum::<u64>(), summary.lost);
    seen.slices_are_whole();
}
