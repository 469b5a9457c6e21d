/* mmap and its kin, brk, shared and private, files and anonymous, across fork. */
#include "check.h"
#include <fcntl.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>

#define PAGE 4096UL

static void anonymous(void)
{
    char *area = mmap(NULL, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(area != MAP_FAILED);
    for (int i = 0; i < 8; i++)
        CHECK(area[i * PAGE] == 0);
    memset(area, 7, 8 * PAGE);
    CHECK(munmap(area + 2 * PAGE, PAGE) == 0);
    unsigned char vec[8];
    FAILS(mincore(area, 8 * PAGE, vec), ENOMEM);
    CHECK(mincore(area, 2 * PAGE, vec) == 0);
    CHECK(mprotect(area, PAGE, PROT_READ) == 0);
    FAILS(mprotect(area, 4 * PAGE, PROT_READ | PROT_WRITE), ENOMEM);
    char *fixed = mmap(area + 2 * PAGE, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    CHECK(fixed == area + 2 * PAGE && fixed[0] == 0);
    FAILS((long)mmap(area, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0), EEXIST);
    FAILS((long)mmap(NULL, 0, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), EINVAL);
    FAILS((long)mmap(NULL, PAGE, PROT_READ, MAP_ANONYMOUS, -1, 0), EINVAL);
    FAILS((long)mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, 99, 0), EBADF);
    FAILS(munmap(area + 1, PAGE), EINVAL);
    CHECK(madvise(area + 4 * PAGE, PAGE, MADV_DONTNEED) == 0 && area[4 * PAGE] == 0 && area[5 * PAGE] == 7);
    CHECK(munmap(area, 8 * PAGE) == 0);
    CHECK(munmap(area, 8 * PAGE) == 0);
}

static void remap(void)
{
    char *area = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    strcpy(area + 3 * PAGE, "tail");
    char *bigger = mremap(area, 4 * PAGE, 1024 * PAGE, MREMAP_MAYMOVE);
    CHECK(bigger != MAP_FAILED && strcmp(bigger + 3 * PAGE, "tail") == 0 && bigger[1023 * PAGE] == 0);
    char *smaller = mremap(bigger, 1024 * PAGE, 4 * PAGE, 0);
    CHECK(smaller == bigger);
    char *place = mmap(NULL, 8 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *moved = mremap(smaller, 4 * PAGE, 4 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, place);
    CHECK(moved == place && strcmp(moved + 3 * PAGE, "tail") == 0);
    FAILS((long)mremap(smaller, 4 * PAGE, 8 * PAGE, MREMAP_MAYMOVE), EFAULT);
    FAILS((long)mremap(moved + 1, PAGE, PAGE, 0), EINVAL);
    CHECK(munmap(place, 8 * PAGE) == 0);
}

static void files(void)
{
    char name[] = "/tmp/guest-memory-XXXXXX";
    int fd = mkstemp(name);
    CHECK(fd >= 0 && ftruncate(fd, 2 * PAGE) == 0);
    char *shared = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    char *private = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    CHECK(shared != MAP_FAILED && private != MAP_FAILED);
    strcpy(shared, "hello");
    CHECK(strcmp(private, "hello") == 0);
    char buf[16] = {0};
    CHECK(pread(fd, buf, 6, 0) == 6 && strcmp(buf, "hello") == 0);
    CHECK(pwrite(fd, "world", 6, PAGE) == 6 && strcmp(shared + PAGE, "world") == 0);
    strcpy(private, "mine");
    CHECK(strcmp(shared, "hello") == 0);
    CHECK(msync(shared, 2 * PAGE, MS_SYNC) == 0);
    int ro = open(name, O_RDONLY);
    FAILS((long)mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, ro, 0), EACCES);
    char *map = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, ro, PAGE);
    CHECK(map != MAP_FAILED && strcmp(map, "world") == 0);
    FAILS(mprotect(map, PAGE, PROT_READ | PROT_WRITE), EACCES);
    pid_t pid = fork();
    if (pid == 0) {
        strcpy(shared, "child");
        strcpy(private, "other");
        _exit(0);
    }
    int status;
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    CHECK(strcmp(shared, "child") == 0 && strcmp(private, "mine") == 0);
    CHECK(unlink(name) == 0);
    CHECK(strcmp(shared, "child") == 0);
    close(fd);
    close(ro);
}

static void shared_anonymous(void)
{
    int *counter = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(counter != MAP_FAILED);
    for (int i = 0; i < 4; i++)
        if (fork() == 0) {
            for (int j = 0; j < 1000; j++)
                __atomic_add_fetch(counter, 1, __ATOMIC_SEQ_CST);
            _exit(0);
        }
    while (wait(NULL) > 0)
        ;
    CHECK(*counter == 4000);
    int fd = memfd_create("m", MFD_ALLOW_SEALING);
    CHECK(fd >= 0 && ftruncate(fd, PAGE) == 0);
    char *view = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(write(fd, "abc", 3) == 3 && memcmp(view, "abc", 3) == 0);
    FAILS(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), EBUSY);
    CHECK(munmap(view, PAGE) == 0 && fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK) == 0);
    FAILS(write(fd, "x", 1), EPERM);
    FAILS(ftruncate(fd, 0), EPERM);
    close(fd);
}

static void heap(void)
{
    char *start = sbrk(0);
    CHECK(sbrk(3 * PAGE + 5) == start);
    start[3 * PAGE + 4] = 1;
    CHECK(sbrk(-(3 * PAGE + 5)) == start + 3 * PAGE + 5);
    char *big = malloc(300 << 20);
    CHECK(big);
    for (size_t i = 0; i < 300UL << 20; i += 1 << 20)
        big[i] = 1;
    free(big);
}

static void vm_io(void)
{
    char from[100] = "across", to[100] = {0};
    struct iovec local = {to, 100}, remote = {from, 100};
    CHECK(process_vm_readv(getpid(), &local, 1, &remote, 1, 0) == 100 && strcmp(to, "across") == 0);
    int fds[2];
    CHECK(pipe(fds) == 0);
    volatile long low = 8;
    FAILS(write(fds[1], (void *)low, 4), EFAULT);
    char *edge = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(munmap(edge + PAGE, PAGE) == 0);
    CHECK(write(fds[1], edge + PAGE - 10, 10) == 10);
    FAILS(read(fds[0], edge + PAGE, 10), EFAULT);
}

static void copy_on_write(void)
{
    size_t len = 32UL << 20;
    char *area = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memset(area, 1, len);
    pid_t pid = fork();
    if (pid == 0) {
        for (size_t i = 0; i < len; i += PAGE) {
            CHECK(area[i] == 1);
            area[i] = 2;
        }
        _exit(0);
    }
    int status;
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    for (size_t i = 0; i < len; i += PAGE)
        CHECK(area[i] == 1);
}

int main(void)
{
    anonymous();
    remap();
    files();
    shared_anonymous();
    heap();
    vm_io();
    copy_on_write();
    OK();
}
