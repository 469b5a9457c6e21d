/* Processor state that a system call must neither trip over nor leak: flags, selectors, segment bases, faults of all kinds. */
#include "escape.h"
#include <asm/prctl.h>

static void flags(void *bits)
{
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    sigaction(SIGTRAP, &ignore, NULL);
    for (int i = 0; i < 60; i++) {
        long pid;
        __asm__ volatile("pushfq\n or %1, (%%rsp)\n popfq\n mov $39, %%eax\n syscall\n pushfq\n andq $-0x44501, (%%rsp)\n popfq\n cld"
                         : "=&a"(pid)
                         : "r"((unsigned long)bits)
                         : "rcx", "r11", "memory", "cc");
    }
}

static void selectors(void *value)
{
    __asm__ volatile("mov %0, %%gs\n" : : "r"((unsigned)(unsigned long)value));
    getppid();
    __asm__ volatile("mov %0, %%fs\n mov $39, %%eax\n syscall" : : "r"((unsigned)(unsigned long)value) : "rax", "rcx", "r11");
    __asm__ volatile("mov %0, %%ds\n mov %0, %%es\n mov $39, %%eax\n syscall" : : "r"((unsigned)(unsigned long)value) : "rax", "rcx", "r11");
}

static void gs_base(void *value)
{
    __asm__ volatile("wrgsbase %0" : : "r"(value));
    for (int i = 0; i < 60; i++)
        getppid();
    syscall(SYS_arch_prctl, ARCH_SET_GS, value);
    for (int i = 0; i < 60; i++)
        getuid();
}

static void fs_base(void *value)
{
    for (int i = 0; i < 60; i++)
        __asm__ volatile("wrfsbase %0\n mov $39, %%eax\n syscall" : : "r"(value) : "rax", "rcx", "r11");
    __asm__ volatile("mov $158, %%eax\n mov $0x1002, %%edi\n mov %0, %%rsi\n syscall\n mov $60, %%eax\n xor %%edi,%%edi\n syscall" : : "r"(value) : "rax", "rdi", "rsi", "rcx", "r11");
}

static void stack_pointer(void *value)
{
    for (int i = 0; i < 60; i++)
        __asm__ volatile("mov %%rsp, %%rbx\n mov %0, %%rsp\n mov $39, %%eax\n syscall\n mov %%rbx, %%rsp" : : "r"(value) : "rax", "rbx", "rcx", "r11", "memory");
    /* A fault with that stack. */
    __asm__ volatile("mov %0, %%rsp\n ud2" : : "r"(value));
}

static void instruction(void *n)
{
    static int zero;
    switch ((long)n) {
    case 0: __asm__ volatile("hlt"); break;
    case 1: __asm__ volatile("cli"); break;
    case 2: __asm__ volatile("in %%dx, %%al" ::: "rax"); break;
    case 3: __asm__ volatile("out %%al, $0x80" ::: "memory"); break;
    case 4: __asm__ volatile("mov %%cr0, %%rax" ::: "rax"); break;
    case 5: __asm__ volatile("rdmsr" ::: "rax", "rdx"); break;
    case 6: __asm__ volatile("wbinvd"); break;
    case 7: __asm__ volatile("lgdt (%rsp)"); break;
    case 8: __asm__ volatile("int3"); break;
    case 9: __asm__ volatile("int $0x3"); break;
    case 10: __asm__ volatile("int $0x2"); break;
    case 11: __asm__ volatile("int $0xff"); break;
    case 12: __asm__ volatile(".byte 0xf1"); break;
    case 13: __asm__ volatile("div %0" : : "r"(zero)); break;
    case 14: __asm__ volatile("sgdt (%0)" : : "r"(malloc(64)) : "memory"); break;
    case 15: __asm__ volatile("vmcall"); break;
    case 16: __asm__ volatile("vmmcall"); break;
    case 17: __asm__ volatile("rdpmc" : : "c"(0) : "rax", "rdx"); break;
    case 18: __asm__ volatile("swapgs"); break;
    case 19: __asm__ volatile("sysretq"); break;
    case 20: __asm__ volatile("invlpg (%rsp)"); break;
    case 21: __asm__ volatile("push $0x33; push $0; lretq"); break;
    case 22: __asm__ volatile("pushfq; orq $0x3000, (%%rsp); popfq; cli" ::: "memory"); break;
    case 23: __asm__ volatile("pushq $0x2b; push %%rsp; pushq $0x3202; pushq $0x33; lea 1f(%%rip), %%rax; push %%rax; iretq; 1: out %%al, $0x80" ::: "rax", "memory"); break;
    case 24: __asm__ volatile("xsetbv" : : "c"(0), "a"(1), "d"(0)); break;
    case 25: __asm__ volatile("jmp *%0" : : "r"(0xffffffff81000000)); break;
    case 26: __asm__ volatile("jmp *%0" : : "r"(0x800000000000)); break;
    case 27: __asm__ volatile("movl $1, (%0)" : : "r"(0x800000000000) : "memory"); break;
    case 28: __asm__ volatile(".byte 0x0f, 0x05, 0x0f, 0x05" : : "a"(-1L) : "rcx", "r11"); break;
    }
}

int main(void)
{
    for (int bit = 0; bit < 22; bit++)
        attack(flags, (void *)(1UL << bit), 25);
    attack(flags, (void *)0x44500UL, 25);
    TRIED("each flag over system calls");
    static const unsigned long values[] = {0, 3, 0x10, 0x23, 0x2b, 0x33, 0x63, 0x6b, 0x73, 0x7b, 0xffff, 7};
    for (unsigned i = 0; i < LENGTH(values); i++)
        attack(selectors, (void *)values[i], 25);
    TRIED("selectors");
    unsigned long own = area();
    unsigned long bases[] = {0, 1, own, own + 8, own + 0x1000, own ^ AREA_LEN, STUB, COMMAND, HELPER_STACK, 0x7fff10000000, 0x7ffffffff000, 0x7fffffffffff, (unsigned long)malloc(65536)};
    for (unsigned i = 0; i < LENGTH(bases); i++) {
        attack(gs_base, (void *)bases[i], 25);
        attack(fs_base, (void *)bases[i], 25);
        attack(stack_pointer, (void *)bases[i], 25);
    }
    attack(gs_base, (void *)0x800000000000, 25);
    attack(fs_base, (void *)0xffff800000000000, 25);
    attack(stack_pointer, (void *)0xffff800000000000, 25);
    attack(stack_pointer, (void *)(own + 0x1000), 25);
    attack(stack_pointer, (void *)(own + 0x1800), 25);
    attack(stack_pointer, (void *)(own + 0x9000), 25);
    TRIED("segment bases and stack pointers, in the engine's pages too");
    for (long n = 0; n < 29; n++) {
        int status = attack(instruction, (void *)n, 25);
        if (!WIFSIGNALED(status) && n != 8 && n != 9 && n != 12 && n != 14 && n != 28 && n != 17 && n < 15)
            ESCAPE("instruction %ld was carried out: %#x", n, status);
    }
    TRIED("privileged instructions");
    CONTAINED();
}
