/* What the harness of async_preempt shares between C and assembly. HARNESS_WORD is the size of a word.
 *
 * A victim loads every register from image_in, traps, and stores every register in image_out. The trap's handler
 * injects a call of async_preempt, whose async_preempt2 is a mock that destroys all registers. Then both images must
 * be equal.
 */
#define HARNESS_WORD __SIZEOF_POINTER__

/* Offsets in struct image. */
#define IMAGE_GPR 0
#define IMAGE_FLAGS (32 * HARNESS_WORD)
#define IMAGE_SP (33 * HARNESS_WORD)
#define IMAGE_FX 320
#define IMAGE_VECTORS 832
#define IMAGE_K 2880
#define IMAGE_FPSR 2944
#define IMAGE_FPCR 2948

/* Vector registers that this machine and mode have (x86): 0 SSE, 1 AVX, 2 AVX-512. */
#define LEVEL_AVX 1
#define LEVEL_AVX512 2

#ifndef __ASSEMBLER__
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <ucontext.h>

/* All registers of a victim. */
struct image {
    uintptr_t gpr[32]; /* in the order of gpr_names */
    uintptr_t flags;
    uintptr_t sp;
    uint8_t others[IMAGE_FX - 34 * HARNESS_WORD];
    _Alignas(64) uint8_t fx[512]; /* x86: an FXSAVE area, with xmm too */
    _Alignas(64) uint8_t vectors[32][64];
    uint64_t k[8];
    uint32_t fpsr, fpcr;
};
_Static_assert(offsetof(struct image, flags) == IMAGE_FLAGS, "image");
_Static_assert(offsetof(struct image, sp) == IMAGE_SP, "image");
_Static_assert(offsetof(struct image, fx) == IMAGE_FX, "image");
_Static_assert(offsetof(struct image, vectors) == IMAGE_VECTORS, "image");
_Static_assert(offsetof(struct image, k) == IMAGE_K, "image");
_Static_assert(offsetof(struct image, fpsr) == IMAGE_FPSR, "image");
_Static_assert(offsetof(struct image, fpcr) == IMAGE_FPCR, "image");

/* The runtime's structures, as far as the assembly knows them. */
struct xregs {
    _Alignas(64) uint8_t bytes[XREGS_BYTES];
};

struct p {
    uintptr_t others[3];
    struct xregs scratch;
    struct xregs *cache;
};

struct m {
    uintptr_t others[2];
    struct p *p;
};

struct current {
    uint32_t state;
    uint32_t others;
    void *p, *g;
    struct m *m;
    uint32_t in_runtime;
    uint32_t stop_pending;
};

extern __thread struct current tricolor_current;
extern struct image image_in, image_out;
extern uint8_t junk[4096];
extern uint32_t xsave_mode, level;

/* The interrupted instruction, and the one to go on with. */
extern char victim_trap[], victim_resume[];
void victim(void);

/* The assembly under test: the product, its bad twins, and with a null start the control, which only goes on. */
struct variant {
    const char *name;
    char *start, *end;
};
extern const struct variant variants[];

/* Notes that a register is not what it should be. */
void wrong(const char *name, const char *where);

/* Notes it if the bytes differ. */
void same(const char *name, const char *where, const void *a, const void *b, size_t bytes);

/* What each architecture tells. */
extern const char *const gpr_names[]; /* ends with NULL */
extern const int gpr_dwarf[];
extern const size_t red_zone;
extern const uintptr_t flags_mask;
extern const char *const flags_name;

/* Chooses how vector state is saved; false if this machine cannot. */
bool arch_mode(const char *mode);
/* Whether this machine has the state that a twin leaves out. */
bool arch_has(const char *twin);
/* Makes random bytes values that the registers can hold. */
void arch_prepare(struct image *in);
/* Compares what is no general register. */
void arch_compare(const char *where, const struct image *a, const struct image *b);
/* Injects a call, as the head of the generated file says. */
void arch_inject(ucontext_t *context, char *target);
uintptr_t arch_pc(const ucontext_t *context);
void arch_set_pc(ucontext_t *context, uintptr_t pc);
/* The frame's view: general registers, flags, sp, pc. */
void arch_frame(const uintptr_t *frame, struct image *seen, uintptr_t *pc);
/* Compares the vector state that the runtime would scan. */
void arch_saved(const uintptr_t *frame);
/* Single steps (x86): on or off, and the live vector registers. */
void arch_step(ucontext_t *context, bool on);
void arch_live(const ucontext_t *context);
#endif
