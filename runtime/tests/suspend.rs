//! Goroutines that come to no safepoint are suspended where they are: in loops without calls, in std, in libc, with
//! pointers in registers only.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

#[path = "common/checked.rs"]
mod checked;
mod common;
#[path = "common/hidden.rs"]
mod hidden;
#[path = "common/list.rs"]
mod list;

use common::{needs, run, with_procs};
use hidden::{in_a_vector_register, with_twin};
use list::{node, watched};
use std::hint::{black_box, spin_loop};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};
use tricolor::gc::{self};
use tricolor::{Root, spawn, yield_now};

/// Signals to all threads of this process, at a high rate and without reason, until it is dropped.
struct Storm(Arc<AtomicBool>, Option<std::thread::JoinHandle<()>>);

impl Storm {
    fn begin() -> Storm {
        let on = Arc::new(AtomicBool::new(true));
        let go_on = on.clone();
        let sender = std::thread::spawn(move || {
            while go_on.load(Ordering::Relaxed) {
                for thread in std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten() {
                    let tid = thread.file_name().to_str().and_then(|s| s.parse::<i32>().ok()).unwrap_or(0);
                    // SAFETY: a signal that is ignored, or handled by the runtime.
                    unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), tid, libc::SIGURG) };
                }
                std::thread::sleep(Duration::from_micros(50));
            }
        });
        Storm(on, Some(sender))
    }
}

impl Drop for Storm {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
        self.1.take().map(std::thread::JoinHandle::join);
    }
}

/// Runs `body` again and again on a goroutine of its own while the main goroutine collects, for a while and until
/// `wanted` suspensions have hit it. Returns what came of the signals.
fn under_collections(builder: tricolor::Builder, wanted: u64, body: impl Fn() + Send + 'static) -> gc::SuspendStats {
    under_collections_until(builder, move |stats| stats.suspended >= wanted, body)
}

/// The same, until there was enough of something else.
fn under_collections_until(
    builder: tricolor::Builder,
    enough: impl Fn(&gc::SuspendStats) -> bool + Send,
    body: impl Fn() + Send + 'static,
) -> gc::SuspendStats {
    run(builder, move || {
        let stop = Arc::new(AtomicBool::new(false));
        let over = stop.clone();
        let worker = spawn(move || {
            while !over.load(Ordering::Relaxed) {
                body();
            }
        });
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_millis(300) || !enough(&gc::suspensions()) {
            assert!(begin.elapsed() < Duration::from_secs(120), "not enough of them: {:?}", gc::suspensions());
            black_box(node(0));
            gc::collect();
        }
        stop.store(true, Ordering::Relaxed);
        worker.join().expect("no panic");
        gc::suspensions()
    })
}

#[test]
fn a_loop_without_calls_holds_up_no_stop() {
    needs!(Signals);
    needs!(Procs(2..=256));
    let stats = under_collections(watched(2), 100, || {
        for _ in 0..1_000_000 {
            spin_loop();
        }
    });
    assert!(stats.sent > 0, "{stats:?}");
}

#[test]
fn with_suspending_off_it_does() {
    needs!(Procs(2..=256));
    run(with_procs(2).async_preempt(false), || {
        let (stop, began) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (over, begins) = (stop.clone(), began.clone());
        let worker = spawn(move || {
            begins.store(true, Ordering::Relaxed);
            while !over.load(Ordering::Relaxed) {}
        });
        while !began.load(Ordering::Relaxed) {
            yield_now();
        }
        let until = Instant::now() + Duration::from_millis(50);
        let end = stop.clone();
        let timer = std::thread::spawn(move || {
            std::thread::sleep(until.saturating_duration_since(Instant::now()));
            end.store(true, Ordering::Relaxed);
        });
        gc::collect();
        assert!(Instant::now() >= until, "the stop could not end before the loop");
        timer.join().expect("no panic");
        worker.join().expect("no panic");
        assert_eq!(gc::suspensions().sent, 0);
    });
}

#[test]
fn barriered_stores_begin_again() {
    needs!(Signals);
    needs!(Procs(2..=256));
    let enough = |stats: &gc::SuspendStats| stats.suspended >= 100 && stats.restarted > 0;
    let stats = under_collections_until(watched(2), enough, || {
        let (a, b) = (node(1), node(2));
        for _ in 0..100_000 {
            a.next.set(Some(b));
            b.next.set(Some(a));
            a.next.set(None);
        }
        assert_eq!((a.id, b.id), (1, 2));
    });
    assert!(stats.restarted > 0, "{stats:?}");
}

/// A restartable sequence as a barriered store is one, in which beginning again can be seen: it counts in a register,
/// which it clears first, and in `total`, which it does not.
#[inline(never)]
fn count_since_the_start(total: &AtomicU64, flag: &AtomicBool) -> u64 {
    let mut count: u64;
    // SAFETY: counts, and reads the flag; the entry says where to begin again, which does no harm.
    unsafe {
        std::arch::asm!(
            "2: xor {count:e}, {count:e}",
            "4: inc {count}",
            "inc qword ptr [{total}]",
            "cmp byte ptr [{flag}], 0",
            "je 4b",
            "3:",
            ".pushsection wb_ranges,\"aR\",@progbits",
            ".balign 4",
            ".long 2b - .",
            ".long 3b - .",
            ".popsection",
            count = out(reg) count,
            total = in(reg) total,
            flag = in(reg) flag,
            options(nostack),
        );
    }
    count
}

#[test]
fn who_is_suspended_in_a_restartable_sequence_goes_on_at_its_start() {
    needs!(Signals);
    needs!(Procs(2..=256));
    run(watched(2), || {
        let (total, flag) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (counted, end) = (total.clone(), flag.clone());
        let worker = spawn(move || count_since_the_start(&counted, &end));
        let begin = Instant::now();
        while gc::suspensions().restarted == 0 {
            assert!(begin.elapsed() < Duration::from_secs(120), "{:?}", gc::suspensions());
            gc::collect();
        }
        flag.store(true, Ordering::Relaxed);
        let count = worker.join().expect("no panic");
        assert!(count < total.load(Ordering::Relaxed), "it went on where it was: {count}");
    });
}

/// Whoever comes back from the runtime may be suspended again, also if it has waited there, or a panic went by.
#[test]
fn the_runtime_is_left_as_often_as_it_is_entered() {
    use gc_core::sync::current::locks;
    fn outside(after: &str) {
        assert_eq!(locks(), 0, "still in the runtime after {after}");
    }
    run(watched(2).gc_every(3), || {
        outside("the start");
        let (tx, rx) = tricolor::chan::bounded(0);
        let sender = spawn(move || {
            outside("the start of another goroutine");
            for i in 0..20 {
                tx.send(node(i)).expect("somebody listens");
                outside("send");
            }
        });
        for i in 0..20 {
            assert_eq!(rx.recv().expect("it is sent").id, i);
            outside("recv");
        }
        sender.join().expect("no panic");
        outside("join");
        let mutex = tricolor::sync::Mutex::new(node(1));
        let other = mutex.clone();
        let waiter = spawn(move || other.with(|n| n.id));
        mutex.with(|n| {
            outside("the lock of a mutex");
            yield_now();
            assert_eq!(n.id, 1);
        });
        outside("a mutex");
        assert_eq!(waiter.join().expect("no panic"), 1);
        let group = tricolor::sync::WaitGroup::new();
        group.add(1);
        let done = group.clone();
        let worker = spawn(move || done.done());
        group.wait();
        outside("a wait group");
        worker.join().expect("no panic");
        tricolor::blocking((), |()| outside("the start of a blocking call"));
        outside("a blocking call");
        let caught =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| mutex.with(|_| std::panic::panic_any(7_u64))));
        assert!(caught.is_err());
        outside("a panic in a mutex");
        let root = Root::new(node(2));
        let weak = tricolor::Weak::new(root.get());
        assert_eq!(weak.upgrade().map(|n| n.id), Some(2));
        root.get().next.set(Some(node(3)));
        assert_eq!(root.get().next.swap(None).map(|n| n.id), Some(3));
        drop(root);
        outside("roots, weak pointers and cells");
        gc::collect();
        tricolor::poll();
        yield_now();
        outside("a collection, a poll, a yield");
    });
}

/// A goroutine that is inside the runtime for all but a few instructions is stopped at these: what was refused is sent again
/// by its own thread, on its way out.
#[test]
fn who_is_hardly_ever_outside_the_runtime_stops_on_its_way_out() {
    needs!(Signals);
    needs!(Procs(2..=256));
    let stops = 20;
    let stats = run(with_procs(2), move || {
        let (stop, rounds) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (over, count) = (stop.clone(), rounds.clone());
        let worker = spawn(move || {
            while !over.load(Ordering::Relaxed) {
                count.fetch_add(1, Ordering::Relaxed);
                let _region = gc_core::sync::current::Region::enter();
                let begin = Instant::now();
                while begin.elapsed() < Duration::from_micros(500) {
                    spin_loop();
                }
            }
        });
        let begin = Instant::now();
        for _ in 0..stops {
            let before = rounds.load(Ordering::Relaxed);
            while rounds.load(Ordering::Relaxed) == before {
                yield_now();
            }
            assert!(begin.elapsed() < Duration::from_secs(60), "stops do not end: {:?}", gc::suspensions());
            gc::census();
        }
        stop.store(true, Ordering::Relaxed);
        worker.join().expect("no panic");
        gc::suspensions()
    });
    // Each stop waits for one region, and asks again every 100 us. In between, the end of a slice may hit the worker outside,
    // too: then the stop finds it descheduled.
    assert!(stats.suspended + stats.descheduled >= stops && stats.sent < 100 * stops, "{stats:?}");
}

#[test]
fn allocation_and_channels_are_left_alone() {
    needs!(Signals);
    let _storm = Storm::begin();
    let stats = under_collections(watched(2), 5, || {
        let (tx, rx) = tricolor::chan::bounded(2);
        let mut list = None;
        for i in 0..1000 {
            let n = node(i);
            n.next.set(list);
            list = Some(n);
            tx.send(n).expect("there is room");
            let back = rx.recv().expect("it was sent");
            assert_eq!(back.id, i);
        }
        let mut n = 1000;
        while let Some(at) = list {
            n -= 1;
            assert_eq!(at.id, n);
            list = at.next.get();
        }
    });
    assert!(stats.in_runtime > 0, "{stats:?}");
}

/// Threads that are suspended inside malloc, or with a std lock held for which others wait, hold up nobody for good.
#[test]
fn locks_of_malloc_and_std_may_be_held() {
    needs!(Signals);
    needs!(Procs(2..=256));
    static LOCK: Mutex<u64> = Mutex::new(0);
    static ONCE: OnceLock<String> = OnceLock::new();
    let stats = run(watched(3), || {
        let stop = Arc::new(AtomicBool::new(false));
        let workers: Vec<_> = (0..2)
            .map(|i| {
                let over = stop.clone();
                spawn(move || {
                    while !over.load(Ordering::Relaxed) {
                        let lists: Vec<Vec<u64>> = (0..50).map(|n| vec![n; 1 + n as usize * 7 % 900]).collect();
                        black_box(&lists);
                        let mut sum = LOCK.lock().expect("nobody panics");
                        *sum += lists.len() as u64;
                        drop(sum);
                        assert_eq!(ONCE.get_or_init(|| format!("made by {i}")).len(), 9);
                    }
                })
            })
            .collect();
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_millis(500) || gc::suspensions().suspended < 100 {
            assert!(begin.elapsed() < Duration::from_secs(120), "{:?}", gc::suspensions());
            gc::collect();
        }
        stop.store(true, Ordering::Relaxed);
        workers.into_iter().for_each(|w| w.join().expect("no panic"));
        gc::suspensions()
    });
    assert!(stats.suspended >= 100, "{stats:?}");
}

#[test]
fn panics_unwind_while_signals_come() {
    needs!(Signals);
    needs!(Procs(2..=256));
    struct Noisy<'a>(&'a AtomicU64);
    impl Drop for Noisy<'_> {
        fn drop(&mut self) {
            (0..1000).for_each(|_| spin_loop());
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    common::quiet::<u64>();
    let dropped = Arc::new(AtomicU64::new(0));
    let counter = dropped.clone();
    under_collections(watched(2), 20, move || {
        let caught = std::panic::catch_unwind(|| {
            let _a = Noisy(&counter);
            let _b = Noisy(&counter);
            std::panic::panic_any(7_u64);
        });
        assert_eq!(caught.expect_err("it panics").downcast_ref(), Some(&7_u64));
    });
    assert!(dropped.load(Ordering::Relaxed) > 0);
}

/// Float, integer and string kernels compute the same, however often they are interrupted.
#[test]
fn registers_come_back_as_they_were() {
    needs!(Signals);
    needs!(Procs(2..=256));
    fn kernel() -> (u64, u64) {
        let mut x = 0x9E37_79B9_7F4A_7C15_u64;
        let mut f = [1.0_f64, 0.5, 0.25, 0.125];
        let mut bytes = [0_u8; 256];
        for i in 0..20_000_u64 {
            x = x.rotate_left(13).wrapping_mul(0x2545_F491_4F6C_DD1D) ^ i;
            f.iter_mut().for_each(|v| *v = (*v * 1.000_1 + (x & 0xff) as f64).sqrt());
            bytes.iter_mut().for_each(|b| *b = b.wrapping_add(x as u8));
            bytes.reverse();
        }
        let sum = bytes.iter().map(|b| u64::from(*b)).sum::<u64>();
        (x ^ sum, f.iter().sum::<f64>().to_bits())
    }
    let expected = kernel();
    under_collections(with_procs(2), 100, move || assert_eq!(kernel(), expected));
}

/// SIGURG from outside, at a high rate and without reason, harms nobody.
#[test]
fn signals_from_outside_are_harmless() {
    let _storm = Storm::begin();
    under_collections(watched(2), 0, || {
        let list = (0..100).fold(None, |list, i| {
            let n = node(i);
            n.next.set(list);
            Some(n)
        });
        yield_now();
        assert_eq!(list.map(|n| n.id), Some(99));
    });
}

#[test]
fn a_pointer_in_a_vector_register_alone_survives() {
    needs!(Signals);
    needs!(Procs(2..=256));
    with_twin("a_pointer_in_a_vector_register_alone_survives", "frame-unscanned", 2, || {
        in_a_vector_register(20, || {
            // The holder runs on the other P, in its loop, by then.
            std::thread::sleep(Duration::from_millis(2));
            gc::collect();
            gc::collect();
        });
        assert!(gc::suspensions().suspended > 0);
    });
}

/// A root keeps this test honest: what a suspended goroutine stores meanwhile is found by everybody.
#[test]
fn what_others_see_is_whole() {
    let stats = run(watched(2), || {
        let shared = Root::new(node(0));
        let stop = Arc::new(AtomicBool::new(false));
        let over = stop.clone();
        let cell = shared.clone();
        let writer = spawn(move || {
            let mut i = 0;
            while !over.load(Ordering::Relaxed) {
                i += 1;
                let n = node(i);
                cell.get().next.set(Some(n));
            }
        });
        let begin = Instant::now();
        let mut last = 0;
        while begin.elapsed() < Duration::from_millis(500) {
            if let Some(n) = shared.get().next.get() {
                assert!(n.id >= last, "{} after {last}", n.id);
                last = n.id;
            }
            gc::collect();
        }
        stop.store(true, Ordering::Relaxed);
        writer.join().expect("no panic");
        gc::suspensions()
    });
    println!("{stats:?}");
}
