// async_preempt for aarch64. Made by `cargo run -p mkpreempt` from the table in runtime/mkpreempt/src/table.rs: do not edit.
//
// A call of async_preempt is injected by a signal handler between two instructions of a goroutine. It saves all registers,
// calls async_preempt2(frame: *mut Frame), which may give the P away and come back much later on the same M with another
// P, restores all registers, and returns to the interrupted instruction.
//
// What the handler does, once it has found that the goroutine may be descheduled here, with the context's registers:
//   1. it sets the thread's in-runtime count, which was zero, to one;
//   2. sp = sp - 16 (there is no red zone; it refuses if sp is not a multiple of 16);
//   3. it stores lr (x30) at the new sp, and pstate at sp + 8;
//   4. lr = pc;
//   5. pc = async_preempt.
// It has checked that STACK_BYTES (aarch64.rs) and what async_preempt2 may use are left below sp.
// Between async_preempt and async_preempt_end it never injects; suspending the thread there is fine.
//
// Returning. No instruction loads the pc from memory, so a return by a branch costs a register; Go has one to spare
// (its REGTMP), Rust code has none. Therefore Frame is laid out as the kernel's signal frame, and the return is the system
// call rt_sigreturn, which restores every register at once. The signal mask and the alternate stack, which it would set
// too, are asked for just before, so that they stay.
//
// The order, and what would break if it were another:
//   - All state, vectors too, lies in Frame on the goroutine's stack from before the call until rt_sigreturn: a scan of
//     the stack finds it there, and async_preempt2 has nothing to move.
//   - The count is cleared before the pending stop is read (a handler that refused before has set the word; one that
//     comes later does not refuse). A pending stop calls async_preempt2 again, which must therefore know how to stop.
// The stack pointer alone must survive async_preempt2.
//
// SVE and SME: rt_sigreturn with this frame leaves the low 128 bits of the vector registers and clears the rest, and
// async_preempt2 may use them. So asynchronous preemption must be refused at start where the kernel reports SVE or SME
// (AT_HWCAP, AT_HWCAP2) and the program may use them.
//
// Operands of the template (constants are bytes):
//   CURRENT_IN_RUNTIME    offset of the 32-bit in-runtime count in the thread's words, tricolor_current
//   CURRENT_STOP_PENDING  offset of the 32-bit word there that is not zero when a stop waits for this thread
//   async_preempt2        symbol of extern "C" fn(frame: *mut Frame); does not unwind
    .section .text.async_preempt,"ax",%progbits
    .p2align 4
    .globl async_preempt
    .hidden async_preempt
    .type async_preempt,%function
async_preempt:
    .cfi_startproc
    .cfi_signal_frame
    .cfi_return_column 96
    .cfi_def_cfa sp, 16
    .cfi_register 96, x30
    .cfi_offset x30, -16
    // bti jc, as the interrupted instruction may have been the target of a branch.
    hint #38
    sub sp, sp, #1152
    .cfi_def_cfa_offset 1168
    str x0, [sp, #312]
    .cfi_offset x0, -856
    str x1, [sp, #320]
    .cfi_offset x1, -848
    str x2, [sp, #328]
    .cfi_offset x2, -840
    str x3, [sp, #336]
    .cfi_offset x3, -832
    str x4, [sp, #344]
    .cfi_offset x4, -824
    str x5, [sp, #352]
    .cfi_offset x5, -816
    str x6, [sp, #360]
    .cfi_offset x6, -808
    str x7, [sp, #368]
    .cfi_offset x7, -800
    str x8, [sp, #376]
    .cfi_offset x8, -792
    str x9, [sp, #384]
    .cfi_offset x9, -784
    str x10, [sp, #392]
    .cfi_offset x10, -776
    str x11, [sp, #400]
    .cfi_offset x11, -768
    str x12, [sp, #408]
    .cfi_offset x12, -760
    str x13, [sp, #416]
    .cfi_offset x13, -752
    str x14, [sp, #424]
    .cfi_offset x14, -744
    str x15, [sp, #432]
    .cfi_offset x15, -736
    str x16, [sp, #440]
    .cfi_offset x16, -728
    str x17, [sp, #448]
    .cfi_offset x17, -720
    str x18, [sp, #456]
    .cfi_offset x18, -712
    str x19, [sp, #464]
    .cfi_offset x19, -704
    str x20, [sp, #472]
    .cfi_offset x20, -696
    str x21, [sp, #480]
    .cfi_offset x21, -688
    str x22, [sp, #488]
    .cfi_offset x22, -680
    str x23, [sp, #496]
    .cfi_offset x23, -672
    str x24, [sp, #504]
    .cfi_offset x24, -664
    str x25, [sp, #512]
    .cfi_offset x25, -656
    str x26, [sp, #520]
    .cfi_offset x26, -648
    str x27, [sp, #528]
    .cfi_offset x27, -640
    str x28, [sp, #536]
    .cfi_offset x28, -632
    str x29, [sp, #544]
    .cfi_offset x29, -624
    str x30, [sp, #568]
    .cfi_offset 96, -600
    ldr x9, [sp, #1152]
    str x9, [sp, #552]
    add x9, sp, #1168
    str x9, [sp, #560]
    ldr x9, [sp, #1160]
    str x9, [sp, #576]
    mrs x9, fpsr
    str w9, [sp, #600]
    mrs x9, fpcr
    str w9, [sp, #604]
    str q0, [sp, #608]
    str q1, [sp, #624]
    str q2, [sp, #640]
    str q3, [sp, #656]
    str q4, [sp, #672]
    str q5, [sp, #688]
    str q6, [sp, #704]
    str q7, [sp, #720]
    str q8, [sp, #736]
    str q9, [sp, #752]
    str q10, [sp, #768]
    str q11, [sp, #784]
    str q12, [sp, #800]
    str q13, [sp, #816]
    str q14, [sp, #832]
    str q15, [sp, #848]
    str q16, [sp, #864]
    str q17, [sp, #880]
    str q18, [sp, #896]
    str q19, [sp, #912]
    str q20, [sp, #928]
    str q21, [sp, #944]
    str q22, [sp, #960]
    str q23, [sp, #976]
    str q24, [sp, #992]
    str q25, [sp, #1008]
    str q26, [sp, #1024]
    str q27, [sp, #1040]
    str q28, [sp, #1056]
    str q29, [sp, #1072]
    str q30, [sp, #1088]
    str q31, [sp, #1104]
    // What else the kernel reads: no flags, no link, one record, no further record.
    str xzr, [sp, #128]
    str xzr, [sp, #136]
    str xzr, [sp, #304]
    str xzr, [sp, #1120]
    movz w9, #0x8001
    movk w9, #0x4650, lsl #16
    str w9, [sp, #592]
    mov w9, #528
    str w9, [sp, #596]
    // A frame record, as if the interrupted function had called.
    add x9, sp, #1136
    stp x29, x30, [x9]
    mov x29, x9
.Lasync_preempt_call:
    mov x0, sp
    bl {async_preempt2}
    // The alternate stack and the signal mask, as they are now.
    mov x0, #0
    add x1, sp, #144
    mov x8, #132
    svc #0
    mov x0, #0
    mov x1, #0
    add x2, sp, #168
    mov x3, #8
    mov x8, #135
    svc #0
    mrs x9, tpidr_el0
    add x9, x9, #:tprel_hi12:tricolor_current, lsl #12
    add x9, x9, #:tprel_lo12_nc:tricolor_current
    // From here on this thread may be suspended where it is.
    str wzr, [x9, #{CURRENT_IN_RUNTIME}]
    ldr w10, [x9, #{CURRENT_STOP_PENDING}]
    cbz w10, .Lasync_preempt_return
    mov w10, #1
    str w10, [x9, #{CURRENT_IN_RUNTIME}]
    b .Lasync_preempt_call
.Lasync_preempt_return:
    mov x8, #139
    svc #0
    // Not reached: the kernel kills a program whose frame it refuses.
    udf #0
    .cfi_endproc
    .globl async_preempt_end
    .hidden async_preempt_end
async_preempt_end:
    .size async_preempt, async_preempt_end - async_preempt
    .text
