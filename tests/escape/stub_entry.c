/* Jumping into the middle of the stub, at every instruction boundary that chance finds, with crafted registers. */
#include "escape.h"

static void enter(void *at)
{
    uint64_t state = (unsigned long)at * 31 + 1;
    unsigned long own = area();
    unsigned long values[16];
    for (int i = 0; i < 16; i++) {
        static const unsigned long fixed[] = {0, 1, 2, 202, 24, 60, 15, STUB, COMMAND, HINT, HELPER_STACK, -1UL, 0x10001, 0x10002};
        uint64_t r = next_random(&state);
        values[i] = r & 1 ? fixed[(r >> 8) % LENGTH(fixed)] : own + (r >> 8) % AREA_LEN / 8 * 8;
    }
    values[7] = state & 8 ? own + 0x8000 : own + 0xa000 - 128; /* a stack of sorts */
    __asm__ volatile("mov %1, %%rax\n mov %0, %%r15\n mov 8(%%rax), %%rbx\n mov 16(%%rax), %%rcx\n mov 24(%%rax), %%rdx\n mov 32(%%rax), %%rsi\n"
                     "mov 40(%%rax), %%rdi\n mov 48(%%rax), %%rbp\n mov 56(%%rax), %%rsp\n mov 64(%%rax), %%r8\n mov 72(%%rax), %%r9\n"
                     "mov 80(%%rax), %%r10\n mov 88(%%rax), %%r11\n mov 96(%%rax), %%r12\n mov 104(%%rax), %%r13\n mov 112(%%rax), %%r14\n"
                     "mov (%%rax), %%rax\n jmp *%%r15"
                     :
                     : "r"(at), "r"(values)
                     : "memory");
}

#define ATTACKS 240
#define TOGETHER 60

int main(void)
{
    uint64_t state = 20;
    pid_t children[TOGETHER];
    unsigned code_len = STUB_CODE;
    while (code_len > 1 && ((unsigned char *)STUB)[code_len - 1] == 0)
        code_len--;
    unsigned hidden = 0;
    pid_t own = syscall(SYS_getpid);
    for (unsigned round = 0; round < ATTACKS / TOGETHER; round++) {
        for (unsigned i = 0; i < TOGETHER; i++) {
            unsigned long at = STUB + next_random(&state) % code_len;
            if ((children[i] = fork()) == 0)
                enter((void *)at);
            /* A jump may lead a child back to here, as if its fork had given any number. */
            if (syscall(SYS_getpid) != own)
                _exit(0);
        }
        usleep(500000);
        double start = seconds();
        for (unsigned i = 0; i < TOGETHER; i++)
            hidden += kill(children[i], SIGKILL) == 0;
        for (unsigned i = 0; i < TOGETHER; i++) {
            int status;
            while (waitpid(children[i], &status, WNOHANG) == 0) {
                if (seconds() > start + 50)
                    ESCAPE("a process that spins in the stub cannot be killed");
                usleep(20000);
            }
        }
    }
    TRIED("%u jumps into %u bytes of the stub", ATTACKS, code_len);
    CONTAINED();
}
