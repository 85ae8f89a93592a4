//! `cargo run --release -p tricolor-benches --bin scan_kernels`: what it costs to read the pointers out of an object that
//! is in the cache, word by word and with AVX-512.
//!
//! This is the part of marking that a vector kernel could make faster; what the rest costs `mark_rate` says. Both kernels
//! leave the words that are pointers into the heap in a buffer, in the same order.

use std::hint::black_box;
use std::process::ExitCode;
use tricolor_benches::{Random, measure};

/// Objects of a round: 64 KiB of vertices, so that they stay in the second-level cache.
const OBJECTS: usize = 1024;
const ROUNDS: u64 = 2000;
/// Where the imagined heap lies.
const HEAP: usize = 0x7000_0000_0000;
const HEAP_BYTES: usize = 1 << 30;

/// Word by word, by the pointer mask of the type; as the marker does.
fn scalar(words: &[usize], mask: u8, out: &mut [usize]) -> usize {
    let mut n = 0;
    let mut bits = mask;
    while bits != 0 {
        let word = words[bits.trailing_zeros() as usize];
        bits &= bits - 1;
        if word.wrapping_sub(HEAP) < HEAP_BYTES {
            out[n] = word;
            n += 1;
        }
    }
    n
}

/// Eight words at once: load by the mask, compare with the heap's bounds, compress.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn avx512(words: &[usize], mask: u8, out: &mut [usize]) -> usize {
    use std::arch::x86_64::{
        _mm512_cmplt_epu64_mask, _mm512_mask_compressstoreu_epi64, _mm512_maskz_loadu_epi64, _mm512_set1_epi64,
        _mm512_sub_epi64,
    };
    assert!(words.len() >= 8 && out.len() >= 8);
    // SAFETY: eight words on either side, as was just seen.
    unsafe {
        let loaded = _mm512_maskz_loadu_epi64(mask, words.as_ptr().cast());
        let offset = _mm512_sub_epi64(loaded, _mm512_set1_epi64(HEAP as i64));
        let inside = _mm512_cmplt_epu64_mask(offset, _mm512_set1_epi64(HEAP_BYTES as i64));
        _mm512_mask_compressstoreu_epi64(out.as_mut_ptr().cast(), inside, loaded);
        inside.count_ones() as usize
    }
}

/// Slots of 64 bytes; every third of the masked words is null, the others are pointers.
fn objects() -> Vec<usize> {
    let mut random = Random::new();
    let word = |random: &mut Random| {
        let inside = HEAP + random.below(HEAP_BYTES / 16) * 16;
        if random.below(3) == 0 { 0 } else { inside }
    };
    (0..OBJECTS * 8).map(|_| word(&mut random)).collect()
}

/// Each object's pointers go to the queue before the next object is read, as in the marker.
fn all(objects: &[usize], mask: u8, kernel: impl Fn(&[usize], u8, &mut [usize]) -> usize) -> usize {
    let mut queue = [0; 16];
    let mut sum = 0;
    for object in objects.chunks_exact(8) {
        let n = kernel(black_box(object), black_box(mask), &mut queue);
        for word in &queue[..n] {
            sum ^= word;
        }
    }
    sum
}

fn main() -> ExitCode {
    #[cfg(target_arch = "x86_64")]
    if std::is_x86_feature_detected!("avx512f") {
        let objects = objects();
        // SAFETY: the processor has AVX-512.
        let vector = |words: &[usize], mask: u8, out: &mut [usize]| unsafe { avx512(words, mask, out) };
        println!("{:<34} {:>10} {:>10} {:>10}", "ns per object", "median", "min", "max");
        for (what, mask) in [
            ("vertex: 4 pointers of 8 words", 0b0000_1111),
            ("tree node: 2 pointers of 4 words", 0b0000_0011),
            ("8 words of a slice of pointers", 0b1111_1111),
        ] {
            assert_eq!(all(&objects, mask, scalar), all(&objects, mask, vector), "the kernels differ");
            for (name, is_vector) in [("word by word", false), ("AVX-512", true)] {
                let figure = measure(OBJECTS as u64 * ROUNDS, || {
                    for _ in 0..ROUNDS {
                        let sum = if is_vector { all(&objects, mask, vector) } else { all(&objects, mask, scalar) };
                        black_box(sum);
                    }
                });
                println!("{:<34} {figure}  {name}", what);
            }
        }
        return ExitCode::SUCCESS;
    }
    eprintln!("scan_kernels: this processor has no AVX-512: there is nothing to compare");
    ExitCode::FAILURE
}
