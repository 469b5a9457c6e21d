/* A read-only volume at /vol, attacked with every call that changes a file: nothing may change at the host. */
#include "escape.h"
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/xattr.h>
#include <linux/fs.h>
#include <utime.h>

static void change_all(void)
{
    static const int flags[] = {O_WRONLY, O_RDWR, O_WRONLY | O_TRUNC, O_RDONLY | O_TRUNC, O_RDWR | O_APPEND, O_WRONLY | O_CREAT};
    for (unsigned i = 0; i < LENGTH(flags); i++)
        REFUSED(open("/vol/file", flags[i], 0666));
    REFUSED(open("/vol/new", O_CREAT | O_RDONLY, 0666));
    REFUSED(open("/vol", O_TMPFILE | O_RDWR, 0666));
    REFUSED(creat("/vol/file", 0666));
    REFUSED(truncate("/vol/file", 0));
    REFUSED(chmod("/vol/file", 0777));
    REFUSED(fchmodat(AT_FDCWD, "/vol/file", 0777, 0));
    REFUSED(syscall(452, AT_FDCWD, "/vol/file", 0777, 0));
    REFUSED(chown("/vol/file", 1, 1));
    REFUSED(lchown("/vol/link", 1, 1));
    REFUSED(utime("/vol/file", NULL));
    REFUSED(utimes("/vol/file", NULL));
    REFUSED(utimensat(AT_FDCWD, "/vol/file", NULL, 0));
    REFUSED(setxattr("/vol/file", "user.x", "x", 1, 0));
    REFUSED(removexattr("/vol/file", "user.there"));
    REFUSED(unlink("/vol/file"));
    REFUSED(rmdir("/vol/dir"));
    REFUSED(mkdir("/vol/more", 0777));
    REFUSED(mknod("/vol/node", S_IFREG | 0666, 0));
    REFUSED(mkfifo("/vol/pipe", 0666));
    REFUSED(symlink("x", "/vol/another"));
    REFUSED(link("/vol/file", "/vol/hard"));
    REFUSED(link("/vol/file", "/tmp/hard"));
    REFUSED(rename("/vol/file", "/vol/renamed"));
    REFUSED(rename("/vol/file", "/tmp/renamed"));
    REFUSED(syscall(SYS_renameat2, AT_FDCWD, "/vol/file", AT_FDCWD, "/vol/dir", 2));
    close(open("/tmp/own", O_CREAT | O_WRONLY, 0600));
    REFUSED(rename("/tmp/own", "/vol/own"));
    int fd = open("/vol/file", O_RDONLY);
    if (fd < 0)
        ESCAPE("the volume cannot be read: %s", strerror(errno));
    char byte = 'X';
    REFUSED(write(fd, &byte, 1));
    REFUSED(pwrite(fd, &byte, 1, 0));
    REFUSED(ftruncate(fd, 0));
    REFUSED(fallocate(fd, 0, 0, 100));
    REFUSED(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 100));
    REFUSED(fchmod(fd, 0777));
    REFUSED(fchown(fd, 1, 1));
    REFUSED(futimens(fd, NULL));
    REFUSED(fsetxattr(fd, "user.x", "x", 1, 0));
    REFUSED(fremovexattr(fd, "user.there"));
    int attributes = 0x10;
    REFUSED(ioctl(fd, FS_IOC_SETFLAGS, &attributes));
    REFUSED(ioctl(fd, FICLONE, fd));
    off_t offset = 0;
    REFUSED(copy_file_range(open("/etc/passwd", O_RDONLY), &offset, fd, &offset, 10, 0));
    REFUSED(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED ? -1 : 0);
    char *p = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
    if (p != MAP_FAILED) {
        REFUSED(mprotect(p, 4096, PROT_READ | PROT_WRITE));
        int mem = open("/proc/self/mem", O_RDWR);
        pwrite(mem, "XXXX", 4, (off_t)p);
        pid_t child = fork();
        if (child == 0) {
            *p = 'X';
            _exit(0);
        }
        waitpid(child, NULL, 0);
    }
    char *private = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    if (private != MAP_FAILED) {
        *private = 'X';
        msync(private, 4096, MS_SYNC);
        madvise(private, 4096, MADV_REMOVE);
    }
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    REFUSED(open(path, O_RDWR));
    REFUSED(truncate(path, 0));
    REFUSED(chmod(path, 0777));
    int handle = open("/vol/file", O_PATH);
    snprintf(path, sizeof path, "/proc/self/fd/%d", handle);
    REFUSED(open(path, O_WRONLY));
    REFUSED(openat(handle, "", O_WRONLY));
    int listener = socket(AF_UNIX, SOCK_STREAM, 0);
    struct sockaddr_un name = {AF_UNIX, "/vol/socket"};
    REFUSED(bind(listener, (void *)&name, sizeof name));
    REFUSED(open("/vol/link", O_WRONLY));
    REFUSED(swapoff("/vol/file"));
    syscall(SYS_acct, "/vol/file");
}

int main(void)
{
    mkdir("/tmp", 0777);
    change_all();
    TRIED("every call that changes a file");
    /* Root inside may mount: a new view must be as read-only as the old. */
    mkdir("/tmp/view", 0700);
    if (mount("/vol", "/tmp/view", NULL, MS_BIND, NULL) == 0) {
        mount(NULL, "/tmp/view", NULL, MS_REMOUNT | MS_BIND, NULL);
        int fd = open("/tmp/view/file", O_WRONLY);
        if (fd >= 0 && (write(fd, "X", 1) > 0 || ftruncate(fd, 0) == 0))
            ESCAPE("written through a bind mount");
        unlink("/tmp/view/file");
        mkdir("/tmp/view/new", 0700);
    }
    mount(NULL, "/vol", NULL, MS_REMOUNT, NULL);
    mount(NULL, "/vol", NULL, MS_REMOUNT | MS_BIND, NULL);
    int fd = open("/vol/file", O_WRONLY | O_TRUNC);
    if (fd >= 0 && write(fd, "X", 1) > 0)
        ESCAPE("written after a remount");
    unlink("/vol/file");
    rename("/vol/dir", "/vol/other");
    chmod("/vol/dir", 0777);
    TRIED("remounting it writable");
    CONTAINED();
}
