//! Goroutines that wait for ever are reported, and nobody else is.
#![cfg(all(target_os = "linux", target_arch = "x86_64", feature = "profile"))]

#[path = "common/checked.rs"]
mod checked;
mod common;

use common::{run, with_procs};
use std::sync::mpsc;
use std::time::{Duration, Instant};
use tricolor::chan::{self, select};
use tricolor::profile::{Leak, leaks};
use tricolor::sync::{Mutex, WaitGroup};
use tricolor::{Gc, NoGc, Trace, spawn, yield_now};

/// Asks until there are `n` leaks (an old copy of a handle in a register or on a stack may hide one for a while).
#[track_caller]
fn wait_for(n: usize) -> Vec<Leak> {
    let begin = Instant::now();
    loop {
        let found = leaks().expect("memory can be read");
        if found.len() >= n {
            assert_eq!(found.len(), n, "{found:#?}");
            return found;
        }
        assert!(begin.elapsed().as_secs() < 60, "{n} are leaked, and these are found: {found:#?}");
        (0..10).for_each(|_| yield_now());
    }
}

#[inline(never)]
fn receives_for_ever() {
    let (tx, rx) = chan::bounded::<u64>(0);
    let _ = rx.recv();
    drop(tx);
}

#[inline(never)]
fn sends_for_ever() {
    let (tx, rx) = chan::bounded::<u64>(1);
    tx.send(1).expect("room");
    let _ = tx.send(2);
    drop(rx);
}

/// From itself, of two channels that nobody else has.
#[inline(never)]
fn selects_for_ever() {
    let (to_a, a) = chan::bounded::<u64>(0);
    let (to_b, b) = chan::bounded::<u64>(1);
    to_b.send(1).expect("room");
    select! {
        recv(a) -> _ => {}
        send(to_b, 2) -> _ => {}
    }
    drop((to_a, b));
}

/// As Go's `select {}`.
#[inline(never)]
fn selects_from_nothing() {
    select! {}
}

#[inline(never)]
fn locks_twice() {
    let mutex = Mutex::new(1);
    let again = mutex.clone();
    mutex.with(|_| again.with(|n| *n += 1));
}

#[inline(never)]
fn waits_for_nobody() {
    let group = WaitGroup::new();
    group.add(1);
    group.wait();
}

#[inline(never)]
fn joins_a_leaked_one() {
    spawn(receives_for_ever).join().expect("no panic");
}

#[test]
fn each_kind_of_leak_is_found_and_named() {
    run(with_procs(2), || {
        for (leaks, waits_for, function, spawned) in [
            (receives_for_ever as fn(), "chan receive", "receives_for_ever"),
            (sends_for_ever, "chan send", "sends_for_ever"),
            (selects_for_ever, "select", "selects_for_ever"),
            (selects_from_nothing, "select", "selects_from_nothing"),
            (locks_twice, "mutex lock", "locks_twice"),
            (waits_for_nobody, "wait group", "waits_for_nobody"),
        ]
        .into_iter()
        .zip(1..)
        .map(|((f, waits_for, function), n)| {
            let spawned = line!() + 1;
            drop(spawn(f));
            (wait_for(n), waits_for, function, spawned)
        }) {
            let waits = |l: &Leak| l.stack.iter().find(|f| f.function.ends_with(function)).cloned();
            let (leak, at) = leaks.iter().find_map(|l| Some((l, waits(l)?))).expect("the function that waits");
            assert_eq!(leak.waits_for, waits_for, "{leak}");
            assert!(at.file.ends_with("tests/leaks.rs") && at.line > 30, "{leak}");
            assert!(leak.to_string().contains(function) && leak.goroutine > 1, "{leak}");
            let created = leak.created_at.expect("no leak is the main goroutine");
            assert!(created.file().ends_with("tests/leaks.rs") && created.line() == spawned, "{leak}");
            assert!(leak.to_string().ends_with(&format!("created at {}:{spawned}", created.file())), "{leak}");
        }
        drop(spawn(joins_a_leaked_one));
        let all = wait_for(8);
        assert_eq!(all.iter().filter(|l| l.waits_for == "join").count(), 1, "{all:#?}");
        // They stay what they are.
        tricolor::gc::collect();
        assert_eq!(wait_for(8).len(), 8);
    });
}

/// Two that wait for each other.
#[test]
fn a_circle_of_two_is_a_leak() {
    run(with_procs(2), || {
        #[inline(never)]
        fn circle() {
            let (tx1, rx1) = chan::bounded::<u64>(0);
            let (tx2, rx2) = chan::bounded::<u64>(0);
            drop(spawn(move || {
                let _ = rx1.recv();
                drop(tx2);
            }));
            let _ = rx2.recv();
            drop(tx1);
        }
        drop(spawn(circle));
        wait_for(2);
    });
}

/// A handle in an object that only the one who waits leads to.
#[test]
fn a_handle_in_the_heap_wakes_nobody_by_itself() {
    struct Holder(chan::Sender<u64>);
    // SAFETY: a handle is no heap pointer; its drop is that of a `Sender`.
    unsafe impl NoGc for Holder {}
    // SAFETY: data to the collector.
    unsafe impl Trace for Holder {
        const DESC: &'static tricolor::gc_core::layout::TypeDesc =
            &tricolor::gc_core::layout::TypeDesc::data::<Holder>("Holder");
    }
    #[inline(never)]
    fn holds() {
        let (tx, rx) = chan::bounded::<u64>(0);
        let holder = Gc::new(Holder(tx));
        let _ = rx.recv();
        Gc::with(holder, |holder| drop(holder.0.clone()));
    }
    run(with_procs(2), || {
        drop(spawn(holds));
        wait_for(1);
    });
}

/// All who wait here can be woken, by somebody whose handle is where the collector does not look.
fn nobody_has_leaked() {
    let mut waiting = Vec::new();
    let mut kept = Vec::new();
    // In malloc'd memory.
    for i in 0..20 {
        let (tx, rx) = chan::bounded::<u64>(0);
        kept.push(Box::new(tx));
        waiting.push(spawn(move || rx.recv() == Ok(i)));
    }
    // One of three that somebody selects from, or sends to, who has the others to himself.
    let (mut senders, mut receivers) = (Vec::new(), Vec::new());
    for at in 0..3 {
        let three: [_; 3] = std::array::from_fn(|_| chan::bounded::<u64>(0));
        senders.push(Box::new(three[at].0.clone()));
        waiting.push(spawn(move || {
            let [(_, a), (_, b), (_, c)] = &three;
            let got = select! {
                recv(a) -> got => got,
                recv(b) -> got => got,
                recv(c) -> got => got,
            };
            drop(three);
            got == Ok(1)
        }));
        let three: [_; 3] = std::array::from_fn(|_| chan::bounded::<u64>(0));
        receivers.push(Box::new(three[at].1.clone()));
        waiting.push(spawn(move || {
            let [(a, _), (b, _), (c, _)] = &three;
            let sent = select! {
                send(a, 1) -> sent => sent,
                send(b, 1) -> sent => sent,
                send(c, 1) -> sent => sent,
            };
            drop(three);
            sent.is_ok()
        }));
    }
    // With a thread that is not the runtime's, on its stack.
    let (tx, rx) = chan::bounded::<u64>(0);
    let (go, gone) = mpsc::channel::<()>();
    let outside = std::thread::spawn(move || {
        let tx = std::hint::black_box(tx);
        gone.recv().expect("the end");
        drop(tx);
    });
    waiting.push(spawn(move || rx.recv().is_err()));
    // With a goroutine that sleeps; on its own stack, in the closure of a blocking call, in another one's buffer.
    let (tx, rx) = chan::bounded::<u64>(0);
    let (end, ended) = chan::bounded::<u64>(0);
    drop(spawn(move || {
        while ended.try_recv() == Err(chan::TryRecvError::Empty) {
            tricolor::time::sleep(Duration::from_millis(1));
        }
        drop(tx);
    }));
    waiting.push(spawn(move || rx.recv().is_err()));
    let (tx, rx) = chan::bounded::<u64>(0);
    let (pipe, pipe_end) = std::io::pipe().expect("a pipe");
    drop(spawn(move || {
        // SAFETY: a handle is no heap pointer, and it goes to a thread that has no P only to lie there.
        let tx = unsafe {
            tricolor::blocking_with(move || {
                let (tx, mut pipe) = std::hint::black_box((Box::new(tx), pipe));
                std::io::Read::read(&mut pipe, &mut [0]).expect("an end");
                tx
            })
        };
        drop(tx);
    }));
    waiting.push(spawn(move || rx.recv().is_err()));
    let (tx, rx) = chan::bounded::<u64>(0);
    let (carry, carried) = chan::bounded::<chan::Sender<u64>>(1);
    carry.send(tx).expect("room");
    waiting.push(spawn(move || rx.recv().is_err()));
    // One after the other: each is woken by the next.
    let (first, mut rx) = chan::bounded::<u64>(0);
    for _ in 0..20 {
        let (tx, next) = chan::bounded::<u64>(0);
        let before = std::mem::replace(&mut rx, next);
        waiting.push(spawn(move || {
            let ended = before.recv().is_err();
            drop(tx);
            ended
        }));
    }
    waiting.push(spawn(move || rx.recv().is_err()));
    // Locks, groups, results.
    let (mutex, group) = (Mutex::new(0), WaitGroup::new());
    group.add(1);
    let (hold, held) = chan::bounded::<u64>(0);
    let holder = spawn({
        let mutex = mutex.clone();
        move || mutex.with(|_| held.recv().is_err())
    });
    waiting.push(spawn(move || holder.join().is_ok_and(|ended| ended)));
    for _ in 0..3 {
        let (mutex, group) = (mutex.clone(), group.clone());
        waiting.push(spawn(move || {
            mutex.with(|n| *n += 1);
            group.wait();
            true
        }));
    }
    // While they come and go.
    let (noise, silence) = chan::bounded::<u64>(3);
    let listener = spawn(move || silence.iter().count());
    let noisy = spawn(move || (0..20_000).for_each(|i| _ = noise.send(i)));
    for round in 0..4 {
        (0..100).for_each(|_| yield_now());
        let found = leaks().expect("memory can be read");
        assert!(found.is_empty(), "in round {round} these are said to have leaked: {found:#?}");
    }
    noisy.join().expect("no panic");
    assert_eq!(listener.join().expect("no panic"), 20_000);

    for (i, tx) in (0..).zip(kept) {
        tx.send(i).expect("a receiver");
    }
    go.send(()).expect("the thread waits");
    outside.join().expect("no panic");
    senders.into_iter().for_each(|tx| tx.send(1).expect("a receiver"));
    receivers.into_iter().for_each(|rx| assert_eq!(rx.recv(), Ok(1)));
    drop((end, pipe_end, carried, first, hold));
    group.done();
    assert!(waiting.into_iter().all(|h| h.join().expect("no panic")));
}

#[test]
fn who_can_be_woken_is_not_a_leak() {
    run(with_procs(2), nobody_has_leaked);
}

#[test]
fn who_can_be_woken_is_not_a_leak_with_many_ps() {
    run(with_procs(8), nobody_has_leaked);
}

#[test]
fn limits_and_sleepers_are_no_leaks() {
    run(with_procs(2), || {
        let waiting = spawn(|| {
            let (tx, rx) = chan::bounded::<u64>(0);
            let timed_out = rx.recv_timeout(Duration::from_millis(300)).is_err();
            let selected = select! {
                recv(rx) -> _ => false,
                after(Duration::from_millis(300)) => true,
            };
            drop(tx);
            timed_out && selected
        });
        while !waiting.is_finished() {
            assert!(leaks().expect("memory can be read").is_empty());
            yield_now();
        }
        assert!(waiting.join().expect("no panic"));
    });
}

/// A check that is broken says of somebody who can be woken that he has leaked: the control above sees it.
#[cfg(feature = "faults")]
#[test]
fn a_broken_check_is_noticed() {
    use tricolor::gc_core::faults::choose;
    for fault in ["leaks-blind", "leaks-end-early"] {
        let noticed = run(with_procs(2), || {
            choose(Some(fault)).expect("a fault of that name");
            let noticed = std::panic::catch_unwind(nobody_has_leaked).is_err();
            choose(None).expect("off");
            noticed
        });
        assert!(noticed, "{fault} was not noticed");
    }
}
