//! `async_preempt` for aarch64: the frame is a signal frame of the kernel, and the return is `rt_sigreturn`.

use crate::asm::{Asm, Fault};
use crate::table::{AARCH64, Kind};

// Offsets in the kernel's `struct rt_sigframe`: siginfo, then ucontext with sigcontext at its end.
const UC_FLAGS: usize = 128;
const UC_LINK: usize = 136;
const UC_STACK: usize = 144;
const UC_SIGMASK: usize = 168;
const FAULT_ADDRESS: usize = 304;
const REGS: usize = 312;
const SP: usize = 560;
const PC: usize = 568;
const PSTATE: usize = 576;
// The one record of `__reserved`: `struct fpsimd_context`.
const FPSIMD: usize = 592;
const FPSIMD_MAGIC: u32 = 0x4650_8001;
const FPSIMD_BYTES: usize = 528;
const FPSR: usize = 600;
const FPCR: usize = 604;
const VREGS: usize = 608;
const TERMINATOR: usize = FPSIMD + FPSIMD_BYTES;
// Not the kernel's: a frame record (x29, pc) for those who walk frame pointers, then what the handler pushed.
const RECORD: usize = TERMINATOR + 16;
const PUSHED_LR: usize = RECORD + 16;
const PUSHED_PSTATE: usize = PUSHED_LR + 8;

/// Bytes from the interrupted stack pointer down to the frame.
pub const FRAME_BYTES: usize = PUSHED_LR + 16;

/// The frame as the fields of a Rust struct.
pub const FIELDS: [(&str, &str); 13] = [
    ("_siginfo_to_fault_address", "[u8; 312]"),
    ("regs", "[usize; 31]"),
    ("sp", "usize"),
    ("pc", "usize"),
    ("pstate", "usize"),
    ("_fpsimd_head", "[u32; 4]"),
    ("fpsr", "u32"),
    ("fpcr", "u32"),
    ("vregs", "[u128; 32]"),
    ("_terminator", "[u64; 2]"),
    ("_record", "[usize; 2]"),
    ("_pushed_lr", "usize"),
    ("_pushed_pstate", "usize"),
];

/// Where these fields must lie.
pub const OFFSETS: [(&str, usize); 7] =
    [("regs", REGS), ("sp", SP), ("pc", PC), ("pstate", PSTATE), ("fpsr", FPSR), ("fpcr", FPCR), ("vregs", VREGS)];

const SYS_SIGALTSTACK: u32 = 132;
const SYS_RT_SIGPROCMASK: u32 = 135;
const SYS_RT_SIGRETURN: u32 = 139;

/// The unwind column of the pc, as x30's own is taken by the interrupted function's x30: the one that GCC's unwinder
/// keeps for signal frames (it aborts at others).
const DWARF_PC: u32 = 96;

/// The text of the `.s` file.
pub fn assembly(fault: Fault) -> String {
    let mut asm = Asm::new("//", fault);
    asm.say(include_str!("heads/aarch64.txt"));
    asm.lines(&[
        ".section .text.async_preempt,\"ax\",%progbits",
        ".p2align 4",
        ".globl async_preempt",
        ".hidden async_preempt",
        ".type async_preempt,%function",
    ]);
    asm.label("async_preempt");
    entry(&mut asm);
    save(&mut asm, fault);
    asm.label(".Lasync_preempt_call");
    asm.lines(&["mov x0, sp", "bl {async_preempt2}"]);
    ask_the_kernel(&mut asm);
    leave(&mut asm);
    asm.line(".cfi_endproc");
    asm.lines(&[".globl async_preempt_end", ".hidden async_preempt_end"]);
    asm.label("async_preempt_end");
    asm.lines(&[".size async_preempt, async_preempt_end - async_preempt", ".text"]);
    asm.done()
}

fn store(asm: &mut Asm, register: &str, offset: usize) {
    asm.line(format!("str {register}, [sp, #{offset}]"));
}

fn cfi_offset(asm: &mut Asm, register: &str, offset: usize) {
    asm.line(format!(".cfi_offset {register}, -{}", FRAME_BYTES - offset));
}

fn entry(asm: &mut Asm) {
    asm.lines(&[".cfi_startproc", ".cfi_signal_frame"]);
    asm.line(format!(".cfi_return_column {DWARF_PC}"));
    asm.line(format!(".cfi_def_cfa sp, {}", FRAME_BYTES - PUSHED_LR));
    asm.line(format!(".cfi_register {DWARF_PC}, x30"));
    cfi_offset(asm, "x30", PUSHED_LR);
    asm.note("bti jc, as the interrupted instruction may have been the target of a branch.");
    asm.line("hint #38");
    asm.line(format!("sub sp, sp, #{PUSHED_LR}"));
    asm.line(format!(".cfi_def_cfa_offset {FRAME_BYTES}"));
}

fn save(asm: &mut Asm, fault: Fault) {
    for (i, register) in AARCH64.of(Kind::General).enumerate() {
        assert_eq!(register.name, format!("x{i}"), "the kernel has the general registers in order");
        // x30 holds the resume pc; its own value follows below.
        if i < 30 && fault.keeps(register.name) {
            store(asm, register.name, REGS + 8 * i);
            cfi_offset(asm, register.name, REGS + 8 * i);
        }
    }
    store(asm, "x30", PC);
    cfi_offset(asm, &DWARF_PC.to_string(), PC);
    if fault.keeps("x30") {
        asm.line(format!("ldr x9, [sp, #{PUSHED_LR}]"));
        store(asm, "x9", REGS + 8 * 30);
    }
    asm.line(format!("add x9, sp, #{FRAME_BYTES}"));
    store(asm, "x9", SP);
    for register in AARCH64.of(Kind::Flags) {
        let from = if fault.keeps(register.name) {
            asm.line(format!("ldr x9, [sp, #{PUSHED_PSTATE}]"));
            "x9"
        } else {
            "xzr"
        };
        store(asm, from, PSTATE);
    }
    for (register, offset) in AARCH64.of(Kind::FloatControl).zip([FPSR, FPCR]) {
        if fault.keeps(register.name) {
            asm.line(format!("mrs x9, {}", register.name));
            store(asm, "w9", offset);
        } else {
            store(asm, "wzr", offset);
        }
    }
    for (i, register) in AARCH64.of(Kind::Vector).enumerate() {
        assert_eq!(register.name, format!("q{i}"), "the kernel has the vector registers in order");
        if fault.keeps(register.name) {
            store(asm, register.name, VREGS + 16 * i);
        }
    }
    asm.note("What else the kernel reads: no flags, no link, one record, no further record.");
    for offset in [UC_FLAGS, UC_LINK, FAULT_ADDRESS, TERMINATOR] {
        store(asm, "xzr", offset);
    }
    asm.line(format!("movz w9, #{:#x}", FPSIMD_MAGIC & 0xffff));
    asm.line(format!("movk w9, #{:#x}, lsl #16", FPSIMD_MAGIC >> 16));
    store(asm, "w9", FPSIMD);
    asm.line(format!("mov w9, #{FPSIMD_BYTES}"));
    store(asm, "w9", FPSIMD + 4);
    asm.note("A frame record, as if the interrupted function had called.");
    asm.line(format!("add x9, sp, #{RECORD}"));
    asm.lines(&["stp x29, x30, [x9]", "mov x29, x9"]);
}

fn ask_the_kernel(asm: &mut Asm) {
    asm.note("The alternate stack and the signal mask, as they are now.");
    asm.lines(&["mov x0, #0", &format!("add x1, sp, #{UC_STACK}")]);
    asm.lines(&[&format!("mov x8, #{SYS_SIGALTSTACK}"), "svc #0"]);
    asm.lines(&["mov x0, #0", "mov x1, #0", &format!("add x2, sp, #{UC_SIGMASK}"), "mov x3, #8"]);
    asm.lines(&[&format!("mov x8, #{SYS_RT_SIGPROCMASK}"), "svc #0"]);
}

fn leave(asm: &mut Asm) {
    asm.lines(&[
        "mrs x9, tpidr_el0",
        "add x9, x9, #:tprel_hi12:tricolor_current, lsl #12",
        "add x9, x9, #:tprel_lo12_nc:tricolor_current",
    ]);
    asm.note("From here on this thread may be suspended where it is.");
    asm.lines(&[
        "str wzr, [x9, #{CURRENT_IN_RUNTIME}]",
        "ldr w10, [x9, #{CURRENT_STOP_PENDING}]",
        "cbz w10, .Lasync_preempt_return",
        "mov w10, #1",
        "str w10, [x9, #{CURRENT_IN_RUNTIME}]",
        "b .Lasync_preempt_call",
    ]);
    asm.label(".Lasync_preempt_return");
    asm.lines(&[&format!("mov x8, #{SYS_RT_SIGRETURN}"), "svc #0"]);
    asm.note("Not reached: the kernel kills a program whose frame it refuses.");
    asm.line("udf #0");
}
