/* A writable volume at /vol in which the host has laid what must not be followed or opened: links that lead out, its own
 * fifo, socket, device nodes and set-user-ID programs. */
#include "escape.h"
#include <sys/socket.h>
#include <sys/un.h>

static void blocked(void *path)
{
    int fd = open(path, O_WRONLY);
    if (fd >= 0)
        write(fd, "ESCAPED to a fifo of the host", 29);
}

static void contains_no_secret(int fd, const char *path)
{
    char text[256] = {0};
    if (fd >= 0 && read(fd, text, sizeof text - 1) > 0 && strstr(text, "touch this"))
        ESCAPE("%s shows the host's file", path);
}

int main(int argc, char **argv)
{
    static const char *links[] = {"/vol/absolute", "/vol/up", "/vol/up_dir/canary", "/vol/dir/up", "/vol/self_root", "/vol/chain"};
    for (unsigned i = 0; i < LENGTH(links); i++) {
        static const int flags[] = {O_RDONLY, O_RDWR, O_WRONLY | O_TRUNC, O_WRONLY | O_CREAT, O_RDONLY | O_NOFOLLOW};
        for (unsigned k = 0; k < LENGTH(flags); k++) {
            int fd = open(links[i], flags[k], 0666);
            contains_no_secret(fd, links[i]);
            if (fd >= 0) {
                write(fd, "written by the guest", 20);
                close(fd);
            }
        }
        truncate(links[i], 0);
        chmod(links[i], 0777);
        chown(links[i], 1, 1);
    }
    TRIED("links that lead out");
    int vol = open("/vol", O_RDONLY | O_DIRECTORY);
    char path[512] = ".";
    for (int up = 0; up < 12; up++) {
        strcat(path, "/..");
        char full[600];
        snprintf(full, sizeof full, "%s/canary", path);
        contains_no_secret(openat(vol, full, O_RDONLY), full);
        snprintf(full, sizeof full, "%s%s", path, argc > 1 ? argv[1] : "");
        contains_no_secret(openat(vol, full, O_RDONLY), full);
    }
    chdir("/vol/dir");
    for (int up = 0; up < 12; up++) {
        chdir("..");
        contains_no_secret(open("canary", O_RDONLY), "..");
    }
    if (argc > 1)
        contains_no_secret(open(argv[1], O_RDONLY), argv[1]);
    TRIED(".. out of the volume");
    attack(blocked, "/vol/fifo", 2);
    int fd = open("/vol/fifo", O_RDWR | O_NONBLOCK);
    if (fd >= 0)
        write(fd, "ESCAPED to a fifo of the host", 29);
    TRIED("a fifo of the host");
    struct sockaddr_un name = {AF_UNIX, "/vol/socket"};
    int client = socket(AF_UNIX, SOCK_STREAM, 0);
    if (connect(client, (void *)&name, sizeof name) == 0)
        ESCAPE("connected to a socket of the host");
    client = socket(AF_UNIX, SOCK_DGRAM, 0);
    if (sendto(client, "x", 1, 0, (void *)&name, sizeof name) == 1)
        ESCAPE("sent to a socket of the host");
    TRIED("a socket of the host: %s", strerror(errno));
    static const char *nodes[] = {"/vol/memory", "/vol/disk", "/vol/kmsg"};
    for (unsigned i = 0; i < LENGTH(nodes); i++) {
        fd = open(nodes[i], O_RDONLY | O_NONBLOCK);
        char byte[512];
        if (fd >= 0 && read(fd, byte, sizeof byte) > 0)
            ESCAPE("a device of the host was read: %s", nodes[i]);
        if (fd < 0)
            TRIED("a device node of the host, %s: %s", nodes[i], strerror(errno));
    }
    /* Nodes made by root inside on the host's volume must not be devices there. */
    mknod("/vol/made", S_IFCHR | 0666, 1 << 8 | 1);
    mknod("/vol/made_block", S_IFBLK | 0666, 8 << 8);
    fd = open("/vol/made", O_RDWR);
    if (fd >= 0)
        ESCAPE("a device made on the volume was opened");
    TRIED("making device nodes on the volume");
    REFUSED(link("/etc/own", "/vol/hard"));
    REFUSED(rename("/vol/file", "/tmp/out"));
    mkdir("/vol/loop", 0777);
    REFUSED(rename("/vol", "/vol/loop/vol"));
    REFUSED(rmdir("/vol"));
    TRIED("links and renames over the volume's edge");
    CONTAINED();
}
