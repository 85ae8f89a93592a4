//! Kernels in which much of a thread's state is alive at any instruction. Each register goes through steps that lose
//! nothing (additions, rotations, exclusive or), so whatever a wrong restore changes is still wrong at the end.

use std::arch::{asm, naked_asm};

/// Rounds of the inner loops: some tens of microseconds.
const TURNS: u64 = 2_000;

/// The next of a sequence of numbers that look random.
pub fn next(x: &mut u64) -> u64 {
    *x = x.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let y = (*x ^ (*x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let y = (y ^ (y >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    y ^ (y >> 31)
}

/// One number that depends on all of them and on their order.
pub fn fold(words: &[u64]) -> u64 {
    words.iter().fold(0, |h, w| (h ^ w).rotate_left(17).wrapping_mul(0x2545_F491_4F6C_DD1D))
}

fn random<const N: usize>(mut seed: u64) -> [u64; N] {
    std::array::from_fn(|_| next(&mut seed))
}

pub fn integers(seed: u64) -> u64 {
    let mut x: [u64; 6] = random(seed);
    for i in 0..2 * TURNS {
        x[0] = x[0].rotate_left(13).wrapping_mul(0x2545_F491_4F6C_DD1D) ^ i;
        x[1] = x[1].wrapping_add(x[0]);
        x[2] ^= x[1] >> 7;
        x[3] = x[3].rotate_right(5).wrapping_sub(x[2]);
        x[4] ^= x[3];
        x[5] = x[5].wrapping_mul(x[4] | 1);
    }
    fold(&x)
}

pub fn floats(seed: u64) -> u64 {
    let mut f: [f64; 8] = random::<8>(seed).map(|w| (w % 1000) as f64 + 0.5);
    for i in 0..TURNS / 4 {
        for v in &mut f {
            *v = (*v * 1.000_1 + (i % 64) as f64).sqrt() + 1.0 / *v;
        }
    }
    fold(&f.map(f64::to_bits))
}

/// Every general register but rsp and rbp, in a loop that calls nothing.
pub fn general_registers(seed: u64) -> u64 {
    let mut words: [u64; 13] = random(seed);
    // SAFETY: reads and writes `words`, whose address is on top of the stack while every register is in use.
    unsafe {
        asm!(
            "push rbx",
            "push rax",
            "mov rbx, [rax]", "mov rcx, [rax + 8]", "mov rdx, [rax + 16]", "mov rsi, [rax + 24]",
            "mov rdi, [rax + 32]", "mov r8, [rax + 40]", "mov r9, [rax + 48]", "mov r10, [rax + 56]",
            "mov r11, [rax + 64]", "mov r12, [rax + 72]", "mov r13, [rax + 80]", "mov r14, [rax + 88]",
            "mov r15, [rax + 96]",
            "mov eax, {turns}",
            "2:",
            "add rbx, rcx", "ror rcx, 7", "xor rdx, rbx", "add rsi, rdx", "rol rdi, 11", "xor rdi, rsi",
            "add r8, rdi", "xor r9, r8", "ror r10, 3", "add r10, r9", "xor r11, r10", "add r12, r11",
            "rol r13, 19", "xor r13, r12", "add r14, r13", "xor r15, r14", "add rcx, r15",
            "dec eax",
            "jnz 2b",
            "pop rax",
            "mov [rax], rbx", "mov [rax + 8], rcx", "mov [rax + 16], rdx", "mov [rax + 24], rsi",
            "mov [rax + 32], rdi", "mov [rax + 40], r8", "mov [rax + 48], r9", "mov [rax + 56], r10",
            "mov [rax + 64], r11", "mov [rax + 72], r12", "mov [rax + 80], r13", "mov [rax + 88], r14",
            "mov [rax + 96], r15",
            "pop rbx",
            turns = const 2 * TURNS,
            inout("rax") words.as_mut_ptr() => _,
            out("rcx") _, out("rdx") _, out("rsi") _, out("rdi") _,
            out("r8") _, out("r9") _, out("r10") _, out("r11") _,
            out("r12") _, out("r13") _, out("r14") _, out("r15") _,
        );
    }
    fold(&words)
}

/// Sixteen xmm registers.
pub fn sse2(seed: u64) -> u64 {
    let mut words: [u64; 32] = random(seed);
    let change: [u64; 4] = random(seed ^ 1);
    // SAFETY: reads and writes the arrays; SSE2 is part of x86_64.
    unsafe {
        asm!(
            ".irp i,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15",
            "movdqu xmm\\i, [{words} + \\i * 16]",
            ".endr",
            "2:",
            ".irp i,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15",
            "movdqu [rsp - 16], xmm\\i",
            "paddd xmm\\i, [{change}]",
            "pxor xmm\\i, [{change} + 16]",
            "pshufd xmm\\i, xmm\\i, 0x39",
            ".endr",
            "dec {turns:e}",
            "jnz 2b",
            ".irp i,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15",
            "movdqu [{words} + \\i * 16], xmm\\i",
            ".endr",
            words = in(reg) words.as_mut_ptr(),
            change = in(reg) Aligned(change).0.as_ptr(),
            turns = inout(reg) TURNS / 2 => _,
            out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _, out("xmm4") _, out("xmm5") _,
            out("xmm6") _, out("xmm7") _, out("xmm8") _, out("xmm9") _, out("xmm10") _, out("xmm11") _,
            out("xmm12") _, out("xmm13") _, out("xmm14") _, out("xmm15") _,
        );
    }
    fold(&words)
}

#[repr(align(64))]
struct Aligned<T>(T);

/// Sixteen ymm registers.
#[target_feature(enable = "avx2")]
fn avx2_inner(seed: u64) -> u64 {
    let mut words: [u64; 64] = random(seed);
    let change: [u64; 8] = random(seed ^ 1);
    // SAFETY: reads and writes the arrays; the processor has AVX2, or this were not called.
    unsafe {
        asm!(
            ".irp i,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15",
            "vmovdqu ymm\\i, [{words} + \\i * 32]",
            ".endr",
            "2:",
            ".irp i,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15",
            "vpaddd ymm\\i, ymm\\i, [{change}]",
            "vpxor ymm\\i, ymm\\i, [{change} + 32]",
            "vpermq ymm\\i, ymm\\i, 0x39",
            ".endr",
            "dec {turns:e}",
            "jnz 2b",
            ".irp i,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15",
            "vmovdqu [{words} + \\i * 32], ymm\\i",
            ".endr",
            "vzeroupper",
            words = in(reg) words.as_mut_ptr(),
            change = in(reg) change.as_ptr(),
            turns = inout(reg) TURNS / 2 => _,
            out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _, out("xmm4") _, out("xmm5") _,
            out("xmm6") _, out("xmm7") _, out("xmm8") _, out("xmm9") _, out("xmm10") _, out("xmm11") _,
            out("xmm12") _, out("xmm13") _, out("xmm14") _, out("xmm15") _,
            options(nostack),
        );
    }
    fold(&words)
}

pub fn avx2(seed: u64) -> u64 {
    // SAFETY: the table of kernels has this one only where the processor knows AVX2.
    unsafe { avx2_inner(seed) }
}

/// Thirty-two zmm registers and eight k registers.
#[target_feature(enable = "avx512f,avx512bw")]
fn avx512_inner(seed: u64) -> u64 {
    let mut words: [u64; 264] = random(seed);
    let change: [u64; 16] = random(seed ^ 1);
    // SAFETY: reads and writes the arrays; the processor has AVX-512, or this were not called.
    unsafe {
        asm!(
            ".irp i,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31",
            "vmovdqu64 zmm\\i, [{words} + \\i * 64]",
            ".endr",
            ".irp i,0,1,2,3,4,5,6,7",
            "kmovq k\\i, [{words} + 2048 + \\i * 8]",
            ".endr",
            "2:",
            ".irp i,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31",
            "vpaddd zmm\\i, zmm\\i, [{change}]",
            "vpxorq zmm\\i, zmm\\i, [{change} + 64]",
            "vprord zmm\\i, zmm\\i, 5",
            ".endr",
            // Each mask in turn decides what happens to one register, and is added to another mask.
            "vpaddb zmm1 {{k1}}, zmm1, zmm0", "vpaddb zmm2 {{k2}}, zmm2, zmm1", "vpaddb zmm3 {{k3}}, zmm3, zmm2",
            "vpaddb zmm28 {{k4}}, zmm28, zmm3", "vpaddb zmm29 {{k5}}, zmm29, zmm28",
            "vpaddb zmm30 {{k6}}, zmm30, zmm29", "vpaddb zmm31 {{k7}}, zmm31, zmm30",
            "kaddq k0, k0, k7", "kxorq k1, k1, k0", "kaddq k2, k2, k1", "kxorq k3, k3, k2", "kaddq k4, k4, k3",
            "kxorq k5, k5, k4", "kaddq k6, k6, k5", "kxorq k7, k7, k6",
            "dec {turns:e}",
            "jnz 2b",
            ".irp i,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31",
            "vmovdqu64 [{words} + \\i * 64], zmm\\i",
            ".endr",
            ".irp i,0,1,2,3,4,5,6,7",
            "kmovq [{words} + 2048 + \\i * 8], k\\i",
            ".endr",
            "vzeroupper",
            words = in(reg) words.as_mut_ptr(),
            change = in(reg) change.as_ptr(),
            turns = inout(reg) TURNS / 4 => _,
            out("zmm0") _, out("zmm1") _, out("zmm2") _, out("zmm3") _, out("zmm4") _, out("zmm5") _,
            out("zmm6") _, out("zmm7") _, out("zmm8") _, out("zmm9") _, out("zmm10") _, out("zmm11") _,
            out("zmm12") _, out("zmm13") _, out("zmm14") _, out("zmm15") _, out("zmm16") _, out("zmm17") _,
            out("zmm18") _, out("zmm19") _, out("zmm20") _, out("zmm21") _, out("zmm22") _, out("zmm23") _,
            out("zmm24") _, out("zmm25") _, out("zmm26") _, out("zmm27") _, out("zmm28") _, out("zmm29") _,
            out("zmm30") _, out("zmm31") _,
            out("k1") _, out("k2") _, out("k3") _, out("k4") _, out("k5") _, out("k6") _, out("k7") _,
            options(nostack),
        );
    }
    fold(&words)
}

pub fn avx512(seed: u64) -> u64 {
    // SAFETY: the table of kernels has this one only where the processor knows AVX-512.
    unsafe { avx512_inner(seed) }
}

/// Seven numbers of 80 bits on the x87 stack, which an eighth visits.
pub fn x87(seed: u64) -> u64 {
    let mut numbers: [f64; 8] = random::<8>(seed).map(|w| (w % 1000) as f64 / 7.0 + 1.0);
    let mut out = [[0_u64; 2]; 7];
    // The stack of x87 is empty before and after.
    // SAFETY: reads `numbers`, writes ten bytes to each pair of `out`.
    unsafe {
        asm!(
            ".irp i,0,1,2,3,4,5,6",
            "fld qword ptr [{numbers} + \\i * 8]",
            ".endr",
            "2:",
            ".irp i,1,2,3,4,5,6",
            "fxch st(\\i)",
            "fmul qword ptr [{numbers} + 56]",
            "fld st(0)",
            "fsqrt",
            "fsubp st(1), st(0)",
            "fsqrt",
            "fadd qword ptr [{numbers}]",
            ".endr",
            "dec {turns:e}",
            "jnz 2b",
            ".irp i,0,1,2,3,4,5,6",
            "fstp tbyte ptr [{out} + \\i * 16]",
            ".endr",
            numbers = in(reg) numbers.as_mut_ptr(),
            out = in(reg) out.as_mut_ptr(),
            turns = inout(reg) TURNS / 10 => _,
            out("st(0)") _, out("st(1)") _, out("st(2)") _, out("st(3)") _, out("st(4)") _, out("st(5)") _,
            out("st(6)") _, out("st(7)") _,
            options(nostack),
        );
    }
    fold(out.as_flattened())
}

/// Copies bytes from their end to their start: the direction flag is set all the while.
pub fn backwards(seed: u64) -> u64 {
    const WORDS: usize = 1024;
    let (mut from, mut to) = ([0_u64; WORDS], [0_u64; WORDS]);
    let mut state = seed;
    from.iter_mut().for_each(|w| *w = next(&mut state));
    let mut sum = 0_u64;
    for _ in 0..4 {
        // SAFETY: copies one array to the other, and reads its bytes; the flag is clear again at the end.
        unsafe {
            asm!(
                "std",
                "rep movsb",
                "mov rsi, {last}",
                "mov ecx, 512",
                "2:",
                "lodsb",
                "movzx edx, al",
                "add {sum}, rdx",
                "rol {sum}, 5",
                "dec ecx",
                "jnz 2b",
                "cld",
                last = in(reg) to.as_ptr().byte_add(8 * WORDS - 1),
                sum = inout(reg) sum,
                inout("rsi") from.as_ptr().byte_add(8 * WORDS - 1) => _,
                inout("rdi") to.as_mut_ptr().byte_add(8 * WORDS - 1) => _,
                inout("rcx") 8 * WORDS => _,
                out("rax") _, out("rdx") _,
                options(nostack),
            );
        }
        std::mem::swap(&mut from, &mut to);
        from[(sum % WORDS as u64) as usize] ^= sum;
    }
    sum ^ fold(&from)
}

/// A function without a frame that keeps its state in the 128 bytes below its stack pointer.
#[unsafe(naked)]
unsafe extern "sysv64" fn red_zone_inner(seed: u64, turns: u64) -> u64 {
    naked_asm!(
        ".cfi_startproc",
        ".irp i,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16",
        "lea rax, [rdi + \\i]",
        "mov [rsp - 8 * \\i], rax",
        ".endr",
        "2:",
        ".irp i,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16",
        "add rax, [rsp - 8 * \\i]",
        "rol rax, 9",
        "xor [rsp - 8 * \\i], rax",
        ".endr",
        "dec rsi",
        "jnz 2b",
        ".irp i,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16",
        "xor rax, [rsp - 8 * \\i]",
        "rol rax, 9",
        ".endr",
        "ret",
        ".cfi_endproc",
    )
}

pub fn red_zone(seed: u64) -> u64 {
    // SAFETY: it uses its own red zone.
    unsafe { red_zone_inner(seed, TURNS / 2) }
}

/// Carry, overflow and the other flags live from each instruction to the next.
#[unsafe(naked)]
unsafe extern "sysv64" fn flags_inner(seed: u64, turns: u64) -> u64 {
    naked_asm!(
        ".cfi_startproc",
        "mov rax, rdi",
        "mov rdx, rdi",
        "not rdx",
        "mov rcx, rsi",
        "clc",
        // `dec` and `lea` leave the carry alone, so it goes once round.
        "2:",
        "adc rax, rdi",
        "rcl rdx, 1",
        "adc rdi, rdx",
        "rcr rax, 3",
        "setp r8b",
        "movzx r8, r8b",
        "lea rdx, [rdx + r8]",
        "dec rcx",
        "jnz 2b",
        "adc rax, rdx",
        "xor rax, rdi",
        "ret",
        ".cfi_endproc",
    )
}

pub fn flags(seed: u64) -> u64 {
    // SAFETY: it touches no memory.
    unsafe { flags_inner(seed, 2 * TURNS) }
}

pub fn recursion(seed: u64) -> u64 {
    #[inline(never)]
    fn down(depth: u64, x: u64) -> u64 {
        let local: [u64; 4] = std::hint::black_box(random(x));
        if depth == 0 {
            return fold(&local);
        }
        let below = down(depth - 1, x ^ local[0]);
        let again = if depth.is_multiple_of(16) { down(depth / 2, below) } else { below };
        fold(&[local[1], again, local[2], depth, local[3]])
    }
    down(96, seed)
}

/// Calls into std and libc with both their locks and their memory.
pub fn std_and_libc(seed: u64) -> u64 {
    let mut state = seed;
    let mut words: Vec<String> = (0..40).map(|_| format!("{:x}", next(&mut state))).collect();
    words.sort();
    let text = words.join(",");
    let map: std::collections::BTreeMap<&str, usize> = text.split(',').enumerate().map(|(i, w)| (w, i)).collect();
    let bytes: Vec<u64> = text.bytes().map(u64::from).collect();
    let places: Vec<u64> = map.values().map(|i| *i as u64).collect();
    fold(&bytes) ^ fold(&places)
}
