//! Profiles, read by others' readers: the decoder of the crate `pprof`, and `go tool pprof` where there is a Go.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

#[path = "../../../runtime/tests/common/checked.rs"]
mod checked;
#[path = "../../../runtime/tests/common/mod.rs"]
mod common;
#[path = "profile/read.rs"]
mod read;

use common::{child, is_child, needs, run, with_procs};
use read::{Read, go_pprof};
use std::sync::atomic::{AtomicBool, Ordering};
use tricolor::{Gc, GcCell, Root, gc, profile, spawn, yield_now};

/// Mean distance of samples.
const RATE: usize = 4096;

type Kept = Gc<[GcCell<Option<Gc<[u64; 14]>>>]>;

/// Makes `n` objects of 112 bytes.
#[inline(never)]
fn makes_small_ones(n: usize) -> Kept {
    let kept: Kept = Gc::cells(n, None);
    for i in 0..n {
        kept[i].set(Some(Gc::new([i as u64; 14])));
    }
    kept
}

#[inline(never)]
fn makes_large_ones(n: usize) -> usize {
    let words = vec![7_u64; 12_500];
    (0..n).map(|_| Gc::from_slice(&words).len()).sum()
}

fn heap_profile() -> Read {
    let mut file = Vec::new();
    profile::heap(&mut file).expect("a Vec can be written");
    Read::new(&file)
}

/// Whether `n` is what `expected` may be estimated as by samples of objects of `size` bytes: five standard deviations.
#[track_caller]
fn is_about(n: i64, expected: usize, size: usize) {
    let (n, expected) = (n as f64, expected as f64);
    let p = -(-(size as f64) / RATE as f64).exp_m1();
    let deviation = ((1.0 - p) / p * expected * size as f64).sqrt().max(size as f64);
    assert!((n - expected).abs() <= 5.0 * deviation, "{n} where {expected} is right, give or take {deviation}");
}

/// What the main test and its twin with a fault look at: bytes in use by small objects, while they are and afterwards.
fn grows_and_shrinks() -> [i64; 2] {
    const N: usize = 200_000;
    let kept = Root::new(makes_small_ones(N));
    let large = makes_large_ones(300);
    assert_eq!(large, 300 * 12_500);
    gc::collect();
    let stats = gc::stats();
    let profile = heap_profile();
    assert_eq!(profile.types(), ["alloc_objects", "alloc_space", "inuse_objects", "inuse_space"]);
    is_about(profile.sum("alloc_space", "makes_small_ones"), N * 112 + N * 8, 112);
    is_about(
        profile.sum("alloc_space", "makes_large_ones"),
        300 * (100_000_usize + 16).next_multiple_of(8192),
        100_000,
    );
    is_about(profile.sum("inuse_space", ""), stats.marked_bytes, 112);
    is_about(profile.sum("alloc_space", ""), stats.allocated_bytes as usize, 112);
    assert_eq!(profile.sum("inuse_objects", "makes_large_ones"), 0, "they are dead");
    assert!(profile.sum("inuse_objects", "makes_small_ones") > N as i64 / 2);
    let line = profile.line_of("makes_small_ones");
    assert!(line.0.ends_with("tests/profile.rs") && line.1 > 20 && line.1 < 40, "{line:?}");
    assert!(!profile.is_innermost("gc_core::"), "the collector's own frames are left out");

    let before = profile.sum("inuse_space", "makes_small_ones");
    drop(kept);
    (0..2).for_each(|_| clear_stack_and_collect());
    let after = heap_profile();
    assert!(after.sum("alloc_space", "makes_small_ones") >= profile.sum("alloc_space", "makes_small_ones"));
    [before, after.sum("inuse_space", "makes_small_ones")]
}

#[inline(never)]
fn clear_stack_and_collect() {
    std::hint::black_box([0_usize; 512]);
    gc::collect();
}

#[test]
fn the_heap_profile_says_who_has_allocated_what_is_in_use() {
    run(with_procs(2).profile_rate(RATE), || {
        let [before, after] = grows_and_shrinks();
        assert!(before > 20 << 20 && after == 0, "{before} bytes, then {after}");
    });
}

#[cfg(feature = "faults")]
#[test]
fn a_profile_that_does_not_notice_death_does_not_shrink() {
    run(with_procs(2).profile_rate(RATE), || {
        gc_core_faults(Some("sample-not-freed"));
        const N: usize = 200_000;
        let kept = Root::new(makes_small_ones(N));
        drop(kept);
        (0..2).for_each(|_| clear_stack_and_collect());
        let left = heap_profile().sum("inuse_space", "makes_small_ones");
        gc_core_faults(None);
        assert!(left > 20 << 20, "{left} bytes: the fault was noticed by nobody");
    });
}

#[cfg(feature = "faults")]
fn gc_core_faults(name: Option<&str>) {
    tricolor::gc_core::faults::choose(name).expect("a fault of that name");
}

/// With a rate of 1 every object counts, once, wherever it is allocated.
#[test]
fn every_object_is_counted_where_all_are_sampled() {
    #[inline(never)]
    fn makes(n: usize) -> Vec<Root<[u64; 3]>> {
        (0..n).map(|i| Root::new(Gc::new([i as u64; 3]))).collect()
    }
    run(with_procs(4).profile_rate(1), || {
        let kept: Vec<_> = (0..8).map(|_| spawn(|| makes(1000))).collect();
        let kept: Vec<_> = kept.into_iter().map(|h| h.join().expect("no panic")).collect();
        let first = heap_profile();
        assert_eq!(first.sum("alloc_objects", "makes"), 8000, "before the first collection");
        gc::collect();
        let kept = (kept, makes(5));
        let now = heap_profile();
        assert_eq!(now.sum("alloc_objects", "makes"), 8000, "as of the collection");
        assert_eq!(now.sum("inuse_objects", "makes"), 8000);
        assert_eq!(
            now.sum("inuse_space", "makes"),
            8000 * size_of::<[u64; 3]>() as i64,
            "a slot has the object's own words"
        );
        drop(kept);
        gc::collect();
        clear_stack_and_collect();
        let now = heap_profile();
        assert_eq!(now.sum("alloc_objects", "makes"), 8005);
        // A word on a stack may keep one or two.
        assert!(now.sum("inuse_objects", "makes") < 10, "{}", now.sum("inuse_objects", "makes"));
    });
}

#[test]
fn nothing_is_sampled_where_nothing_is_asked_for() {
    run(with_procs(2).profile_rate(0), || {
        Root::new(makes_small_ones(100_000));
        gc::collect();
        assert_eq!(heap_profile().sum("alloc_objects", ""), 0);
    });
}

static END: AtomicBool = AtomicBool::new(false);

#[inline(never)]
fn spins() {
    while !END.load(Ordering::Relaxed) {
        std::hint::spin_loop();
    }
}

#[inline(never)]
fn receives(rx: tricolor::chan::Receiver<u8>) -> bool {
    rx.recv().is_err()
}

#[inline(never)]
fn reads(pipe: std::io::PipeReader) -> usize {
    let n = tricolor::blocking((pipe,), |(mut pipe,)| std::io::Read::read(&mut pipe, &mut [0]).expect("an end"));
    std::hint::black_box(n) // so that the call before is no jump
}

#[test]
fn the_goroutine_profile_says_where_all_are() {
    needs!(Signals);
    run(with_procs(2), || {
        let (tx, rx) = tricolor::chan::bounded::<u8>(0);
        let (pipe, end) = std::io::pipe().expect("a pipe");
        let created = line!() + 1;
        let waiting: Vec<_> = (0..10).map(|_| rx.clone()).map(|rx| spawn(move || receives(rx))).collect();
        let blocked = spawn(move || reads(pipe));
        let spinning = spawn(spins);
        let begin = std::time::Instant::now();
        let profile = loop {
            let mut file = Vec::new();
            profile::goroutines(&mut file).expect("a Vec can be written");
            let profile = Read::new(&file);
            let at_rest = profile.labelled("receives", "status", "waiting") == 10;
            if at_rest
                && profile.labelled("reads", "status", "blocking call") == 1
                && profile.sum("goroutine", "spins") == 1
            {
                break profile;
            }
            assert!(begin.elapsed() < common::LIFE, "they are somewhere else");
            yield_now();
        };
        assert_eq!(profile.types(), ["goroutine"]);
        assert_eq!(profile.labelled("receives", "wait", "chan receive"), 10);
        let created = format!("{}:{created}", file!());
        assert_eq!(profile.labelled("", "created", &created), 10);
        assert_eq!(profile.labelled("receives", "created", &created), 10);
        assert_eq!(profile.sum("goroutine", ""), 13, "and this one");
        assert_eq!(profile.labelled("the_goroutine_profile_says", "status", "running"), 1);
        END.store(true, Ordering::Relaxed);
        drop((tx, end));
        assert!(waiting.into_iter().all(|h| h.join().expect("no panic")));
        assert_eq!(blocked.join().expect("no panic"), 0);
        spinning.join().expect("no panic");
    });
}

#[test]
fn who_stops_is_counted() {
    run(with_procs(2), || {
        profile::goroutines(std::io::sink()).expect("a sink takes all");
        let row = gc::stops().into_iter().find(|row| row.name == "profile").expect("a row for each reason");
        assert_eq!(row.count, 1);
    });
}

/// What cannot be written is an error, not a panic.
#[test]
fn a_full_disk_is_an_error() {
    run(with_procs(1), || {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("Linux has it");
        assert_eq!(profile::heap(full).expect_err("no room").kind(), std::io::ErrorKind::StorageFull);
    });
}

#[test]
fn the_environment_asks_for_a_profile_at_the_end() {
    let name = "the_environment_asks_for_a_profile_at_the_end";
    if is_child(name) {
        return run(with_procs(2), || {
            let kept = makes_small_ones(10_000);
            gc::keep_alive(kept);
        });
    }
    let path = std::env::temp_dir().join(format!("tricolor-profile-{}", std::process::id()));
    let debug = format!("memprofilerate=1,heapprofile={}", path.display());
    let (code, err) = child(name, &[("TRICOLOR_DEBUG", &debug)]);
    assert_eq!(code, Some(0), "{err}");
    let file = std::fs::read(&path).expect("a profile");
    std::fs::remove_file(&path).expect("it was there");
    assert_eq!(Read::new(&file).sum("alloc_objects", "makes_small_ones"), 10_001);

    let (code, err) = child(name, &[("TRICOLOR_DEBUG", "heapprofile=/no/such/folder/file")]);
    assert_eq!(code, Some(2), "{err}");
    assert!(
        err.contains("TRICOLOR_DEBUG=\"heapprofile=/no/such/folder/file\"") && err.contains("No such file"),
        "{err}"
    );
}

/// `go tool pprof` opens both, and finds the names in them.
#[test]
fn go_opens_them() {
    let Some(pprof) = go_pprof() else { return };
    let (heap, goroutines) = run(with_procs(2).profile_rate(RATE), || {
        let kept = makes_small_ones(50_000);
        gc::collect();
        let (mut heap, mut goroutines) = (Vec::new(), Vec::new());
        profile::heap(&mut heap).expect("a Vec can be written");
        profile::goroutines(&mut goroutines).expect("a Vec can be written");
        gc::keep_alive(kept);
        (heap, goroutines)
    });
    let top = pprof(&heap, &["-top", "-sample_index=inuse_space"]);
    assert!(top.contains("Type: inuse_space") && top.contains("profile::makes_small_ones"), "{top}");
    let raw = pprof(&heap, &["-raw"]);
    assert!(raw.contains("alloc_objects/count alloc_space/bytes inuse_objects/count inuse_space/bytes[dflt]"), "{raw}");
    assert!(raw.contains("PeriodType: space bytes") && raw.contains("tests/profile.rs:"), "{raw}");
    let raw = pprof(&goroutines, &["-raw"]);
    assert!(
        raw.contains("goroutine/count") && raw.contains("go_opens_them") && raw.contains("status:[running]"),
        "{raw}"
    );
}
