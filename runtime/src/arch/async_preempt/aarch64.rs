//! What the runtime must know of `aarch64.s`. Made by `cargo run -p mkpreempt`: do not edit.

/// Why the runtime refuses asynchronous preemption at start, whatever the machine.
pub(crate) const REFUSED: Option<&str> = None;

/// Bytes of the interrupted stack that `async_preempt` needs, without what `async_preempt2` uses.
pub(crate) const STACK_BYTES: usize = 1168;

/// What `async_preempt` left on the goroutine's stack: a signal frame of the kernel.
#[repr(C)]
pub(crate) struct Frame {
    _siginfo_to_fault_address: [u8; 312],
    pub(crate) regs: [usize; 31],
    pub(crate) sp: usize,
    pub(crate) pc: usize,
    pub(crate) pstate: usize,
    _fpsimd_head: [u32; 4],
    pub(crate) fpsr: u32,
    pub(crate) fpcr: u32,
    pub(crate) vregs: [u128; 32],
    _terminator: [u64; 2],
    _record: [usize; 2],
    _pushed_lr: usize,
    _pushed_pstate: usize,
}

const _: () = assert!(core::mem::offset_of!(Frame, regs) == 312);
const _: () = assert!(core::mem::offset_of!(Frame, sp) == 560);
const _: () = assert!(core::mem::offset_of!(Frame, pc) == 568);
const _: () = assert!(core::mem::offset_of!(Frame, pstate) == 576);
const _: () = assert!(core::mem::offset_of!(Frame, fpsr) == 600);
const _: () = assert!(core::mem::offset_of!(Frame, fpcr) == 604);
const _: () = assert!(core::mem::offset_of!(Frame, vregs) == 608);
const _: () = assert!(size_of::<Frame>() == 1168);

impl Frame {
    /// The interrupted instruction.
    pub(crate) fn pc(&self) -> usize {
        self.pc
    }

    /// The stack pointer there.
    pub(crate) fn sp(&self) -> usize {
        self.sp
    }
}
