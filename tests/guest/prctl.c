/* prctl(2): options of the process, its memory and its system calls. */
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <linux/prctl.h>
#include <ucontext.h>
#include "check.h"

#define MDWE_SET 65
#define MDWE_GET 66
#define MERGE_SET 67
#define MERGE_GET 68
#define AUXV 0x41555856
#define P(...) prctl(__VA_ARGS__)

static void memory_errors(void)
{
    CHECK(P(PR_MCE_KILL_GET, 0, 0, 0, 0) == PR_MCE_KILL_DEFAULT);
    CHECK(P(PR_MCE_KILL, PR_MCE_KILL_SET, PR_MCE_KILL_EARLY, 0, 0) == 0);
    CHECK(P(PR_MCE_KILL_GET, 0, 0, 0, 0) == PR_MCE_KILL_EARLY);
    CHECK(P(PR_MCE_KILL, PR_MCE_KILL_SET, PR_MCE_KILL_LATE, 0, 0) == 0);
    CHECK(P(PR_MCE_KILL_GET, 0, 0, 0, 0) == PR_MCE_KILL_LATE);
    FAILS(P(PR_MCE_KILL, PR_MCE_KILL_SET, 5, 0, 0), EINVAL);
    FAILS(P(PR_MCE_KILL, PR_MCE_KILL_CLEAR, 1, 0, 0), EINVAL);
    FAILS(P(PR_MCE_KILL, PR_MCE_KILL_CLEAR, 0, 1, 0), EINVAL);
    FAILS(P(PR_MCE_KILL, 2, 0, 0, 0), EINVAL);
    FAILS(P(PR_MCE_KILL_GET, 1, 0, 0, 0), EINVAL);
    CHECK(P(PR_MCE_KILL, PR_MCE_KILL_CLEAR, 0, 0, 0) == 0);
    CHECK(P(PR_MCE_KILL_GET, 0, 0, 0, 0) == PR_MCE_KILL_DEFAULT);
}

static void memory_wishes(void)
{
    CHECK(P(PR_SET_THP_DISABLE, 1, 0, 0, 0) == 0 && P(PR_GET_THP_DISABLE, 0, 0, 0, 0) == 1);
    pid_t child = fork();
    if (child == 0)
        _exit(P(PR_GET_THP_DISABLE, 0, 0, 0, 0));
    int status;
    CHECK(waitpid(child, &status, 0) == child && WEXITSTATUS(status) == 1);
    FAILS(P(PR_SET_THP_DISABLE, 0, 1, 0, 0), EINVAL);
    FAILS(P(PR_GET_THP_DISABLE, 1, 0, 0, 0), EINVAL);
    CHECK(P(PR_SET_THP_DISABLE, 0, 0, 0, 0) == 0 && P(PR_GET_THP_DISABLE, 0, 0, 0, 0) == 0);
    CHECK(P(MERGE_SET, 1, 0, 0, 0) == 0 && P(MERGE_GET, 0, 0, 0, 0) == 1);
    CHECK(P(MERGE_SET, 0, 0, 0, 0) == 0 && P(MERGE_GET, 0, 0, 0, 0) == 0);
    FAILS(P(MERGE_SET, 1, 1, 0, 0), EINVAL);
    FAILS(P(MERGE_GET, 1, 0, 0, 0), EINVAL);
    FAILS(P(PR_SET_SPECULATION_CTRL, 9, 0, 0, 0), ENODEV);
    FAILS(P(PR_GET_SPECULATION_CTRL, 9, 0, 0, 0), ENODEV);
    FAILS(P(PR_GET_SPECULATION_CTRL, 0, 1, 0, 0), EINVAL);
}

static void *pages(int prot)
{
    return mmap(NULL, 8192, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static void executable_memory(void)
{
    void *code = pages(PROT_READ | PROT_EXEC), *data = pages(PROT_READ | PROT_WRITE);
    FAILS(P(MDWE_SET, 2, 0, 0, 0), EINVAL);
    FAILS(P(MDWE_SET, 4, 0, 0, 0), EINVAL);
    FAILS(P(MDWE_SET, 1, 1, 0, 0), EINVAL);
    FAILS(P(MDWE_GET, 1, 0, 0, 0), EINVAL);
    CHECK(P(MDWE_GET, 0, 0, 0, 0) == 0);
    CHECK(P(MDWE_SET, 3, 0, 0, 0) == 0 && P(MDWE_GET, 0, 0, 0, 0) == 3);
    FAILS(P(MDWE_SET, 1, 0, 0, 0), EPERM);
    FAILS(P(MDWE_SET, 0, 0, 0, 0), EPERM);
    pid_t child = fork();
    if (child == 0)
        _exit(P(MDWE_GET, 0, 0, 0, 0));
    int status;
    CHECK(waitpid(child, &status, 0) == child && WEXITSTATUS(status) == 0);
    CHECK(pages(PROT_READ | PROT_WRITE | PROT_EXEC) == MAP_FAILED && errno == EACCES);
    CHECK(pages(PROT_READ | PROT_EXEC) != MAP_FAILED);
    FAILS(mprotect(data, 4096, PROT_READ | PROT_EXEC), EACCES);
    FAILS(mprotect(code, 4096, PROT_READ | PROT_WRITE | PROT_EXEC), EACCES);
    CHECK(mprotect(code, 4096, PROT_READ) == 0);
    CHECK(mprotect((char *)code + 4096, 4096, PROT_READ | PROT_EXEC) == 0);
    FAILS(mprotect(code, 8192, PROT_READ | PROT_EXEC), EACCES);
}

static void places_of_the_program(void)
{
    unsigned size = 0;
    CHECK(P(PR_SET_MM, PR_SET_MM_MAP_SIZE, &size, 0, 0) == 0 && size == sizeof(struct prctl_mm_map));
    FAILS(P(PR_SET_MM, PR_SET_MM_MAP_SIZE, 8, 0, 0), EFAULT);
    FAILS(P(PR_SET_MM, PR_SET_MM_MAP, &size, 8, 0), EINVAL);
    FAILS(P(PR_SET_MM, PR_SET_MM_BRK, 0x100000, 1, 0), EINVAL);
    FAILS(P(PR_SET_MM, PR_SET_MM_BRK, 0x100000, 0, 1), EINVAL);
    /* The command line is elsewhere now. Everything else stays where it was. */
    FILE *stat = fopen("/proc/self/stat", "r");
    char text[1024] = "", *field = text;
    CHECK(stat && fgets(text, sizeof text, stat));
    fclose(stat);
    unsigned long value[64];
    field = strrchr(text, ')') + 4;
    for (int i = 4; i < 53; i++)
        value[i] = strtoul(field, &field, 10);
    char *line = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memcpy(line, "other\0name", 11);
    struct prctl_mm_map map = {
        .start_code = value[26], .end_code = value[27], .start_stack = value[28], .start_data = value[45],
        .end_data = value[46], .start_brk = value[47], .brk = (unsigned long)sbrk(0), .arg_start = (unsigned long)line,
        .arg_end = (unsigned long)line + 11, .env_start = value[50], .env_end = value[51], .exe_fd = -1,
    };
    struct prctl_mm_map bad = map;
    bad.arg_end = bad.arg_start - 1;
    FAILS(P(PR_SET_MM, PR_SET_MM_MAP, &bad, sizeof bad, 0), EINVAL);
    bad = map;
    bad.start_code = 0x100;
    FAILS(P(PR_SET_MM, PR_SET_MM_MAP, &bad, sizeof bad, 0), EINVAL);
    bad = map;
    bad.auxv_size = 8192;
    bad.auxv = (void *)line;
    FAILS(P(PR_SET_MM, PR_SET_MM_MAP, &bad, sizeof bad, 0), EINVAL);
    FAILS(P(PR_SET_MM, PR_SET_MM_MAP, 8, sizeof bad, 0), EFAULT);
    CHECK(P(PR_SET_MM, PR_SET_MM_MAP, &map, sizeof map, 0) == 0);
    FILE *file = fopen("/proc/self/cmdline", "r");
    char now[64] = "";
    CHECK(file && fread(now, 1, sizeof now, file) == 11 && memcmp(now, "other\0name", 11) == 0);
    fclose(file);
}

static void auxiliary_vector(void)
{
    unsigned long words[128] = {0}, first[2] = {0};
    long len = P(AUXV, words, sizeof words, 0, 0);
    CHECK(len >= 320 && len % 16 == 0);
    CHECK(P(AUXV, first, sizeof first, 0, 0) == len);
    CHECK(first[0] == words[0] && first[1] == words[1]);
    int page = 0;
    for (int i = 0; i < len / 8; i += 2)
        page |= words[i] == 6 && words[i + 1] == 4096;
    CHECK(page);
    FAILS(P(AUXV, 8, 64, 0, 0), EFAULT);
    FAILS(P(AUXV, words, 64, 1, 0), EINVAL);
}

static volatile char selector;
static volatile int caught;
static long caught_call, caught_rax;
static void *caught_at;

static void on_call(int sig, siginfo_t *info, void *context)
{
    ucontext_t *uc = context;
    selector = 0;
    caught += sig == SIGSYS && info->si_code == 2 && info->si_errno == 0;
    caught_call = info->si_syscall;
    caught_at = info->si_call_addr;
    caught_rax = uc->uc_mcontext.gregs[REG_RAX];
    uc->uc_mcontext.gregs[REG_RAX] = 4711;
}

static void own_system_calls(void)
{
    struct sigaction act = {.sa_sigaction = on_call, .sa_flags = SA_SIGINFO};
    FAILS(P(PR_SET_SYSCALL_USER_DISPATCH, PR_SYS_DISPATCH_OFF, 0, 0, &selector), EINVAL);
    FAILS(P(PR_SET_SYSCALL_USER_DISPATCH, 2, 0, 0, 0), EINVAL);
    FAILS(P(PR_SET_SYSCALL_USER_DISPATCH, PR_SYS_DISPATCH_ON, 1, 0, &selector), EINVAL);
    FAILS(P(PR_SET_SYSCALL_USER_DISPATCH, PR_SYS_DISPATCH_ON, -1L, 1, &selector), EINVAL);
    FAILS(P(PR_SET_SYSCALL_USER_DISPATCH, PR_SYS_DISPATCH_ON, 0, 0, -1L), EFAULT);
    CHECK(sigaction(SIGSYS, &act, NULL) == 0);
    CHECK(P(PR_SET_SYSCALL_USER_DISPATCH, PR_SYS_DISPATCH_ON, 0, 0, &selector) == 0);
    CHECK(syscall(SYS_getpid) == getpid());
    for (int i = 0; i < 40; i++) {
        selector = 1;
        long got = syscall(i % 2 ? SYS_getppid : SYS_getpid);
        CHECK(got == 4711 && caught == i + 1);
        CHECK(caught_call == (i % 2 ? SYS_getppid : SYS_getpid) && caught_rax == caught_call);
    }
    pid_t child = fork();
    if (child == 0) {
        selector = 1; /* not the child's concern */
        _exit(getppid() == 4711);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    child = fork();
    if (child == 0) {
        P(PR_SET_SYSCALL_USER_DISPATCH, PR_SYS_DISPATCH_ON, 0, 0, &selector);
        selector = 7;
        getppid();
        _exit(0);
    }
    CHECK(waitpid(child, &status, 0) == child && WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS);
    CHECK(P(PR_SET_SYSCALL_USER_DISPATCH, PR_SYS_DISPATCH_OFF, 0, 0, 0) == 0);
    selector = 1;
    CHECK(syscall(SYS_getppid) == getppid());
}

int main(void)
{
    memory_errors();
    memory_wishes();
    places_of_the_program();
    auxiliary_vector();
    own_system_calls();
    executable_memory();
    OK();
}
