//! Time slices end for goroutines that come to no safepoint: they are descheduled in the middle of their code, and
//! continue with all registers as they were.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

#[path = "common/checked.rs"]
mod checked;
mod common;
#[path = "common/hidden.rs"]
mod hidden;

use common::{needs, run, with_procs};
use hidden::{in_a_vector_register, with_twin};
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tricolor::{gc, spawn, yield_now};

/// On one P, a goroutine that never comes to a safepoint lets the others run.
#[test]
fn a_loop_without_calls_lets_others_run() {
    needs!(Signals);
    needs!(Procs(1..=1));
    run(with_procs(1), || {
        let stop = Arc::new(AtomicBool::new(false));
        let over = stop.clone();
        let worker = spawn(move || {
            let mut n = 0_u64;
            while !over.load(Ordering::Relaxed) {
                n += 1;
            }
            n
        });
        for _ in 0..20 {
            yield_now();
        }
        stop.store(true, Ordering::Relaxed);
        assert!(worker.join().expect("no panic") > 0);
        let stats = gc::suspensions();
        assert!(stats.descheduled >= 15, "{stats:?}");
    });
}

/// Runs `kernel` on `n` goroutines over two Ps, each until it was interrupted often enough, and compares its results.
fn kernels<R: PartialEq + Send + std::fmt::Debug + 'static>(n: usize, enough: u64, kernel: fn() -> R) {
    run(with_procs(2), move || {
        let stop = Arc::new(AtomicBool::new(false));
        let workers: Vec<_> = (0..n)
            .map(|_| {
                let over = stop.clone();
                spawn(move || {
                    let expected = kernel();
                    let mut rounds = 0_u64;
                    while !over.load(Ordering::Relaxed) {
                        assert_eq!(kernel(), expected, "after {rounds} rounds");
                        rounds += 1;
                    }
                })
            })
            .collect();
        let begin = Instant::now();
        while gc::suspensions().descheduled < enough {
            assert!(begin.elapsed() < Duration::from_secs(120), "{:?}", gc::suspensions());
            yield_now();
        }
        stop.store(true, Ordering::Relaxed);
        workers.into_iter().for_each(|w| w.join().expect("no panic"));
    });
}

#[test]
fn floats_and_integers_come_back() {
    needs!(Signals);
    kernels(6, 100, || {
        let (mut x, mut f) = (0x9E37_79B9_7F4A_7C15_u64, [1.0_f64, 0.5, 0.25, 0.125]);
        for i in 0..20_000_u64 {
            x = x.rotate_left(13).wrapping_mul(0x2545_F491_4F6C_DD1D) ^ i;
            f.iter_mut().for_each(|v| *v = (*v * 1.000_1 + (x & 0xff) as f64).sqrt());
        }
        (x, f.map(f64::to_bits))
    });
}

#[test]
fn bytes_and_recursion_come_back() {
    needs!(Signals);
    #[inline(never)]
    fn fib(n: u32) -> u64 {
        if n < 2 { u64::from(n) } else { fib(black_box(n - 1)) + fib(n - 2) }
    }
    kernels(6, 60, || {
        let mut bytes: [u8; 256] = std::array::from_fn(|i| i as u8);
        for i in 0..2000_u64 {
            bytes.iter_mut().for_each(|b| *b = b.wrapping_mul(7).wrapping_add(i as u8));
            bytes.reverse();
        }
        (fib(18), bytes.iter().fold(0_u64, |h, b| h.wrapping_mul(31).wrapping_add(u64::from(*b))))
    });
}

/// More loops than may be kept: nobody is lost, and the rest of the program goes on.
#[test]
fn more_than_can_be_kept() {
    needs!(Signals);
    run(with_procs(2), || {
        let stop = Arc::new(AtomicBool::new(false));
        let spun = Arc::new(AtomicU64::new(0));
        let workers: Vec<_> = (0..70)
            .map(|_| {
                let (over, spun) = (stop.clone(), spun.clone());
                spawn(move || {
                    spun.fetch_add(1, Ordering::Relaxed);
                    while !over.load(Ordering::Relaxed) {
                        std::hint::spin_loop();
                    }
                })
            })
            .collect();
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_millis(500) {
            yield_now();
        }
        gc::collect();
        stop.store(true, Ordering::Relaxed);
        workers.into_iter().for_each(|w| w.join().expect("no panic"));
        assert_eq!(spun.load(Ordering::Relaxed), 70);
    });
}

/// On one P, so the holder is descheduled whenever somebody else runs.
#[test]
fn a_pointer_in_a_saved_vector_register_survives() {
    needs!(Signals);
    needs!(Procs(1..=1));
    with_twin("a_pointer_in_a_saved_vector_register_survives", "xregs-unscanned", 1, || {
        in_a_vector_register(10, || {
            yield_now();
            gc::collect();
            gc::collect();
        });
        assert!(gc::suspensions().descheduled >= 5, "{:?}", gc::suspensions());
    });
}

#[test]
fn a_locked_goroutine_stays_on_its_thread() {
    fn thread() -> i32 {
        // SAFETY: asks for this thread's number.
        unsafe { libc::gettid() }
    }
    run(with_procs(2), || {
        let stop = Arc::new(AtomicBool::new(false));
        let others: Vec<_> = (0..4)
            .map(|_| {
                let over = stop.clone();
                spawn(move || {
                    while !over.load(Ordering::Relaxed) {
                        yield_now();
                    }
                })
            })
            .collect();
        let locked = spawn(|| {
            tricolor::lock_os_thread();
            let here = thread();
            let (tx, rx) = tricolor::chan::bounded(0);
            let sender = spawn(move || (0..200_u32).for_each(|i| tx.send(i).expect("somebody listens")));
            for i in 0..200 {
                assert_eq!(rx.recv(), Ok(i));
                assert_eq!(thread(), here);
                tricolor::blocking((), |()| std::thread::sleep(Duration::from_micros(10)));
                assert_eq!(thread(), here);
            }
            sender.join().expect("no panic");
            tricolor::unlock_os_thread();
            here
        });
        let here = locked.join().expect("no panic");
        stop.store(true, Ordering::Relaxed);
        others.into_iter().for_each(|other| other.join().expect("no panic"));
        assert!(here > 0);
    });
}

/// A goroutine is descheduled with a std lock in its hands, and all the others wait for that in the kernel, with their
/// Ps: one is lent to the holder.
#[test]
fn a_lock_of_std_in_the_hands_of_a_descheduled_goroutine() {
    static LOCK: std::sync::Mutex<u64> = std::sync::Mutex::new(0);
    for procs in [1, 2] {
        run(with_procs(procs), || {
            let workers: Vec<_> = (0..6)
                .map(|_| {
                    spawn(|| {
                        for _ in 0..3 {
                            let mut sum = LOCK.lock().expect("nobody panics");
                            let begin = Instant::now();
                            while begin.elapsed() < Duration::from_millis(15) {
                                *sum += 1;
                            }
                        }
                    })
                })
                .collect();
            workers.into_iter().for_each(|w| w.join().expect("no panic"));
        });
    }
    assert!(*LOCK.lock().expect("nobody panics") > 0);
}
