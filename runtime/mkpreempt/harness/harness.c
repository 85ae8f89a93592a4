/* The harness of async_preempt: harness.h says how it works.
 *
 * usage: harness VARIANT MODE ROUNDS SEED [step]
 *
 * Exit status 0: all registers survived. 1: a line "wrong NAME: where" for each that did not. 77: not on this machine.
 */
#define _GNU_SOURCE
#include "harness.h"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <unwind.h>

_Static_assert(offsetof(struct current, in_runtime) == CURRENT_IN_RUNTIME, "operand");
_Static_assert(offsetof(struct current, stop_pending) == CURRENT_STOP_PENDING, "operand");
#ifdef CURRENT_M
_Static_assert(offsetof(struct current, m) == CURRENT_M, "operand");
_Static_assert(offsetof(struct m, p) == M_P, "operand");
_Static_assert(offsetof(struct p, scratch) == P_XREGS_SCRATCH, "operand");
_Static_assert(offsetof(struct p, cache) == P_XREGS_CACHE, "operand");
#endif

__thread struct current tricolor_current;
struct image image_in, image_out;
uint8_t junk[4096] __attribute__((aligned(64)));
uint32_t xsave_mode, level;

static const struct variant *variant;
static bool stepping;

/* --- Reports. --- */

static const char *seen_wrong[64];
static int wrongs;

void wrong(const char *name, const char *where)
{
    for (int i = 0; i < wrongs; i++)
        if (!strcmp(seen_wrong[i], name))
            return;
    if (wrongs < 64)
        seen_wrong[wrongs++] = name;
    printf("wrong %s: %s\n", name, where);
}

void same(const char *name, const char *where, const void *a, const void *b, size_t bytes)
{
    if (memcmp(a, b, bytes))
        wrong(name, where);
}

static void same_general(const char *where, const struct image *a, const struct image *b)
{
    for (int i = 0; gpr_names[i]; i++)
        if (a->gpr[i] != b->gpr[i])
            wrong(gpr_names[i], where);
    if ((a->flags ^ b->flags) & flags_mask)
        wrong(flags_name, where);
    if (a->sp != b->sp)
        wrong("sp", where);
}

/* --- Random values. --- */

static uint64_t random_state;

static uint64_t random_word(void)
{
    /* splitmix64 */
    uint64_t z = random_state += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

static void random_bytes(void *to, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        ((uint8_t *)to)[i] = (uint8_t)random_word();
}

/* --- Unwinding: from inside async_preempt or below, with all registers of the victim. --- */

static bool met_victim;

static _Unwind_Reason_Code frame_of(struct _Unwind_Context *context, void *where)
{
    int before;
    if (_Unwind_GetIPInfo(context, &before) != (uintptr_t)victim_resume)
        return _URC_NO_REASON;
    met_victim = true;
    if (!before)
        wrong("unwinding", "the resume pc counts as a return address");
    if (_Unwind_GetCFA(context) != image_in.sp)
        wrong("unwinding", "the stack pointer");
    for (int i = 0; gpr_names[i]; i++)
        if (_Unwind_GetGR(context, gpr_dwarf[i]) != image_in.gpr[i])
            wrong(gpr_names[i], where);
    return _URC_END_OF_STACK;
}

static void unwind(const char *where)
{
    met_victim = false;
    _Unwind_Backtrace(frame_of, (void *)where);
    if (!met_victim)
        wrong("unwinding", where);
}

/* --- The mock runtime. --- */

static struct p ps[2];
static struct m the_m = {.p = &ps[0]};
#ifdef CURRENT_M
static struct xregs states[2];
#endif

/* What this round does. */
static unsigned calls, calls_planned;
static bool unwinds;

/* The C part of the mock async_preempt2; the assembly part then destroys all registers. */
__attribute__((used)) void mock_body(const uintptr_t *frame, uintptr_t sp_at_call, uintptr_t df, uintptr_t x87_tags)
{
    struct image seen = {0};
    uintptr_t pc;
    arch_frame(frame, &seen, &pc);
    same_general("in the frame", &image_in, &seen);
    if (pc != (uintptr_t)victim_resume)
        wrong("pc", "in the frame");
    if (sp_at_call % 16)
        wrong("alignment", "of the stack at the call");
    if (df)
        wrong("df", "set in async_preempt2");
    if (x87_tags != 0xffff)
        wrong("x87 stack", "not empty in async_preempt2");
    if (tricolor_current.in_runtime != 1)
        wrong("in_runtime", "not one in async_preempt2");
    arch_saved(frame);
    /* Without a rule for a register unwinders do not answer. */
    if (unwinds && !wrongs)
        unwind("unwinding from async_preempt2");

#ifdef CURRENT_M
    /* As the runtime: move the state out, come back with this P or another, hand it the state. */
    struct p *p = the_m.p;
    uint64_t how = random_word();
    p->cache = NULL;
    if (how & 1) {
        struct xregs *state = &states[how >> 8 & 1];
        *state = p->scratch;
        memset(&p->scratch, 0xa5, sizeof p->scratch);
        the_m.p = p = &ps[how >> 9 & 1];
        p->cache = state;
    }
#endif
    calls++;
    tricolor_current.stop_pending = calls < calls_planned;
}

static void on_trap(int sig, siginfo_t *info, void *context)
{
    (void)info;
    if (arch_pc(context) != (uintptr_t)victim_trap) {
        printf("signal %d at %#zx, not in the victim\n", sig, (size_t)arch_pc(context));
        fflush(stdout);
        _exit(3);
    }
    if (!variant->start) {
        arch_set_pc(context, (uintptr_t)victim_resume);
        return;
    }
    tricolor_current.in_runtime = 1;
    arch_inject(context, variant->start);
    if (stepping)
        arch_step(context, true);
}

/* After each instruction: unwinding works, and vector registers are live or this thread is in the runtime. */
static void on_step(int sig, siginfo_t *info, void *context)
{
    (void)sig, (void)info;
    uintptr_t pc = arch_pc(context);
    if (pc == (uintptr_t)victim_resume) {
        arch_step(context, false);
    } else if (pc >= (uintptr_t)variant->start && pc < (uintptr_t)variant->end) {
        unwind("unwinding from an instruction of async_preempt");
        if (tricolor_current.in_runtime == 0)
            arch_live(context);
    }
}

/* --- Rounds. --- */

#define STACK_BYTES 65536
#define BELOW 32768
static uint8_t stack[STACK_BYTES] __attribute__((aligned(64)));

static void a_round(unsigned number)
{
    static uint8_t stack_before[STACK_BYTES];
    static const struct image no_image;
    random_bytes(&image_in, sizeof image_in);
    random_bytes(junk, sizeof junk);
    /* Misaligned as far as the architecture allows. */
    size_t step = red_zone ? 8 : HARNESS_WORD == 4 ? 4 : 16;
    image_in.sp = (uintptr_t)stack + BELOW + step * (random_word() % 64);
    arch_prepare(&image_in);
    image_out = no_image;
    /* Above the stack pointer and in the red zone data, below it what dead calls left. */
    memset(stack, 0xa5, BELOW - 256);
    random_bytes(stack + BELOW - 256, 2048);
    memcpy(stack_before, stack, sizeof stack);
    memset(ps, 0xa5, sizeof ps);
    tricolor_current = (struct current){.m = &the_m};
    calls = 0;
    calls_planned = variant->start ? 1 + random_word() % 3 : 0;
    unwinds = number % 64 == 0;

    sigset_t mask_before, mask_after;
    stack_t alternate_before, alternate_after;
    sigprocmask(SIG_BLOCK, NULL, &mask_before);
    sigaltstack(NULL, &alternate_before);
    victim();
    sigprocmask(SIG_BLOCK, NULL, &mask_after);
    sigaltstack(NULL, &alternate_after);

    same_general("afterwards", &image_in, &image_out);
    arch_compare("afterwards", &image_in, &image_out);
    size_t from = image_in.sp - (uintptr_t)stack - red_zone;
    same("stack", "above the stack pointer, or in the red zone", stack + from, stack_before + from, STACK_BYTES - from);
    if (calls != calls_planned)
        wrong("stop_pending", "calls of async_preempt2");
    if (tricolor_current.in_runtime != 0)
        wrong("in_runtime", "not zero afterwards");
    same("mask", "afterwards", &mask_before, &mask_after, 8);
    if (alternate_before.ss_sp != alternate_after.ss_sp || alternate_before.ss_flags != alternate_after.ss_flags)
        wrong("alternate stack", "afterwards");
}

int main(int argc, char **argv)
{
    if (argc < 5) {
        fprintf(stderr, "usage: %s VARIANT MODE ROUNDS SEED [step]\n", argv[0]);
        return 2;
    }
    for (variant = variants; variant->name && strcmp(variant->name, argv[1]); variant++)
        ;
    if (!variant->name) {
        fprintf(stderr, "no variant `%s`\n", argv[1]);
        return 2;
    }
    if (!arch_mode(argv[2]) || !arch_has(argv[1])) {
        printf("this machine has no such state\n");
        return 77;
    }
    unsigned rounds = strtoul(argv[3], NULL, 0);
    random_state = strtoull(argv[4], NULL, 0);
    stepping = argc > 5;

    static uint8_t alternate[1 << 18];
    sigaltstack(&(stack_t){.ss_sp = alternate, .ss_size = sizeof alternate}, NULL);
    struct sigaction action = {.sa_sigaction = on_trap, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    sigfillset(&action.sa_mask);
    sigaction(SIGILL, &action, NULL);
    action.sa_sigaction = on_step;
    sigaction(SIGTRAP, &action, NULL);
    sigset_t some;
    sigemptyset(&some);
    sigaddset(&some, SIGUSR2);
    sigprocmask(SIG_BLOCK, &some, NULL);

    for (unsigned i = 0; i < rounds && !wrongs; i++)
        a_round(i);
    if (!wrongs)
        printf("%u rounds\n", rounds);
    return wrongs != 0;
}
