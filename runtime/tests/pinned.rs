//! `pinned(true)`: every goroutine stays on its first thread.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

#[path = "common/checked.rs"]
mod checked;
mod common;
#[path = "common/list.rs"]
mod list;

use common::{child, is_child, needs, run, with_procs};
use list::Node;
use std::cell::Cell;
use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tricolor::net::UnixStream;
use tricolor::{Gc, GcCell, blocking, chan, gc, lock_os_thread, spawn, unlock_os_thread, yield_now};

/// How long something may take that would otherwise never be.
const LIFE: Duration = Duration::from_secs(60);

fn thread() -> i32 {
    // SAFETY: asks for this thread's number.
    unsafe { libc::gettid() }
}

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

/// A loop without calls, so long that it is descheduled somewhere if others wait.
fn long_loop() {
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_millis(25) {
        std::hint::spin_loop();
    }
}

/// What moves a goroutine as a rule; `at` is told after each step.
fn steps(id: u64, round: u64, tx: &chan::Sender<u64>, rx: &chan::Receiver<u64>, at: impl Fn(&str)) {
    yield_now();
    at("yield_now");
    tx.send(id).expect("somebody listens");
    at("send");
    rx.recv().expect("somebody sends");
    at("recv");
    let node = Gc::new(Node { id, next: GcCell::new(None) });
    node.next.set(Some(node));
    at("an allocation");
    if round % 10 == id % 10 {
        gc::collect();
        at("gc::collect");
        long_loop();
        at("a long loop");
        tricolor::time::sleep(Duration::from_micros(100));
        at("time::sleep");
        assert!(spawn(move || id).join().is_ok_and(|n| n == id));
        at("join");
        let (mut near, mut far) = UnixStream::pair().expect("a pair");
        let writer = spawn(move || {
            tricolor::time::sleep(Duration::from_micros(100));
            far.write_all(&[7]).expect("somebody reads");
        });
        near.read_exact(&mut [0]).expect("a byte comes");
        at("reading a socket");
        writer.join().expect("no panic");
        let panicked = std::panic::catch_unwind(|| {
            yield_now();
            tricolor::resume_unwind(Box::new(0_u8));
        });
        assert!(panicked.is_err());
        at("a panic");
        assert!(spawn(|| -> () { tricolor::resume_unwind(Box::new(0_u8)) }).join().is_err());
        at("another's panic");
    }
    blocking((), |()| std::thread::sleep(Duration::from_micros(10)));
    at("blocking");
    lock_os_thread();
    yield_now();
    unlock_os_thread();
    at("lock_os_thread and unlock_os_thread");
    unlock_os_thread();
    yield_now();
    at("unlock_os_thread too often");
    assert!(node.next.get().is_some_and(|next| next.id == id));
}

/// The address of a thread-local is used over every step.
fn counted_steps(id: u64, tx: &chan::Sender<u64>, rx: &chan::Receiver<u64>) {
    let here = thread();
    COUNT.with(|count| {
        count.set(id);
        for round in 0..20 {
            steps(id, round, tx, rx, |step| {
                assert_eq!(thread(), here, "goroutine {id} has moved at {step}");
                assert!(COUNT.with(|now| std::ptr::eq(now, count)), "another thread's counter at {step}");
                count.set(count.get() + 1);
                assert_eq!(COUNT.get(), count.get());
            });
        }
        // Seven steps in each round, seven more in every tenth.
        assert_eq!(COUNT.get(), id + 20 * 7 + 2 * 7);
    });
}

#[test]
fn everyone_stays_on_its_thread() {
    needs!(Signals);
    let descheduled = run(with_procs(2).pinned(true).verify(true), || {
        let here = thread();
        let (tx, rx) = chan::bounded(4);
        let workers: Vec<_> = (0..20)
            .map(|id| {
                let (tx, rx) = (tx.clone(), rx.clone());
                spawn(move || counted_steps(id, &tx, &rx))
            })
            .collect();
        for (i, worker) in workers.into_iter().enumerate() {
            tricolor::set_procs(1 + i % 3);
            worker.join().expect("no panic");
            assert_eq!(thread(), here, "the main goroutine has moved");
        }
        gc::suspensions().descheduled
    });
    assert!(descheduled > 0, "the long loops were to be descheduled");
}

/// The same steps see the difference.
#[test]
fn without_it_they_move() {
    run(with_procs(2), || {
        let begin = Instant::now();
        let moved = Arc::new(AtomicBool::new(false));
        while !moved.load(Ordering::Relaxed) {
            assert!(begin.elapsed() < LIFE, "nobody moves: the test above says nothing");
            let (tx, rx) = chan::bounded(4);
            let workers: Vec<_> = (0..20)
                .map(|id| {
                    let (tx, rx, moved) = (tx.clone(), rx.clone(), moved.clone());
                    spawn(move || {
                        let here = thread();
                        steps(id, id + 1, &tx, &rx, |_| {
                            moved.fetch_or(thread() != here, Ordering::Relaxed);
                        });
                    })
                })
                .collect();
            workers.into_iter().for_each(|w| w.join().expect("no panic"));
        }
    });
}

fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count)
}

/// One for each goroutine, and for others when that has ended.
#[test]
fn a_thread_for_each_that_lives() {
    run(with_procs(2).pinned(true), || {
        let before = threads();
        let (tx, rx) = chan::bounded::<()>(0);
        let here = Arc::new(AtomicUsize::new(0));
        let workers: Vec<_> = (0..50)
            .map(|_| {
                let (rx, here) = (rx.clone(), here.clone());
                spawn(move || {
                    here.fetch_add(1, Ordering::Relaxed);
                    assert!(rx.recv().is_err());
                })
            })
            .collect();
        while here.load(Ordering::Relaxed) < 50 {
            yield_now();
        }
        let many = threads();
        assert!(many >= 50, "50 goroutines on {many} threads");
        drop(tx);
        workers.into_iter().for_each(|w| w.join().expect("no panic"));
        for i in 0..300 {
            assert!(spawn(move || i).join().is_ok_and(|n| n == i));
        }
        let after = threads();
        assert!(after <= many + 10, "{before} threads before, {many} for 50 goroutines, {after} after 300 more");
    });
}

/// Loops without calls have their turns, one after the other, and so has the main goroutine between them. (More of them than
/// picks between two looks at the global queue: only those that begin a time slice count as picks.)
#[test]
fn loops_have_their_turns() {
    needs!(Signals);
    const LOOPS: usize = 70;
    run(with_procs(1).pinned(true), || {
        let stop = Arc::new(AtomicBool::new(false));
        let begun = Arc::new(AtomicUsize::new(0));
        let workers: Vec<_> = (0..LOOPS)
            .map(|_| {
                let (stop, begun) = (stop.clone(), begun.clone());
                spawn(move || {
                    begun.fetch_add(1, Ordering::Relaxed);
                    while !stop.load(Ordering::Relaxed) {
                        std::hint::spin_loop();
                    }
                })
            })
            .collect();
        let begin = Instant::now();
        while begun.load(Ordering::Relaxed) < LOOPS {
            assert!(begin.elapsed() < LIFE, "{begun:?} of {LOOPS} loops have begun");
            yield_now();
        }
        gc::collect();
        stop.store(true, Ordering::Relaxed);
        workers.into_iter().for_each(|w| w.join().expect("no panic"));
    });
}

/// Two that wake each other share a time slice, after which others have their turns.
#[test]
fn a_pair_lets_others_run() {
    run(with_procs(1).pinned(true), || {
        let (ping, pong) = (chan::bounded(0), chan::bounded(0));
        let (rounds, over) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let echo = spawn(move || while ping.1.recv().is_ok_and(|()| pong.0.send(()).is_ok()) {});
        let caller = spawn({
            let (rounds, over) = (rounds.clone(), over.clone());
            move || {
                let begin = Instant::now();
                while !over.load(Ordering::Relaxed) {
                    assert!(begin.elapsed() < LIFE, "nobody else has run");
                    ping.0.send(()).expect("somebody listens");
                    pong.1.recv().expect("somebody answers");
                    rounds.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        while rounds.load(Ordering::Relaxed) < 10 {
            yield_now();
        }
        let third = spawn(move || over.store(true, Ordering::Relaxed));
        // What is spawned last runs first; so now the third one waits in the queue, behind one of the pair.
        spawn(|| ()).join().expect("no panic");
        for one in [third, caller, echo] {
            one.join().expect("no panic");
        }
    });
}

#[test]
fn a_deadlock_is_seen() {
    if is_child("a_deadlock_is_seen") {
        // SAFETY: no `Gc` anywhere.
        unsafe {
            with_procs(2).pinned(true).run(|| {
                let (tx, rx) = chan::bounded::<u8>(0);
                for _ in 0..5 {
                    let (tx, rx) = (tx.clone(), rx.clone());
                    spawn(move || {
                        blocking((), |()| std::thread::sleep(Duration::from_millis(5)));
                        tricolor::time::sleep(Duration::from_millis(5));
                        let _keeps_it_open = tx;
                        rx.recv()
                    });
                }
                let _ = rx.recv();
            });
        }
        return;
    }
    let (code, err) = child("a_deadlock_is_seen", &[]);
    assert_eq!(code, Some(2), "{err}");
    assert!(err.contains("all goroutines are asleep - deadlock!"), "{err}");
    assert_eq!(err.matches("locked to its thread").count(), 6, "{err}");
}
