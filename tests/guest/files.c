/* Names, attributes, directories, links, locks, descriptors. */
#include "check.h"
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <sys/xattr.h>

static char base[64] = "/tmp/guest-files-XXXXXX";

static void put(const char *name, const char *text)
{
    int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    CHECK(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    CHECK(close(fd) == 0);
}

static void opening(void)
{
    put("a", "hello");
    FAILS(open("missing", O_RDONLY), ENOENT);
    FAILS(open("a/b", O_RDONLY), ENOTDIR);
    FAILS(open("a", O_RDONLY | O_DIRECTORY), ENOTDIR);
    FAILS(open("a", O_CREAT | O_EXCL | O_WRONLY, 0644), EEXIST);
    FAILS(open(".", O_WRONLY), EISDIR);
    FAILS(open("", O_RDONLY), ENOENT);
    char lengthy[5000];
    memset(lengthy, 'x', sizeof lengthy);
    lengthy[4999] = 0;
    FAILS(open(lengthy, O_RDONLY), ENAMETOOLONG);
    lengthy[256] = 0;
    FAILS(open(lengthy, O_RDONLY), ENAMETOOLONG);
    FAILS(close(99), EBADF);
    FAILS(read(99, lengthy, 1), EBADF);
    int fd = open("a", O_RDONLY);
    FAILS(write(fd, "x", 1), EBADF);
    char buf[10] = {0};
    CHECK(read(fd, buf, 10) == 5 && strcmp(buf, "hello") == 0 && read(fd, buf, 10) == 0);
    CHECK(lseek(fd, -2, SEEK_END) == 3 && read(fd, buf, 10) == 2 && buf[0] == 'l');
    FAILS(lseek(fd, -1, SEEK_SET), EINVAL);
    CHECK(pread(fd, buf, 2, 1) == 2 && buf[0] == 'e');
    struct iovec vec[2] = {{buf, 2}, {buf + 5, 3}};
    CHECK(preadv(fd, vec, 2, 0) == 5 && buf[5] == 'l');
    close(fd);
    fd = open("a", O_WRONLY | O_APPEND);
    CHECK(write(fd, " world", 6) == 6 && lseek(fd, 0, SEEK_CUR) == 11);
    close(fd);
    mode_t old = umask(027);
    fd = open("masked", O_CREAT | O_RDWR, 0666);
    struct stat st;
    CHECK(fstat(fd, &st) == 0 && (st.st_mode & 07777) == 0640);
    umask(old);
    close(fd);
    int path = open("a", O_PATH);
    CHECK(path >= 0);
    FAILS(read(path, buf, 1), EBADF);
    CHECK(fstat(path, &st) == 0 && st.st_size == 11);
    close(path);
}

/* Reads of all lengths into whole, split, read-only and half-mapped memory. */
static void reading(void)
{
    enum { LEN = 200000 };
    static unsigned char want[LEN], got[LEN];
    for (int i = 0; i < LEN; i++) want[i] = i * 7 + i / 251;
    int fd = open("bytes", O_RDWR | O_CREAT | O_TRUNC, 0644);
    CHECK(fd >= 0 && write(fd, want, LEN) == LEN);
    int image = open("/proc/self/exe", O_RDONLY);
    unsigned char head[4];
    CHECK(image >= 0 && pread(image, head, 4, 0) == 4 && memcmp(head, "\177ELF", 4) == 0);
    const int lengths[] = {1, 255, 4096, 16385, 52992, 65536, 69376, 69377, LEN};
    for (unsigned i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        for (int at = 0; at < LEN; at += 61234) {
            int len = lengths[i], there = len < LEN - at ? len : LEN - at;
            memset(got, 0xee, LEN);
            CHECK(pread(fd, got, len, at) == there && memcmp(got, want + at, there) == 0);
            CHECK(there == LEN || got[there] == 0xee);
        }
    }
    CHECK(pread(fd, got, 100, LEN) == 0 && pread(fd, got, 100, LEN - 30) == 30);
    struct iovec vec[3] = {{got, 3}, {got + 100, 0}, {got + 1000, 70000}};
    CHECK(preadv(fd, vec, 3, 5) == 70003 && memcmp(got, want + 5, 3) == 0 && memcmp(got + 1000, want + 8, 70000) == 0);
    long page = sysconf(_SC_PAGESIZE);
    char *map = mmap(NULL, 3 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(map != MAP_FAILED && mprotect(map + page, page, PROT_READ) == 0 && munmap(map + 2 * page, page) == 0);
    FAILS(pread(fd, map + page, 10, 0), EFAULT);
    FAILS(pread(fd, map + 2 * page, 10, 0), EFAULT);
    FAILS(pread(image, map + page, 10, 0), EFAULT);
    long some = pread(fd, map + page - 10, 100, 0);
    CHECK((some == 10 || (some == -1 && errno == EFAULT)) && map[page] == 0);
    /* A file may be read into itself. */
    CHECK(ftruncate(fd, 2 * page) == 0);
    char *own = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(own != MAP_FAILED && pread(fd, own + page, page, 0) == page && memcmp(own, own + page, page) == 0);
    /* Holes. */
    CHECK(ftruncate(fd, LEN) == 0 && pread(fd, got, LEN, 0) == LEN && got[2 * page] == 0 && got[LEN - 1] == 0);
    close(image);
    close(fd);
}

static void links(void)
{
    struct stat st, other;
    CHECK(link("a", "b") == 0 && stat("b", &st) == 0 && st.st_nlink == 2);
    CHECK(stat("a", &other) == 0 && other.st_ino == st.st_ino && other.st_dev == st.st_dev);
    CHECK(symlink("a", "s") == 0 && lstat("s", &st) == 0 && S_ISLNK(st.st_mode) && st.st_size == 1);
    char buf[20];
    CHECK(readlink("s", buf, 20) == 1 && buf[0] == 'a');
    FAILS(readlink("a", buf, 20), EINVAL);
    FAILS(open("s", O_RDONLY | O_NOFOLLOW), ELOOP);
    CHECK(symlink("loop2", "loop1") == 0 && symlink("loop1", "loop2") == 0);
    FAILS(open("loop1", O_RDONLY), ELOOP);
    CHECK(symlink("nowhere", "dangling") == 0);
    FAILS(stat("dangling", &st), ENOENT);
    FAILS(open("dangling", O_CREAT | O_EXCL | O_RDWR, 0644), EEXIST);
    CHECK(unlink("b") == 0 && stat("a", &st) == 0 && st.st_nlink == 1);
    int fd = open("gone", O_CREAT | O_RDWR, 0644);
    CHECK(write(fd, "kept", 4) == 4 && unlink("gone") == 0);
    FAILS(stat("gone", &st), ENOENT);
    CHECK(fstat(fd, &st) == 0 && st.st_nlink == 0 && pread(fd, buf, 4, 0) == 4);
    close(fd);
}

static void directories(void)
{
    struct stat st;
    CHECK(mkdir("d", 0755) == 0 && mkdir("d/e", 0700) == 0);
    FAILS(mkdir("d", 0755), EEXIST);
    FAILS(rmdir("d"), ENOTEMPTY);
    FAILS(rmdir("a"), ENOTDIR);
    FAILS(unlink("d"), EISDIR);
    CHECK(stat("d", &st) == 0 && st.st_nlink >= 1);
    for (int i = 0; i < 500; i++) {
        char name[32];
        snprintf(name, sizeof name, "d/file%d", i);
        put(name, "x");
    }
    DIR *dir = opendir("d");
    int seen = 0;
    long sum = 0;
    for (struct dirent *entry; (entry = readdir(dir));) {
        int n;
        if (sscanf(entry->d_name, "file%d", &n) == 1) {
            seen++;
            sum += n;
            CHECK(entry->d_type == DT_REG || entry->d_type == DT_UNKNOWN);
        }
    }
    CHECK(seen == 500 && sum == 499 * 500 / 2);
    rewinddir(dir);
    CHECK(readdir(dir) != NULL);
    closedir(dir);
    CHECK(chdir("d/e") == 0);
    char cwd[PATH_MAX], want[PATH_MAX];
    snprintf(want, sizeof want, "%s/d/e", base);
    CHECK(getcwd(cwd, sizeof cwd) && strcmp(cwd, want) == 0);
    FAILS(syscall(SYS_getcwd, cwd, 3), ERANGE);
    CHECK(chdir("../..") == 0);
    int fd = open("d", O_RDONLY | O_DIRECTORY);
    CHECK(openat(fd, "file7", O_RDONLY) >= 0 && faccessat(fd, "file8", R_OK, 0) == 0);
    CHECK(unlinkat(fd, "file8", 0) == 0 && unlinkat(fd, "e", AT_REMOVEDIR) == 0);
    FAILS(faccessat(fd, "file8", F_OK, 0), ENOENT);
    close(fd);
}

static void renames(void)
{
    struct stat st;
    put("r1", "one");
    put("r2", "two");
    CHECK(rename("r1", "r2") == 0 && stat("r2", &st) == 0 && st.st_size == 3);
    FAILS(stat("r1", &st), ENOENT);
    CHECK(mkdir("rd", 0755) == 0 && mkdir("rd/x", 0755) == 0);
    FAILS(rename("rd", "rd/x/y"), EINVAL);
    FAILS(rename("r2", "rd"), EISDIR);
    FAILS(rename("rd", "r2"), ENOTDIR);
    FAILS(rename("d", "rd"), ENOTEMPTY);
    CHECK(rename("rd/x", "rx") == 0 && rename("rx", "rd/x") == 0);
    put("r3", "three");
    FAILS(renameat2(AT_FDCWD, "r2", AT_FDCWD, "r3", RENAME_NOREPLACE), EEXIST);
    CHECK(renameat2(AT_FDCWD, "r2", AT_FDCWD, "r3", RENAME_EXCHANGE) == 0);
    CHECK(stat("r2", &st) == 0 && st.st_size == 5);
}

static void attributes(void)
{
    struct stat st;
    put("t", "12345");
    CHECK(chmod("t", 0604) == 0 && stat("t", &st) == 0 && (st.st_mode & 07777) == 0604);
    struct timespec times[2] = {{1000, 5}, {2000, 7}};
    CHECK(utimensat(AT_FDCWD, "t", times, 0) == 0 && stat("t", &st) == 0);
    CHECK(st.st_atim.tv_sec == 1000 && st.st_mtim.tv_sec == 2000 && st.st_mtim.tv_nsec == 7);
    CHECK(truncate("t", 2) == 0 && stat("t", &st) == 0 && st.st_size == 2 && st.st_mtim.tv_sec > 2000);
    CHECK(truncate("t", 10000) == 0 && stat("t", &st) == 0 && st.st_size == 10000);
    int fd = open("t", O_RDWR);
    char buf[8];
    CHECK(pread(fd, buf, 8, 5000) == 8 && buf[3] == 0);
    CHECK(lseek(fd, 100000, SEEK_SET) == 100000 && write(fd, "end", 3) == 3);
    CHECK(fstat(fd, &st) == 0 && st.st_size == 100003 && fsync(fd) == 0);
    CHECK(posix_fallocate(fd, 0, 200000) == 0 && fstat(fd, &st) == 0 && st.st_size == 200000);
    struct statx sx;
    CHECK(statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &sx) == 0 && sx.stx_size == 200000);
    struct statfs fs;
    CHECK(fstatfs(fd, &fs) == 0 && fs.f_namelen >= 255);
    close(fd);
    if (getuid() == 0) {
        CHECK(chown("t", 1234, 4321) == 0 && stat("t", &st) == 0 && st.st_uid == 1234 && st.st_gid == 4321);
        CHECK(mknod("fifo", S_IFIFO | 0644, 0) == 0 && stat("fifo", &st) == 0 && S_ISFIFO(st.st_mode));
    }
    FAILS(access("t", X_OK), EACCES);
}

static void descriptors(void)
{
    int fd = open("a", O_RDWR);
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 50);
    CHECK(copy == 50 && fcntl(copy, F_GETFD) == FD_CLOEXEC && fcntl(fd, F_GETFD) == 0);
    CHECK(lseek(fd, 3, SEEK_SET) == 3 && lseek(copy, 0, SEEK_CUR) == 3);
    CHECK(dup2(fd, 60) == 60 && dup2(fd, fd) == fd);
    FAILS(dup3(fd, fd, 0), EINVAL);
    CHECK((fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDWR && fcntl(fd, F_SETFL, O_NONBLOCK | O_APPEND) == 0);
    CHECK(fcntl(copy, F_GETFL) & O_NONBLOCK);
    CHECK(syscall(SYS_close_range, 50, 60, 0) == 0);
    FAILS(fcntl(50, F_GETFD), EBADF);
    struct rlimit limit;
    CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    struct rlimit low = {20, limit.rlim_max};
    CHECK(setrlimit(RLIMIT_NOFILE, &low) == 0);
    int last = 0;
    while ((last = dup(fd)) >= 0)
        ;
    CHECK(errno == EMFILE);
    syscall(SYS_close_range, fd + 1, 100, 0);
    setrlimit(RLIMIT_NOFILE, &limit);
    close(fd);
}

static void locks(void)
{
    int one = open("a", O_RDWR), two = open("a", O_RDWR);
    CHECK(flock(one, LOCK_EX) == 0);
    FAILS(flock(two, LOCK_SH | LOCK_NB), EWOULDBLOCK);
    CHECK(flock(one, LOCK_UN) == 0 && flock(two, LOCK_SH | LOCK_NB) == 0);
    struct flock range = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 10};
    CHECK(fcntl(one, F_SETLK, &range) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        struct flock mine = range;
        FAILS(fcntl(two, F_SETLK, &mine), EAGAIN);
        mine = range;
        CHECK(fcntl(two, F_GETLK, &mine) == 0 && mine.l_type == F_WRLCK && mine.l_pid == getppid());
        mine.l_start = 10;
        mine.l_type = F_WRLCK;
        mine.l_pid = 0;
        CHECK(fcntl(two, F_SETLK, &mine) == 0);
        _exit(0);
    }
    int status;
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    struct flock ofd = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 100, .l_len = 10};
    CHECK(fcntl(one, F_OFD_SETLK, &ofd) == 0);
    FAILS(fcntl(two, F_OFD_SETLK, &ofd), EAGAIN);
    close(one);
    CHECK(fcntl(two, F_OFD_SETLK, &ofd) == 0);
    close(two);
}

static void moving(void)
{
    put("from", "some bytes to move");
    int in = open("from", O_RDONLY), out = open("to", O_CREAT | O_RDWR | O_TRUNC, 0644);
    off_t at = 5;
    CHECK(sendfile(out, in, &at, 5) == 5 && at == 10);
    off_t a = 0, b = 5;
    CHECK(copy_file_range(in, &a, out, &b, 4, 0) == 4);
    char buf[16] = {0};
    CHECK(pread(out, buf, 16, 0) == 9 && memcmp(buf, "bytessome", 9) == 0);
    int fds[2];
    CHECK(pipe(fds) == 0);
    loff_t from = 0;
    CHECK(splice(in, &from, fds[1], NULL, 4, 0) == 4 && read(fds[0], buf, 16) == 4 && memcmp(buf, "some", 4) == 0);
    close(in);
    close(out);
}

static void watches(void)
{
    int fd = inotify_init1(IN_NONBLOCK);
    CHECK(mkdir("w", 0755) == 0);
    int watch = inotify_add_watch(fd, "w", IN_CREATE | IN_DELETE | IN_MODIFY);
    CHECK(fd >= 0 && watch >= 1);
    char buf[4096];
    FAILS(read(fd, buf, sizeof buf), EAGAIN);
    put("w/new", "x");
    unlink("w/new");
    ssize_t got = read(fd, buf, sizeof buf);
    CHECK(got > 0);
    struct inotify_event *event = (void *)buf;
    CHECK(event->wd == watch && (event->mask & IN_CREATE) && strcmp(event->name, "new") == 0);
    close(fd);
}

static void xattrs(void)
{
    char buf[16];
    if (setxattr("a", "user.key", "value", 5, 0) != 0) {
        CHECK(errno == EOPNOTSUPP);
        return;
    }
    CHECK(getxattr("a", "user.key", buf, 16) == 5 && memcmp(buf, "value", 5) == 0);
    FAILS(setxattr("a", "user.key", "v", 1, XATTR_CREATE), EEXIST);
    FAILS(getxattr("a", "user.none", buf, 16), ENODATA);
    CHECK(removexattr("a", "user.key") == 0);
}

int main(void)
{
    CHECK(mkdtemp(base) && chdir(base) == 0);
    opening();
    reading();
    links();
    directories();
    renames();
    attributes();
    descriptors();
    locks();
    moving();
    watches();
    xattrs();
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", base);
    CHECK(chdir("/") == 0 && system(command) == 0);
    OK();
}
