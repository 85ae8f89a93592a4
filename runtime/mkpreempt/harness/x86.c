/* The x86 part of the harness, for both word sizes. */
#define _GNU_SOURCE
#include "harness.h"
#include <cpuid.h>
#include <string.h>

#ifdef __x86_64__
const char *const gpr_names[] = {"rbp", "rax", "rcx", "rdx", "rbx", "rsi", "rdi", "r8",
                                 "r9",  "r10", "r11", "r12", "r13", "r14", "r15", NULL};
const int gpr_dwarf[] = {6, 0, 2, 1, 3, 4, 5, 8, 9, 10, 11, 12, 13, 14, 15};
const size_t red_zone = 128;
const char *const flags_name = "rflags";
#define GPRS 15
#define XMMS 16
#define CONTEXT_PC REG_RIP
#define CONTEXT_SP REG_RSP
#else
const char *const gpr_names[] = {"ebp", "eax", "ecx", "edx", "ebx", "esi", "edi", NULL};
const int gpr_dwarf[] = {5, 0, 1, 2, 3, 6, 7};
const size_t red_zone = 0;
const char *const flags_name = "eflags";
#define GPRS 7
#define XMMS 8
#define CONTEXT_PC REG_EIP
#define CONTEXT_SP REG_ESP
#endif

/* CF, PF, AF, ZF, SF, DF, OF. */
const uintptr_t flags_mask = 0xcd5;

/* Offsets in an FXSAVE area. */
enum { FCW = 0, FSW = 2, FTW = 4, MXCSR = 24, ST = 32, XMM = 160 };

#define MODE_XSAVE 1
#define MODE_XSAVEC 2
#define MODE_AVX 4

bool arch_mode(const char *mode)
{
    unsigned a, b, c, d;
    bool xsave = false, xsavec = false;
    level = 0;
    xsave_mode = 0;
    if (__get_cpuid(1, &a, &b, &c, &d) && c & bit_OSXSAVE) {
        xsave = true;
        xsavec = __get_cpuid_count(0xd, 1, &a, &b, &c, &d) && a & 2;
    }
    if (__builtin_cpu_supports("avx"))
        xsave_mode = MODE_AVX;
    if (!strcmp(mode, "fxsave"))
        return true;
    level = __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") ? LEVEL_AVX512
            : __builtin_cpu_supports("avx")                                          ? LEVEL_AVX
                                                                                     : 0;
    bool compact = !strcmp(mode, "xsavec") || (!strcmp(mode, "best") && xsavec);
    xsave_mode |= compact ? MODE_XSAVEC | MODE_XSAVE : MODE_XSAVE;
    return compact ? xsavec : xsave;
}

bool arch_has(const char *twin)
{
    if (!strcmp(twin, "opmask") || strstr(twin, "zmm"))
        return level >= LEVEL_AVX512;
    return strcmp(twin, "avx") || level >= LEVEL_AVX;
}

void arch_prepare(struct image *in)
{
    uint8_t *fx = in->fx;
    uint16_t rounding = in->fx[FCW + 1] & 0x0c, top = in->fx[FSW + 1] & 0x38;
    uint32_t mxcsr = 0x1f80 | (fx[MXCSR] & 0x3f) | (fx[MXCSR + 1] & 0x60) << 8;
    uint16_t fcw = 0x037f | rounding << 8, fsw = top << 8;
    memset(fx, 0, ST);
    memcpy(fx + FCW, &fcw, 2);
    memcpy(fx + FSW, &fsw, 2);
    fx[FTW] = 0xff;
    memcpy(fx + MXCSR, &mxcsr, 4);
    for (int i = 0; i < 8; i++)
        memset(fx + ST + 16 * i + 10, 0, 6);
    memset(fx + XMM + 16 * XMMS, 0, 512 - XMM - 16 * XMMS);
    /* The low part of each vector register is its xmm. */
    for (int i = 0; i < XMMS; i++)
        memcpy(in->vectors[i], fx + XMM + 16 * i, 16);
    in->flags = (in->flags & flags_mask) | 0x202;
}

static void compare_fx(const char *where, const uint8_t *a, const uint8_t *b)
{
    same("x87", where, a + FCW, b + FCW, 2);
    same("x87", where, a + FSW, b + FSW, 2);
    same("x87", where, a + FTW, b + FTW, 1);
    for (int i = 0; i < 8; i++)
        same("x87", where, a + ST + 16 * i, b + ST + 16 * i, 10);
    same("sse", where, a + MXCSR, b + MXCSR, 4);
    same("sse", where, a + XMM, b + XMM, 16 * XMMS);
}

void arch_compare(const char *where, const struct image *a, const struct image *b)
{
    compare_fx(where, a->fx, b->fx);
    for (int i = 0; i < XMMS && level >= LEVEL_AVX; i++)
        same("avx", where, a->vectors[i] + 16, b->vectors[i] + 16, 16);
    if (level < LEVEL_AVX512)
        return;
    for (int i = 0; i < XMMS; i++)
        same("zmm_hi256", where, a->vectors[i] + 32, b->vectors[i] + 32, 32);
    for (int i = 16; i < 32 && XMMS == 16; i++)
        same("hi16_zmm", where, a->vectors[i], b->vectors[i], 64);
    same("opmask", where, a->k, b->k, sizeof a->k);
}

uintptr_t arch_pc(const ucontext_t *context)
{
    return context->uc_mcontext.gregs[CONTEXT_PC];
}

void arch_set_pc(ucontext_t *context, uintptr_t pc)
{
    context->uc_mcontext.gregs[CONTEXT_PC] = pc;
}

void arch_inject(ucontext_t *context, char *target)
{
    greg_t *registers = context->uc_mcontext.gregs;
    uintptr_t sp = (uintptr_t)registers[CONTEXT_SP] - red_zone - sizeof(uintptr_t);
    *(uintptr_t *)sp = (uintptr_t)victim_resume;
    registers[CONTEXT_SP] = sp;
    registers[CONTEXT_PC] = (uintptr_t)target;
}

void arch_frame(const uintptr_t *frame, struct image *seen, uintptr_t *pc)
{
    seen->gpr[0] = frame[GPRS];
    seen->flags = frame[GPRS - 1];
    for (int i = 1; i < GPRS; i++)
        seen->gpr[i] = frame[GPRS - 1 - i];
    *pc = frame[GPRS + 1];
    seen->sp = (uintptr_t)(frame + GPRS + 2) + red_zone;
}

void arch_saved(const uintptr_t *frame)
{
#ifdef __x86_64__
    (void)frame;
    compare_fx("in xregs.scratch", image_in.fx, tricolor_current.m->p->scratch.bytes);
#else
    uintptr_t area = ((uintptr_t)frame - XREGS_BYTES) & -64;
    compare_fx("below the frame", image_in.fx, (const uint8_t *)area);
#endif
}

void arch_step(ucontext_t *context, bool on)
{
    greg_t *flags = &context->uc_mcontext.gregs[REG_EFL];
    *flags = on ? *flags | 0x100 : *flags & ~0x100;
}

void arch_live(const ucontext_t *context)
{
#ifdef __x86_64__
    const uint8_t *fx = (const uint8_t *)context->uc_mcontext.fpregs;
#else
    /* The old FSAVE area comes first. */
    const uint8_t *fx = (const uint8_t *)context->uc_mcontext.fpregs + 112;
#endif
    if (memcmp(fx + XMM, image_in.fx + XMM, 16 * XMMS))
        wrong("order", "the count is zero and vector registers are not the victim's");
}
