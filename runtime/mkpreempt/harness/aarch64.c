/* The aarch64 part of the harness. */
#define _GNU_SOURCE
#include "harness.h"
#include <asm/sigcontext.h>
#include <signal.h>
#include <string.h>

/* The frame is a signal frame of the kernel. */
struct frame {
    siginfo_t info;
    ucontext_t context;
};

#define NAMES_OF_EIGHT(a, b, c, d, e, f, g, h) #a, #b, #c, #d, #e, #f, #g, #h

const char *const gpr_names[] = {
    NAMES_OF_EIGHT(x0, x1, x2, x3, x4, x5, x6, x7),         NAMES_OF_EIGHT(x8, x9, x10, x11, x12, x13, x14, x15),
    NAMES_OF_EIGHT(x16, x17, x18, x19, x20, x21, x22, x23), "x24", "x25", "x26", "x27", "x28", "x29", "x30", NULL,
};
static const char *const vector_names[] = {
    NAMES_OF_EIGHT(q0, q1, q2, q3, q4, q5, q6, q7),         NAMES_OF_EIGHT(q8, q9, q10, q11, q12, q13, q14, q15),
    NAMES_OF_EIGHT(q16, q17, q18, q19, q20, q21, q22, q23), NAMES_OF_EIGHT(q24, q25, q26, q27, q28, q29, q30, q31),
};
const int gpr_dwarf[] = {0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15,
                         16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30};
const size_t red_zone = 0;
/* N, Z, C, V. */
const uintptr_t flags_mask = 0xf0000000;
const char *const flags_name = "pstate";

bool arch_mode(const char *mode)
{
    return !strcmp(mode, "best");
}

bool arch_has(const char *twin)
{
    (void)twin;
    return true;
}

void arch_prepare(struct image *in)
{
    in->flags &= flags_mask;
    /* The sticky exceptions and saturation. */
    in->fpsr &= 0x0800001f;
    /* Rounding, flush to zero, default NaN. */
    in->fpcr &= 0x03c00000;
}

void arch_compare(const char *where, const struct image *a, const struct image *b)
{
    same("fpsr", where, &a->fpsr, &b->fpsr, 4);
    same("fpcr", where, &a->fpcr, &b->fpcr, 4);
    for (int i = 0; i < 32; i++)
        same(vector_names[i], where, a->vectors[i], b->vectors[i], 16);
}

uintptr_t arch_pc(const ucontext_t *context)
{
    return context->uc_mcontext.pc;
}

void arch_set_pc(ucontext_t *context, uintptr_t pc)
{
    context->uc_mcontext.pc = pc;
}

void arch_inject(ucontext_t *context, char *target)
{
    mcontext_t *registers = &context->uc_mcontext;
    registers->sp -= 16;
    uint64_t *pushed = (uint64_t *)registers->sp;
    pushed[0] = registers->regs[30];
    pushed[1] = registers->pstate;
    registers->regs[30] = (uintptr_t)victim_resume;
    registers->pc = (uintptr_t)target;
}

static const struct fpsimd_context *vectors_of(const struct frame *frame)
{
    return (const struct fpsimd_context *)frame->context.uc_mcontext.__reserved;
}

void arch_frame(const uintptr_t *words, struct image *seen, uintptr_t *pc)
{
    const struct frame *frame = (const struct frame *)words;
    const mcontext_t *registers = &frame->context.uc_mcontext;
    memcpy(seen->gpr, registers->regs, sizeof registers->regs);
    seen->flags = registers->pstate;
    seen->sp = registers->sp;
    *pc = registers->pc;
    if (vectors_of(frame)->head.magic != FPSIMD_MAGIC || vectors_of(frame)->head.size != sizeof(struct fpsimd_context))
        wrong("fpsimd", "the record's head");
    if (seen->sp != (uintptr_t)frame + FRAME_BYTES)
        wrong("sp", "against the frame's size");
}

void arch_saved(const uintptr_t *words)
{
    const struct fpsimd_context *saved = vectors_of((const struct frame *)words);
    same("fpsr", "in the frame", &saved->fpsr, &image_in.fpsr, 4);
    same("fpcr", "in the frame", &saved->fpcr, &image_in.fpcr, 4);
    for (int i = 0; i < 32; i++)
        same(vector_names[i], "in the frame", &saved->vregs[i], image_in.vectors[i], 16);
}

/* User programs cannot step here. */
void arch_step(ucontext_t *context, bool on)
{
    (void)context, (void)on;
    wrong("step", "not on this architecture");
}

void arch_live(const ucontext_t *context)
{
    (void)context;
}
