# async_preempt for x86_64. Made by `cargo run -p mkpreempt` from the table in runtime/mkpreempt/src/table.rs: do not edit.
#
# A call of async_preempt is injected by a signal handler between two instructions of a goroutine. It saves all registers,
# calls async_preempt2(frame: *mut Frame), which may give the P away and come back much later on the same M with another
# P, restores all registers, and returns to the interrupted instruction.
#
# What the handler does, once it has found that the goroutine may be descheduled here, with the context's registers:
#   1. it sets the thread's in-runtime count, which was zero, to one;
#   2. rsp = rsp - 128 - 8 (the red zone belongs to the interrupted function);
#   3. it stores rip at the new rsp;
#   4. rip = async_preempt. Flags stay as they are, DF too.
# It has checked that STACK_BYTES (x86_64.rs) and what async_preempt2 may use are left below rsp.
# Between async_preempt and async_preempt_end it never injects; suspending the thread there is fine.
#
# The order, and what would break if it were another:
#   - Vector state goes into p.xregs.scratch while the count is one, so nobody suspends this thread in between, and
#     async_preempt2 finds it there. Frame is the pushed words, lowest address first; interrupted rsp = frame + its size.
#   - async_preempt2 returns with a P. If that P's xregs.cache is not null, it is the area to restore from: whoever leaves
#     another area there, one kept for reuse, restores the wrong registers. If it is null, it is xregs.scratch, which
#     then still holds, or holds again, this goroutine's state.
#   - Vector state is restored before the count is cleared; the pending stop is read after it was cleared (a handler that
#     refused before has set the word; one that comes later does not refuse). A pending stop saves again and calls
#     async_preempt2 again, which must therefore know how to stop as well. So there is no instruction at which the count
#     is zero and the vector registers are not the goroutine's own.
#   - General registers are popped last: until then the stack holds them, and a scan from rsp finds them.
# The frame pointer alone must survive async_preempt2.
#
# User shadow stacks are not supported: the return was never called for.
#
# Operands of the template (constants are bytes):
#   CURRENT_M             offset of the M in the thread's words, tricolor_current
#   CURRENT_IN_RUNTIME    offset of the 32-bit in-runtime count there
#   CURRENT_STOP_PENDING  offset of the 32-bit word there that is not zero when a stop waits for this thread
#   M_P                   offset of the pointer to its P in M
#   P_XREGS_SCRATCH       offset of xregs.scratch in P: XREGS_BYTES (x86_64.rs), aligned to 64
#   P_XREGS_CACHE         offset of the pointer xregs.cache in P; what it points to is as scratch
#   xsave_mode            symbol of a static u32, written once at start: MODE_XSAVE, MODE_XSAVEC, MODE_AVX (x86_64.rs);
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
    .cfi_def_cfa rsp, 136
    .cfi_offset rip, -136
    push rbp
    .cfi_def_cfa_offset 144
    mov rbp, rsp
    .cfi_def_cfa_register rbp
    .cfi_offset rbp, -144
    pushfq
    cld
    push rax
    .cfi_offset rax, -160
    push rcx
    .cfi_offset rcx, -168
    push rdx
    .cfi_offset rdx, -176
    push rbx
    .cfi_offset rbx, -184
    push rsi
    .cfi_offset rsi, -192
    push rdi
    .cfi_offset rdi, -200
    push r8
    .cfi_offset r8, -208
    push r9
    .cfi_offset r9, -216
    push r10
    .cfi_offset r10, -224
    push r11
    .cfi_offset r11, -232
    push r12
    .cfi_offset r12, -240
    push r13
    .cfi_offset r13, -248
    push r14
    .cfi_offset r14, -256
    push r15
    .cfi_offset r15, -264
.Lasync_preempt_save:
    mov rax, qword ptr fs:[tricolor_current@TPOFF + {CURRENT_M}]
    mov rax, qword ptr [rax + {M_P}]
    lea rdi, [rax + {P_XREGS_SCRATCH}]
    mov ecx, dword ptr [rip + {xsave_mode}]
    test cl, 3
    jnz .Lasync_preempt_header
    fxsave64 [rdi]
    jmp .Lasync_preempt_saved
.Lasync_preempt_header:
    # XSAVE leaves parts of the header as they were, and XRSTOR refuses what it does not know.
    xor eax, eax
    xor edx, edx
    mov qword ptr [rdi + 512], rax
    mov qword ptr [rdi + 520], rax
    mov qword ptr [rdi + 528], rax
    mov qword ptr [rdi + 536], rax
    mov qword ptr [rdi + 544], rax
    mov qword ptr [rdi + 552], rax
    mov qword ptr [rdi + 560], rax
    mov qword ptr [rdi + 568], rax
    mov eax, 0xe7
    test cl, 2
    jnz .Lasync_preempt_xsavec
    xsave64 [rdi]
    jmp .Lasync_preempt_saved
.Lasync_preempt_xsavec:
    xsavec64 [rdi]
.Lasync_preempt_saved:
    # Rust expects an empty x87 stack and clean upper halves.
    fninit
    test cl, 4
    jz .Lasync_preempt_call
    vzeroupper
.Lasync_preempt_call:
    mov rdi, rsp
    and rsp, -16
    call {async_preempt2}
    lea rsp, [rbp - 120]
    # Perhaps another P than before, but the same M.
    mov rax, qword ptr fs:[tricolor_current@TPOFF + {CURRENT_M}]
    mov rax, qword ptr [rax + {M_P}]
    mov rdi, qword ptr [rax + {P_XREGS_CACHE}]
    lea rsi, [rax + {P_XREGS_SCRATCH}]
    test rdi, rdi
    cmovz rdi, rsi
    mov ecx, dword ptr [rip + {xsave_mode}]
    test cl, 3
    jnz .Lasync_preempt_xrstor
    fxrstor64 [rdi]
    jmp .Lasync_preempt_restored
.Lasync_preempt_xrstor:
    mov eax, 0xe7
    xor edx, edx
    xrstor64 [rdi]
.Lasync_preempt_restored:
    # From here on this thread may be suspended where it is: all vector registers live in it again.
    mov dword ptr fs:[tricolor_current@TPOFF + {CURRENT_IN_RUNTIME}], 0
    cmp dword ptr fs:[tricolor_current@TPOFF + {CURRENT_STOP_PENDING}], 0
    je .Lasync_preempt_pop
    mov dword ptr fs:[tricolor_current@TPOFF + {CURRENT_IN_RUNTIME}], 1
    jmp .Lasync_preempt_save
.Lasync_preempt_pop:
    pop r15
    .cfi_restore r15
    pop r14
    .cfi_restore r14
    pop r13
    .cfi_restore r13
    pop r12
    .cfi_restore r12
    pop r11
    .cfi_restore r11
    pop r10
    .cfi_restore r10
    pop r9
    .cfi_restore r9
    pop r8
    .cfi_restore r8
    pop rdi
    .cfi_restore rdi
    pop rsi
    .cfi_restore rsi
    pop rbx
    .cfi_restore rbx
    pop rdx
    .cfi_restore rdx
    pop rcx
    .cfi_restore rcx
    pop rax
    .cfi_restore rax
    popfq
    pop rbp
    .cfi_def_cfa rsp, 136
    .cfi_restore rbp
    # Pops the pc and gives the red zone back, in one instruction and without touching flags.
    ret 128
    .cfi_endproc
    .globl async_preempt_end
    .hidden async_preempt_end
async_preempt_end:
    .size async_preempt, async_preempt_end - async_preempt
    .text
