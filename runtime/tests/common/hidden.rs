//! Objects whose address is in a vector register alone, or hidden from every scan.
#![allow(dead_code)]

use crate::common::{child, is_child, run, with_procs};
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tricolor::gc::Stress;
use tricolor::{Gc, Trace, spawn};

#[derive(Trace)]
struct Node {
    id: usize,
}

/// Makes an object and returns its address with all bits flipped, so that no scan takes it for a pointer.
#[inline(never)]
pub fn hidden(id: usize) -> usize {
    !Gc::as_ptr(Gc::new(Node { id })).expose_provenance()
}

/// The `id` of the object at this address.
///
/// # Safety
/// It is there: something has kept it alive.
pub unsafe fn id_at(address: usize) -> usize {
    // SAFETY: the caller's contract.
    unsafe { Gc::<Node>::from_ptr(std::ptr::with_exposed_provenance_mut(address)) }.id
}

/// Overwrites what calls before have left below this frame, and in registers.
#[inline(never)]
pub fn wipe() {
    black_box(&mut [0_usize; 512]);
    // SAFETY: writes registers that it names.
    unsafe {
        std::arch::asm!(
            "xor eax, eax", "xor ecx, ecx", "xor edx, edx", "xor esi, esi", "xor edi, edi",
            "xor r8d, r8d", "xor r9d, r9d", "xor r10d, r10d", "xor r11d, r11d",
            "pxor xmm0, xmm0", "pxor xmm1, xmm1", "pxor xmm2, xmm2", "pxor xmm3, xmm3",
            "pxor xmm4, xmm4", "pxor xmm5, xmm5", "pxor xmm6, xmm6", "pxor xmm7, xmm7",
            out("rax") _, out("rcx") _, out("rdx") _, out("rsi") _, out("rdi") _,
            out("r8") _, out("r9") _, out("r10") _, out("r11") _,
            out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _,
            out("xmm4") _, out("xmm5") _, out("xmm6") _, out("xmm7") _,
            options(nostack),
        );
    }
}

/// Keeps a pointer in a vector register alone until `flag` is set.
#[inline(never)]
fn wait_with_it_in_a_vector(hidden: usize, flag: &AtomicBool) -> usize {
    let mut word = hidden;
    // SAFETY: moves a word to a register and back, and reads the flag in between.
    unsafe {
        std::arch::asm!(
            "movq xmm15, {word}",
            "pcmpeqd xmm14, xmm14",
            "pxor xmm15, xmm14",
            "2: pause",
            "cmp byte ptr [{flag}], 0",
            "je 2b",
            "pxor xmm15, xmm14",
            "movq {word}, xmm15",
            word = inout(reg) word,
            flag = in(reg) flag,
            out("xmm14") _,
            out("xmm15") _,
            options(nostack),
        );
    }
    word
}

/// So many times: a goroutine has a pointer in a vector register alone while `meanwhile` runs, and finds the object.
pub fn in_a_vector_register(times: usize, meanwhile: fn()) {
    for id in 0..times {
        let flag = Arc::new(AtomicBool::new(false));
        let set = flag.clone();
        let holder = spawn(move || {
            let word = hidden(id);
            wipe();
            let back = !wait_with_it_in_a_vector(word, &flag);
            // SAFETY: the register has kept it alive.
            assert_eq!(unsafe { id_at(back) }, id, "an object in a vector register is lost");
        });
        meanwhile();
        set.store(true, Ordering::Relaxed);
        holder.join().expect("no panic");
    }
}

/// Runs `body` in the test `name` on `procs` Ps, and once more in a child with a planted fault, which must fail.
pub fn with_twin(name: &str, fault: &str, procs: usize, body: fn()) {
    #[cfg(feature = "faults")]
    if is_child(name) {
        gc_core::faults::choose(Some(fault)).expect("a fault of that name");
    }
    let mut stress = Stress::default();
    stress.poison = true;
    run(with_procs(procs).stress(stress), body);
    if cfg!(feature = "faults") && !is_child(name) {
        let (code, err) = child(name, &[]);
        assert_ne!(code, Some(0), "nobody noticed the fault {fault}");
        assert!(err.contains("in a vector register is lost") || err.contains("freed"), "{err}");
    }
}
