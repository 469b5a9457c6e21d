/* The edges of read(2), write(2), lseek(2), fcntl(2) and ioctl(2) on regular files. */
#include "check.h"
#pragma GCC diagnostic ignored "-Wpragmas"
#pragma GCC diagnostic ignored "-Wstringop-overflow"
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/xattr.h>

#ifndef RWF_NOAPPEND
#define RWF_NOAPPEND 0x20
#endif
#define SET_HINT 1036
#define GET_HINT 1035

int main(void)
{
    char name[] = "limitsXXXXXX", buf[16];
    int file = mkstemp(name), path, on = 1;
    struct iovec part = {"abcd", 4};
    struct stat st;
    CHECK(file >= 0 && write(file, "hello world", 11) == 11);

    /* addresses that no process has, whatever the file could give; lengths beyond them */
    FAILS(read(file, (void *)-1L, 1), EFAULT);
    FAILS(read(file, buf, SIZE_MAX), EFAULT);
    FAILS(write(file, buf, SIZE_MAX), EFAULT);
    CHECK(read(file, (void *)16, 1) == 0);
    FAILS(read(STDIN_FILENO + 900, (void *)-1L, 1), EBADF);

    /* positions */
    FAILS(pread(file, buf, 10, LONG_MAX - 5), EINVAL);
    FAILS(pwrite(file, buf, 10, LONG_MAX - 5), EINVAL);
    CHECK(lseek(file, 100, SEEK_SET) == 100);
    FAILS(lseek(file, LONG_MAX, SEEK_CUR), EINVAL);
    FAILS(lseek(file, -101, SEEK_CUR), EINVAL);

    /* flags of pwritev2(2) */
    CHECK(pwritev2(file, &part, 1, 0, RWF_APPEND) == 4);
    CHECK(fstat(file, &st) == 0 && st.st_size == 15);
    CHECK(lseek(file, 0, SEEK_CUR) == 100 && pwritev2(file, &part, 1, -1, RWF_APPEND) == 4);
    CHECK(lseek(file, 0, SEEK_CUR) == 19);
    CHECK(preadv2(file, &part, 0, 0, 0x40000000) == 0);
    FAILS(pwritev2(file, &part, 1, 0, 0x40000000), EOPNOTSUPP);
    int append = open(name, O_WRONLY | O_APPEND);
    if (pwritev2(append, &part, 1, 0, RWF_NOAPPEND) == 4)
        CHECK(fstat(file, &st) == 0 && st.st_size == 19);
    CHECK(pwritev2(file, &part, 1, 0, RWF_DSYNC) == 4);

    /* owners, hints, clones */
    FAILS(fcntl(file, F_SETOWN, 0x3ffffff), ESRCH);
    CHECK(fcntl(file, F_SETOWN, getpid()) == 0 && fcntl(file, F_GETOWN) == getpid());
    uint64_t hint = 5;
    CHECK(fcntl(file, SET_HINT, &hint) == 0);
    hint = 0;
    CHECK(fcntl(append, GET_HINT, &hint) == 0 && hint == 5);
    hint = 6;
    FAILS(fcntl(file, SET_HINT, &hint), EINVAL);
    FAILS(ioctl(file, FICLONE, 999), EBADF);
    FAILS(ioctl(file, FIOASYNC, &on), ENOTTY);

    /* O_PATH shows itself alone */
    path = open(name, O_PATH | O_RDWR);
    CHECK((fcntl(path, F_GETFL) & ~O_CLOEXEC) == O_PATH);

    /* a full eventfd refuses the value that it could never hold before it says that it is full */
    uint64_t most = UINT64_MAX - 1, never = UINT64_MAX, one = 1;
    int counter = eventfd(0, EFD_NONBLOCK);
    CHECK(write(counter, &most, 8) == 8);
    FAILS(write(counter, &never, 8), EINVAL);
    FAILS(write(counter, &one, 8), EAGAIN);
    CHECK(lseek(counter, 5, SEEK_SET) == 0);

    /* names without a name, locks of other systems, directories as sources */
    FAILS(fsetxattr(file, "user.", "v", 1, 0), EINVAL);
    CHECK(flock(file, 32) == 0);
    int ends[2], directory = open(".", O_RDONLY);
    CHECK(pipe(ends) == 0);
    CHECK(sendfile(ends[1], directory, NULL, 1) == -1 && (errno == EINVAL || errno == EOVERFLOW));

    /* lengths that wrap to nothing; locked memory that nobody may touch */
    char *page = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(mlock(page, SIZE_MAX) == 0 && msync(page, SIZE_MAX, MS_SYNC) == 0);
    FAILS(mlock(page, 4096), ENOMEM);
    FAILS(mmap(NULL, 4096, PROT_READ, MAP_SHARED | MAP_ANONYMOUS | MAP_GROWSDOWN, -1, 0), EINVAL);
    FAILS(mmap(NULL, 4096, PROT_READ, MAP_SHARED_VALIDATE | 0x80000000, file, 0), EOPNOTSUPP);
    FAILS(madvise(page, 4096, MADV_FREE), EINVAL);
    CHECK(unlink(name) == 0);
    OK();
}
