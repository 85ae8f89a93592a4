//! A pointer that is in a register and nowhere else, for as long as collections take.

use super::Worker;
use super::heap::{Link, check, link, outlast};
use crate::stress::page::Count;
use std::arch::asm;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use tricolor::{Gc, Root, gc, spawn, yield_now};

/// Has the complement of `hidden` in a register until `words[1]` is set, and returns it. Sets `words[0]` when it is there.
#[inline(never)]
fn general(hidden: usize, words: &[AtomicU64; 2]) -> usize {
    let out: usize;
    // SAFETY: reads and writes the two words, which are alive; the registers are said.
    unsafe {
        asm!(
            "not {kept}",
            "mov qword ptr [{words}], 1",
            "2:",
            "pause",
            "cmp qword ptr [{words} + 8], 0",
            "je 2b",
            kept = inout(reg) hidden => out,
            words = in(reg) words.as_ptr(),
            options(nostack),
        );
    }
    out
}

/// As [`general`], in a vector register.
#[inline(never)]
fn vector(hidden: usize, words: &[AtomicU64; 2]) -> usize {
    let out: usize;
    // SAFETY: as in `general`; SSE2 is part of x86_64.
    unsafe {
        asm!(
            "not {kept}",
            "movq xmm7, {kept}",
            "xor {kept:e}, {kept:e}",
            "mov qword ptr [{words}], 1",
            "2:",
            "pause",
            "cmp qword ptr [{words} + 8], 0",
            "je 2b",
            "movq {kept}, xmm7",
            kept = inout(reg) hidden => out,
            words = in(reg) words.as_ptr(),
            out("xmm7") _,
            options(nostack),
        );
    }
    out
}

/// Roots a new object; its address, hidden. In a frame of its own, which is overwritten afterwards.
#[inline(never)]
fn rooted(word: u64) -> (Root<Link>, usize) {
    let object = link(word, None);
    (Root::new(object), !Gc::as_ptr(object).expose_provenance())
}

#[inline(never)]
fn wipe() {
    std::hint::black_box([0_usize; 2048]);
}

/// One goroutine has the pointer, in one register; this one lets go of it, and collects.
pub fn registers(w: Worker) {
    let mut rng = w.rng();
    while w.go() {
        let word = rng.draw();
        let keep = if rng.one_in(2) { general } else { vector };
        let (root, hidden) = rooted(word);
        wipe();
        let words = Arc::new([AtomicU64::new(0), AtomicU64::new(0)]);
        let theirs = words.clone();
        let keeper = spawn(move || {
            let address = keep(hidden, &theirs);
            // SAFETY: the object was rooted until the register had it, and is kept by that and by this frame since.
            let object = unsafe { Gc::<Link>::from_ptr(std::ptr::with_exposed_provenance_mut(address)) };
            check(w, object, word, "in a register alone");
        });
        while words[0].load(SeqCst) == 0 {
            yield_now();
            w.tick();
        }
        drop(root);
        for _ in 0..1 + rng.below(2) {
            gc::collect();
            outlast(&mut rng);
        }
        words[1].store(1, SeqCst);
        if keeper.join().is_err() {
            w.broke(format_args!("who kept a pointer in a register panicked"));
        }
        w.count(Count::Objects, 1);
    }
}
