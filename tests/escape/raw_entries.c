/* System calls by every entry of the processor, from places that the engine does not know. */
#include "escape.h"
#include <ucontext.h>

static unsigned char *low; /* code below 4 GiB, for 32-bit mode */

struct entry {
    const char *name;
    unsigned char code[48];
    int len;
};

static long call_code(const unsigned char *code, int len, unsigned long offset)
{
    unsigned char *at = low + offset;
    memcpy(at, code, len);
    long (*run)(void) = (long (*)(void))at;
    return run();
}

/* The pid that the host would give away: anything but the one that the sandbox shows, or an error. */
static void check_pid(const char *name, long got)
{
    if (got > 0 && got != getpid())
        ESCAPE("%s gave pid %ld", name, got);
}

static void plain(void *offset)
{
    static const unsigned char getpid64[] = {0xb8, 39, 0, 0, 0, 0x0f, 0x05, 0xc3};
    static const unsigned char rex[] = {0xb8, 39, 0, 0, 0, 0x48, 0x0f, 0x05, 0xc3};
    static const unsigned char prefixed[] = {0xb8, 39, 0, 0, 0, 0xf2, 0x2e, 0x66, 0x0f, 0x05, 0xc3};
    for (int i = 0; i < 60; i++) {
        check_pid("syscall", call_code(getpid64, sizeof getpid64, (unsigned long)offset));
        check_pid("rex syscall", call_code(rex, sizeof rex, (unsigned long)offset));
        check_pid("prefixed syscall", call_code(prefixed, sizeof prefixed, (unsigned long)offset));
    }
}

static void int80(void *unused)
{
    (void)unused;
    static const unsigned char code[] = {0xb8, 20, 0, 0, 0, 0xcd, 0x80, 0xc3};
    check_pid("int 0x80", call_code(code, sizeof code, 0));
}

static void sysenter(void *unused)
{
    (void)unused;
    static const unsigned char code[] = {0xb8, 20, 0, 0, 0, 0x0f, 0x34, 0xc3};
    check_pid("sysenter", call_code(code, sizeof code, 0));
}

/* Far return into 32-bit code, which makes its call by `how`. */
static void compat(void *how)
{
    unsigned char *code = low + 0x800;
    static const unsigned char calls[3][2] = {{0xcd, 0x80}, {0x0f, 0x05}, {0x0f, 0x34}};
    int n = 0;
    code[n++] = 0xb8;
    code[n++] = 20; /* getpid, 32-bit number */
    code[n++] = code[n + 1] = code[n + 2] = 0;
    n = 5;
    memcpy(code + n, calls[(long)how], 2);
    n += 2;
    /* mov %eax, low+0xc00 ; then loop */
    code[n++] = 0xa3;
    *(uint32_t *)(code + n) = (uint32_t)(unsigned long)(low + 0xc00);
    n += 4;
    code[n++] = 0xf4; /* hlt: faults */
    __asm__ volatile("mov %%rsp, %%rbx\n lea 0x700(%1), %%rsp\n pushq $0x23\n push %0\n lretq\n"
                     :
                     : "r"(code), "r"(low)
                     : "memory", "rbx", "rax", "rcx", "r11");
}

static void vsyscall(void *unused)
{
    (void)unused;
    for (unsigned long at = 0xffffffffff600000; at < 0xffffffffff601000; at += 0x400) {
        long value;
        __asm__ volatile("call *%1" : "=a"(value) : "r"(at), "D"(0L), "S"(0L) : "rcx", "r11", "memory");
    }
}

static void numbers(void *unused)
{
    (void)unused;
    static const unsigned long bases[] = {0x40000000, 0x80000000, 0x100000000, 0xffffffff00000000, 0x8000000000000000};
    /* x32 numbers and those with high bits are unknown calls, though their low half is getpid, write, exit … */
    for (unsigned i = 0; i < LENGTH(bases); i++)
        for (unsigned nr = 0; nr < 548; nr++) {
            /* 335 and 336 may pass the host's filters (see below). */
            if (nr == SYS_exit || nr == SYS_exit_group || nr == SYS_rt_sigreturn || nr == 335 || nr == 336)
                continue;
            long got;
            __asm__ volatile("xor %%edi, %%edi; xor %%esi, %%esi; xor %%edx, %%edx; xor %%r10d, %%r10d; syscall"
                             : "=a"(got)
                             : "a"(bases[i] | nr)
                             : "rdi", "rsi", "rdx", "r10", "rcx", "r11", "memory");
            if (got != -ENOSYS && bases[i] != 0x100000000 && bases[i] != 0xffffffff00000000 && bases[i] < 0x8000000000000000)
                ESCAPE("number %#lx gave %ld", bases[i] | nr, got);
        }
}

/* Calls that some host kernels let pass every filter: uretprobe, uprobe. */
static void unfiltered(void *nr)
{
    long got = syscall((long)nr, 0, 0, 0, 0, 0, 0);
    if (got != -1)
        ESCAPE("call %ld gave %ld", (long)nr, got);
}

int main(void)
{
    low = mmap((void *)0x200000, 0x4000, PROT_READ | PROT_WRITE | PROT_EXEC,
               MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
    if (low == MAP_FAILED)
        ESCAPE("no memory to attack from");
    static const unsigned long offsets[] = {0, 1, 3, 0xffd - 7, 0xffe - 5, 0xffa, 0x1ff9};
    for (unsigned i = 0; i < LENGTH(offsets); i++) {
        attack(plain, (void *)offsets[i], 10);
        TRIED("syscall at an odd address, offset %#lx", offsets[i]);
    }
    printf("int 0x80: %#x\n", attack(int80, NULL, 5));
    TRIED("int 0x80");
    printf("sysenter: %#x\n", attack(sysenter, NULL, 5));
    TRIED("sysenter");
    for (long how = 0; how < 3; how++) {
        int status = attack(compat, (void *)how, 5);
        TRIED("32-bit code, entry %ld: %#x", how, status);
        if (WIFEXITED(status))
            ESCAPE("32-bit code came back");
    }
    TRIED("vsyscall page: %#x", attack(vsyscall, NULL, 5));
    int status = attack(numbers, NULL, 30);
    TRIED("x32 numbers and high bits: %#x", status);
    if (status != 0)
        ESCAPE("unknown numbers: %#x", status);
    for (long nr = 333; nr < 340; nr++)
        TRIED("call %ld: %#x", nr, attack(unfiltered, (void *)nr, 5));
    CONTAINED();
}
