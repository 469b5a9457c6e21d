/* Mapping, unmapping, changing and writing the engine's own pages, by every call that takes an address. */
#include "escape.h"
#include <linux/futex.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/ptrace.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/user.h>

static unsigned char before[STUB_LEN];

static void stub_is_intact(const char *after)
{
    if (memcmp((void *)STUB, before, STUB_LEN) != 0)
        ESCAPE("the stub changed after %s", after);
    if (getppid() < 0)
        ESCAPE("calls do not work after %s", after);
}

static void map_over(char *p, size_t len)
{
    int prot = PROT_READ | PROT_WRITE | PROT_EXEC;
    static const int flags[] = {MAP_FIXED, MAP_FIXED_NOREPLACE, MAP_FIXED | MAP_GROWSDOWN, MAP_FIXED | MAP_STACK | MAP_POPULATE};
    for (unsigned i = 0; i < LENGTH(flags); i++)
        REFUSED(mmap(p, len, prot, MAP_PRIVATE | MAP_ANONYMOUS | flags[i], -1, 0));
    /* From below into it. */
    REFUSED(mmap(p - 0x10000, len + 0x10000, prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
    munmap(p, len);
    munmap(p - 0x10000, len + 0x10000);
    munmap(p, 1);
    stub_is_intact("munmap");
    REFUSED(mprotect(p, len, prot));
    REFUSED(mprotect(p - 0x1000, len + 0x1000, prot));
    REFUSED(syscall(SYS_pkey_mprotect, p, len, prot, -1));
    static const int advices[] = {MADV_DONTNEED, MADV_FREE, MADV_REMOVE, MADV_DONTFORK, MADV_WIPEONFORK, 21, 23, 14, 24};
    for (unsigned i = 0; i < LENGTH(advices); i++)
        REFUSED(madvise(p, len, advices[i]));
    char *mine = mmap(NULL, len, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    REFUSED(mremap(mine, len, len, MREMAP_MAYMOVE | MREMAP_FIXED, p));
    REFUSED(mremap(p, len, len, MREMAP_MAYMOVE | MREMAP_FIXED, mine));
    REFUSED(mremap(p, len, 2 * len, MREMAP_MAYMOVE));
    REFUSED(mremap(p, 0, len, MREMAP_MAYMOVE));
    REFUSED(mlock(p, len));
    REFUSED(msync(p, len, MS_SYNC | MS_INVALIDATE));
    REFUSED(syscall(SYS_remap_file_pages, p, len, 0, 0, 0));
    syscall(SYS_mbind, p, len, 1, NULL, 0, 0);
    munmap(mine, len);
    stub_is_intact("mapping");
}

/* The sentry as a deputy: calls that write results where we say. */
static void write_by_calls(char *p)
{
    int fds[2];
    if (pipe(fds) != 0)
        ESCAPE("no pipe");
    char bytes[64] = "overwritten by a call";
    REFUSED(getrandom(p, 64, 0) > 0 ? 0 : -1);
    REFUSED(syscall(SYS_uname, p));
    REFUSED(syscall(SYS_getcwd, p, 64) > 0 ? 0 : -1);
    REFUSED(fstat(0, (struct stat *)p));
    REFUSED(pipe((int *)p));
    REFUSED(syscall(SYS_gettimeofday, p, 0));
    REFUSED(syscall(SYS_times, p) >= 0 ? 0 : -1);
    REFUSED(syscall(SYS_sysinfo, p));
    REFUSED(syscall(SYS_rt_sigaction, SIGUSR1, NULL, p, 8));
    REFUSED(syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, p, 8));
    REFUSED(syscall(SYS_sigaltstack, NULL, p));
    REFUSED(syscall(SYS_getrlimit, 7, p));
    REFUSED(syscall(SYS_capget, bytes, p));
    if (write(fds[1], bytes, sizeof bytes) > 0)
        REFUSED(read(fds[0], p, 64) > 0 ? 0 : -1);
    if (write(fds[1], bytes, sizeof bytes) > 0) {
        struct iovec scatter[2] = {{bytes, 8}, {p, 32}};
        if (readv(fds[0], scatter, 2) > 8)
            ESCAPE("readv wrote over it");
    }
    struct iovec local = {bytes, sizeof bytes}, remote = {p, sizeof bytes};
    REFUSED(process_vm_writev(getpid(), &local, 1, &remote, 1, 0));
    int mem = open("/proc/self/mem", O_RDWR);
    if (mem >= 0) {
        REFUSED(pwrite(mem, bytes, sizeof bytes, (off_t)p));
        REFUSED(pwrite(mem, bytes, 4096, (off_t)(p - 2048)) > 2048 ? 0 : -1);
        close(mem);
    }
    /* Words written or cleared by the kernel at the end of a thread, or by futexes. */
    syscall(SYS_set_tid_address, p);
    uint32_t word = 0;
    REFUSED(syscall(SYS_futex, &word, FUTEX_WAKE_OP, 1, 1, p, FUTEX_OP(FUTEX_OP_SET, 0xfff, FUTEX_OP_CMP_EQ, 0)) >= 0 ? 0 : -1);
    REFUSED(syscall(SYS_futex, p, FUTEX_LOCK_PI, 0, NULL, NULL, 0));
    REFUSED(syscall(SYS_futex, p, FUTEX_TRYLOCK_PI, 0, NULL, NULL, 0));
    close(fds[0]);
    close(fds[1]);
    stub_is_intact("calls that write");
}

static void poke(void *address)
{
    pid_t child = fork();
    if (child == 0) {
        ptrace(PTRACE_TRACEME, 0, 0, 0);
        raise(SIGSTOP);
        _exit(getppid() < 0);
    }
    int status;
    waitpid(child, &status, 0);
    errno = 0;
    if (ptrace(PTRACE_POKEDATA, child, address, 0x4141414141414141) == 0)
        ESCAPE("PTRACE_POKEDATA at %p", address);
    struct user_regs_struct regs;
    ptrace(PTRACE_GETREGS, child, 0, &regs);
    /* Registers that point there are the guest's own affair. */
    regs.rsp = (unsigned long)address;
    ptrace(PTRACE_SETREGS, child, 0, &regs);
    ptrace(PTRACE_KILL, child, 0, 0);
    kill(child, SIGKILL);
    waitpid(child, &status, 0);
}

static void end_there(void *address)
{
    /* At exit the kernel clears this word and walks the robust list: with the sentry's hands. */
    syscall(SYS_set_tid_address, address);
    syscall(SYS_set_robust_list, address, 24);
}

static void stack_there(void *address)
{
    stack_t stack = {.ss_sp = address, .ss_size = 0x4000};
    struct sigaction action = {.sa_handler = SIG_DFL, .sa_flags = SA_ONSTACK};
    sigaltstack(&stack, NULL);
    action.sa_handler = (void (*)(int))STUB;
    sigaction(SIGUSR1, &action, NULL);
    raise(SIGUSR1);
}

static void store(void *address)
{
    *(volatile char *)address = 1;
    ESCAPE("a store at %p", address);
}

int main(void)
{
    memcpy(before, (void *)STUB, STUB_LEN);
    unsigned long own = area();
    struct {
        const char *name;
        unsigned long at, len;
        int read_only;
    } targets[] = {
        {"stub", STUB, STUB_LEN, 1},          {"stub data", STUB + STUB_CODE, 0x1000, 1},
        {"command page", COMMAND, 0x4000, 1}, {"hint page", HINT, 0x1000, 0},
        {"helper stack", HELPER_STACK, AREA_LEN, 0}, {"thread area", own, AREA_LEN, 0},
        {"vsyscall", 0xffffffffff600000, 0x1000, 1}, {"kernel", 0xffff800000000000, 0x1000, 1},
    };
    for (unsigned i = 0; i < LENGTH(targets); i++) {
        if (targets[i].at == 0)
            continue;
        map_over((char *)targets[i].at, targets[i].len);
        TRIED("mapping over the %s", targets[i].name);
        write_by_calls((char *)targets[i].at);
        TRIED("calls that write to the %s", targets[i].name);
        poke((void *)targets[i].at);
        TRIED("PTRACE_POKEDATA to the %s", targets[i].name);
        if (targets[i].read_only) {
            int status = attack(store, (void *)targets[i].at, 5);
            TRIED("a store to the %s: %#x", targets[i].name, status);
            if (!WIFSIGNALED(status))
                ESCAPE("a store to the %s", targets[i].name);
        }
        attack(end_there, (void *)targets[i].at, 5);
        TRIED("ending with the kernel's words in the %s", targets[i].name);
        attack(stack_there, (void *)targets[i].at + 0x800, 25);
        TRIED("a signal stack in the %s, a handler in the stub", targets[i].name);
        stub_is_intact(targets[i].name);
    }
    CONTAINED();
}
