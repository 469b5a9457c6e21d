/* Filters that guests bring along: programs that jump out, load from anywhere, never return, divide by nothing, or are too many. */
#include "escape.h"
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/resource.h>
#include <sys/socket.h>

static long install(struct sock_filter *code, unsigned short len, unsigned flags)
{
    struct sock_fprog program = {len, code};
    return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
}

static void broken(void *unused)
{
    (void)unused;
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    static struct sock_filter bad[][2] = {
        {BPF_JUMP(BPF_JMP | BPF_JA, 0xffffffff, 0, 0), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)},
        {BPF_JUMP(BPF_JMP | BPF_JA, 0x7fffffff, 0, 0), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)},
        {BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 255, 255), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)},
        {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 64), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)},
        {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0xffffffff), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)},
        {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 3), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)},
        {BPF_STMT(BPF_LD | BPF_W | BPF_IND, 0), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)},
        {BPF_STMT(BPF_LD | BPF_MEM, 16), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)},
        {BPF_STMT(BPF_ST, 0xffffffff), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)},
        {BPF_STMT(BPF_ALU | BPF_DIV | BPF_K, 0), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)},
        {BPF_STMT(BPF_ALU | BPF_LSH | BPF_K, 32), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)},
        {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0), BPF_STMT(BPF_MISC | BPF_TAX, 0)},
        {BPF_STMT(0xffff, 0xffffffff), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)}};
    for (unsigned i = 0; i < LENGTH(bad); i++)
        REFUSED(install(bad[i], 2, 0));
    REFUSED(install(bad[0], 0, 0));
    REFUSED(install(NULL, 2, 0));
    REFUSED(install((void *)STUB, 2, 0xffffffff));
    REFUSED(install((void *)COMMAND, 65535, 0));
    static struct sock_filter many[4097];
    for (unsigned i = 0; i < LENGTH(many); i++)
        many[i] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    REFUSED(install(many, 4097, 0));
}

/* Division by a register that is nothing ends the program, as with Linux: no call is let through by it. */
static void divides(void *unused)
{
    (void)unused;
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    struct sock_filter code[] = {BPF_STMT(BPF_LDX | BPF_W | BPF_IMM, 0), BPF_STMT(BPF_ALU | BPF_DIV | BPF_X, 0),
                                 BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    install(code, 3, 0);
    syscall(SYS_getppid);
}

/* As many as there may be, each as long and slow as it may be: a bounded number, and the rest of the sandbox goes on. */
static void stacked(void *unused)
{
    (void)unused;
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    static struct sock_filter slow[4096];
    for (int i = 0; i < 4095; i++)
        slow[i] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JA, 0, 0, 0);
    slow[4095] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    int count = 0;
    while (count < 100000 && install(slow, 4096, 0) == 0)
        count++;
    if (count > 64)
        ESCAPE("%d filters of 4096 instructions", count);
    printf("%d filters, then %s\n", count, strerror(errno));
    for (int i = 0; i < 64; i++)
        if (fork() == 0)
            _exit(0);
    while (wait(NULL) > 0)
        ;
}

/* One's own calls all denied, by every action there is: the process ends or gets errors, and nothing else happens. */
static void denied(void *action)
{
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    struct sock_filter code[] = {BPF_STMT(BPF_RET | BPF_K, (unsigned)(unsigned long)action)};
    install(code, 1, 0);
    for (int nr = 0; nr < 500; nr++)
        if (nr != SYS_pause && nr != SYS_rt_sigreturn)
            syscall(nr, -1, -1, -1, -1, -1, -1);
}

static void on_sockets(void *unused)
{
    (void)unused;
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_DGRAM, 0, pair) != 0)
        return;
    uint64_t random = 5;
    for (int round = 0; round < 3000; round++) {
        struct sock_filter code[16];
        for (unsigned i = 0; i < LENGTH(code); i++)
            code[i] = (struct sock_filter){next_random(&random) % 256, next_random(&random) % 20,
                                           next_random(&random) % 20, next_random(&random) >> (next_random(&random) % 64)};
        code[15] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, 100);
        struct sock_fprog program = {LENGTH(code), code};
        int udp = socket(AF_INET, SOCK_DGRAM, 0);
        setsockopt(udp, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program);
        setsockopt(pair[1], SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program);
        send(pair[0], "some bytes", 10, MSG_DONTWAIT);
        char bytes[64];
        recv(pair[1], bytes, sizeof bytes, MSG_DONTWAIT);
        close(udp);
    }
}

int main(void)
{
    TRIED("programs that are none");
    attack(broken, NULL, 60);
    TRIED("division by zero");
    attack(divides, NULL, 60);
    TRIED("as many as may be");
    attack(stacked, NULL, 100);
    TRIED("every action");
    static const unsigned actions[] = {0x80000000, 0, 0x30000, 0x50000, 0x5ffff, 0x7fc00000, 0x7ff00000, 0x7ffc0000, 0x12345678};
    for (unsigned i = 0; i < LENGTH(actions); i++)
        attack(denied, (void *)(unsigned long)actions[i], 60);
    TRIED("filters on sockets");
    attack(on_sockets, NULL, 100);
    CONTAINED();
}
