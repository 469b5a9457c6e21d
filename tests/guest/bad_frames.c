/* Signal frames that a handler has damaged: each ends in SIGSEGV, none does harm; undamaged changes are taken. */
#include "check.h"
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <ucontext.h>

static void (*damage)(ucontext_t *);

static void on_signal(int sig, siginfo_t *info, void *context)
{
    (void)sig;
    (void)info;
    damage(context);
}

static int run(void (*with)(ucontext_t *))
{
    int status;
    damage = with;
    pid_t pid = fork();
    if (pid == 0) {
        struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO};
        sigaction(SIGUSR1, &action, NULL);
        raise(SIGUSR1);
        _exit(0);
    }
    CHECK(waitpid(pid, &status, 0) == pid);
    return WIFSIGNALED(status) ? WTERMSIG(status) : -WEXITSTATUS(status);
}

static void nothing(ucontext_t *c)
{
    (void)c;
}

static void wild_rip(ucontext_t *c)
{
    c->uc_mcontext.gregs[REG_RIP] = 0x1234567812345678;
}

static void kernel_rip(ucontext_t *c)
{
    c->uc_mcontext.gregs[REG_RIP] = (long)0xffffffff81000000;
}

static void no_state(ucontext_t *c)
{
    c->uc_mcontext.fpregs = NULL;
}

static void wild_state(ucontext_t *c)
{
    c->uc_mcontext.fpregs = (void *)0x10000;
}

static void bad_mxcsr(ucontext_t *c)
{
    c->uc_mcontext.fpregs->mxcsr = 0xffffffff;
}

static void bad_header(ucontext_t *c)
{
    char *state = (char *)c->uc_mcontext.fpregs;
    *(uint64_t *)(state + 512) = ~0UL;
}

static void reserved_header(ucontext_t *c)
{
    char *state = (char *)c->uc_mcontext.fpregs;
    *(uint64_t *)(state + 512 + 16) = 1;
}

static void wild_flags(ucontext_t *c)
{
    /* IOPL, VM, NT and the like are not the guest's to set. */
    c->uc_mcontext.gregs[REG_EFL] |= 0x3000 | 0x4000 | 0x20000 | 0x200000;
}

static void no_magic(ucontext_t *c)
{
    char *state = (char *)c->uc_mcontext.fpregs;
    *(uint32_t *)(state + 464) = 0;
}

static void wild_stack(ucontext_t *c)
{
    (void)c;
    __asm__ volatile("mov $15, %%eax; xor %%esp, %%esp; syscall" ::: "rax");
}

int main(void)
{
    CHECK(run(nothing) == 0);
    CHECK(run(wild_rip) == SIGSEGV);
    CHECK(run(kernel_rip) == SIGSEGV);
    CHECK(run(no_state) == 0);
    CHECK(run(wild_state) == SIGSEGV);
    CHECK(run(bad_mxcsr) == SIGSEGV);
    CHECK(run(bad_header) == SIGSEGV);
    CHECK(run(reserved_header) == SIGSEGV);
    CHECK(run(wild_flags) == 0);
    CHECK(run(no_magic) == 0);
    CHECK(run(wild_stack) == SIGSEGV);
    OK();
}
