// Stacks: growth up to the limit, overflow as a signal, growing mappings, limits of arguments.
#include "check.h"

#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static sigjmp_buf overflow;
static char alternate[65536];

static void on_fault(int signal, siginfo_t *info, void *context) {
    (void)signal, (void)context;
    siglongjmp(overflow, info->si_code);
}

static int descend(int levels) {
    volatile char frame[4096];
    memset((char *)frame, levels, sizeof frame);
    return levels ? descend(levels - 1) + frame[7] : 0;
}

static volatile int enough;

static int for_ever(int level) {
    volatile char frame[4096];
    if (enough) return level;
    frame[0] = (char)level;
    return for_ever(level + 1) + frame[0];
}

static void growth(void) {
    struct rlimit limit = {48 << 20, RLIM_INFINITY};
    struct rlimit old;
    CHECK(getrlimit(RLIMIT_STACK, &old) == 0);
    if (old.rlim_max != RLIM_INFINITY && old.rlim_max < limit.rlim_cur) return;
    limit.rlim_max = old.rlim_max;
    CHECK(setrlimit(RLIMIT_STACK, &limit) == 0);
    descend(10000);
    stack_t stack = {.ss_sp = alternate, .ss_size = sizeof alternate};
    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_ONSTACK | SA_SIGINFO};
    CHECK(sigaltstack(&stack, NULL) == 0 && sigaction(SIGSEGV, &action, NULL) == 0);
    int code = sigsetjmp(overflow, 1);
    if (code == 0) for_ever(0);
    CHECK(code == SEGV_MAPERR);
}

static void growing_mapping(void) {
    long page = sysconf(_SC_PAGESIZE);
    char *room = mmap(NULL, 4 << 20, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(room != MAP_FAILED && munmap(room, 4 << 20) == 0);
    char *top = room + (4 << 20) - page;
    char *map = mmap(top, page, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_GROWSDOWN, -1, 0);
    CHECK(map == top);
    for (int i = 1; i < 100; i++) map[-i * page] = 1;
    CHECK(munmap(room, 4 << 20) == 0);
}

static int run_with(size_t count, size_t len) {
    pid_t child = fork();
    if (child == 0) {
        char **argv = calloc(count + 2, sizeof *argv);
        argv[0] = "true";
        for (size_t i = 1; i <= count; i++) {
            argv[i] = malloc(len + 1);
            memset(argv[i], 'x', len);
            argv[i][len] = 0;
        }
        execv("/bin/true", argv);
        _exit(errno);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void arguments(void) {
    CHECK(run_with(1000, 100) == 0);
    CHECK(run_with(1, 131071) == 0);
    CHECK(run_with(1, 131072) == E2BIG);
    CHECK(run_with(70, 100000) == E2BIG);
}

int main(void) {
    growing_mapping();
    growth();
    arguments();
    OK();
}
