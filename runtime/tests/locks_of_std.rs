//! Goroutines that are interrupted with locks of std in their hands: stops end, and the program goes on.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod common;

use common::{child, is_child, needs, run, skipped, turn, with_procs};
use std::hint::black_box;
use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};
use tricolor::{Gc, Root, Trace, blocking, gc, spawn};

#[derive(Trace)]
struct Node {
    id: u64,
}

const PROCS: [usize; 3] = [1, 2, 16];

/// Signals often enough that some hit inside any lock.
fn stormy(procs: usize) -> tricolor::Builder {
    with_procs(procs).preempt_storm(Duration::from_micros(200))
}

/// Collects until `enough`.
fn collect_until(enough: impl Fn() -> bool) {
    while !enough() {
        gc::collect();
        blocking((), |()| std::thread::sleep(Duration::from_millis(1)));
    }
}

#[test]
fn a_mutex_for_which_others_wait() {
    static LOCK: Mutex<u64> = Mutex::new(0);
    for procs in PROCS {
        run(stormy(procs), || {
            let done = Arc::new(AtomicU64::new(0));
            let workers: Vec<_> = (0..8)
                .map(|_| {
                    let done = done.clone();
                    spawn(move || {
                        for _ in 0..30 {
                            let mut sum = LOCK.lock().expect("nobody panics");
                            let begin = Instant::now();
                            while begin.elapsed() < Duration::from_micros(100) {
                                *sum = sum.wrapping_add(1);
                            }
                        }
                        done.fetch_add(1, Ordering::SeqCst);
                    })
                })
                .collect();
            collect_until(|| done.load(Ordering::SeqCst) == 8);
            workers.into_iter().for_each(|w| w.join().expect("no panic"));
        });
    }
}

/// What is made once must be found by the collector: a static holds a `Root`, not a `Gc`. Allocating inside
/// `get_or_init` is a safepoint with std's lock held, which the contract of `run` forbids; so the value is made before.
#[test]
fn once_for_all() {
    for procs in PROCS {
        let once: Arc<OnceLock<Root<Node>>> = Arc::default();
        run(stormy(procs), move || {
            let done = Arc::new(AtomicU64::new(0));
            let workers: Vec<_> = (0..8)
                .map(|id| {
                    let (done, once) = (done.clone(), once.clone());
                    spawn(move || {
                        for _ in 0..50 {
                            let mine = Root::new(Gc::new(Node { id }));
                            let found = once.get_or_init(|| {
                                (0..1000).for_each(|i| _ = black_box(i));
                                mine
                            });
                            assert!(found.get().id < 8);
                        }
                        done.fetch_add(1, Ordering::SeqCst);
                    })
                })
                .collect();
            collect_until(|| done.load(Ordering::SeqCst) == 8);
            workers.into_iter().for_each(|w| w.join().expect("no panic"));
        });
    }
}

/// A goroutine is suspended, and descheduled, inside `get_or_init` while the others wait for it, and the value is a pointer
/// that was made there. The static is not scanned, so a `Root` keeps what it points to.
#[test]
fn once_for_a_pointer() {
    needs!(Signals);
    for procs in PROCS {
        run(stormy(procs), move || {
            for round in 0..10 {
                let once: Arc<OnceLock<Gc<Node>>> = Arc::default();
                let kept: Arc<OnceLock<Root<Node>>> = Arc::default();
                let waiting = Arc::new(AtomicU64::new(0));
                let workers: Vec<_> = (0..4)
                    .map(|id| {
                        let (once, kept, waiting) = (once.clone(), kept.clone(), waiting.clone());
                        spawn(move || {
                            waiting.fetch_add(1, Ordering::SeqCst);
                            let found = once.get_or_init(|| {
                                let made = Gc::new(Node { id });
                                assert!(kept.set(Root::new(made)).is_ok(), "only once");
                                let (begin, before) = (Instant::now(), gc::suspensions());
                                loop {
                                    let now = gc::suspensions();
                                    let both = now.suspended > before.suspended && now.descheduled > before.descheduled;
                                    if both && waiting.load(Ordering::SeqCst) > 1 {
                                        return made;
                                    }
                                    assert!(
                                        begin.elapsed() < Duration::from_secs(60),
                                        "round {round}: {before:?}, {now:?}"
                                    );
                                }
                            });
                            assert_eq!(found.id, kept.get().expect("it is there").get().id);
                        })
                    })
                    .collect();
                gc::collect();
                workers.into_iter().for_each(|w| w.join().expect("no panic"));
            }
        });
    }
}

const LINES: u64 = 300;

/// The child of `println_from_everywhere`.
fn print_lines(procs: usize) {
    run(stormy(procs), || {
        let done = Arc::new(AtomicU64::new(0));
        let workers: Vec<_> = (0..6)
            .map(|worker| {
                let done = done.clone();
                spawn(move || {
                    for line in 0..LINES {
                        println!("worker {worker} line {line} {}", "x".repeat((line % 50) as usize));
                    }
                    done.fetch_add(1, Ordering::SeqCst);
                })
            })
            .collect();
        collect_until(|| done.load(Ordering::SeqCst) == 6);
        workers.into_iter().for_each(|w| w.join().expect("no panic"));
    });
    std::io::stdout().flush().expect("somebody reads");
}

#[test]
fn println_from_everywhere() {
    if let Ok(procs) = std::env::var("TRICOLOR_CHILD") {
        return print_lines(procs.parse().expect("a number"));
    }
    let _turn = turn();
    for procs in PROCS {
        let out = Command::new(std::env::current_exe().expect("own path"))
            .args(["--exact", "println_from_everywhere", "--nocapture", "--test-threads=1"])
            .env("TRICOLOR_CHILD", procs.to_string())
            .output()
            .expect("the test binary runs");
        assert!(out.status.success(), "{procs} Ps: {}", String::from_utf8_lossy(&out.stderr));
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        for worker in 0..6 {
            for line in 0..LINES {
                let wanted = format!("worker {worker} line {line} {}", "x".repeat((line % 50) as usize));
                assert!(
                    text.lines().any(|l| l.ends_with(&wanted)),
                    "{procs} Ps: `{wanted}` is not there, or not whole"
                );
            }
        }
    }
}

/// Loops without calls on every P, half of the Ms in blocking reads, and signals from another process at a high rate, the
/// program's own among them: collections go on.
#[test]
fn loops_reads_and_signals_from_outside() {
    needs!(Signals);
    needs!(Procs(2..=256));
    extern "C" fn plain(_: libc::c_int) {
        SEEN.fetch_add(1, Ordering::Relaxed);
    }
    static SEEN: AtomicU64 = AtomicU64::new(0);
    let _turn = turn();
    // SAFETY: a handler that counts.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = plain as extern "C" fn(libc::c_int) as usize;
        action.sa_flags = libc::SA_RESTART | libc::SA_ONSTACK;
        libc::sigaction(libc::SIGUSR1, &raw const action, std::ptr::null_mut());
    }
    drop(_turn);
    let pid = std::process::id();
    let script = format!("while kill -URG {pid} && kill -USR1 {pid}; do :; done");
    let mut sender = Command::new("sh").args(["-c", &script]).stderr(Stdio::null()).spawn().expect("a shell");
    for procs in PROCS {
        run(with_procs(procs), move || {
            let stop = Arc::new(AtomicBool::new(false));
            let spun = Arc::new(AtomicU64::new(0));
            let (reader, writer) = std::io::pipe().expect("a pipe");
            let reads: Vec<_> = (0..procs)
                .map(|_| {
                    let reader = reader.try_clone().expect("a pipe");
                    spawn(move || {
                        blocking((reader,), |(mut reader,)| {
                            let mut byte = [0];
                            reader.read(&mut byte).map_err(|e| e.to_string())
                        })
                    })
                })
                .collect();
            let loops: Vec<_> = (0..2 * procs)
                .map(|_| {
                    let (stop, spun) = (stop.clone(), spun.clone());
                    spawn(move || {
                        while !stop.load(Ordering::Relaxed) {
                            spun.fetch_add(1, Ordering::Relaxed);
                        }
                    })
                })
                .collect();
            let seen = SEEN.load(Ordering::Relaxed);
            // With many loops on few cores a collection takes long, in which the main goroutine has to wait for its turn.
            for _ in 0..if procs > 2 { 4 } else { 20 } {
                let before = spun.load(Ordering::Relaxed);
                gc::collect();
                while spun.load(Ordering::Relaxed) == before {
                    tricolor::yield_now();
                }
            }
            while SEEN.load(Ordering::Relaxed) < seen + 20 {
                tricolor::yield_now();
            }
            stop.store(true, Ordering::Relaxed);
            loops.into_iter().for_each(|l| l.join().expect("no panic"));
            (&writer).write_all(&vec![7; procs]).expect("somebody reads");
            reads.into_iter().for_each(|r| assert_eq!(r.join().expect("no panic"), Ok(1)));
        });
    }
    sender.kill().expect("it runs");
    sender.wait().expect("it ends");
}

/// Goroutines that were descheduled on their way to a lock are lent Ps, one after the other, and wait with them, before the
/// turn comes to the one that holds it.
#[test]
fn many_on_their_way_to_a_lock() {
    needs!(Signals);
    const MANY: u64 = 7;
    static LOCK: Mutex<()> = Mutex::new(());
    static BEGUN: AtomicU64 = AtomicU64::new(0);
    static HELD: AtomicBool = AtomicBool::new(false);
    let name = "many_on_their_way_to_a_lock";
    if is_child(name) {
        // SAFETY: a signal that ends the process, if it hangs.
        unsafe { libc::alarm(60) };
        return run(with_procs(1), || {
            let many: Vec<_> = (0..MANY)
                .map(|_| {
                    spawn(|| {
                        BEGUN.fetch_add(1, Ordering::SeqCst);
                        while !HELD.load(Ordering::SeqCst) {
                            std::hint::spin_loop();
                        }
                        drop(LOCK.lock().expect("nobody panics"));
                    })
                })
                .collect();
            let holder = spawn(|| {
                let _guard = LOCK.lock().expect("nobody panics");
                while BEGUN.load(Ordering::SeqCst) < MANY {
                    std::hint::spin_loop();
                }
                HELD.store(true, Ordering::SeqCst);
                let begin = Instant::now();
                while begin.elapsed() < Duration::from_millis(200) {
                    black_box(0);
                }
            });
            many.into_iter().for_each(|one| one.join().expect("no panic"));
            holder.join().expect("no panic");
        });
    }
    let (code, err) = child(name, &[]);
    assert_eq!(code, Some(0), "{err}");
}

/// A goroutine that computes, without a safepoint, and sleeps now and then for a moment is not stuck: whoever waits for its
/// P goes on waiting.
#[test]
fn who_sleeps_for_a_moment_is_not_stuck() {
    needs!(Procs(1..=1));
    // Longer than a P may stand still without suspicion, and so that looks 10 ms apart fall into sleep after sleep.
    for (rounds, works, sleeps) in [(20, 40, 3), (100, 6, 3)] {
        // The host may make a long sleep of a short one, and then the P is rightly lent.
        if !(0..5).any(|_| computes_and_sleeps(rounds, works, sleeps)) {
            skipped(&format!("this host draws out {sleeps} ms of sleep"));
        }
    }
}

/// A goroutine that works (a little longer each time) and sleeps in turn, so many ms each, while one waits for its only P.
/// Whether no sleep was a long one; then none was lent.
fn computes_and_sleeps(rounds: u64, works: u64, sleeps: u64) -> bool {
    let (works, sleeps) = (Duration::from_millis(works), Duration::from_millis(sleeps));
    run(with_procs(1).async_preempt(false), move || {
        let ran = Arc::new(AtomicBool::new(false));
        let other = spawn({
            let ran = ran.clone();
            move || ran.store(true, Ordering::SeqCst)
        });
        let mut longest = Duration::ZERO;
        for i in 0..rounds {
            let begin = Instant::now();
            while begin.elapsed() < works + Duration::from_micros(20 * i) {
                black_box(0);
            }
            let begin = Instant::now();
            std::thread::sleep(sleeps);
            longest = longest.max(begin.elapsed());
            let all_short = longest < Duration::from_millis(5);
            assert!(
                !all_short || !ran.load(Ordering::SeqCst),
                "a spare P was lent, but no sleep took more than {longest:?}"
            );
        }
        other.join().expect("no panic");
        longest < Duration::from_millis(5)
    })
}
