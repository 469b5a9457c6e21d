/* rt_sigreturn(2) with crafted frames: addresses, flags, selectors, extended state. */
#include "escape.h"
#include <ucontext.h>

static uint64_t seed;

static void damage(int sig, siginfo_t *info, void *context)
{
    ucontext_t *c = context;
    unsigned char *state = (unsigned char *)c->uc_mcontext.fpregs;
    static const unsigned long words[] = {0, 1, 0x10, 0x18, 0x23, 0x2b, 0x33, 0xffff, 0x7ffffffff000, 0x800000000000, 0xffff800000000000, STUB, STUB + 0x123,
                                          COMMAND, 0xffffffffff600000, 0x8000000000000000, -1UL, 0x100, 0x10000, 0x3000, 0x4000, 0x40000, 0x200000, 0x20000};
    for (int changes = 1 + next_random(&seed) % 3; changes > 0; changes--) {
        unsigned long word = words[next_random(&seed) % LENGTH(words)];
        switch (next_random(&seed) % 8) {
        case 0:
            c->uc_mcontext.gregs[next_random(&seed) % NGREG] = word;
            break;
        case 1:
            c->uc_mcontext.gregs[REG_EFL] ^= 1UL << next_random(&seed) % 32;
            break;
        case 2:
            c->uc_mcontext.gregs[REG_CSGSFS] = word | next_random(&seed) << 48;
            break;
        case 3:
            c->uc_mcontext.fpregs = (void *)(next_random(&seed) % 2 ? word : (unsigned long)state + next_random(&seed) % 128);
            break;
        case 4: /* magic, sizes and features of the extended state */
            ((uint32_t *)(state + 464))[next_random(&seed) % 12] = (uint32_t)(next_random(&seed) % 2 ? word : next_random(&seed));
            break;
        case 5: /* XSAVE header */
            ((uint64_t *)(state + 512))[next_random(&seed) % 8] = next_random(&seed) % 2 ? word : 1UL << next_random(&seed) % 64;
            break;
        case 6:
            *(uint32_t *)(state + next_random(&seed) % 600 / 4 * 4) = (uint32_t)next_random(&seed);
            break;
        default:
            c->uc_flags = word;
            c->uc_stack.ss_sp = (void *)word;
            c->uc_stack.ss_flags = (int)next_random(&seed);
            c->uc_stack.ss_size = word;
            break;
        }
    }
}

static void crafted(void *n)
{
    struct sigaction action = {.sa_sigaction = damage, .sa_flags = SA_SIGINFO | SA_NODEFER};
    seed = (uint64_t)n * 0x9e3779b97f4a7c15 + 1;
    sigaction(SIGUSR1, &action, NULL);
    for (int i = 0; i < 8; i++) {
        raise(SIGUSR1);
        volatile double x = 1.5;
        x *= x;
        getppid();
    }
}

/* The call itself with a stack that is not there, or only in part. */
static void no_frame(void *rsp)
{
    __asm__ volatile("mov %0, %%rsp; mov $15, %%eax; syscall; hlt" : : "r"(rsp));
}

int main(void)
{
    unsigned died = 0;
    for (unsigned long n = 1; n <= 400; n++)
        died += attack(crafted, (void *)n, 25) != 0;
    TRIED("400 crafted frames; %u processes died of them", died);
    char *edge = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memset(edge, 0x33, 8192);
    munmap(edge + 4096, 4096);
    unsigned long stacks[] = {0, 8, (unsigned long)edge + 4088, (unsigned long)edge + 4096 - 304, (unsigned long)edge + 3000, STUB, COMMAND, HINT, HELPER_STACK, area() + 0x1000,
                              0x7ffffffff000, 0x800000000000, 0xffff800000000000, -8UL};
    for (unsigned i = 0; i < LENGTH(stacks); i++) {
        int status = attack(no_frame, (void *)stacks[i], 25);
        if (!WIFSIGNALED(status))
            ESCAPE("a frame at %#lx was taken: %#x", stacks[i], status);
    }
    TRIED("%zu frames that are not there", LENGTH(stacks));
    CONTAINED();
}
