//! The one table: which registers of which architecture a preempted function may be using.
//!
//! Everything else is made from it: the assembly, the Rust description of the frame, and the harness's bad twins, one
//! per line of the table.

/// How a register is saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A general register: a word of the frame, with an unwind rule.
    General,
    /// Flags: a word of the frame; unwinders do not know it.
    Flags,
    /// A part of the state that XSAVE knows by this bit of its mask.
    Component(u8),
    /// A control or status word of the floating-point unit (aarch64).
    FloatControl,
    /// A vector register (aarch64).
    Vector,
}

/// A line of the table.
#[derive(Clone, Copy, Debug)]
pub struct Register {
    pub name: &'static str,
    pub kind: Kind,
}

/// An architecture with its registers, in the order in which they are saved. The stack pointer and the pc are no
/// lines: the frame's place and the injected call keep them.
#[derive(Debug)]
pub struct Arch {
    /// As in Rust's `target_arch`, except that `x86` is called `i686`.
    pub name: &'static str,
    pub registers: &'static [Register],
}

impl Arch {
    /// The registers of one kind.
    pub fn of(&self, kind: Kind) -> impl Iterator<Item = &'static Register> {
        self.registers.iter().filter(move |r| r.kind == kind)
    }
}

/// All architectures that have an `async_preempt`. The others get the stub.
pub const ARCHES: [&Arch; 3] = [&X86_64, &I686, &AARCH64];

const fn general(name: &'static str) -> Register {
    Register { name, kind: Kind::General }
}

const fn flags(name: &'static str) -> Register {
    Register { name, kind: Kind::Flags }
}

const fn component(name: &'static str, bit: u8) -> Register {
    Register { name, kind: Kind::Component(bit) }
}

const fn float_control(name: &'static str) -> Register {
    Register { name, kind: Kind::FloatControl }
}

const fn vector(name: &'static str) -> Register {
    Register { name, kind: Kind::Vector }
}

/// The frame pointer comes first, since the frame hangs off it, then the flags, before anything changes them.
///
/// Not here: PKRU (bit 9), which is the thread's and not the function's, and AMX tiles (17 and 18), 8 KiB that nothing
/// in the runtime touches, so they stay where they are as the goroutine keeps its thread.
pub const X86_64: Arch = Arch {
    name: "x86_64",
    registers: &[
        general("rbp"),
        flags("rflags"),
        general("rax"),
        general("rcx"),
        general("rdx"),
        general("rbx"),
        general("rsi"),
        general("rdi"),
        general("r8"),
        general("r9"),
        general("r10"),
        general("r11"),
        general("r12"),
        general("r13"),
        general("r14"),
        general("r15"),
        component("x87", 0),
        component("sse", 1),
        component("avx", 2),
        component("opmask", 5),
        component("zmm_hi256", 6),
        component("hi16_zmm", 7),
    ],
};

/// As x86_64; there are no registers 8 to 15 and 16 to 31.
pub const I686: Arch = Arch {
    name: "i686",
    registers: &[
        general("ebp"),
        flags("eflags"),
        general("eax"),
        general("ecx"),
        general("edx"),
        general("ebx"),
        general("esi"),
        general("edi"),
        component("x87", 0),
        component("sse", 1),
        component("avx", 2),
        component("opmask", 5),
        component("zmm_hi256", 6),
    ],
};

/// SVE and SME state is not here: see the head of the generated file.
pub const AARCH64: Arch = Arch {
    name: "aarch64",
    registers: &[
        general("x0"),
        general("x1"),
        general("x2"),
        general("x3"),
        general("x4"),
        general("x5"),
        general("x6"),
        general("x7"),
        general("x8"),
        general("x9"),
        general("x10"),
        general("x11"),
        general("x12"),
        general("x13"),
        general("x14"),
        general("x15"),
        general("x16"),
        general("x17"),
        general("x18"),
        general("x19"),
        general("x20"),
        general("x21"),
        general("x22"),
        general("x23"),
        general("x24"),
        general("x25"),
        general("x26"),
        general("x27"),
        general("x28"),
        general("x29"),
        general("x30"),
        flags("pstate"),
        float_control("fpsr"),
        float_control("fpcr"),
        vector("q0"),
        vector("q1"),
        vector("q2"),
        vector("q3"),
        vector("q4"),
        vector("q5"),
        vector("q6"),
        vector("q7"),
        vector("q8"),
        vector("q9"),
        vector("q10"),
        vector("q11"),
        vector("q12"),
        vector("q13"),
        vector("q14"),
        vector("q15"),
        vector("q16"),
        vector("q17"),
        vector("q18"),
        vector("q19"),
        vector("q20"),
        vector("q21"),
        vector("q22"),
        vector("q23"),
        vector("q24"),
        vector("q25"),
        vector("q26"),
        vector("q27"),
        vector("q28"),
        vector("q29"),
        vector("q30"),
        vector("q31"),
    ],
};
