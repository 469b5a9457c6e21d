/* Restartable sequences (rseq(2)) around the engine's own code: the host restarts a thread of the guest in the middle of the
 * stub, wherever the guest likes, and writes where the guest says. */
#include "escape.h"
#include <pthread.h>
#include <sys/rseq.h>

#define SIGNATURE 0x53053053

struct critical_section {
    uint32_t version, flags;
    uint64_t start, length, handler;
} __attribute__((aligned(32)));

static __thread struct rseq own __attribute__((aligned(32)));
static struct critical_section around = {.length = STUB_CODE};
char stack[65536];
unsigned long restarted;

/* Where the host continues: with the stub's registers, on any stack. */
__asm__(".text\n"
        ".long 0x53053053\n"
        ".globl handler\n"
        "handler:\n"
        "lock incq restarted(%rip)\n"
        "cmpq $40, restarted(%rip)\n"
        "ja 1f\n"
        "movl $102, %eax\n" /* getuid, while the sentry thinks that the thread waits */
        "syscall\n"
        "movl $39, %eax\n"
        "syscall\n"
        "1: leaq stack+65536(%rip), %rsp\n"
        "movl $231, %eax\n"
        "xorl %edi, %edi\n"
        "syscall\n"
        "2: jmp 2b\n");
extern char handler[];

static void *calls(void *unused)
{
    (void)unused;
    syscall(SYS_rseq, &own, 32, 0, SIGNATURE);
    for (int i = 0; i < 20000; i++) {
        own.rseq_cs = (uint64_t)&around;
        syscall(SYS_getuid + 1000 * (i % 2));
        own.rseq_cs = (uint64_t)&around;
        if (i % 16 == 0)
            sched_yield();
    }
    return NULL;
}

/* Signals and threads restart it in the stub. */
static void restart_in_the_stub(unsigned long start)
{
    around.start = start;
    around.length = STUB_CODE;
    around.handler = (uint64_t)handler;
    pthread_t thread[3];
    for (int i = 0; i < 3; i++)
        pthread_create(&thread[i], NULL, calls, NULL);
    calls(NULL);
    for (int i = 0; i < 3; i++)
        pthread_join(thread[i], NULL);
}

/* The stub's own call, with an area of the engine's. */
static void register_with(void *where)
{
    unsigned char *code = (unsigned char *)STUB;
    for (unsigned long at = 0; at < STUB_CODE - 8; at++)
        if (code[at] == 0xb8 && code[at + 1] == 0x4e && code[at + 2] == 1 && code[at + 5] == 0x0f && code[at + 6] == 0x05)
            __asm__ volatile("jmp *%0" : : "r"(code + at), "b"(where), "D"(where), "S"(32), "d"(0));
    _exit(0);
}

static void in_child(void (*attack)(unsigned long), unsigned long argument)
{
    pid_t child = fork();
    if (child == 0) {
        alarm(10);
        attack(argument);
        _exit(0);
    }
    int status;
    waitpid(child, &status, 0);
}

static void register_at(unsigned long where)
{
    register_with((void *)where);
}

int main(void)
{
    /* The C library's own registration would be in the way. */
    syscall(SYS_rseq, (char *)__builtin_thread_pointer() + __rseq_offset, 32, 1, SIGNATURE);
    for (int i = 0; i < 10; i++)
        in_child(restart_in_the_stub, STUB + 0x100 * i);
    TRIED("restarting the stub");
    static const unsigned long places[] = {COMMAND, HINT, HELPER_STACK, STUB, 0, -32UL, 0xffffffff81000000UL};
    for (size_t i = 0; i < LENGTH(places); i++) {
        REFUSED(syscall(SYS_rseq, places[i], 32, 0, SIGNATURE));
        in_child(register_at, places[i]);
        in_child(register_at, area());
    }
    TRIED("areas of the engine's");
    CONTAINED();
}
