/* Threads that hide in the stub's own futex call, where they use no processor time, from a signal that is to end them. */
#include "escape.h"

static void sleep_in_stub(void *site)
{
    unsigned long own = area();
    /* Every time the call returns, whatever follows it in the stub faults or comes back here. */
    for (;;) {
        register unsigned long r10 __asm__("r10") = 0;
        __asm__ volatile("mov $202, %%eax\n mov %1, %%rdi\n xor %%esi, %%esi\n xor %%edx, %%edx\n jmp *%0\n"
                         :
                         : "r"(site), "r"(own + 0x300), "r"(r10)
                         : "rax", "rdi", "rsi", "rdx", "rcx", "r11");
    }
}

int main(void)
{
    const unsigned char *code = (void *)STUB;
    unsigned long sites[64];
    pid_t children[64];
    unsigned count = 0;
    for (unsigned at = 0; at + 1 < STUB_CODE && count < LENGTH(sites); at++)
        if (code[at] == 0x0f && code[at + 1] == 0x05)
            sites[count++] = STUB + at;
    printf("%u calls in the stub\n", count);
    for (unsigned i = 0; i < count; i++)
        if ((children[i] = fork()) == 0)
            sleep_in_stub((void *)sites[i]);
    sleep(1);
    double start = seconds();
    for (unsigned i = 0; i < count; i++)
        kill(children[i], SIGKILL);
    for (unsigned i = 0; i < count; i++) {
        int status;
        while (waitpid(children[i], &status, WNOHANG) == 0) {
            if (seconds() > start + 50)
                ESCAPE("a process that sleeps in the stub at %#lx cannot be killed", sites[i]);
            usleep(20000);
        }
    }
    TRIED("sleeping in the stub; killed after %.0f s", seconds() - start);
    CONTAINED();
}
