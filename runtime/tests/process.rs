//! What ends or reports on the whole process: each case runs in a child.

#[path = "common/checked.rs"]
mod checked;
mod common;

use common::{child, is_child, needs, with_procs};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tricolor::{chan, gc, gc_core, spawn, sync, yield_now};

/// In the child: a runtime, and `f` in it.
fn here(procs: usize, f: impl FnOnce() + Send) {
    // SAFETY: no `Gc` anywhere.
    unsafe { with_procs(procs).run(f) }
}

#[test]
fn all_goroutines_asleep() {
    if is_child("all_goroutines_asleep") {
        here(2, || {
            let m = sync::Mutex::new(0);
            let m2 = m.clone();
            static HELD: AtomicBool = AtomicBool::new(false);
            spawn(move || {
                let (_tx, rx) = chan::bounded::<u8>(0);
                m2.with(|_| {
                    HELD.store(true, Ordering::Relaxed);
                    rx.recv()
                })
            });
            while !HELD.load(Ordering::Relaxed) {
                yield_now();
            }
            spawn({
                let m = m.clone();
                move || m.with(|n| *n += 1)
            });
            let (tx, _rx) = chan::bounded(0);
            tx.send(1).expect("nobody ever takes it");
        });
        return;
    }
    let (code, err) = child("all_goroutines_asleep", &[]);
    assert_eq!(code, Some(2), "{err}");
    for what in [
        "fatal error: all goroutines are asleep - deadlock!",
        "goroutine 1 [chan send, ",
        "goroutine 2 [chan receive, ",
        "goroutine 3 [mutex lock, ",
        "\t0x",
    ] {
        assert!(err.contains(what), "no {what:?} in:\n{err}");
    }
}

#[test]
fn a_blocked_goroutine_is_not_a_deadlock() {
    let _turn = common::turn();
    here(1, || {
        let h = spawn(|| tricolor::blocking((), |()| std::thread::sleep(Duration::from_millis(60))));
        h.join().expect("no panic");
    });
}

#[inline(never)]
fn dig(n: u64) -> u64 {
    let pad = std::hint::black_box([n; 64]);
    if n == u64::MAX { 0 } else { dig(n + 1) + pad[7] }
}

#[test]
fn a_stack_overflows() {
    if is_child("a_stack_overflows") {
        here(2, || drop(spawn(|| dig(std::hint::black_box(0))).join()));
        return;
    }
    let (code, err) = child("a_stack_overflows", &[]);
    assert_eq!(code, Some(2), "{err}");
    assert!(err.contains("fatal error: stack overflow"), "{err}");
    assert!(err.contains("goroutine 2 needs more than the 224 KiB of its stack"), "{err}");
}

#[test]
fn the_main_stack_overflows() {
    if is_child("the_main_stack_overflows") {
        here(1, || assert_ne!(dig(std::hint::black_box(0)), 1));
        return;
    }
    let (code, err) = child("the_main_stack_overflows", &[]);
    assert_eq!(code, Some(2), "{err}");
    assert!(err.contains("goroutine 1 needs more than the 8192 KiB of its stack"), "{err}");
}

#[test]
fn other_faults_are_still_faults() {
    if is_child("other_faults_are_still_faults") {
        here(1, || {
            let p = std::hint::black_box(16 as *const u8);
            // SAFETY: deliberately wrong: the child is to die of it.
            std::hint::black_box(unsafe { p.read_volatile() });
        });
        return;
    }
    let (code, err) = child("other_faults_are_still_faults", &[]);
    assert_eq!(code, None, "killed by a signal: {err}");
    assert!(!err.contains("stack overflow"), "{err}");
}

#[test]
fn bad_environment() {
    if is_child("bad_environment") {
        here(1, || eprintln!("it ran"));
        return;
    }
    for (name, value, allowed) in [
        ("TRICOLOR_GC", "0", "off, or a percentage from 1 to 100000"),
        ("TRICOLOR_GC", "much", "off, or a percentage"),
        ("TRICOLOR_PROCS", "0", "a number from 1 to 256"),
        ("TRICOLOR_PROCS", "257", "a number from 1 to 256"),
        ("TRICOLOR_DEBUG", "gctrac=1", "gctrace, verify, gcevery, stwtimeout"),
        ("TRICOLOR_DEBUG", "verify=yes", "verify=0 or verify=1"),
        ("TRICOLOR_DEBUG", "gcevery=-1", "gcevery=N"),
    ] {
        let (code, err) = child("bad_environment", &[(name, value)]);
        assert_eq!(code, Some(2), "{name}={value}: {err}");
        let lines: Vec<_> = err.lines().collect();
        assert_eq!(lines.len(), 1, "{name}={value}: {err}");
        assert!(err.contains(name) && err.contains(value) && err.contains(allowed), "{name}={value}: {err}");
    }
    let good = [("TRICOLOR_GC", "off"), ("TRICOLOR_PROCS", "2"), ("TRICOLOR_DEBUG", "gctrace=0,gcevery=0")];
    let (code, err) = child("bad_environment", &good);
    assert_eq!((code, err.contains("it ran")), (Some(0), true), "{err}");
}

#[test]
fn a_panic_that_nobody_can_join() {
    if is_child("a_panic_that_nobody_can_join") {
        here(2, || {
            drop(spawn(|| {
                yield_now();
                panic!("lost");
            }));
            loop {
                yield_now();
            }
        });
        return;
    }
    let (code, err) = child("a_panic_that_nobody_can_join", &[]);
    assert_eq!(code, None, "aborted: {err}");
    assert!(err.contains("goroutine 2 panicked, and its JoinHandle is gone"), "{err}");
}

#[test]
fn who_holds_a_stop_up_is_named() {
    needs!(Procs(2..=256));
    if is_child("who_holds_a_stop_up_is_named") {
        here(2, || {
            let h = spawn(|| {
                let start = Instant::now();
                while start.elapsed() < Duration::from_millis(500) {
                    std::hint::spin_loop(); // no safepoint
                }
            });
            (0..100).for_each(|_| yield_now());
            std::thread::sleep(Duration::from_millis(50));
            gc::with_stopped_world(|| eprintln!("stopped at last"));
            h.join().expect("no panic");
        });
        return;
    }
    let (code, err) = child("who_holds_a_stop_up_is_named", &[("TRICOLOR_DEBUG", "stwtimeout=100,asyncpreemptoff=1")]);
    assert_eq!(code, Some(0), "{err}");
    assert_eq!(err.matches("stop of the world (user) waits for").count(), 1, "{err}");
    assert!(err.contains("state R) runs goroutine 2, which was last at a safepoint"), "{err}");
    assert!(err.contains("stopped at last"), "{err}");
}

#[test]
fn blocking_in_a_drop_while_unwinding_is_refused() {
    struct Waits(chan::Receiver<u8>);
    impl Drop for Waits {
        fn drop(&mut self) {
            yield_now(); // does nothing while unwinding
            let _ = self.0.recv();
        }
    }
    if is_child("blocking_in_a_drop_while_unwinding_is_refused") {
        here(1, || {
            let (tx, rx) = chan::bounded(0);
            let h = spawn(move || {
                let _waits = Waits(rx);
                panic!("on purpose");
            });
            drop(h.join());
            drop(tx);
        });
        return;
    }
    let (code, err) = child("blocking_in_a_drop_while_unwinding_is_refused", &[]);
    assert_eq!(code, Some(2), "{err}");
    assert!(err.contains("goroutine 2 would block (chan receive) while a panic unwinds its stack"), "{err}");
}

#[test]
fn a_stop_inside_a_stop_is_fatal() {
    if is_child("a_stop_inside_a_stop_is_fatal") {
        here(2, || gc::with_stopped_world(|| gc::with_stopped_world(|| ())));
        return;
    }
    let (code, err) = child("a_stop_inside_a_stop_is_fatal", &[]);
    assert_eq!(code, Some(2), "{err}");
    let message = "fatal error: user inside user, by the same thread: a stop of the world inside a stop of the world";
    assert!(err.contains(message), "{err}");
}

#[test]
fn a_collection_inside_a_stop_is_fatal() {
    if is_child("a_collection_inside_a_stop_is_fatal") {
        here(2, || gc::with_stopped_world(|| gc_core::GcP::current().heap().collect()));
        return;
    }
    let (code, err) = child("a_collection_inside_a_stop_is_fatal", &[]);
    assert_eq!(code, Some(2), "{err}");
    assert!(err.contains("a safepoint while this thread has stopped the world"), "{err}");
}

#[test]
fn the_heap_without_a_p_is_fatal() {
    if is_child("the_heap_without_a_p_is_fatal") {
        here(2, || {
            // SAFETY: deliberately wrong: it allocates where no P is held.
            unsafe {
                tricolor::blocking_with(|| {
                    std::hint::black_box(tricolor::Gc::new(1_u64));
                })
            }
        });
        return;
    }
    let (code, err) = child("the_heap_without_a_p_is_fatal", &[]);
    assert_eq!(code, Some(2), "{err}");
    assert!(err.contains("holds no P") && err.contains("goroutine 1"), "{err}");
}

#[test]
fn malloc_inside_the_runtime() {
    if is_child("malloc_inside_the_runtime") {
        here(1, || {
            std::hint::black_box(Box::new(1));
            let lock = tricolor::gc_core::sync::Lock::new(gc_core::sync::Rank::Unranked, 0);
            let _held = lock.lock();
            std::hint::black_box(Box::new(2_u64));
        });
        return;
    }
    let (code, err) = child("malloc_inside_the_runtime", &[]);
    assert_eq!(code, Some(2), "{err}");
    assert!(err.contains("fatal error: malloc of 8 bytes inside the runtime (in-runtime count 1)"), "{err}");
}

/// A goroutine sleeps in the kernel with the only P; who waits gets a spare one, and one line says on account of whom.
#[test]
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn who_sleeps_in_the_kernel_with_its_p_is_named() {
    needs!(Procs(1..=1));
    use std::io::{Read, Write};
    use std::sync::atomic::{AtomicUsize, Ordering};
    static READS: AtomicUsize = AtomicUsize::new(0);
    const ROUNDS: usize = 3;
    if is_child("who_sleeps_in_the_kernel_with_its_p_is_named") {
        here(1, || {
            let (mut rx, mut tx) = std::io::pipe().expect("a pipe");
            let reader = spawn(move || {
                for _ in 0..ROUNDS {
                    READS.fetch_add(1, Ordering::Relaxed);
                    rx.read_exact(&mut [0]).expect("a byte comes");
                    yield_now();
                }
            });
            for round in 1..=ROUNDS {
                while READS.load(Ordering::Relaxed) < round {
                    yield_now();
                }
                // This runs on a P that is lent.
                tx.write_all(&[0]).expect("somebody reads");
            }
            reader.join().expect("no panic");
        });
        return;
    }
    let (code, err) = child("who_sleeps_in_the_kernel_with_its_p_is_named", &[]);
    assert_eq!(code, Some(0), "{err}");
    let line =
        "tricolor: all Ps are held by goroutines that sleep in the kernel, goroutine 2 among them, while others wait";
    assert_eq!(err.matches(line).count(), 1, "{err}");
}
