//! Swaps that the compiler makes with vector registers: for some instructions half of the pointers are in such registers
//! alone. Meanwhile the collector runs, the goroutine suspended in place or descheduled.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod common;
#[path = "common/hidden.rs"]
mod hidden;

use common::needs;
use hidden::{hidden, id_at, wipe, with_twin};
use std::arch::x86_64::{__m128i, __m256i, __m512i, _mm_pause};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, compiler_fence};
use std::time::Duration;
use tricolor::{gc, spawn, yield_now};

/// Two vectors' worth of pointers.
#[repr(C, align(64))]
struct Words([usize; 16]);

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
