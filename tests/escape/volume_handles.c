/* A writable volume at /vol and file handles (open_by_handle_at(2)): forged ones for inodes of the host that lie outside of it, by every type
 * that a file system has, at every mount there is. The arguments after the canary are inode numbers of files outside. */
#include "escape.h"

struct handle { unsigned bytes; int type; unsigned char data[128]; };

static int at_handle(int mount, struct handle *handle, int flags) { return syscall(SYS_open_by_handle_at, mount, handle, flags); }

static void shows(int fd, const char *how, unsigned long ino)
{
    char text[256] = {0};
    if (fd < 0)
        return;
    if (pread(fd, text, sizeof text - 1, 0) > 0 && (strstr(text, "outside") || strstr(text, "nobody inside")))
        ESCAPE("inode %lu of the host, %s", ino, how);
    struct stat st;
    int up = openat(fd, "../outside/file", O_RDONLY);
    if (up >= 0)
        ESCAPE("a directory above the volume, %s", how);
    if (fstat(fd, &st) == 0 && S_ISDIR(st.st_mode) && openat(fd, "canary", O_RDONLY) >= 0)
        ESCAPE("the directory of the canary, %s", how);
    close(fd);
}

int main(int argc, char **argv)
{
    static const char *places[] = {"/vol", "/vol/dir", "/", "/tmp", "/etc", "/vol/file"};
    static const int types[] = {1, 2, 3, 0x4d, 0x4e, 0x51, 0x52, 0x61, 0x81, 0x82, 0xf1, 0xf8, 0xfb, 0xfc, 0xfe, 0xff, 0, -1, 0x10001};
    int mounts[LENGTH(places) + 1];
    for (unsigned i = 0; i < LENGTH(places); i++)
        mounts[i] = open(places[i], O_RDONLY);
    mounts[LENGTH(places)] = AT_FDCWD;
    struct handle real[LENGTH(places)];
    int mount_id;
    for (unsigned i = 0; i < LENGTH(places); i++) {
        memset(&real[i], 0, sizeof real[i]);
        real[i].bytes = sizeof real[i].data;
        if (syscall(SYS_name_to_handle_at, AT_FDCWD, places[i], &real[i], &mount_id, 0) != 0)
            real[i].bytes = 0;
    }
    /* Names that lead out give no handle of what is there. */
    static const char *out[] = {"/vol/..", "/vol/../..", "/vol/dir/../../../outside", "/proc/self/root/..", "/proc/1/root", "/proc/1/cwd"};
    for (unsigned i = 0; i < LENGTH(out); i++) {
        struct handle handle = {.bytes = 128};
        if (syscall(SYS_name_to_handle_at, AT_FDCWD, out[i], &handle, &mount_id, 0) == 0)
            shows(at_handle(mounts[0], &handle, O_RDONLY), out[i], 0);
    }
    unsigned long tries = 0;
    for (int file = 2; file < argc; file++) {
        unsigned long ino = strtoul(argv[file], NULL, 10);
        for (unsigned mount = 0; mount < LENGTH(mounts); mount++)
            for (unsigned type = 0; type < LENGTH(types); type++)
                for (int form = 0; form < 6; form++) {
                    struct handle handle = {.type = types[type]};
                    uint32_t small[8] = {ino, 0, ino, 0, ino >> 32, 0, 0, 0};
                    uint64_t large[4] = {ino, 0, ino, 0};
                    static const unsigned lengths[] = {8, 12, 16, 20, 24, 40};
                    handle.bytes = lengths[form];
                    memcpy(handle.data, form % 2 ? (void *)small : (void *)large, 32);
                    /* As the real ones here have it: the device, then the number. */
                    for (unsigned r = 0; r < LENGTH(places); r++) {
                        if (real[r].bytes == 16) {
                            struct handle forged = real[r];
                            memcpy(forged.data + 8, &ino, 8);
                            shows(at_handle(mounts[mount], &forged, O_RDONLY), "by a real device", ino);
                            shows(at_handle(mounts[mount], &forged, O_RDONLY | O_DIRECTORY), "by a real device", ino);
                            tries += 2;
                        }
                    }
                    shows(at_handle(mounts[mount], &handle, O_RDONLY), "by a forged handle", ino);
                    shows(at_handle(mounts[mount], &handle, O_RDWR | O_TRUNC), "by a forged handle, for writing", ino);
                    tries += 2;
                }
    }
    /* What there really is a handle for, at another mount, after its name is gone, and by nobody. */
    for (unsigned r = 0; r < LENGTH(places); r++)
        for (unsigned mount = 0; mount < LENGTH(mounts); mount++)
            if (real[r].bytes)
                shows(at_handle(mounts[mount], &real[r], O_RDONLY), "by a real handle elsewhere", 0);
    int doomed = open("/vol/doomed", O_CREAT | O_RDWR, 0600);
    struct handle handle = {.bytes = 128};
    syscall(SYS_name_to_handle_at, AT_FDCWD, "/vol/doomed", &handle, &mount_id, 0);
    close(doomed);
    unlink("/vol/doomed");
    REFUSED(at_handle(mounts[0], &handle, O_RDONLY));
    if (fork() == 0) {
        if (setgid(4242) != 0 || setuid(4242) != 0)
            _exit(0);
        REFUSED(at_handle(mounts[0], &real[0], O_RDONLY));
        if (unshare(CLONE_NEWUSER) == 0)
            REFUSED(at_handle(mounts[0], &real[0], O_RDONLY));
        _exit(0);
    }
    int status;
    wait(&status);
    if (!WIFEXITED(status) || WEXITSTATUS(status) == ESCAPED)
        return ESCAPED;
    TRIED("%lu handles", tries);
    CONTAINED();
}
