//! x86_64, System V.
//!
//! A suspended context is one word, its stack pointer. What lies above it:
//!
//! ```text
//! suspended                  never run
//!  ...  caller's frame        top  0   0        end of the frame-pointer chain
//!  rip  of the caller              gostart      popped as rip
//!  rbp  <- chain goes on           0            rbp
//!  rbx                             entry        rbx: what gostart calls
//!  r12 r13 r14 r15                 0 0 0 0
//!  ^ saved sp                      ^ saved sp
//! ```
//!
//! Only the callee-saved registers are pushed: the compiler is told that all others are lost, so nothing else lives across
//! it, and no vector register does. A conservative scan of `[saved sp, top)` therefore sees every pointer. The control
//! words of the floating-point units are not switched (Go does not either; saving them costs up to 50 ns once a
//! sticky flag differs).
//!
//! The processor foresees a return by its stack of recent calls. The switch leaves by `pop rcx; jmp rcx`: a `ret` would always
//! be foreseen wrongly. And it is inlined, so it leaves that stack as it was: a goroutine that continues finds it as the one
//! that stopped has left it, and where both wait in the same function their returns are foreseen (two that yield to each other
//! take two thirds of the time). A call of it would be one more than returns.
//!
//! What would break if: `gostart` lacked `.cfi_undefined rip`, unwinders would read past the top of the stack; the
//! frame-pointer chain were not kept, parked goroutines could not be walked (std's unwinder starts only at its
//! caller).

use barrier_lint::nowritebarrierrec;
use core::arch::{asm, naked_asm};
use core::sync::atomic::{AtomicU32, Ordering};
pub(crate) use gc_core::restart_point;

/// Why a runtime does not start on this machine.
pub(crate) const REFUSED: Option<&str> = None;

/// What a switch hands over: two words in registers.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Handed {
    pub(crate) value: usize,
    /// From [`morestack`] only; else nothing of interest.
    pub(crate) ctxt: usize,
}

/// Puts a register on the stack.
macro_rules! save {
    ($register:literal) => {
        concat!("push ", $register, "\n.cfi_adjust_cfa_offset 8\n.cfi_rel_offset ", $register, ", 0")
    };
}

/// Takes it off again.
macro_rules! restore {
    ($register:literal) => {
        concat!("pop ", $register, "\n.cfi_adjust_cfa_offset -8\n.cfi_restore ", $register, "\n")
    };
}

/// Continues the context whose registers sp points to.
macro_rules! go_on {
    () => {
        concat!(
            restore!("r15"),
            restore!("r14"),
            restore!("r13"),
            restore!("r12"),
            restore!("rbx"),
            restore!("rbp"),
            "pop rcx\n.cfi_adjust_cfa_offset -8\n.cfi_register rip, rcx\njmp rcx",
        )
    };
}

/// The same where unwind rules do not follow sp: in the middle of a function, or where all is over.
macro_rules! resume {
    () => {
        "pop r15\npop r14\npop r13\npop r12\npop rbx\npop rbp\npop rcx\njmp rcx"
    };
}

/// Stores the context of the caller in `*save` and continues the one suspended at `to`, where the `switch` that
/// suspended it returns `value`. Returns what the next switch to the stored context passes.
///
/// # Safety
/// `to` was stored by `switch` or made by [`init_stack`], is continued at most once, and its stack is mapped.
#[inline(always)]
pub(crate) unsafe fn switch(save: *mut usize, to: usize, mut value: usize, mut ctxt: usize) -> Handed {
    // SAFETY: the caller's contract. Every register is on the stack, given, or said to be lost; who continues this context
    // takes them off again.
    unsafe {
        asm!(
            "lea rcx, [rip + 2f]",
            "push rcx",
            "push rbp",
            "push rbx",
            "push r12",
            "push r13",
            "push r14",
            "push r15",
            "mov [rdi], rsp",
            "mov rsp, rsi",
            resume!(),
            "2:",
            inout("rdi") save => _,
            inout("rsi") to => _,
            inout("rax") value,
            inout("rdx") ctxt,
            clobber_abi("sysv64"),
        );
    }
    Handed { value, ctxt }
}

/// As [`switch`], to g0, where `newstack` is to run: `ctxt` goes there in a register, and nowhere else.
///
/// Returns 0 when it is continued where it was; 1 after what `newstack` has put on a new segment has returned.
///
/// # Safety
/// As `switch`.
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn morestack(
    ctxt: usize,
    save: *mut usize,
    g0: usize,
    newstack: crate::proc::schedule::Mcall,
) -> usize {
    naked_asm!(
        ".cfi_startproc",
        save!("rbp"),
        "mov rbp, rsp",
        save!("rbx"),
        save!("r12"),
        save!("r13"),
        save!("r14"),
        save!("r15"),
        "mov [rsi], rsp",
        // Both contexts have the same frame here, so the unwind rules hold on either side of this instruction.
        "mov rsp, rdx",
        "mov rax, rcx",
        "mov rdx, rdi",
        go_on!(),
        ".cfi_endproc",
    )
}

/// The first instructions on a new segment: calls the function in rbx with r13; then back to the context at r12, in
/// one instruction that writes sp. All of its frame lies on the older segment, which may have any address: gdb goes on to a
/// lower one only if that is said to be a signal's frame (and shows it as one).
#[unsafe(naked)]
unsafe extern "C" fn segment_start() {
    naked_asm!(
        ".cfi_startproc",
        ".cfi_signal_frame",
        ".cfi_def_cfa r12, 56",
        ".cfi_offset rip, -8",
        ".cfi_offset rbp, -16",
        ".cfi_offset rbx, -24",
        ".cfi_offset r12, -32",
        ".cfi_offset r13, -40",
        ".cfi_offset r14, -48",
        ".cfi_offset r15, -56",
        "mov rdi, r13",
        "call rbx",
        "mov rsp, r12",
        ".cfi_def_cfa rsp, 56",
        "mov eax, 1",
        go_on!(),
        ".cfi_endproc",
    )
}

/// Makes the segment ending at `top` a suspended context that calls `entry(arg)` and then continues the one at `below`,
/// in whose `morestack` it returns 1. Returns its saved sp.
///
/// # Safety
/// As [`init_stack`]; `below` was stored by `morestack`.
pub(crate) unsafe fn init_segment(top: usize, entry: extern "C" fn(*mut ()), arg: *mut (), below: usize) -> usize {
    debug_assert_eq!(top % 16, 0);
    let words: [usize; INITIAL_WORDS] = [
        0, // r15
        0, // r14
        arg.expose_provenance(),
        below, // r12
        entry as *const () as usize,
        frame_pointer(below),
        segment_start as *const () as usize,
        0,
        0,
    ];
    // SAFETY: the caller's contract.
    unsafe { put(top, words) }
}

/// The first instructions of a goroutine, and the last: calls the function in rbx, and switches to what that returns.
#[unsafe(naked)]
unsafe extern "C" fn gostart() {
    naked_asm!(
        ".cfi_startproc",
        ".cfi_undefined rip",
        "xor ebp, ebp",
        "call rbx",
        "mov rsp, rdx",
        "xor edx, edx",
        resume!(),
        ".cfi_endproc",
    )
}

/// Words that [`init_stack`] writes: two zeros above, rip, six registers.
const INITIAL_WORDS: usize = 9;

/// Where the frame of a goroutine's first function is, if it has a frame pointer: bytes below the top.
pub(crate) const FIRST_FRAME: usize = 32;

/// Makes the stack ending at `top` a suspended context that calls `entry`, and then continues the context whose sp `entry`
/// returns behind the value to pass: so no call is left without a return (see above). Returns its saved sp.
///
/// # Safety
/// At least 128 mapped bytes lie below `top`, which is a multiple of 16, and nobody uses them.
pub(crate) unsafe fn init_stack(top: usize, entry: extern "C" fn() -> Handed) -> usize {
    debug_assert_eq!(top % 16, 0);
    let words: [usize; INITIAL_WORDS] = [
        0, // r15
        0, // r14
        0, // r13
        0, // r12
        entry as *const () as usize,
        0, // rbp
        gostart as *const () as usize,
        0,
        0,
    ];
    // SAFETY: the caller's contract.
    unsafe { put(top, words) }
}

/// # Safety
/// As [`init_stack`].
unsafe fn put(top: usize, words: [usize; INITIAL_WORDS]) -> usize {
    // After rip is popped, rsp = top - 16: a multiple of 16 before the first call, as the ABI asks.
    let sp = top - size_of_val(&words);
    let at = core::ptr::with_exposed_provenance_mut::<[usize; INITIAL_WORDS]>(sp);
    // SAFETY: the caller's contract: mapped, unused, aligned to 8.
    unsafe { at.write(words) };
    sp
}

/// Of the vector registers, what the compiler does not use unless told to: 0 nothing, 1 AVX, 2 AVX-512 as well.
static WIDER: AtomicU32 = AtomicU32::new(0);

/// Before the first M starts: which vector registers there are.
pub(crate) fn init_vectors() {
    let (avx, avx512) = (is_x86_feature_detected!("avx"), is_x86_feature_detected!("avx512vl"));
    // Relaxed: the threads that read it are made later.
    WIDER.store(u32::from(avx) + u32::from(avx && avx512), Ordering::Relaxed);
}

/// Clears the vector registers: what they hold is of whoever ran on this thread before. The goroutine that runs now may
/// never touch those that only libc's copies use, and each time that it is suspended they are scanned as its own.
#[unsafe(naked)]
pub(crate) extern "C" fn clear_vectors() {
    naked_asm!(
        ".cfi_startproc",
        "mov eax, dword ptr [rip + {wider}]",
        "test eax, eax",
        "jz 3f",
        "vzeroall",
        "cmp eax, 2",
        "jne 2f",
        // All 512 bits, without asking the processor for its widest units.
        ".irp i, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31",
        "vpxord xmm\\i, xmm\\i, xmm\\i",
        ".endr",
        "2:",
        "ret",
        "3:",
        ".irp i, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15",
        "xorps xmm\\i, xmm\\i",
        ".endr",
        "ret",
        ".cfi_endproc",
        wider = sym WIDER,
    )
}

/// Calls `f(arg, sp)` with the callee-saved registers pushed above `sp`: what the caller of this function keeps in
/// registers is then on the stack at or above `sp`, and nothing at or above `sp` changes while `f` runs, which ends with
/// [`unspill`].
///
/// # Safety
/// `f` does not unwind.
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn spill_and_call(arg: *mut (), f: unsafe extern "C" fn(arg: *mut (), sp: usize) -> !) {
    naked_asm!(
        ".cfi_startproc",
        save!("rbp"),
        "mov rbp, rsp",
        ".cfi_def_cfa_register rbp",
        "push rbx",
        ".cfi_offset rbx, -24",
        "push r12",
        ".cfi_offset r12, -32",
        "push r13",
        ".cfi_offset r13, -40",
        "push r14",
        ".cfi_offset r14, -48",
        "push r15",
        ".cfi_offset r15, -56",
        "sub rsp, 8",
        "mov rax, rsi",
        "mov rsi, rsp",
        "call rax",
        "ud2",
        ".cfi_endproc",
    )
}

/// Returns from the [`spill_and_call`] that has given its `f` this `sp`, by a jump: the kernel leaves the processor's return
/// stack full of its own addresses, so each return from a function that was called before a system call is foreseen wrongly.
///
/// # Safety
/// The caller is that call of `f`, which has nothing left to drop, and the thread is inside the runtime: to who looks at a
/// goroutine that a signal has stopped here it would not be plain which function it is in.
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn unspill(sp: usize) -> ! {
    naked_asm!(
        ".cfi_startproc",
        ".cfi_def_cfa rdi, 64",
        ".cfi_offset rbp, -16",
        ".cfi_offset rbx, -24",
        ".cfi_offset r12, -32",
        ".cfi_offset r13, -40",
        ".cfi_offset r14, -48",
        ".cfi_offset r15, -56",
        "lea rbp, [rdi + 48]",
        "lea rsp, [rdi + 8]",
        resume!(),
        ".cfi_endproc",
    )
}

/// Where the saved frame pointer of a context suspended at `sp` lies (the start of its frame-pointer chain).
pub(crate) fn frame_pointer(sp: usize) -> usize {
    sp + 5 * size_of::<usize>()
}

/// The frame pointer of the function into which this is inlined, if it has one.
#[inline(always)]
pub(crate) fn own_frame_pointer() -> usize {
    let here: usize;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, rbp", out(reg) here, options(nomem, nostack, preserves_flags)) };
    here
}

/// Whether the crate in which this is instantiated was built with frame pointers, in functions that call nobody, too.
/// `T` is a type of that crate: otherwise another crate's instance might do.
#[allow(clippy::extra_unused_type_parameters)] // it says where this is compiled
#[inline(never)]
pub(crate) fn keeps_frame_pointers<T>() -> bool {
    let here: usize;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, rbp", out(reg) here, options(nomem, nostack, preserves_flags)) };
    let (above, back) = innermost_frame::<T>();
    let start = keeps_frame_pointers::<T> as *const () as usize;
    // In some hundred bytes of code.
    above == here && (start..start + 1024).contains(&back)
}

/// The two words of this function's frame: the frame pointer of its caller, and the way back there; zeros if it has none.
/// It does not branch: compilers make frames late where some ways through a function need none (there the way back is on
/// top of the stack, which the handler looks at, too).
#[allow(clippy::extra_unused_type_parameters)]
#[inline(never)]
fn innermost_frame<T>() -> (usize, usize) {
    let (above, back): (usize, usize);
    // SAFETY: reads registers, and two words of this thread's stack if the frame pointer points just above its sp.
    unsafe {
        asm!(
            "xor {above:e}, {above:e}",
            "mov {back}, rbp",
            "sub {back}, rsp",
            "cmp {back}, 256",
            "mov {back}, 0",
            "ja 2f",
            "test bpl, 7",
            "jnz 2f",
            "mov {above}, qword ptr [rbp]",
            "mov {back}, qword ptr [rbp + 8]",
            "2:",
            above = out(reg) above,
            back = out(reg) back,
            options(nostack, readonly),
        );
    }
    (above, back)
}

/// The same for a context of [`spill_and_call`].
pub(crate) fn spilled_frame_pointer(sp: usize) -> usize {
    sp + 6 * size_of::<usize>()
}

/// Calls `f(arg)` on the stack that ends at `top`.
///
/// # Safety
/// `top` is a multiple of 16; below it is enough mapped memory that nobody else uses; `f` does not unwind.
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn call_on(top: usize, arg: *mut (), f: unsafe extern "C" fn(*mut ())) {
    naked_asm!(
        ".cfi_startproc",
        save!("rbp"),
        "mov rbp, rsp",
        ".cfi_def_cfa_register rbp",
        "mov rsp, rdi",
        "mov rdi, rsi",
        "call rdx",
        "mov rsp, rbp",
        "pop rbp",
        ".cfi_def_cfa rsp, 8",
        "ret",
        ".cfi_endproc",
    )
}

/// Where a signal has interrupted its thread: instruction, stack pointer, frame pointer. May run without a P.
#[nowritebarrierrec]
pub(crate) fn interrupted_at(context: &libc::ucontext_t) -> (usize, usize, usize) {
    let registers = &context.uc_mcontext.gregs;
    (
        registers[libc::REG_RIP as usize] as usize,
        registers[libc::REG_RSP as usize] as usize,
        registers[libc::REG_RBP as usize] as usize,
    )
}

/// Where the way back to the caller lies, if the function that is interrupted at `pc` has no frame there: it has just been
/// called, or is about to return, and the frame pointer is its caller's. The instruction says so: what functions with frame
/// pointers begin with, and end with. (A jump to another function at the end is not told from one within.) May run without a
/// P.
///
/// # Safety
/// `pc` is the address of an instruction.
#[nowritebarrierrec]
pub(crate) unsafe fn way_back(pc: usize, sp: usize) -> Option<usize> {
    // SAFETY: the caller's contract; a byte is read only if those before it are not a whole instruction.
    unsafe {
        match byte(pc) {
            // push rbp; ret
            0x55 | 0xc2 | 0xc3 => Some(sp),
            // endbr64
            0xf3 if byte(pc + 1) == 0x0f && byte(pc + 2) == 0x1e && byte(pc + 3) == 0xfa => Some(sp),
            // mov rbp, rsp
            0x48 if byte(pc + 1) == 0x89 && byte(pc + 2) == 0xe5 => Some(sp + 8),
            _ => None,
        }
    }
}

/// # Safety
/// An address in a mapping that can be read.
#[nowritebarrierrec]
unsafe fn byte(at: usize) -> u8 {
    // SAFETY: the caller's contract.
    unsafe { core::ptr::with_exposed_provenance::<u8>(at).read() }
}

/// Where the thread goes on after the handler. May run without a P.
#[nowritebarrierrec]
pub(crate) fn go_on_at(context: &mut libc::ucontext_t, pc: usize, sp: usize) {
    context.uc_mcontext.gregs[libc::REG_RIP as usize] = pc as i64;
    context.uc_mcontext.gregs[libc::REG_RSP as usize] = sp as i64;
}

/// Whether this thread has a user shadow stack.
pub(crate) fn shadow_stacks() -> bool {
    /// `arch_prctl`: which features of shadow stacks are on.
    const ARCH_SHSTK_STATUS: usize = 0x5005;
    const SHSTK: u64 = 1;
    let mut on = 0_u64;
    // SAFETY: the kernel writes one word, if it knows the call.
    let known = unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_SHSTK_STATUS, &raw mut on) } == 0;
    known && on & SHSTK != 0
}

/// This thread's stack pointer.
#[inline(always)]
pub(crate) fn stack_pointer() -> usize {
    let sp: usize;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, rsp", out(reg) sp, options(nomem, nostack, preserves_flags)) };
    sp
}
