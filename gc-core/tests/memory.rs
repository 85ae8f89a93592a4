//! Memory: what goes back to the operating system, what a limit does, and what happens when there is none left.

mod child;
mod threads;

use gc_core::{AllocErrorReason, Config, Gc, GcCell, GcP, Heap, InitError, Root, Trace};
use std::time::Instant;
use threads::ThreadWorld;

const MB: usize = 1 << 20;

#[derive(Trace)]
struct Node {
    next: GcCell<Option<Gc<Node>>>,
    data: [u64; 6],
}

/// A list of about `bytes` bytes.
#[inline(never)]
fn list(bytes: usize) -> Option<Gc<Node>> {
    let mut head = None;
    for i in 0..bytes / size_of::<Node>() {
        head = Some(Gc::new(Node { next: GcCell::new(head), data: [i as u64; 6] }));
    }
    head
}

#[inline(never)]
fn check(mut at: Option<Gc<Node>>) -> usize {
    let mut n = 0;
    while let Some(node) = at {
        assert!(node.data.iter().all(|d| *d == node.data[0]), "a live object was overwritten: {:?}", node.data);
        at = node.next.get();
        n += 1;
    }
    n
}

/// Overwrites dead frames, which would keep what they point to.
#[inline(never)]
fn clear_stack() {
    std::hint::black_box([0u8; 64 << 10]);
}

#[inline(never)]
fn spike() {
    let small = list(150 * MB);
    let large = Gc::<[GcCell<Option<Gc<[u8]>>>]>::cells(150, None);
    let bytes = vec![1; MB];
    large.iter().for_each(|cell| cell.set(Some(Gc::<[u8]>::from_slice(&bytes))));
    assert_eq!(check(small), 150 * MB / size_of::<Node>());
}

/// What an idle P does.
fn idle(heap: &Heap) {
    let p = GcP::current();
    while heap.sweep_slice(p) || heap.scavenge_slice(p) {}
}

#[test]
fn after_a_spike_the_resident_set_comes_back_down() {
    if !child::is_child() {
        return child::passes_and_notices("after_a_spike_the_resident_set_comes_back_down", &["no-scavenger"]);
    }
    child::choose_fault();
    let (world, heap) = ThreadWorld::start(Config::default());
    world.enter(|| {
        let keep = list(10 * MB);
        spike();
        let peak = child::status("VmRSS");
        for _ in 0..3 {
            clear_stack();
            heap.collect();
        }
        let (before, begin) = (heap.stats(), Instant::now());
        idle(heap);
        let (after, took, rss) = (heap.stats(), begin.elapsed(), child::status("VmRSS"));
        eprintln!(
            "resident: {} MB at the peak, {} MB after three cycles and {:.1} ms of scavenging ({} MB given back in {:.1} ms)",
            peak / MB,
            rss / MB,
            took.as_secs_f64() * 1e3,
            after.scavenged_bytes as usize / MB,
            after.scavenge_time.as_secs_f64() * 1e3,
        );
        assert_eq!(after.stops, before.stops, "no stop of the world");
        assert!(peak > 300 * MB);
        assert!(rss < 80 * MB, "resident {} MB: {after:#?}", rss / MB);
        assert_eq!(check(keep), 10 * MB / size_of::<Node>());
        // What was given back can be used again.
        spike();
        assert_eq!(check(keep), 10 * MB / size_of::<Node>());
    });
}

#[test]
fn only_free_pages_are_given_back() {
    if !child::is_child() {
        return child::passes_and_notices("only_free_pages_are_given_back", &["scavenge-in-use"]);
    }
    child::choose_fault();
    let (world, heap) = ThreadWorld::start(Config { percent: Some(20), min_heap: MB, ..Config::default() });
    world.enter(|| {
        // Live and dead blocks in turn, so that each free run has a neighbour in use.
        let cells = Gc::<[GcCell<Option<Gc<[u64]>>>]>::cells(1000, None);
        for round in 0..4 {
            for (i, cell) in cells.iter().enumerate() {
                cell.set(Some(Gc::<[u64]>::from_slice(&[(i + round) as u64 | 1; 5000])));
            }
            (0..1000).filter(|i| i % 2 == round % 2).for_each(|i| cells[i].set(None));
            heap.collect();
            idle(heap);
            for (i, cell) in cells.iter().enumerate() {
                if let Some(block) = cell.get() {
                    let whole = block.len() == 5000 && block.iter().all(|w| *w == (i + round) as u64 | 1);
                    assert!(whole, "block {i} in round {round}");
                }
            }
        }
        assert!(heap.stats().scavenged_bytes > 20 * MB as u64, "{:#?}", heap.stats());
    });
}

/// Page faults of this thread so far.
fn faults() -> i64 {
    // SAFETY: integers, valid when zero.
    let mut usage: libc::rusage = unsafe { core::mem::zeroed() };
    // SAFETY: a live struct.
    unsafe { libc::getrusage(libc::RUSAGE_THREAD, &raw mut usage) };
    usage.ru_minflt
}

#[test]
fn pages_touched_ahead_spare_the_mutator_their_faults() {
    let (world, heap) = ThreadWorld::start(Config { percent: None, ..Config::default() });
    world.enter(|| {
        let keep = list(40 * MB);
        let (before, stats) = (faults(), heap.stats());
        let more = list(3 * MB);
        let cold = faults() - before;
        assert_eq!(stats.pretouched_bytes, 0);

        while heap.pretouch_slice() {}
        let ahead = heap.stats();
        // Not the whole heap: an eighth of it, at most 4 MiB.
        assert_eq!(ahead.pretouched_bytes as usize, 4 * MB, "{ahead:#?}");
        assert!(ahead.footprint >= stats.footprint + 4 * MB, "{ahead:#?}");
        assert!(!heap.pretouch_slice(), "there are enough");

        let before = faults();
        let last = list(3 * MB);
        let warm = faults() - before;
        eprintln!("3 MiB: {cold} page faults, {warm} with pages touched ahead");
        assert!(cold > 700 && warm < 5, "{cold} {warm}");
        assert_eq!([keep, more, last].map(check), [40 * MB, 3 * MB, 3 * MB].map(|n| n / size_of::<Node>()));
    });
}

#[test]
fn no_more_is_touched_ahead_than_is_allocated_before_the_next_cycle() {
    // Which starts at 32 MiB.
    let (world, heap) = ThreadWorld::start(Config { min_heap: 64 * MB, ..Config::default() });
    world.enter(|| {
        let keep = list(20 * MB);
        while heap.pretouch_slice() {}
        let early = heap.stats();
        assert!(early.pretouched_bytes as usize > 2 * MB, "an eighth of it: {early:#?}");
        // What is warm is used up, and more.
        let mut more = Vec::new();
        while heap.stats().heap_live < 31 * MB {
            more.push(Root::new(list(MB / 4).expect("a list")));
        }
        while heap.pretouch_slice() {}
        let stats = heap.stats();
        let late = (stats.pretouched_bytes - early.pretouched_bytes) as usize;
        assert!(late > 0 && late <= MB && stats.cycles == 0, "{late} {stats:#?}");
        assert_eq!(check(keep), 20 * MB / size_of::<Node>());
        assert!(more.iter().all(|list| check(Some(list.get())) == MB / 4 / size_of::<Node>()));
    });
}

#[test]
fn nothing_is_touched_ahead_that_the_scavenger_would_give_back() {
    let (world, heap) = ThreadWorld::start(Config { min_heap: MB, ..Config::default() });
    world.enter(|| {
        // One live object in each page, so that the heap has far more pages than it keeps.
        let cells = Gc::<[GcCell<Option<Gc<Node>>>]>::cells(4000, None);
        for cell in cells.iter() {
            cell.set(list(8 << 10));
        }
        cells.iter().for_each(|cell| cell.get().expect("a list").next.set(None));
        (0..2).for_each(|_| heap.collect());
        idle(heap);
        let before = heap.stats();
        assert!(before.heap_used - before.heap_free > 8 * before.heap_live, "{before:#?}");
        assert!(!heap.pretouch_slice(), "{:#?}", heap.stats());
        assert!(!heap.scavenge_wanted());
        assert!(cells.iter().all(|cell| check(cell.get()) == 1));
    });
}

#[test]
fn a_limit_alone_brings_cycles_about_and_is_kept() {
    let limit = 64 * MB;
    let config = Config { percent: None, memory_limit: Some(limit), ..Config::default() };
    let (world, heap) = ThreadWorld::start(config);
    world.enter(|| {
        let keep = list(4 * MB);
        let mut most = 0;
        for _ in 0..150 {
            list(5 * MB);
            most = most.max(heap.stats().footprint);
        }
        let stats = heap.stats();
        assert_eq!(check(keep), 4 * MB / size_of::<Node>());
        assert!(stats.cycles >= 5, "{stats:#?}");
        assert!(stats.cycles <= 50, "the room that the limit leaves is used: {stats:#?}");
        // Soft: a marker that the machine does not let run lets some allocations through.
        assert!(most < limit + limit / 8, "{most} of {limit}: {stats:#?}");
        assert!(most > limit / 2, "{most} of {limit}: {stats:#?}");
    });
}

#[test]
fn without_percent_and_limit_nothing_happens_by_itself() {
    let (world, heap) = ThreadWorld::start(Config { percent: None, ..Config::default() });
    world.enter(|| {
        list(100 * MB);
        assert_eq!((heap.stats().cycles, heap.stats().heap_goal), (0, usize::MAX));
    });
}

/// Lists of garbage per second of this thread's processor time, over about `seconds` of it.
fn progress(seconds: f64) -> f64 {
    let now = || {
        let mut t = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: a live timespec.
        unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut t) };
        t.tv_sec as f64 + t.tv_nsec as f64 / 1e9
    };
    let (begin, mut n) = (now(), 0);
    while now() - begin < seconds {
        list(100 << 10);
        n += 1;
    }
    f64::from(n) / (now() - begin)
}

#[test]
fn mutators_keep_half_of_the_time_above_the_limit() {
    if !child::is_child() {
        return child::passes_and_notices("mutators_keep_half_of_the_time_above_the_limit", &["no-cpu-limit"]);
    }
    child::choose_fault();
    let (world, heap) = ThreadWorld::start(Config { memory_limit: Some(48 * MB), ..Config::default() });
    world.enter(|| {
        let keep = list(64 * MB);
        let (world, _) = ThreadWorld::start(Config { percent: None, ..Config::default() });
        let free = std::thread::spawn(|| world.enter(|| progress(0.3))).join().expect("the same work without cycles");
        // First the collector takes what the bucket allows at once.
        progress(1.0);
        // Half of the time is left; allocation is slower while marking is on (in a build with assertions several times),
        // and the machine has other things to do, which may come at the wrong time. Without the limit it is 0.04.
        let shares: Vec<f64> = (0..3).map(|_| progress(0.7) / free).collect();
        let stats = heap.stats();
        assert_eq!(check(keep), 64 * MB / size_of::<Node>());
        eprintln!("progress above the limit, in parts of that without cycles: {shares:.2?}; {stats:#?}");
        assert!(stats.limited > 0 && stats.cycles > 2, "{stats:#?}");
        assert!(shares.iter().any(|s| *s > 0.12), "{shares:.2?}");
    });
}

/// Lists until there is no memory. Returns the error.
fn fill() -> (Option<Gc<Node>>, gc_core::AllocError) {
    let mut head = None;
    loop {
        match Gc::try_new(Node { next: GcCell::new(head), data: [7; 6] }) {
            Ok(node) => head = Some(node),
            Err(e) => return (head, e),
        }
    }
}

/// Fills the heap and looks at how it is when it is full. When this returns everything is garbage.
#[inline(never)]
fn fill_and_drop() -> gc_core::AllocError {
    let (head, error) = fill();
    let n = check(head);
    assert!(n > 1000, "{n} nodes and then {error}");
    let large = Gc::<[u64]>::try_from_slice(&[1; 100_000]).expect_err("full is full");
    assert_eq!(large.reason, error.reason);
    assert!(large.size >= 800_000 && large.in_use > n * size_of::<Node>(), "{large:?}");
    error
}

#[test]
fn a_small_address_space_makes_a_small_heap() {
    if !child::is_child() {
        let out = child::run("a_small_address_space_makes_a_small_heap", "", &[(libc::RLIMIT_AS, 400 * MB as u64)]);
        assert!(out.passed(), "{out:#?}");
        return;
    }
    let (world, heap) = ThreadWorld::start(Config::default());
    world.enter(|| {
        let error = fill_and_drop();
        assert_eq!(error.reason, AllocErrorReason::Full);
        assert!((32 * MB..200 * MB).contains(&error.limit), "{error}");
        assert!(error.in_use > error.limit / 10 * 9, "{error}");
        assert!(error.to_string().contains("out of memory: no room for an object of 56 bytes"), "{error}");
        clear_stack();
        heap.collect();
        assert_eq!(check(list(10 * MB)), 10 * MB / size_of::<Node>(), "there is room again");
    });
}

#[test]
fn memory_that_the_system_refuses_is_an_error() {
    if !child::is_child() {
        let out = child::run("memory_that_the_system_refuses_is_an_error", "", &[]);
        assert!(out.passed(), "{out:#?}");
        return;
    }
    let (world, heap) = ThreadWorld::start(Config::default());
    let data = child::status("VmData") + 64 * MB;
    child::set_limit(libc::RLIMIT_DATA, data as u64).expect("a limit");
    world.enter(|| {
        let error = fill_and_drop();
        assert_eq!(error.reason, AllocErrorReason::Refused(libc::ENOMEM));
        assert!(error.to_string().contains("refuses memory"), "{error}");
        assert!((30 * MB..70 * MB).contains(&error.in_use), "{error}");
        clear_stack();
        heap.collect();
        assert_eq!(check(list(10 * MB)), 10 * MB / size_of::<Node>(), "there is room again");
    });
}

#[test]
fn a_full_heap_is_a_fatal_error_with_size_and_state() {
    if !child::is_child() {
        let out = child::run("a_full_heap_is_a_fatal_error_with_size_and_state", "", &[]);
        assert_eq!(out.code, Some(2), "{out:#?}");
        for part in
            ["fatal error: out of memory: no room for an object of 56 bytes", "in use", "a reservation of 16777216"]
        {
            assert!(out.text.contains(part), "{out:#?}");
        }
        return;
    }
    let (world, _) = ThreadWorld::start(Config { reserve: 16 * MB, ..Config::default() });
    world.enter(|| check(list(32 * MB)));
}

#[test]
fn arrays_that_no_memory_could_hold_are_errors() {
    if child::is_child() {
        let (world, _) = ThreadWorld::start(Config::default());
        world.enter(|| Gc::<[GcCell<Option<Gc<u64>>>]>::cells(usize::MAX / 4, None));
        return;
    }
    let (world, _) = ThreadWorld::start(Config::default());
    world.enter(|| {
        for len in [usize::MAX, usize::MAX / 4, isize::MAX as usize / 8, isize::MAX as usize / 8 - 1000] {
            let e = Gc::<[GcCell<Option<Gc<u64>>>]>::try_cells(len, None).expect_err("too many");
            assert_eq!(e.reason, AllocErrorReason::TooLarge(len, 8));
            assert_eq!(e.to_string(), format!("an array of {len} elements of 8 bytes is too large"));
        }
        let e = Gc::<[GcCell<Option<Gc<u64>>>]>::try_cells(1 << 40, None).expect_err("more than the reservation");
        assert_eq!((e.reason, e.size), (AllocErrorReason::Full, (8 << 40) + 16));
        assert_eq!(Gc::<str>::try_from_text("short").expect("room").len(), 5);
    });
    let out = child::run("arrays_that_no_memory_could_hold_are_errors", "", &[]);
    assert_eq!(out.code, Some(2), "{out:#?}");
    assert!(out.text.contains("fatal error: an array of"), "{out:#?}");
}

#[test]
fn settings_that_make_no_sense_are_refused_by_name() {
    struct NoWorld;
    // SAFETY: no heap is ever made with it.
    unsafe impl gc_core::World for NoWorld {
        fn stop_the_world(&self, _: gc_core::StopReason) {}
        fn start_the_world(&self) {}
        fn for_each_p(&self, _: &(dyn Fn(&GcP) + Sync)) {}
        fn at_safepoint(&self, _: &mut dyn FnMut()) {}
        fn begin_mark(&self, _: u32) -> usize {
            0
        }
        fn scan_stack(&self, _: usize, _: &mut gc_core::Scanner<'_>) -> bool {
            true
        }
        fn scan_roots(&self, _: &mut gc_core::Scanner<'_>) {}
        fn entered(&self) -> &'static gc_core::Entered {
            unreachable!()
        }
        fn wake_workers(&self) {}
        fn pause(&self) {}
    }
    let config = Config::default;
    for (config, name) in [
        (Config { percent: Some(0), ..config() }, "percent is 0"),
        (Config { percent: Some(100_001), ..config() }, "percent is 100001"),
        (Config { procs: 0, ..config() }, "procs is 0"),
        (Config { procs: 1025, ..config() }, "procs is 1025"),
        (Config { memory_limit: Some(MB - 1), ..config() }, "memory_limit is 1048575"),
        (Config { memory_limit: Some(usize::MAX), ..config() }, "memory_limit is"),
        (Config { min_heap: usize::MAX, ..config() }, "min_heap is"),
        (Config { reserve: 0, ..config() }, "reserve is 0"),
        (Config { reserve: usize::MAX, ..config() }, "reserve is"),
    ] {
        match Heap::new(config, &NoWorld) {
            Err(e @ InitError::Config(..)) => assert!(e.to_string().starts_with(name), "{e} for {name}"),
            Err(e) => panic!("{e} for {name}"),
            Ok(_) => panic!("{name} was taken"),
        }
    }
}
