# async_preempt for i686. Made by `cargo run -p mkpreempt` from the table in runtime/mkpreempt/src/table.rs: do not edit.
#
# As on x86_64 (see there for the order and its reasons), except that there is no red zone, and that vector state lies on
# the goroutine's stack, at the highest multiple of 64 that leaves XREGS_BYTES (i686.rs) below Frame. A scan of the stack
# finds it there, and async_preempt2 has nothing to move.
#
# What the handler does, once it has found that the goroutine may be descheduled here, with the context's registers:
#   1. it sets the thread's in-runtime count, which was zero, to one;
#   2. esp = esp - 4;
#   3. it stores eip at the new esp;
#   4. eip = async_preempt. Flags stay as they are, DF too.
# It has checked that STACK_BYTES (i686.rs) and what async_preempt2 may use are left below esp.
# Between async_preempt and async_preempt_end it never injects; suspending the thread there is fine.
#
# The frame pointer and the stack pointer must survive async_preempt2.
#
# Operands of the template (constants are bytes):
#   CURRENT_IN_RUNTIME    offset of the 32-bit in-runtime count in the thread's words, tricolor_current
#   CURRENT_STOP_PENDING  offset of the 32-bit word there that is not zero when a stop waits for this thread
#   xsave_mode            symbol of a static u32, written once at start: MODE_XSAVE, MODE_XSAVEC, MODE_AVX (i686.rs);
#                         with neither of the first two FXSAVE is used
#   async_preempt2        symbol of extern "C" fn(frame: *mut Frame); does not unwind
    .section .text.async_preempt,"ax",@progbits
    .p2align 4
    .globl async_preempt
    .hidden async_preempt
    .type async_preempt,@function
async_preempt:
    .cfi_startproc
    .cfi_signal_frame
    .cfi_def_cfa esp, 4
    .cfi_offset eip, -4
    push ebp
    .cfi_def_cfa_offset 8
    mov ebp, esp
    .cfi_def_cfa_register ebp
    .cfi_offset ebp, -8
    pushfd
    cld
    push eax
    .cfi_offset eax, -16
    push ecx
    .cfi_offset ecx, -20
    push edx
    .cfi_offset edx, -24
    push ebx
    .cfi_offset ebx, -28
    push esi
    .cfi_offset esi, -32
    push edi
    .cfi_offset edi, -36
    sub esp, 1664
    and esp, -64
.Lasync_preempt_save:
    mov edi, esp
    call .Lasync_preempt_mode_save
    .long {xsave_mode} - .
.Lasync_preempt_mode_save:
    pop ecx
    mov eax, dword ptr [ecx]
    mov ecx, dword ptr [ecx + eax]
    test cl, 3
    jnz .Lasync_preempt_header
    fxsave [edi]
    jmp .Lasync_preempt_saved
.Lasync_preempt_header:
    # XSAVE leaves parts of the header as they were, and XRSTOR refuses what it does not know.
    xor eax, eax
    xor edx, edx
    mov dword ptr [edi + 512], eax
    mov dword ptr [edi + 516], eax
    mov dword ptr [edi + 520], eax
    mov dword ptr [edi + 524], eax
    mov dword ptr [edi + 528], eax
    mov dword ptr [edi + 532], eax
    mov dword ptr [edi + 536], eax
    mov dword ptr [edi + 540], eax
    mov dword ptr [edi + 544], eax
    mov dword ptr [edi + 548], eax
    mov dword ptr [edi + 552], eax
    mov dword ptr [edi + 556], eax
    mov dword ptr [edi + 560], eax
    mov dword ptr [edi + 564], eax
    mov dword ptr [edi + 568], eax
    mov dword ptr [edi + 572], eax
    mov eax, 0x67
    test cl, 2
    jnz .Lasync_preempt_xsavec
    xsave [edi]
    jmp .Lasync_preempt_saved
.Lasync_preempt_xsavec:
    xsavec [edi]
.Lasync_preempt_saved:
    # Rust expects an empty x87 stack and clean upper halves.
    fninit
    test cl, 4
    jz .Lasync_preempt_call
    vzeroupper
.Lasync_preempt_call:
    sub esp, 16
    lea eax, [ebp - 28]
    mov dword ptr [esp], eax
    call {async_preempt2}
    add esp, 16
    mov edi, esp
    call .Lasync_preempt_mode_restore
    .long {xsave_mode} - .
.Lasync_preempt_mode_restore:
    pop ecx
    mov eax, dword ptr [ecx]
    mov ecx, dword ptr [ecx + eax]
    test cl, 3
    jnz .Lasync_preempt_xrstor
    fxrstor [edi]
    jmp .Lasync_preempt_restored
.Lasync_preempt_xrstor:
    mov eax, 0x67
    xor edx, edx
    xrstor [edi]
.Lasync_preempt_restored:
    # From here on this thread may be suspended where it is: all vector registers live in it again.
    mov dword ptr gs:[tricolor_current@NTPOFF + {CURRENT_IN_RUNTIME}], 0
    cmp dword ptr gs:[tricolor_current@NTPOFF + {CURRENT_STOP_PENDING}], 0
    je .Lasync_preempt_pop
    mov dword ptr gs:[tricolor_current@NTPOFF + {CURRENT_IN_RUNTIME}], 1
    jmp .Lasync_preempt_save
.Lasync_preempt_pop:
    lea esp, [ebp - 28]
    pop edi
    .cfi_restore edi
    pop esi
    .cfi_restore esi
    pop ebx
    .cfi_restore ebx
    pop edx
    .cfi_restore edx
    pop ecx
    .cfi_restore ecx
    pop eax
    .cfi_restore eax
    popfd
    pop ebp
    .cfi_def_cfa esp, 4
    .cfi_restore ebp
    ret
    .cfi_endproc
    .globl async_preempt_end
    .hidden async_preempt_end
async_preempt_end:
    .size async_preempt, async_preempt_end - async_preempt
    .text
