//! `async_preempt` for x86_64 and i686: pushes for the general registers, XSAVE for all others.

use crate::asm::{Asm, Fault};
use crate::table::{Arch, Kind};

/// What differs between the two.
pub struct Isa {
    arch: &'static Arch,
    /// Bytes of a word.
    word: usize,
    /// Bytes below the stack pointer that belong to the interrupted function.
    red_zone: usize,
    /// First letter of the full-width registers.
    r: char,
    pushf: &'static str,
    popf: &'static str,
    /// Ending of the full-width forms of FXSAVE and XSAVE.
    wide: &'static str,
    word_ptr: &'static str,
    /// How a word of this thread is addressed, around its offset.
    thread: (&'static str, &'static str),
    head: &'static str,
}

pub const X86_64: Isa = Isa {
    arch: &crate::table::X86_64,
    word: 8,
    red_zone: 128,
    r: 'r',
    pushf: "pushfq",
    popf: "popfq",
    wide: "64",
    word_ptr: "qword ptr",
    thread: ("fs:[tricolor_current@TPOFF + ", "]"),
    head: include_str!("heads/x86_64.txt"),
};

pub const I686: Isa = Isa {
    arch: &crate::table::I686,
    word: 4,
    red_zone: 0,
    r: 'e',
    pushf: "pushfd",
    popf: "popfd",
    wide: "",
    word_ptr: "dword ptr",
    thread: ("gs:[tricolor_current@NTPOFF + ", "]"),
    head: include_str!("heads/i686.txt"),
};

/// Bits of the operand `xsave_mode`.
pub const MODE_XSAVE: u32 = 1;
pub const MODE_XSAVEC: u32 = 2;
pub const MODE_AVX: u32 = 4;

/// Where a component ends at the latest, in the layout of XSAVE (XSAVEC's is more compact).
fn component_end(bit: u8) -> usize {
    match bit {
        0 | 1 => 576,
        2 => 832,
        5 => 1152,
        6 => 1664,
        7 => 2688,
        _ => unreachable!("no such component in the table"),
    }
}

impl Isa {
    /// Bytes of an area for the vector state.
    pub fn xregs_bytes(&self) -> usize {
        self.components(Fault::None).map(component_end).max().expect("the table has components")
    }

    /// The mask of the instructions of the XSAVE family, which they combine with XCR0.
    pub fn xsave_mask(&self, fault: Fault) -> u32 {
        self.components(fault).map(|bit| 1 << bit).sum()
    }

    fn components(&self, fault: Fault) -> impl Iterator<Item = u8> {
        self.arch.registers.iter().filter(move |r| fault.keeps(r.name)).filter_map(|r| match r.kind {
            Kind::Component(bit) => Some(bit),
            _ => None,
        })
    }

    /// The registers that are pushed, in this order.
    pub fn pushed(&self) -> impl DoubleEndedIterator<Item = (&'static str, Kind)> {
        let words = self.arch.registers.iter().filter(|r| matches!(r.kind, Kind::General | Kind::Flags));
        words.map(|r| (r.name, r.kind))
    }

    /// Bytes from the stack pointer of the interrupted function down to the lowest pushed word.
    pub fn frame_bytes(&self) -> usize {
        self.red_zone + self.word * (1 + self.pushed().count())
    }

    pub fn red_zone(&self) -> usize {
        self.red_zone
    }

    pub fn word(&self) -> usize {
        self.word
    }

    /// The text of the `.s` file.
    pub fn assembly(&self, fault: Fault) -> String {
        let mut asm = Asm::new("#", fault);
        asm.say(self.head);
        asm.lines(&[
            ".section .text.async_preempt,\"ax\",@progbits",
            ".p2align 4",
            ".globl async_preempt",
            ".hidden async_preempt",
            ".type async_preempt,@function",
        ]);
        asm.label("async_preempt");
        self.entry(&mut asm, fault);
        asm.label(".Lasync_preempt_save");
        self.save(&mut asm, fault);
        self.call(&mut asm);
        if fault == Fault::ClearsEarly {
            self.set_in_runtime(&mut asm, 0);
        }
        self.restore(&mut asm, fault);
        self.leave(&mut asm);
        self.pop(&mut asm, fault);
        asm.line(".cfi_endproc");
        asm.lines(&[".globl async_preempt_end", ".hidden async_preempt_end"]);
        asm.label("async_preempt_end");
        asm.lines(&[".size async_preempt, async_preempt_end - async_preempt", ".text"]);
        asm.done()
    }

    fn reg(&self, letters: &str) -> String {
        format!("{}{letters}", self.r)
    }

    fn thread_word(&self, offset: &str) -> String {
        format!("{}{{{offset}}}{}", self.thread.0, self.thread.1)
    }

    fn skip_a_word(&self, sign: char) -> String {
        let sp = self.reg("sp");
        format!("lea {sp}, [{sp} {sign} {}]", self.word)
    }

    fn entry(&self, asm: &mut Asm, fault: Fault) {
        let (word, sp) = (self.word, self.reg("sp"));
        // The frame is described from the interrupted stack pointer, which is what unwinders call the CFA here.
        let mut depth = self.red_zone + word;
        asm.lines(&[".cfi_startproc", ".cfi_signal_frame"]);
        asm.line(format!(".cfi_def_cfa {sp}, {depth}"));
        asm.line(format!(".cfi_offset {}, -{depth}", self.reg("ip")));
        for (i, (name, kind)) in self.pushed().enumerate() {
            depth += word;
            match kind {
                _ if !fault.keeps(name) => asm.line(self.skip_a_word('-')),
                Kind::Flags => asm.line(self.pushf),
                _ => asm.line(format!("push {name}")),
            }
            if i == 0 {
                let bp = self.reg("bp");
                assert_eq!(name, bp, "the frame pointer comes first");
                asm.line(format!(".cfi_def_cfa_offset {depth}"));
                asm.line(format!("mov {bp}, {sp}"));
                asm.line(format!(".cfi_def_cfa_register {bp}"));
            }
            if kind == Kind::General && fault.keeps(name) {
                asm.line(format!(".cfi_offset {name}, -{depth}"));
            }
            if kind == Kind::Flags {
                asm.line("cld");
            }
        }
        if self.on_stack() {
            asm.line(format!("sub {sp}, {}", self.xregs_bytes()));
            asm.line(format!("and {sp}, -64"));
        }
    }

    /// Whether the vector state lies on the goroutine's stack, not in the P.
    fn on_stack(&self) -> bool {
        self.word == 4
    }

    /// Loads P into the register that returns values.
    fn load_p(&self, asm: &mut Asm) {
        let (ax, ptr) = (self.reg("ax"), self.word_ptr);
        asm.line(format!("mov {ax}, {ptr} {}", self.thread_word("CURRENT_M")));
        asm.line(format!("mov {ax}, {ptr} [{ax} + {{M_P}}]"));
    }

    /// Loads the mode into ecx.
    fn load_mode(&self, asm: &mut Asm, at: &str) {
        if self.on_stack() {
            // The program may lie anywhere, and there is no addressing by the pc: the call pushes the place of a word
            // that says how far away the mode is.
            let label = format!(".Lasync_preempt_mode_{at}");
            asm.line(format!("call {label}"));
            asm.line(".long {xsave_mode} - .");
            asm.label(&label);
            asm.lines(&["pop ecx", "mov eax, dword ptr [ecx]", "mov ecx, dword ptr [ecx + eax]"]);
        } else {
            asm.line("mov ecx, dword ptr [rip + {xsave_mode}]");
        }
    }

    fn save(&self, asm: &mut Asm, fault: Fault) {
        let (ax, di, wide) = (self.reg("ax"), self.reg("di"), self.wide);
        if self.on_stack() {
            asm.line("mov edi, esp");
        } else {
            self.load_p(asm);
            asm.line("lea rdi, [rax + {P_XREGS_SCRATCH}]");
        }
        self.load_mode(asm, "save");
        asm.line(format!("test cl, {}", MODE_XSAVE | MODE_XSAVEC));
        asm.line("jnz .Lasync_preempt_header");
        asm.line(format!("fxsave{wide} [{di}]"));
        asm.line("jmp .Lasync_preempt_saved");
        asm.label(".Lasync_preempt_header");
        asm.note("XSAVE leaves parts of the header as they were, and XRSTOR refuses what it does not know.");
        asm.lines(&["xor eax, eax", "xor edx, edx"]);
        for offset in (512..576).step_by(self.word) {
            asm.line(format!("mov {} [{di} + {offset}], {ax}", self.word_ptr));
        }
        asm.line(format!("mov eax, {:#x}", self.xsave_mask(fault)));
        asm.line(format!("test cl, {MODE_XSAVEC}"));
        asm.line("jnz .Lasync_preempt_xsavec");
        asm.line(format!("xsave{wide} [{di}]"));
        asm.line("jmp .Lasync_preempt_saved");
        asm.label(".Lasync_preempt_xsavec");
        asm.line(format!("xsavec{wide} [{di}]"));
        asm.label(".Lasync_preempt_saved");
        asm.note("Rust expects an empty x87 stack and clean upper halves.");
        asm.line("fninit");
        asm.line(format!("test cl, {MODE_AVX}"));
        asm.lines(&["jz .Lasync_preempt_call", "vzeroupper"]);
        asm.label(".Lasync_preempt_call");
    }

    fn call(&self, asm: &mut Asm) {
        let (bp, sp) = (self.reg("bp"), self.reg("sp"));
        // From the place of the frame pointer down to the lowest pushed word.
        let below = self.word * (self.pushed().count() - 1);
        let frame = format!("[{bp} - {below}]");
        if self.on_stack() {
            asm.line("sub esp, 16");
            asm.line(format!("lea eax, {frame}"));
            asm.lines(&["mov dword ptr [esp], eax", "call {async_preempt2}", "add esp, 16"]);
        } else {
            asm.lines(&["mov rdi, rsp", "and rsp, -16", "call {async_preempt2}"]);
            asm.line(format!("lea {sp}, {frame}"));
        }
    }

    fn restore(&self, asm: &mut Asm, fault: Fault) {
        let (di, wide) = (self.reg("di"), self.wide);
        if self.on_stack() {
            asm.line("mov edi, esp");
        } else {
            asm.note("Perhaps another P than before, but the same M.");
            self.load_p(asm);
            asm.lines(&[
                "mov rdi, qword ptr [rax + {P_XREGS_CACHE}]",
                "lea rsi, [rax + {P_XREGS_SCRATCH}]",
                "test rdi, rdi",
                "cmovz rdi, rsi",
            ]);
        }
        self.load_mode(asm, "restore");
        asm.line(format!("test cl, {}", MODE_XSAVE | MODE_XSAVEC));
        asm.line("jnz .Lasync_preempt_xrstor");
        asm.line(format!("fxrstor{wide} [{di}]"));
        asm.line("jmp .Lasync_preempt_restored");
        asm.label(".Lasync_preempt_xrstor");
        asm.line(format!("mov eax, {:#x}", self.xsave_mask(fault)));
        asm.lines(&["xor edx, edx", &format!("xrstor{wide} [{di}]")]);
        asm.label(".Lasync_preempt_restored");
    }

    fn set_in_runtime(&self, asm: &mut Asm, value: u32) {
        asm.line(format!("mov dword ptr {}, {value}", self.thread_word("CURRENT_IN_RUNTIME")));
    }

    fn leave(&self, asm: &mut Asm) {
        asm.note("From here on this thread may be suspended where it is: all vector registers live in it again.");
        self.set_in_runtime(asm, 0);
        asm.line(format!("cmp dword ptr {}, 0", self.thread_word("CURRENT_STOP_PENDING")));
        asm.line("je .Lasync_preempt_pop");
        self.set_in_runtime(asm, 1);
        asm.line("jmp .Lasync_preempt_save");
        asm.label(".Lasync_preempt_pop");
    }

    fn pop(&self, asm: &mut Asm, fault: Fault) {
        if self.on_stack() {
            asm.line(format!("lea esp, [ebp - {}]", self.word * (self.pushed().count() - 1)));
        }
        for (name, kind) in self.pushed().rev() {
            match kind {
                _ if !fault.keeps(name) => asm.line(self.skip_a_word('+')),
                Kind::Flags => asm.line(self.popf),
                _ => asm.line(format!("pop {name}")),
            }
            if name == self.reg("bp") {
                asm.line(format!(".cfi_def_cfa {}, {}", self.reg("sp"), self.red_zone + self.word));
            }
            if kind == Kind::General && fault.keeps(name) {
                asm.line(format!(".cfi_restore {name}"));
            }
        }
        if self.red_zone == 0 {
            asm.line("ret");
        } else {
            asm.note("Pops the pc and gives the red zone back, in one instruction and without touching flags.");
            asm.line(format!("ret {}", self.red_zone));
        }
    }
}
