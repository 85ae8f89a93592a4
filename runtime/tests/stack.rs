//! Stacks grow where they are asked to, are scanned whole, and give back what they do not use.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod common;
#[path = "common/list.rs"]
mod list;

use common::{child, is_child, needs, run, with_procs};
use list::{Node, node, watched};
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tricolor::gc;
use tricolor::stack::{ensure, on_system_stack};
use tricolor::{Gc, spawn, yield_now};

/// Calls itself `n` times, with a little on the stack each time, and `f` at the end.
fn down(n: u64, f: &dyn Fn()) -> u64 {
    ensure(2048, || {
        if n == 0 {
            f();
            return 0;
        }
        let here = black_box([n; 4]);
        down(n - 1, f) + here[3] / n
    })
}

#[test]
fn a_million_calls_deep() {
    run(with_procs(2), || {
        assert_eq!(down(1_000_000, &|| {}), 1_000_000);
        let others: Vec<_> = (0..4).map(|i| spawn(move || down(20_000 + i, &yield_now))).collect();
        let sum: u64 = others.into_iter().map(|other| other.join().expect("no panic")).sum();
        assert_eq!(sum, 4 * 20_000 + 6);
    });
}

#[test]
fn recursive_functions_and_methods() {
    struct Tree(Vec<Tree>);
    impl Tree {
        #[tricolor::recursive(bytes = 40 << 10)]
        fn depth(&self) -> usize {
            let Some(first) = self.0.first() else { return 1 };
            1 + first.depth()
        }
        fn take_apart(mut self) {
            while let Some(child) = self.0.pop() {
                self = child;
            }
        }
    }
    #[tricolor::recursive]
    fn even(n: u64) -> Result<bool, String> {
        if n == 0 { Ok(true) } else { Ok(!even(n - 1)?) }
    }
    run(with_procs(2), || {
        let tree = (0..100_000).fold(Tree(Vec::new()), |tree, _| Tree(vec![tree]));
        assert_eq!(tree.depth(), 100_001);
        tree.take_apart();
        assert_eq!(even(100_001), Ok(false));
    });
}

/// What lies on older segments is alive, whether the goroutine waits or is suspended where it is.
#[test]
fn all_segments_are_scanned() {
    needs!(Signals);
    fn deep(n: u64, stop: &AtomicBool) -> u64 {
        let here = node(n);
        let below = ensure(32 << 10, || {
            if n == 0 {
                gc::collect();
                yield_now();
                let mut rounds = 0_u64;
                while !stop.load(Ordering::Relaxed) {
                    rounds += 1;
                }
                black_box(rounds);
                gc::collect();
                return 0;
            }
            deep(n - 1, stop)
        });
        assert_eq!(here.id, n, "the node of level {n} is lost");
        below + here.id
    }
    run(watched(2), || {
        let stop = Arc::new(AtomicBool::new(false));
        let over = stop.clone();
        let worker = spawn(move || deep(200, &over));
        for _ in 0..20 {
            gc::collect();
            (0..100).for_each(|i| _ = black_box(node(i)));
        }
        stop.store(true, Ordering::Relaxed);
        assert_eq!(worker.join().expect("no panic"), 200 * 201 / 2);
    });
}

/// The same at every safepoint: a cycle at each allocation.
#[test]
fn a_collection_at_every_step_down() {
    fn list(n: u64) -> Option<Gc<Node>> {
        (n > 0).then(|| {
            let next = ensure(64 << 10, || list(n - 1));
            let this = node(n);
            this.next.set(next);
            this
        })
    }
    run(watched(2).gc_every(1), || {
        let (mut at, mut n) = (list(30), 0);
        while let Some(node) = at {
            assert_eq!(node.id, 30 - n);
            (at, n) = (node.next.get(), n + 1);
        }
        assert_eq!(n, 30);
    });
}

#[test]
fn panics_come_through() {
    run(with_procs(2), || {
        let thrown = spawn(|| down(5_000, &|| std::panic::panic_any(7_u32))).join();
        assert_eq!(thrown.expect_err("it panicked").downcast_ref::<u32>(), Some(&7));
        // Caught half way, the stack goes on.
        let caught = std::panic::catch_unwind(|| down(5_000, &|| panic!("from below")));
        assert!(caught.is_err());
        assert_eq!(down(5_000, &|| {}), 5_000);
    });
}

#[test]
fn a_stack_has_a_limit() {
    let name = "a_stack_has_a_limit";
    if is_child(name) {
        run(with_procs(1).max_stack(4 << 20), || down(u64::MAX, &|| {}));
        return;
    }
    let (code, err) = child(name, &[]);
    assert_eq!(code, Some(2), "{err}");
    assert!(
        err.contains("fatal error: stack overflow\ngoroutine 1 asks for 2048 bytes of stack more in stack::down"),
        "{err}"
    );
    assert!(err.contains(", and may have 4 MiB in all (Builder::max_stack)"), "{err}");
}

/// A signal finds its way down all segments.
#[test]
fn a_loop_on_a_segment_lets_others_run() {
    needs!(Signals);
    needs!(Procs(1..=1));
    run(with_procs(1), || {
        let stop = Arc::new(AtomicBool::new(false));
        let over = stop.clone();
        let worker = spawn(move || {
            down(2_000, &|| {
                let mut rounds = 0_u64;
                while !over.load(Ordering::Relaxed) {
                    rounds += 1;
                }
                black_box(rounds);
            })
        });
        for _ in 0..10 {
            yield_now();
        }
        let stats = gc::suspensions();
        stop.store(true, Ordering::Relaxed);
        assert_eq!(worker.join().expect("no panic"), 2_000);
        assert!(stats.descheduled >= 5, "{stats:?}");
    });
}

/// Without signals, a check is where a goroutine stops and where its time slice ends.
#[test]
fn checks_are_safepoints() {
    run(with_procs(1).async_preempt(false), || {
        let stop = Arc::new(AtomicBool::new(false));
        let over = stop.clone();
        let worker = spawn(move || {
            let mut n = 0_u64;
            while !over.load(Ordering::Relaxed) {
                n += ensure(64, || black_box(1));
            }
            n
        });
        for _ in 0..5 {
            yield_now();
            gc::collect();
        }
        stop.store(true, Ordering::Relaxed);
        assert!(worker.join().expect("no panic") > 0);
    });
}

#[test]
fn deep_foreign_calls_have_room() {
    run(with_procs(2), || {
        let sum = spawn(|| {
            on_system_stack(|| {
                let big = black_box([1_u8; 6 << 20]);
                big.iter().map(|b| u64::from(*b)).sum::<u64>()
            })
        });
        assert_eq!(sum.join().expect("no panic"), 6 << 20);
    });
}

/// Outside goroutines, and without a P, nothing grows.
#[test]
fn elsewhere_it_simply_calls() {
    assert_eq!(ensure(1 << 40, || 7), 7);
    run(with_procs(2), || {
        assert_eq!(tricolor::blocking((), |()| ensure(1 << 20, || 8)), 8);
    });
}

#[test]
fn a_backtrace_shows_all_segments() {
    #[inline(never)]
    fn outermost(f: &dyn Fn()) {
        down(1_000, f);
        black_box(());
    }
    run(with_procs(1).stack(64 << 10), || {
        let text = spawn(|| {
            let text = std::cell::RefCell::new(String::new());
            let capture = || *text.borrow_mut() = std::backtrace::Backtrace::force_capture().to_string();
            outermost(&|| on_system_stack(capture));
            text.into_inner()
        });
        let text = text.join().expect("no panic");
        assert!(text.contains("outermost") && text.contains("segment_start"), "{text}");
        assert!(text.contains("goroutine_main") && text.contains("gostart"), "{text}");
    });
}

/// The environment of a call that asks for more stack is in a register alone when it comes to `newstack`: the G, which is
/// black by then, must keep it.
#[cfg(feature = "faults")]
fn the_context_is_the_only_reference() {
    use common::wipe;
    use std::sync::atomic::AtomicU32;
    use std::time::{Duration, Instant};
    use tricolor::gc::events::Event;
    use tricolor::stack::grow_with_flipped;
    static CYCLES: AtomicU32 = AtomicU32::new(0);
    #[inline(never)]
    fn keep(kept: &mut usize, id: u64) {
        *kept = Gc::as_ptr(node(id)).addr();
    }
    fn until_the_cycle_ends() {
        let before = CYCLES.load(Ordering::SeqCst);
        while CYCLES.load(Ordering::SeqCst) == before {
            tricolor::poll();
        }
    }
    fn spin(ms: u64) {
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_millis(ms) {
            std::hint::spin_loop();
        }
    }
    let count = |event: &Event, _| {
        if let Event::CycleEnd { .. } = event {
            CYCLES.fetch_add(1, Ordering::SeqCst);
        }
    };
    gc::listen(count, 0).expect("room for a listener");
    // Their stacks are scanned before that of the holder, each after a delay.
    let (tx, rx) = tricolor::chan::bounded::<()>(0);
    let parked: Vec<_> = (0..100)
        .map(|_| {
            let rx = rx.clone();
            spawn(move || _ = rx.recv())
        })
        .collect();
    for id in 1..=5 {
        let step = Arc::new(AtomicU32::new(0));
        let seen = step.clone();
        // Keeps the holder's G grey from the start of the cycle on.
        let early = tricolor::Root::new(Gc::new(tricolor::Conservative(AtomicU64::new(0))));
        let its_g = early.get();
        let holder = spawn(move || {
            its_g.0.store(gc_core::sync::current::g().addr() as u64, Ordering::SeqCst);
            // Until the call, the node is in plain sight, on a stack that is not scanned yet.
            let mut kept = 0;
            keep(&mut kept, id);
            wipe();
            seen.store(1, Ordering::SeqCst);
            while seen.load(Ordering::SeqCst) == 1 {
                std::hint::spin_loop();
            }
            // By then the stop waits. Marking begins in the poll; the G is scanned soon, its stack at the next safepoint.
            spin(2);
            tricolor::poll();
            spin(10);
            // SAFETY: a live word.
            unsafe { (&raw mut kept).write_volatile(!kept) };
            wipe();
            // SAFETY: the node's address, flipped.
            unsafe { grow_with_flipped(1 << 20, kept, until_the_cycle_ends, |env: Gc<Node>| env.id) }
        });
        while step.load(Ordering::SeqCst) == 0 {
            yield_now();
        }
        step.store(2, Ordering::SeqCst);
        gc::collect();
        // If that was over before the holder came to its wait.
        while !holder.is_finished() {
            gc::collect();
        }
        assert_eq!(holder.join().expect("no panic"), id, "the environment is lost");
    }
    drop(tx);
    parked.into_iter().for_each(|other| other.join().expect("no panic"));
}

#[cfg(feature = "faults")]
#[test]
fn the_context_is_kept_by_the_goroutine() {
    // One loops, without signals, until another one goes on.
    needs!(Procs(2..=256));
    let name = "the_context_is_kept_by_the_goroutine";
    if is_child(name) {
        gc_core::faults::choose(Some("ctxt-unbarriered")).expect("a fault of that name");
    }
    let mut stress = gc::Stress::default().delay(gc::Window::BeforeStackScan, 2000);
    stress.poison = true;
    run(with_procs(2).stress(stress).async_preempt(false), the_context_is_the_only_reference);
    if !is_child(name) {
        let (code, err) = child(name, &[]);
        assert_ne!(code, Some(0), "nobody noticed that the context is stored without the barrier");
        assert!(err.contains("the environment is lost") || err.contains("freed"), "{err}");
    }
}

/// A kernel that marks no guard pages allows some 28,000 stacks, and says so while malloc and the heap still work.
#[cfg(feature = "faults")]
#[test]
fn an_old_kernel_allows_fewer_goroutines() {
    let name = "an_old_kernel_allows_fewer_goroutines";
    if is_child(name) {
        gc_core::faults::choose(Some("no-guard-marks")).expect("a fault of that name");
        return run(with_procs(2), || {
            let (_tx, rx) = tricolor::chan::bounded::<()>(0);
            for i in 1..=60_000 {
                let rx = rx.clone();
                spawn(move || rx.recv());
                if i % 5_000 == 0 {
                    // Mappings of malloc's own, and of the heap.
                    drop(black_box(vec![1_u8; 1 << 20]));
                    gc::collect();
                    eprintln!("{i} goroutines");
                }
            }
        });
    }
    let text = std::fs::read_to_string("/proc/sys/vm/max_map_count").expect("procfs");
    let mappings: usize = text.trim().parse().expect("a number");
    if mappings >= 2 * 60_000 {
        println!("SKIPPED: vm.max_map_count is {mappings}, which is enough for 60,000 stacks");
        return;
    }
    let (code, err) = child(name, &[]);
    assert_eq!(code, Some(2), "{err}");
    let wanted = format!("takes two of the {mappings} mappings that vm.max_map_count allows");
    assert!(err.contains("fatal error: ") && err.contains(&wanted), "{err}");
    // An eighth is left to malloc and the heap, which have shown that they work.
    let most = (mappings - mappings / 8) / 2;
    assert!(err.contains(&format!("each of {most} stacks")), "{err}");
}

/// What lies below a parked goroutine's frames goes back, but not its guard.
#[test]
fn guards_stay_when_pages_go_back() {
    let name = "guards_stay_when_pages_go_back";
    if is_child(name) {
        return run(with_procs(2), || {
            let (tx, rx) = tricolor::chan::bounded::<()>(0);
            let deep = spawn(move || {
                assert!(rx.recv().is_err());
                without_end(0)
            });
            for _ in 0..4 {
                yield_now();
                gc::collect();
            }
            drop(tx);
            _ = deep.join();
        });
    }
    let (code, err) = child(name, &[]);
    assert_eq!(code, Some(2), "{err}");
    assert!(err.contains("fatal error: stack overflow\ngoroutine ") && err.contains("without_end"), "{err}");
}

/// What is not a goroutine's stack is std's business.
#[test]
fn threads_of_std_overflow_as_ever() {
    let name = "threads_of_std_overflow_as_ever";
    if is_child(name) {
        return run(with_procs(1), || {
            let thread = std::thread::Builder::new().name("of std".to_owned());
            let thread = thread.spawn(|| without_end(0)).expect("a thread");
            while !thread.is_finished() {
                yield_now();
            }
        });
    }
    let (code, err) = child(name, &[]);
    assert_eq!(code, None, "std aborts: {err}");
    assert!(err.contains("thread 'of std'") && err.contains("has overflowed its stack"), "{err}");
}

#[allow(unconditional_recursion)]
#[inline(never)]
fn without_end(n: u64) -> u64 {
    let page = black_box([n; 512]);
    without_end(n + 1) + page[0]
}

/// Resident memory of this process, in bytes.
fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").expect("statm");
    text.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).expect("pages") * 4096
}

/// Goroutines that once went deep and wait for long keep a page or two of their stacks.
#[test]
fn unused_pages_go_back() {
    #[inline(never)]
    fn touch() {
        black_box(&mut [1_u8; 150 << 10]);
    }
    run(with_procs(2), || {
        let (tx, rx) = tricolor::chan::bounded::<()>(0);
        let parked = Arc::new(AtomicU64::new(0));
        let workers: Vec<_> = (0..400)
            .map(|_| {
                let (rx, parked) = (rx.clone(), parked.clone());
                spawn(move || {
                    touch();
                    let here = black_box([7_u64; 64]);
                    parked.fetch_add(1, Ordering::SeqCst);
                    assert!(rx.recv().is_err());
                    touch();
                    here.iter().sum::<u64>()
                })
            })
            .collect();
        while parked.load(Ordering::SeqCst) < 400 {
            yield_now();
        }
        let before = resident();
        gc::collect();
        gc::collect();
        gc::collect();
        let after = resident();
        assert!(before - after.min(before) > 400 * (100 << 10), "{before} bytes before, {after} after");
        drop(tx);
        workers.into_iter().for_each(|worker| assert_eq!(worker.join().expect("no panic"), 7 * 64));
    });
}
