/* The x86 part of the harness in assembly: the victim and the registers' destroyer, for both word sizes. */
#include "harness.h"

    .intel_syntax noprefix
    .text

#ifdef __x86_64__
#define IN(offset) [rip + image_in + offset]
#define OUT(offset) [rip + image_out + offset]
#define AT(symbol) [rip + symbol]
#define JUNK(offset) [rip + junk + offset]
#define SP rsp
#define BP rbp
#define WIDE(name) name##64
#else
#define IN(offset) [image_in + offset]
#define OUT(offset) [image_out + offset]
#define AT(symbol) [symbol]
#define JUNK(offset) [junk + offset]
#define SP esp
#define BP ebp
#define WIDE(name) name
#endif
#define GPR(i) (IMAGE_GPR + (i) * HARNESS_WORD)

/* Applies a macro to each general register, in the order of gpr_names. */
.macro general do
#ifdef __x86_64__
    .irp r, "rbp,0", "rax,1", "rcx,2", "rdx,3", "rbx,4", "rsi,5", "rdi,6", "r8,7", "r9,8", "r10,9", "r11,10", "r12,11", "r13,12", "r14,13", "r15,14"
#else
    .irp r, "ebp,0", "eax,1", "ecx,2", "edx,3", "ebx,4", "esi,5", "edi,6"
#endif
    \do \r
    .endr
.endm

.macro load_one r, i
    mov \r, IN(GPR(\i))
.endm
.macro store_one r, i
    mov OUT(GPR(\i)), \r
.endm

/* Vector registers from and to memory, as many as this machine and mode have. */
.macro load_vectors vectors, k
    cmp dword ptr AT(level), LEVEL_AVX
    jb 9f
    cmp dword ptr AT(level), LEVEL_AVX512
    jae 8f
    .irp i, 0, 1, 2, 3, 4, 5, 6, 7
    vmovdqu ymm\i, AT(\vectors + 64 * \i)
    .endr
#ifdef __x86_64__
    .irp i, 8, 9, 10, 11, 12, 13, 14, 15
    vmovdqu ymm\i, AT(\vectors + 64 * \i)
    .endr
#endif
    jmp 9f
8:
    .irp i, 0, 1, 2, 3, 4, 5, 6, 7
    vmovdqu64 zmm\i, AT(\vectors + 64 * \i)
    kmovq k\i, AT(\k + 8 * \i)
    .endr
#ifdef __x86_64__
    .irp i, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
    vmovdqu64 zmm\i, AT(\vectors + 64 * \i)
    .endr
#endif
9:
.endm

.macro store_vectors vectors, k
    cmp dword ptr AT(level), LEVEL_AVX
    jb 9f
    cmp dword ptr AT(level), LEVEL_AVX512
    jae 8f
    .irp i, 0, 1, 2, 3, 4, 5, 6, 7
    vmovdqu AT(\vectors + 64 * \i), ymm\i
    .endr
#ifdef __x86_64__
    .irp i, 8, 9, 10, 11, 12, 13, 14, 15
    vmovdqu AT(\vectors + 64 * \i), ymm\i
    .endr
#endif
    jmp 9f
8:
    .irp i, 0, 1, 2, 3, 4, 5, 6, 7
    vmovdqu64 AT(\vectors + 64 * \i), zmm\i
    kmovq AT(\k + 8 * \i), k\i
    .endr
#ifdef __x86_64__
    .irp i, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
    vmovdqu64 AT(\vectors + 64 * \i), zmm\i
    .endr
#endif
9:
.endm

/* void victim(void): unwinders must not go on above it, where the stack is another. */
    .globl victim, victim_trap, victim_resume
    .type victim, @function
victim:
    .cfi_startproc
#ifdef __x86_64__
    .cfi_undefined rip
    push rbx
    push rbp
    push r12
    push r13
    push r14
    push r15
#else
    .cfi_undefined eip
    push ebx
    push ebp
    push esi
    push edi
#endif
    mov AT(saved_sp), SP
    WIDE(fxrstor) IN(IMAGE_FX)
    load_vectors image_in+IMAGE_VECTORS, image_in+IMAGE_K
#ifdef __x86_64__
    push qword ptr IN(IMAGE_FLAGS)
    popfq
#else
    push dword ptr IN(IMAGE_FLAGS)
    popfd
#endif
    general load_one
    mov SP, IN(IMAGE_SP)
victim_trap:
    ud2
victim_resume:
    general store_one
    mov OUT(IMAGE_SP), SP
    mov SP, AT(saved_sp)
#ifdef __x86_64__
    pushfq
    pop qword ptr OUT(IMAGE_FLAGS)
#else
    pushfd
    pop dword ptr OUT(IMAGE_FLAGS)
#endif
    cld
    WIDE(fxsave) OUT(IMAGE_FX)
    store_vectors image_out+IMAGE_VECTORS, image_out+IMAGE_K
    fninit
    ldmxcsr AT(default_mxcsr)
#ifdef __x86_64__
    pop r15
    pop r14
    pop r13
    pop r12
    pop rbp
    pop rbx
#else
    pop edi
    pop esi
    pop ebp
    pop ebx
#endif
    ret
    .cfi_endproc
    .size victim, . - victim

/* async_preempt2: looks around in C, then destroys every register but those that it may rely on. */
    .globl mock_preempt2
    .type mock_preempt2, @function
mock_preempt2:
    .cfi_startproc
#ifdef __x86_64__
    push rbp
    .cfi_def_cfa_offset 16
    .cfi_offset rbp, -16
    mov rbp, rsp
    .cfi_def_cfa_register rbp
    pushfq
    pop rdx
    cld
    and edx, 0x400
    lea rsi, [rbp + 16]
    sub rsp, 48
    fnstenv [rsp]
    movzx ecx, word ptr [rsp + 8]
    and rsp, -16
    call mock_body
    .irp r, rax, rbx, rcx, rdx, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15
    mov \r, 0x5a5a5a5a5a5a5a5a
    .endr
#else
    push ebp
    .cfi_def_cfa_offset 8
    .cfi_offset ebp, -8
    mov ebp, esp
    .cfi_def_cfa_register ebp
    pushfd
    pop edx
    cld
    and edx, 0x400
    lea esi, [ebp + 8]
    mov edi, [ebp + 8]
    sub esp, 48
    fnstenv [esp]
    movzx ecx, word ptr [esp + 8]
    and esp, -16
    mov [esp], edi
    mov [esp + 4], esi
    mov [esp + 8], edx
    mov [esp + 12], ecx
    call mock_body
    .irp r, eax, ebx, ecx, edx, esi, edi
    mov \r, 0x5a5a5a5a
    .endr
#endif
    fninit
    .rept 8
    fld1
    .endr
    fldcw AT(junk_fcw)
    ldmxcsr AT(junk_mxcsr)
    .irp i, 0, 1, 2, 3, 4, 5, 6, 7
    movups xmm\i, JUNK(16 * \i)
    .endr
#ifdef __x86_64__
    .irp i, 8, 9, 10, 11, 12, 13, 14, 15
    movups xmm\i, JUNK(16 * \i)
    .endr
#endif
    load_vectors junk, junk+2048
    mov SP, BP
#ifdef __x86_64__
    pop rbp
#else
    pop ebp
#endif
    ret
    .cfi_endproc
    .size mock_preempt2, . - mock_preempt2

    .data
    .balign 8
saved_sp:
    .quad 0
default_mxcsr:
    .long 0x1f80
junk_mxcsr:
    .long 0x5f95
junk_fcw:
    .word 0x0b7f
    .section .note.GNU-stack,"",@progbits
