/* What package managers, databases and container tools do to the files of a directory (argv[1], or /tmp). */
#include "check.h"
#include <dirent.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>

static void nameless(void)
{
    int fd = open(".", O_TMPFILE | O_RDWR, 0600);
    CHECK(fd >= 0 && write(fd, "hidden", 6) == 6);
    struct stat st;
    CHECK(fstat(fd, &st) == 0 && st.st_nlink == 0 && st.st_size == 6);
    char self[40];
    snprintf(self, sizeof self, "/proc/self/fd/%d", fd);
    CHECK(linkat(AT_FDCWD, self, AT_FDCWD, "shown", AT_SYMLINK_FOLLOW) == 0);
    CHECK(fstat(fd, &st) == 0 && st.st_nlink == 1);
    int again = open("shown", O_RDONLY);
    char buf[8] = {0};
    CHECK(read(again, buf, 8) == 6 && strcmp(buf, "hidden") == 0);
    close(again);
    close(fd);
    fd = open(".", O_TMPFILE | O_WRONLY | O_EXCL, 0600);
    CHECK(fd >= 0 && write(fd, "x", 1) == 1);
    snprintf(self, sizeof self, "/proc/self/fd/%d", fd);
    FAILS(linkat(AT_FDCWD, self, AT_FDCWD, "never", AT_SYMLINK_FOLLOW), ENOENT);
    close(fd);
    FAILS(open(".", O_TMPFILE | O_RDONLY, 0600), EINVAL);
    CHECK(unlink("shown") == 0);
}

static void nodes(void)
{
    struct stat st;
    CHECK(mknod("fifo", S_IFIFO | 0640, 0) == 0 && stat("fifo", &st) == 0 && S_ISFIFO(st.st_mode));
    pid_t child = fork();
    if (child == 0) {
        int fd = open("fifo", O_WRONLY);
        _exit(write(fd, "through", 7) == 7 ? 0 : 1);
    }
    int fd = open("fifo", O_RDONLY);
    char buf[10] = {0};
    CHECK(read(fd, buf, 10) == 7 && strcmp(buf, "through") == 0);
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    close(fd);
    struct sockaddr_un name = {.sun_family = AF_UNIX, .sun_path = "sock"};
    int server = socket(AF_UNIX, SOCK_STREAM, 0), client = socket(AF_UNIX, SOCK_STREAM, 0);
    CHECK(bind(server, (void *)&name, sizeof name) == 0 && listen(server, 1) == 0);
    CHECK(stat("sock", &st) == 0 && S_ISSOCK(st.st_mode));
    CHECK(rename("sock", "renamed") == 0);
    strcpy(name.sun_path, "renamed");
    CHECK(connect(client, (void *)&name, sizeof name) == 0);
    close(server);
    close(client);
    CHECK(unlink("renamed") == 0 && unlink("fifo") == 0);
    if (geteuid() == 0) {
        CHECK(mknod("whiteout", S_IFCHR, 0) == 0 && stat("whiteout", &st) == 0);
        CHECK(S_ISCHR(st.st_mode) && st.st_rdev == 0 && unlink("whiteout") == 0);
    }
}

static void put(const char *name, const char *text)
{
    int fd = open(name, O_CREAT | O_TRUNC | O_WRONLY, 0644);
    CHECK(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text) && close(fd) == 0);
}

static void names(void)
{
    struct stat a, b;
    put("a", "a");
    put("b", "bb");
    CHECK(link("a", "a2") == 0 && stat("a2", &b) == 0 && b.st_nlink == 2);
    FAILS(renameat2(AT_FDCWD, "a", AT_FDCWD, "b", RENAME_NOREPLACE), EEXIST);
    CHECK(renameat2(AT_FDCWD, "a", AT_FDCWD, "b", RENAME_EXCHANGE) == 0);
    CHECK(stat("a", &a) == 0 && a.st_size == 2 && stat("b", &b) == 0 && b.st_size == 1);
    CHECK(rename("b", "a2") == 0 && access("b", F_OK) == 0);
    CHECK(unlink("b") == 0 && stat("a2", &b) == 0 && b.st_nlink == 1);
    CHECK(mkdir("d", 0755) == 0 && rename("d", "e") == 0 && mkdir("e/f", 0700) == 0);
    FAILS(rmdir("e"), ENOTEMPTY);
    FAILS(rename("e", "e/f/g"), EINVAL);
    int dir = open("e/f", O_RDONLY | O_DIRECTORY);
    CHECK(rename("e", "h") == 0);
    int fd = openat(dir, "in", O_CREAT | O_WRONLY, 0600);
    CHECK(fd >= 0 && close(fd) == 0 && access("h/f/in", F_OK) == 0);
    CHECK(unlinkat(dir, "in", 0) == 0 && rmdir("h/f") == 0 && rmdir("h") == 0);
    FAILS(openat(dir, "late", O_CREAT | O_WRONLY, 0600), ENOENT);
    close(dir);
    fd = open("a", O_RDONLY);
    CHECK(unlink("a") == 0 && fstat(fd, &a) == 0 && a.st_nlink == 0 && a.st_size == 2);
    CHECK(fchmod(fd, 0600) == 0 && fchown(fd, -1, -1) == 0);
    close(fd);
    CHECK(unlink("a2") == 0);
}

/* Capabilities of a file, as setcap(8) writes them, are read as they were written. Without CAP_SETFCAP there are none. */
static void file_capabilities(void)
{
    /* VFS_CAP_REVISION_2 with the effective bit, CAP_NET_RAW. */
    const unsigned caps[5] = {0x02000001, 1 << 13, 0, 0, 0};
    unsigned seen[6] = {0};
    int fd = open("capable", O_CREAT | O_WRONLY, 0755);
    CHECK(fd >= 0);
    if (setxattr("capable", "security.capability", caps, sizeof caps, 0) == 0) {
        CHECK(getxattr("capable", "security.capability", seen, sizeof seen) == sizeof caps);
        CHECK(memcmp(seen, caps, sizeof caps) == 0);
        /* What is written is another program. */
        CHECK(write(fd, "x", 1) == 1);
        FAILS(getxattr("capable", "security.capability", seen, sizeof seen), ENODATA);
    } else {
        CHECK(errno == EPERM && geteuid() != 0);
    }
    close(fd);
    CHECK(unlink("capable") == 0);
}

static void attributes(void)
{
    put("x", "x");
    CHECK(symlink("x", "link") == 0);
    struct timespec when[2] = {{1000, 5}, {2000, 6}};
    struct stat st;
    CHECK(utimensat(AT_FDCWD, "link", when, AT_SYMLINK_NOFOLLOW) == 0);
    CHECK(lstat("link", &st) == 0 && st.st_mtim.tv_sec == 2000 && st.st_mtim.tv_nsec == 6);
    CHECK(stat("x", &st) == 0 && st.st_mtim.tv_sec != 2000);
    char value[10];
    ssize_t got = lgetxattr("link", "user.none", value, sizeof value);
    CHECK(got == -1 && (errno == ENODATA || errno == EPERM || errno == EOPNOTSUPP));
    FAILS(lsetxattr("link", "user.none", "v", 1, 0), EPERM);
    got = llistxattr("link", value, 0);
    CHECK(got == 0 || (got > 0 || errno == EOPNOTSUPP));
    if (geteuid() == 0) {
        CHECK(chmod("x", 04755) == 0 && chown("x", 12, 34) == 0 && stat("x", &st) == 0);
        CHECK(st.st_uid == 12 && st.st_gid == 34 && (st.st_mode & 07777) == 0755);
        CHECK(lchown("link", 56, 78) == 0 && lstat("link", &st) == 0 && st.st_uid == 56);
    }
    CHECK(unlink("x") == 0 && unlink("link") == 0);
}

static void space(void)
{
    int fd = open("sparse", O_CREAT | O_RDWR, 0600);
    struct stat st;
    CHECK(ftruncate(fd, 8 << 20) == 0 && pwrite(fd, "end", 3, 4 << 20) == 3);
    CHECK(fstat(fd, &st) == 0 && st.st_size == 8 << 20 && st.st_blocks < 1000);
    CHECK(lseek(fd, 0, SEEK_DATA) == 4 << 20 && lseek(fd, 0, SEEK_HOLE) == 0);
    CHECK(fallocate(fd, 0, 0, 1 << 20) == 0 && fstat(fd, &st) == 0 && st.st_blocks >= 2048);
    CHECK(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 8 << 20) == 0);
    CHECK(fstat(fd, &st) == 0 && st.st_blocks < 100 && st.st_size == 8 << 20);
    FAILS(fallocate(fd, FALLOC_FL_PUNCH_HOLE, 0, 4096), EOPNOTSUPP);
    close(fd);
    fd = open("sparse", O_RDWR | O_DIRECT);
    if (fd >= 0) {
        void *page;
        CHECK(posix_memalign(&page, 4096, 8192) == 0);
        memset(page, 'd', 8192);
        CHECK(pwrite(fd, page, 8192, 4096) == 8192);
        memset(page, 0, 8192);
        CHECK(pread(fd, page, 8192, 4096) == 8192 && ((char *)page)[8191] == 'd');
        close(fd);
    }
    fd = open("sparse", O_RDWR | O_DSYNC);
    char *map = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(map != MAP_FAILED && map[4096] == 'd');
    map[0] = 'm';
    CHECK(msync(map, 8192, MS_SYNC) == 0 && fdatasync(fd) == 0);
    char c;
    CHECK(pread(fd, &c, 1, 0) == 1 && c == 'm' && munmap(map, 8192) == 0);
    close(fd);
    CHECK(unlink("sparse") == 0);
}

static void locks(void)
{
    int fd = open("lock", O_CREAT | O_RDWR, 0600);
    CHECK(flock(fd, LOCK_EX) == 0);
    struct flock range = {.l_type = F_WRLCK, .l_start = 10, .l_len = 10};
    CHECK(fcntl(fd, F_SETLK, &range) == 0);
    pid_t child = fork();
    if (child == 0) {
        int own = open("lock", O_RDWR);
        FAILS(flock(own, LOCK_SH | LOCK_NB), EWOULDBLOCK);
        struct flock wish = {.l_type = F_RDLCK, .l_start = 15, .l_len = 1};
        FAILS(fcntl(own, F_SETLK, &wish), EAGAIN);
        _exit(0);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    close(fd);
    CHECK(unlink("lock") == 0);
}

static void many(void)
{
    char name[40];
    CHECK(mkdir("many", 0755) == 0 && chdir("many") == 0);
    for (int i = 0; i < 6000; i++) {
        snprintf(name, sizeof name, "a-name-of-some-length-%d", i);
        CHECK(symlink("t", name) == 0);
    }
    DIR *dir = opendir(".");
    struct dirent *entry;
    int seen = 0, links = 0;
    while ((entry = readdir(dir))) {
        seen++;
        if (entry->d_type == DT_LNK) {
            links++;
            CHECK(unlink(entry->d_name) == 0);
        }
    }
    CHECK(seen == 6002 && links == 6000);
    closedir(dir);
    CHECK(chdir("..") == 0 && rmdir("many") == 0);
}

int main(int argc, char **argv)
{
    char base[200];
    snprintf(base, sizeof base, "%s/volume-files-XXXXXX", argc > 1 ? argv[1] : "/tmp");
    CHECK(mkdtemp(base) && chdir(base) == 0);
    nameless();
    nodes();
    names();
    attributes();
    file_capabilities();
    space();
    locks();
    many();
    CHECK(chdir("/") == 0 && rmdir(base) == 0);
    OK();
}
