//! Swaps that the compiler makes with vector registers: for some instructions half of the pointers are in such registers
//! alone. Meanwhile the collector runs, the goroutine suspended in place or descheduled.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod common;
#[path = "common/hidden.rs"]
mod hidden;

use common::needs;
use hidden::{hidden, id_at, wipe, with_twin};
use std::arch::asm;
use std::arch::x86_64::{__m128i, __m256i, __m512i, _mm_pause};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, compiler_fence};
use std::time::Duration;
use tricolor::{Gc, Trace, gc, spawn, yield_now};

/// Two vectors' worth of pointers.
#[repr(C, align(64))]
struct Words([usize; 16]);

/// What is in no register otherwise.
const MARK: u64 = 0x5ca1_ab1e_0dd5_ba11;

/// Leaves the mark in the vector registers that calls do not use for arguments.
#[inline(never)]
fn leave_marks() {
    // SAFETY: writes registers that the processor has, and says so.
    unsafe {
        if is_x86_feature_detected!("avx512f") {
            asm!("vpbroadcastq zmm9, {m}", "vpbroadcastq zmm20, {m}", "vpbroadcastq zmm31, {m}", m = in(reg) MARK,
                out("xmm9") _, out("xmm20") _, out("xmm31") _);
        } else {
            asm!("movq xmm9, {m}", "movq xmm14, {m}", m = in(reg) MARK, out("xmm9") _, out("xmm14") _);
        }
    }
}

/// In how many of those it still is.
#[inline(never)]
fn marks_left() -> usize {
    let mut words = [0_u64; 24];
    let at = words.as_mut_ptr();
    // SAFETY: reads registers that the processor has, and writes the words.
    unsafe {
        if is_x86_feature_detected!("avx512f") {
            asm!("vmovdqu64 [{at}], zmm9", "vmovdqu64 [{at} + 64], zmm20", "vmovdqu64 [{at} + 128], zmm31", at = in(reg) at);
        } else {
            asm!("movups [{at}], xmm9", "movups [{at} + 16], xmm14", at = in(reg) at);
        }
    }
    words.iter().filter(|word| **word == MARK).count()
}

/// A stale word there would keep an object for as long as a goroutine computes without it.
#[test]
fn a_goroutine_finds_nothing_of_the_one_before() {
    needs!(Procs(1..=1));
    common::run(common::with_procs(1), || {
        for _ in 0..20 {
            spawn(leave_marks).join().expect("no panic");
            assert_eq!(spawn(marks_left).join().expect("no panic"), 0);
        }
    });
}

/// The goroutine that drops objects runs after all others.
#[test]
fn a_drop_finds_nothing_of_who_ran_before() {
    #[derive(Trace)]
    struct Looks(u64);

    impl Drop for Looks {
        fn drop(&mut self) {
            DROPPED.fetch_add(1, Ordering::Relaxed);
            MARKED.fetch_add(usize::from(marks_left() > 0), Ordering::Relaxed);
        }
    }

    static DROPPED: AtomicUsize = AtomicUsize::new(0);
    static MARKED: AtomicUsize = AtomicUsize::new(0);
    const ROUNDS: usize = 50;

    needs!(Procs(1..=1));
    common::run(common::with_procs(1), || {
        let over = Arc::new(AtomicBool::new(false));
        let seen = over.clone();
        let other = spawn(move || {
            while !seen.load(Ordering::Relaxed) {
                leave_marks();
                yield_now();
            }
        });
        for round in 1..=ROUNDS {
            Gc::new(Looks(0));
            wipe();
            gc::collect();
            while DROPPED.load(Ordering::Relaxed) < round {
                yield_now();
                gc::collect();
            }
        }
        over.store(true, Ordering::Relaxed);
        other.join().expect("no panic");
        let marked = MARKED.load(Ordering::Relaxed);
        // It is the other one's turn now and then between two drops.
        assert!(marked * 10 <= ROUNDS, "{marked} of {ROUNDS} drops found a mark");
    });
}

/// Exchanges the first two vectors of `words` again and again until `stop` is set, by way of vector registers.
type Swap = unsafe fn(words: *mut usize, stop: &AtomicBool);

macro_rules! swap {
    ($name:ident, $vector:ty, $feature:literal) => {
        #[inline(never)]
        #[target_feature(enable = $feature)]
        unsafe fn $name(words: *mut usize, stop: &AtomicBool) {
            let words = words.cast::<$vector>();
            while !stop.load(Ordering::Relaxed) {
                // Plain accesses, since volatile ones are calls in debug builds; the fences keep them in this order.
                // SAFETY: the caller has two vectors there; aligned.
                unsafe {
                    let (a, b) = (*words, *words.add(1));
                    *words = b;
                    compiler_fence(Ordering::SeqCst);
                    // What `a` holds is in its register alone, and most of the time is spent here.
                    _mm_pause();
                    _mm_pause();
                    _mm_pause();
                    _mm_pause();
                    compiler_fence(Ordering::SeqCst);
                    *words.add(1) = a;
                    compiler_fence(Ordering::SeqCst);
                }
            }
        }
    };
}

swap!(swap_xmm, __m128i, "sse2");
swap!(swap_ymm, __m256i, "avx2");
swap!(swap_zmm, __m512i, "avx512f");

/// The swaps that this processor can do: name, words of a vector.
fn swaps() -> Vec<(&'static str, usize, Swap)> {
    let mut swaps: Vec<(&str, usize, Swap)> = vec![("xmm", 2, swap_xmm)];
    if is_x86_feature_detected!("avx2") {
        swaps.push(("ymm", 4, swap_ymm));
    }
    if is_x86_feature_detected!("avx512f") {
        swaps.push(("zmm", 8, swap_zmm));
    }
    println!("{} of 3 widths, the others are SKIPPED", swaps.len());
    swaps
}

/// Swaps while the main goroutine collects; afterwards every node must be there.
fn swap_and_collect(collect: fn()) {
    for (name, lanes, swap) in swaps() {
        for round in 0..10 {
            let (stop, ready) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
            let (over, begins) = (stop.clone(), ready.clone());
            let swapping = spawn(move || {
                let mut words = Words([0; 16]);
                for id in 0..2 * lanes {
                    words.0[id] = hidden(id);
                }
                wipe();
                words.0.iter_mut().take(2 * lanes).for_each(|word| *word = !*word);
                begins.store(true, Ordering::Relaxed);
                // SAFETY: two vectors' worth of words; the processor has such registers.
                unsafe { swap(words.0.as_mut_ptr(), &over) };
                // SAFETY: an object's address, which has kept it alive.
                let mut ids: Vec<usize> = words.0.iter().take(2 * lanes).map(|word| unsafe { id_at(*word) }).collect();
                ids.sort_unstable();
                assert!(
                    ids.into_iter().eq(0..2 * lanes),
                    "{name}, round {round}: an object in a vector register is lost"
                );
            });
            // Before that, nobody knows of the nodes.
            while !ready.load(Ordering::Relaxed) {
                yield_now();
            }
            collect();
            stop.store(true, Ordering::Relaxed);
            swapping.join().expect("no panic");
        }
    }
}

#[test]
fn swapped_while_suspended_in_place() {
    needs!(Signals);
    needs!(Procs(2..=256));
    with_twin("swapped_while_suspended_in_place", "frame-unscanned", 2, || {
        swap_and_collect(|| {
            // The other P is in the swaps by then.
            std::thread::sleep(Duration::from_millis(2));
            gc::collect();
            gc::collect();
        });
    });
}

#[test]
fn swapped_while_descheduled() {
    needs!(Signals);
    // With more it may be suspended in place instead, which the twin survives.
    needs!(Procs(1..=1));
    with_twin("swapped_while_descheduled", "xregs-unscanned", 1, || {
        swap_and_collect(|| {
            yield_now();
            gc::collect();
            gc::collect();
        });
    });
}
