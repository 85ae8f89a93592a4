//! The Rust side of the generated files: what the runtime must know of the frame and of the machine.

use crate::aarch64;
use crate::table::{ARCHES, Arch};
use crate::x86::{Isa, MODE_AVX, MODE_XSAVE, MODE_XSAVEC};
use std::fmt::Write;

const HEAD: &str = "Made by `cargo run -p mkpreempt`: do not edit.\n";

fn head(text: &mut String, what: &str) {
    writeln!(text, "//! {what} {HEAD}").expect("a string takes all text");
    text.push_str("/// Why the runtime refuses asynchronous preemption at start, whatever the machine.\n");
}

fn constant(text: &mut String, doc: &str, name: &str, ty: &str, value: impl std::fmt::Display) {
    writeln!(text, "\n/// {doc}\npub(crate) const {name}: {ty} = {value};").expect("a string takes all text");
}

const STACK_DOC: &str =
    "Bytes of the interrupted stack that `async_preempt` needs, without what `async_preempt2` uses.";

/// The file of an x86 architecture.
pub fn x86(arch: &Arch, isa: &Isa) -> String {
    let mut text = String::new();
    head(&mut text, &format!("What the runtime must know of `{}.s`.", arch.name));
    text.push_str("pub(crate) const REFUSED: Option<&str> = None;\n");
    // The area with its alignment, the argument, the return address.
    let on_stack = if isa.word() == 4 { isa.xregs_bytes() + 63 + 16 } else { 15 };
    constant(&mut text, STACK_DOC, "STACK_BYTES", "usize", isa.frame_bytes() + on_stack + isa.word());
    constant(
        &mut text,
        "Bytes of an area for vector state; it is aligned to 64.",
        "XREGS_BYTES",
        "usize",
        isa.xregs_bytes(),
    );
    constant(&mut text, "Bit of the mode: XSAVE saves vector state.", "MODE_XSAVE", "u32", MODE_XSAVE);
    constant(&mut text, "Bit of the mode: XSAVEC does.", "MODE_XSAVEC", "u32", MODE_XSAVEC);
    constant(
        &mut text,
        "Bit of the mode: there is AVX, whose upper halves must be clean in Rust code.",
        "MODE_AVX",
        "u32",
        MODE_AVX,
    );
    let mask = format!("{:#x}", isa.xsave_mask(crate::asm::Fault::None));
    constant(&mut text, "The state that is saved, as bits of XCR0.", "XSAVE_MASK", "u32", mask);
    text.push_str("\n/// What `async_preempt` pushed on the goroutine's stack, lowest address first.\n#[repr(C)]\npub(crate) struct Frame {\n");
    for (name, _) in isa.pushed().rev() {
        writeln!(text, "    pub(crate) {name}: usize,").expect("a string takes all text");
    }
    let pc = if isa.word() == 8 { "rip" } else { "eip" };
    writeln!(text, "    /// The interrupted instruction.\n    pub(crate) {pc}: usize,")
        .expect("a string takes all text");
    if isa.red_zone() > 0 {
        let field = format!("pub(crate) red_zone: [u8; {}],", isa.red_zone());
        writeln!(text, "    /// What the interrupted function has below its stack pointer.\n    {field}")
            .expect("a string takes all text");
    }
    text.push_str("}\n");
    methods(&mut text, &format!("self.{pc}"), "core::ptr::from_ref(self).addr() + size_of::<Self>()");
    let (module, address) = if isa.word() == 8 { ("x86_64", "x86_64") } else { ("x86", "x86") };
    text.push_str(&include_str!("heads/xsave.rs.txt").replace("ARCH_MODULE", module).replace("ARCH", address));
    text
}

fn methods(text: &mut String, pc: &str, sp: &str) {
    write!(
        text,
        "
impl Frame {{
    /// The interrupted instruction.
    pub(crate) fn pc(&self) -> usize {{
        {pc}
    }}

    /// The stack pointer there.
    pub(crate) fn sp(&self) -> usize {{
        {sp}
    }}
}}
"
    )
    .expect("a string takes all text");
}

/// The file of aarch64.
pub fn aarch64() -> String {
    let mut text = String::new();
    head(&mut text, "What the runtime must know of `aarch64.s`.");
    text.push_str("pub(crate) const REFUSED: Option<&str> = None;\n");
    constant(&mut text, STACK_DOC, "STACK_BYTES", "usize", aarch64::FRAME_BYTES);
    text.push_str("\n/// What `async_preempt` left on the goroutine's stack: a signal frame of the kernel.\n#[repr(C)]\npub(crate) struct Frame {\n");
    for (name, ty) in aarch64::FIELDS {
        let vis = if name.starts_with('_') { "" } else { "pub(crate) " };
        writeln!(text, "    {vis}{name}: {ty},").expect("a string takes all text");
    }
    text.push_str("}\n\n");
    for (name, offset) in aarch64::OFFSETS {
        writeln!(text, "const _: () = assert!(core::mem::offset_of!(Frame, {name}) == {offset});")
            .expect("a string takes all text");
    }
    writeln!(text, "const _: () = assert!(size_of::<Frame>() == {});", aarch64::FRAME_BYTES)
        .expect("a string takes all text");
    methods(&mut text, "self.pc", "self.sp");
    text
}

/// The stub for every other architecture.
pub fn other() -> String {
    let mut text = String::new();
    let names: Vec<&str> = ARCHES.iter().map(|arch| arch.name).collect();
    head(&mut text, "The architectures that have no `async_preempt`.");
    writeln!(
        text,
        "pub(crate) const REFUSED: Option<&str> = Some(\"async_preempt exists for {} only\");",
        names.join(", ")
    )
    .expect("a string takes all text");
    text
}
