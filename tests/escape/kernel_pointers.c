/* Addresses that the kernel keeps or writes to later, aimed at the engine's pages: thread words, robust lists, stacks, results. */
#include "escape.h"
#include <asm/prctl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/uio.h>

static const unsigned long targets[] = {
    STUB, STUB + 0x40, STUB + STUB_LEN - 8, COMMAND, COMMAND + 64, HINT, HELPER_STACK, 0x7fff10000000, 0x7fff10000010,
    0x7fffeffffff8, 0x7fffffffeff8, 0x7ffffffff000, 0x800000000000, 0xffffffffff600000, 8, -8UL};

static void *sleeper(void *unused)
{
    (void)unused;
    usleep(2000);
    return NULL;
}

static void one(void *argument)
{
    unsigned long at = (unsigned long)argument;
    void *p = (void *)at;
    syscall(SYS_set_tid_address, p);
    syscall(SYS_set_robust_list, p, 24);
    syscall(SYS_rseq, p, 32, 0, 0x53053053);
    stack_t stack = {.ss_sp = p, .ss_size = 0x10000};
    sigaltstack(&stack, NULL);
    syscall(SYS_clone, CLONE_PARENT_SETTID | CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID | SIGCHLD, 0, p, p, 0);
    syscall(SYS_arch_prctl, ARCH_SET_FS + 0x1000, p);
    syscall(SYS_arch_prctl, ARCH_GET_FS, p);
    syscall(SYS_futex, p, FUTEX_WAKE, 1, 0, p, 0);
    syscall(SYS_futex, p, FUTEX_LOCK_PI, 1, 0, p, 0);
    syscall(SYS_futex, p, FUTEX_WAKE_OP, 1, 1, p, 0x0000ffff);
    syscall(SYS_futex, p, FUTEX_CMP_REQUEUE, 1, 1, p, 0);
    syscall(SYS_getrandom, p, 64, 0);
    syscall(SYS_clock_gettime, 0, p);
    syscall(SYS_getcwd, p, 4096);
    syscall(SYS_pipe2, p, 0);
    syscall(SYS_uname, p);
    syscall(SYS_rt_sigaction, SIGUSR1, p, p, 8);
    syscall(SYS_rt_sigprocmask, 0, p, p, 8);
    syscall(SYS_rt_sigpending, p, 8);
    syscall(SYS_io_setup, 8, p);
    int zero = open("/dev/zero", O_RDONLY);
    if (read(zero, p, 4096) > 0)
        ESCAPE("read into %#lx", at);
    struct iovec vector[2] = {{p, 64}, {p, -1UL >> 1}};
    if (readv(zero, vector, 1) > 0)
        ESCAPE("readv into %#lx", at);
    REFUSED(readv(zero, vector, 1025));
    REFUSED(readv(zero, vector, 0x7fffffff));
    REFUSED(readv(zero, vector, -1));
    REFUSED(syscall(SYS_process_vm_readv, getpid(), vector, 1025, vector, 1025, 0));
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0) {
        struct msghdr header = {.msg_iov = p, .msg_iovlen = 1 << 20, .msg_control = p, .msg_controllen = -1UL};
        sendmsg(pair[0], &header, MSG_DONTWAIT);
        recvmsg(pair[0], &header, MSG_DONTWAIT);
        syscall(SYS_sendmmsg, pair[0], p, 0xffffffff, MSG_DONTWAIT);
        syscall(SYS_recvmmsg, pair[0], p, 0xffffffff, MSG_DONTWAIT, p);
    }
    /* A signal whose frame would go there. */
    signal(SIGUSR2, SIG_IGN);
    struct sigaction action = {.sa_handler = (void (*)(int))at, .sa_flags = SA_ONSTACK};
    sigaction(SIGUSR1, &action, NULL);
    pthread_t thread;
    pthread_create(&thread, NULL, sleeper, NULL);
    pthread_join(thread, NULL);
    raise(SIGUSR1);
}

int main(void)
{
    for (unsigned i = 0; i < LENGTH(targets); i++) {
        TRIED("pointers to %#lx", targets[i]);
        attack(one, (void *)targets[i], 60);
    }
    CONTAINED();
}
