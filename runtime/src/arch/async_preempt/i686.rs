//! What the runtime must know of `i686.s`. Made by `cargo run -p mkpreempt`: do not edit.

/// Why the runtime refuses asynchronous preemption at start, whatever the machine.
pub(crate) const REFUSED: Option<&str> = None;

/// Bytes of the interrupted stack that `async_preempt` needs, without what `async_preempt2` uses.
pub(crate) const STACK_BYTES: usize = 1783;

/// Bytes of an area for vector state; it is aligned to 64.
pub(crate) const XREGS_BYTES: usize = 1664;

/// Bit of the mode: XSAVE saves vector state.
pub(crate) const MODE_XSAVE: u32 = 1;

/// Bit of the mode: XSAVEC does.
pub(crate) const MODE_XSAVEC: u32 = 2;

/// Bit of the mode: there is AVX, whose upper halves must be clean in Rust code.
pub(crate) const MODE_AVX: u32 = 4;

/// The state that is saved, as bits of XCR0.
pub(crate) const XSAVE_MASK: u32 = 0x67;

/// What `async_preempt` pushed on the goroutine's stack, lowest address first.
#[repr(C)]
pub(crate) struct Frame {
    pub(crate) edi: usize,
    pub(crate) esi: usize,
    pub(crate) ebx: usize,
    pub(crate) edx: usize,
    pub(crate) ecx: usize,
    pub(crate) eax: usize,
    pub(crate) eflags: usize,
    pub(crate) ebp: usize,
    /// The interrupted instruction.
    pub(crate) eip: usize,
}

impl Frame {
    /// The interrupted instruction.
    pub(crate) fn pc(&self) -> usize {
        self.eip
    }

    /// The stack pointer there.
    pub(crate) fn sp(&self) -> usize {
        core::ptr::from_ref(self).addr() + size_of::<Self>()
    }
}

/// The mode for `xsave_mode`, or why this machine's vector state cannot be saved.
pub(crate) fn xsave_mode() -> Result<u32, &'static str> {
    use core::arch::x86::{__cpuid, __cpuid_count};
    const FXSR: u32 = 1 << 24; // leaf 1, edx
    const OSXSAVE: u32 = 1 << 27; // leaf 1, ecx
    const AVX: u32 = 1 << 28; // leaf 1, ecx
    const XSAVEC: u32 = 1 << 1; // leaf 13.1, eax
    let features = __cpuid(1);
    if features.edx & FXSR == 0 {
        return Err("the processor has no FXSAVE");
    }
    if features.ecx & OSXSAVE == 0 {
        return Ok(0);
    }
    let xcr0: u32;
    // SAFETY: OSXSAVE says that XGETBV may be used; it reads a register.
    unsafe {
        core::arch::asm!("xgetbv", in("ecx") 0, out("eax") xcr0, out("edx") _, options(nomem, nostack, preserves_flags))
    };
    let compact = __cpuid_count(13, 1).eax & XSAVEC != 0;
    // The legacy region and the header, then the other components.
    let mut end: u32 = 576;
    for component in (2..32).filter(|c| XSAVE_MASK & xcr0 & (1 << c) != 0) {
        let layout = __cpuid_count(13, component);
        end = if compact {
            end.next_multiple_of(if layout.ecx & 2 != 0 { 64 } else { 1 }) + layout.eax
        } else {
            end.max(layout.ebx + layout.eax)
        };
    }
    if end as usize > XREGS_BYTES {
        return Err("the processor's vector state is larger than its area");
    }
    let avx = if features.ecx & AVX != 0 && xcr0 & 6 == 6 { MODE_AVX } else { 0 };
    Ok(avx | if compact { MODE_XSAVEC } else { MODE_XSAVE })
}
