/* The aarch64 part of the harness in assembly: the victim and the registers' destroyer. */
#include "harness.h"

    .text

.macro address register, symbol
    adrp \register, \symbol
    add \register, \register, :lo12:\symbol
.endm

/* Applies a macro to the numbers of all vector registers. */
.macro vectors do
    .irp i, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
    \do \i
    .endr
.endm

.macro load_vector i
    ldr q\i, [x1, #64 * \i]
.endm
.macro store_vector i
    str q\i, [x1, #64 * \i]
.endm
.macro junk_vector i
    ldr q\i, [x9, #16 * \i]
.endm

/* void victim(void): unwinders must not go on above it, where the stack is another. */
    .globl victim, victim_trap, victim_resume
    .type victim, %function
victim:
    .cfi_startproc
    .cfi_undefined x30
    sub sp, sp, #176
    stp x19, x20, [sp, #0]
    stp x21, x22, [sp, #16]
    stp x23, x24, [sp, #32]
    stp x25, x26, [sp, #48]
    stp x27, x28, [sp, #64]
    stp x29, x30, [sp, #80]
    stp d8, d9, [sp, #96]
    stp d10, d11, [sp, #112]
    stp d12, d13, [sp, #128]
    stp d14, d15, [sp, #144]
    mrs x1, fpcr
    str x1, [sp, #160]
    address x0, saved_sp
    mov x1, sp
    str x1, [x0]
    address x0, image_in
    add x1, x0, #IMAGE_VECTORS
    vectors load_vector
    ldr w1, [x0, #IMAGE_FPSR]
    msr fpsr, x1
    ldr w1, [x0, #IMAGE_FPCR]
    msr fpcr, x1
    ldr x1, [x0, #IMAGE_FLAGS]
    msr nzcv, x1
    ldr x1, [x0, #IMAGE_SP]
    mov sp, x1
    .irp i, 30, 29, 28, 27, 26, 25, 24, 23, 22, 21, 20, 19, 18, 17, 16, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0
    ldr x\i, [x0, #8 * \i]
    .endr
victim_trap:
    udf #0
victim_resume:
    /* Memory is reached through a register: what x0 and x1 were goes below the stack pointer first. */
    stp x0, x1, [sp, #-16]
    address x0, image_out
    .irp i, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30
    str x\i, [x0, #8 * \i]
    .endr
    ldp x1, x2, [sp, #-16]
    stp x1, x2, [x0]
    mrs x1, nzcv
    str x1, [x0, #IMAGE_FLAGS]
    mov x1, sp
    str x1, [x0, #IMAGE_SP]
    mrs x1, fpsr
    str w1, [x0, #IMAGE_FPSR]
    mrs x1, fpcr
    str w1, [x0, #IMAGE_FPCR]
    add x1, x0, #IMAGE_VECTORS
    vectors store_vector
    address x0, saved_sp
    ldr x1, [x0]
    mov sp, x1
    ldr x1, [sp, #160]
    msr fpcr, x1
    ldp x19, x20, [sp, #0]
    ldp x21, x22, [sp, #16]
    ldp x23, x24, [sp, #32]
    ldp x25, x26, [sp, #48]
    ldp x27, x28, [sp, #64]
    ldp x29, x30, [sp, #80]
    ldp d8, d9, [sp, #96]
    ldp d10, d11, [sp, #112]
    ldp d12, d13, [sp, #128]
    ldp d14, d15, [sp, #144]
    add sp, sp, #176
    ret
    .cfi_endproc
    .size victim, . - victim

/* async_preempt2: looks around in C, then destroys every register but those that it may rely on. */
    .globl mock_preempt2
    .type mock_preempt2, %function
mock_preempt2:
    .cfi_startproc
    mov x1, sp
    stp x29, x30, [sp, #-16]!
    .cfi_def_cfa_offset 16
    .cfi_offset x29, -16
    .cfi_offset x30, -8
    mov x29, sp
    mov x2, #0
    mov x3, #0xffff
    bl mock_body
    ldr x30, [sp, #8]
    address x9, junk
    vectors junk_vector
    mov x0, #0x03000000
    msr fpcr, x0
    mov x0, #0x1f
    msr fpsr, x0
    mov x0, #0x5a5a
    .irp i, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29
    mov x\i, #0x5a5a
    .endr
    cmp x0, x1
    add sp, sp, #16
    ret
    .cfi_endproc
    .size mock_preempt2, . - mock_preempt2

    .bss
    .balign 8
saved_sp:
    .zero 8
    .section .note.GNU-stack,"",%progbits
