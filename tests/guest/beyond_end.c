/* Memory beyond the end of a mapped file: SIGBUS natively, EFAULT for system calls, and there again once the file grows. */
#include "check.h"
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

static sigjmp_buf back;
static volatile int code;

static void caught(int sig, siginfo_t *info, void *context)
{
    (void)sig;
    (void)context;
    code = info->si_code;
    siglongjmp(back, 1);
}

/* Whether a read of that byte raises SIGBUS. */
static int bus(volatile char *at)
{
    if (sigsetjmp(back, 1))
        return code == BUS_ADRERR;
    (void)*at;
    return 0;
}

static void check(int file)
{
    int ends[2];
    CHECK(pipe(ends) == 0 && ftruncate(file, 100) == 0);
    char *map = mmap(NULL, 16384, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    char *copy = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE, file, 4096);
    CHECK(map != MAP_FAILED && copy != MAP_FAILED);

    /* the page of the end is there, the next is not */
    CHECK(!bus(map) && !bus(map + 4095) && bus(map + 4096) && bus(map + 16383) && bus(copy));
    FAILS(write(ends[1], map + 4096, 1), EFAULT);

    /* it grows by truncation, by a write and by an allocation */
    CHECK(ftruncate(file, 8192) == 0 && !bus(map + 4096) && bus(map + 8192) && !bus(copy) && bus(copy + 4096));
    map[4096] = 'm';
    CHECK(copy[0] == 'm');
    copy[0] = 'c';
    CHECK(map[4096] == 'm');
    CHECK(pwrite(file, "x", 1, 8192) == 1 && !bus(map + 8192) && map[8192] == 'x' && bus(map + 12288));
    if (fallocate(file, 0, 0, 16384) == 0)
        CHECK(!bus(map + 16383));

    /* another process sees it end as well; private copies go, too */
    pid_t child = fork();
    if (child == 0) {
        CHECK(ftruncate(file, 10) == 0);
        _exit(!(bus(map + 4096) && bus(copy) && !bus(map)));
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    CHECK(bus(map + 4096) && bus(copy) && !bus(map + 11));

    /* what comes back is empty */
    CHECK(ftruncate(file, 16384) == 0 && !bus(map + 4096) && map[4096] == 0 && copy[0] == 0);
    CHECK(mprotect(map, 16384, PROT_READ) == 0 && ftruncate(file, 0) == 0 && bus(map));
    CHECK(munmap(map, 16384) == 0 && munmap(copy, 8192) == 0);
    CHECK(close(file) == 0 && close(ends[0]) == 0 && close(ends[1]) == 0);
}

int main(void)
{
    struct sigaction action = {.sa_sigaction = caught, .sa_flags = SA_SIGINFO};
    char name[] = "endXXXXXX";
    CHECK(sigaction(SIGBUS, &action, NULL) == 0);
    check(memfd_create("end", 0));
    check(mkstemp(name));
    CHECK(unlink(name) == 0);
    OK();
}
