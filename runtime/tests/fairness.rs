//! Who runs when: goroutines that come to no safepoint, and more of them than may be kept.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod common;

use common::{needs, run, with_procs};
use std::hint::spin_loop;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tricolor::{blocking, gc, spawn, yield_now};

/// Threads of this process.
fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count)
}

/// KiB of memory that this process uses.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("the kernel says it");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line of it");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// Ten thousand loops without calls (a thousand in the commit tier): collections go on, and what is needed for so many
/// stays within bounds.
#[test]
fn ten_thousand_loops() {
    needs!(Signals);
    needs!(Procs(1..=2));
    let loops = if std::env::var("TRICOLOR_TIER").is_ok_and(|tier| tier == "long") { 10_000 } else { 1_000 };
    run(with_procs(2), move || {
        let stop = Arc::new(AtomicBool::new(false));
        let (begun, ended) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let begin = Instant::now();
        let workers: Vec<_> = (0..loops)
            .map(|_| {
                let (stop, begun, ended) = (stop.clone(), begun.clone(), ended.clone());
                spawn(move || {
                    begun.fetch_add(1, Ordering::Relaxed);
                    while !stop.load(Ordering::Relaxed) {
                        spin_loop();
                    }
                    ended.fetch_add(1, Ordering::Relaxed);
                })
            })
            .collect();
        for _ in 0..3 {
            gc::collect();
            yield_now();
        }
        // Those that may be kept, one more for each second and P, and some of the runtime's and the test's own.
        let most = 64 + 2 * begin.elapsed().as_secs() as usize + 32;
        let (threads, resident) = (threads(), resident());
        println!("{begun:?} of {loops} begun, {threads} threads, {resident} KiB, {:?}", begin.elapsed());
        assert!(threads <= most, "{threads} threads, at most {most} are expected");
        assert!(resident < 512 << 10, "{resident} KiB");
        assert!(begun.load(Ordering::Relaxed) >= 64, "{begun:?} of {loops} loops have begun");
        stop.store(true, Ordering::Relaxed);
        workers.into_iter().for_each(|w| w.join().expect("no panic"));
        assert_eq!(ended.load(Ordering::Relaxed), loops);
    });
}

/// Two goroutines that yield to each other keep the P's own queue from ever being empty; the one that comes back from a
/// blocking call finds no P and waits in the global queue. It has its turn after a few dozen looks, not after a time slice.
#[test]
fn the_global_queue_has_its_turn_beside_goroutines_that_yield() {
    let mut waits = run(with_procs(1), || {
        // SAFETY: ends the process if that turn never comes.
        unsafe { libc::alarm(60) };
        let (yields, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let yielders: Vec<_> = (0..2)
            .map(|_| {
                let (yields, stop) = (yields.clone(), stop.clone());
                spawn(move || {
                    while !stop.load(Ordering::SeqCst) {
                        yields.fetch_add(1, Ordering::SeqCst);
                        yield_now();
                    }
                })
            })
            .collect();
        let waits: Vec<u64> = (0..21)
            .map(|_| {
                let came_back = blocking((yields.clone(),), |(yields,)| {
                    let before = yields.load(Ordering::SeqCst);
                    // Until they have the P.
                    while yields.load(Ordering::SeqCst) == before {
                        std::thread::sleep(Duration::from_millis(1));
                    }
                    yields.load(Ordering::SeqCst)
                });
                yields.load(Ordering::SeqCst) - came_back
            })
            .collect();
        stop.store(true, Ordering::SeqCst);
        yielders.into_iter().for_each(|y| y.join().expect("no panic"));
        // SAFETY: takes that back.
        unsafe { libc::alarm(0) };
        waits
    });
    waits.sort_unstable();
    // The median: now and then the operating system keeps the thread waiting.
    assert!(waits[10] < 5_000, "yields of others before it ran: {waits:?}");
}
