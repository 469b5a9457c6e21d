/* Changing arguments while the sentry reads them: registers in the thread area, paths, vectors, headers in memory. */
#include "escape.h"
#include <pthread.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>

static volatile int stop;
static char path[64] = "/tmp/ok";
static struct iovec vector[4];
static struct msghdr header;
static struct cmsghdr *control;
static char buffer[65536], control_bytes[256];
static char *arguments[4];
static unsigned long victim;
static const char *canary;

static void *flip(void *unused)
{
    (void)unused;
    uint64_t state = 99;
    static const char *paths[] = {"/tmp/ok", "../../../../../../etc/shadow", "/proc/self/mem", "", "////", "/tmp/\xff/x"};
    static const unsigned long lengths[] = {0, 1, 100, 4096, 65536, 0x7fffffff, 0x7ffff000, -1UL, 1UL << 63};
    while (!stop) {
        uint64_t r = next_random(&state);
        memcpy(path, paths[r % LENGTH(paths)], strlen(paths[r % LENGTH(paths)]) + 1);
        vector[r >> 8 & 3].iov_len = lengths[(r >> 16) % LENGTH(lengths)];
        vector[r >> 10 & 3].iov_base = r & 1024 ? buffer : (void *)(r & 2048 ? STUB : 0x7fff10000000);
        header.msg_iovlen = r & 4096 ? 4 : lengths[(r >> 20) % LENGTH(lengths)];
        header.msg_controllen = r & 8192 ? 24 : lengths[(r >> 24) % LENGTH(lengths)];
        header.msg_namelen = (unsigned)lengths[(r >> 28) % LENGTH(lengths)];
        control->cmsg_len = r & 16384 ? CMSG_LEN(4) : lengths[(r >> 32) % LENGTH(lengths)];
        arguments[r >> 40 & 3] = r & 32768 ? buffer : (char *)STUB;
        if (victim && r & 65536) {
            /* Number and arguments of a call that came through a patched site. */
            static const unsigned offsets[] = {144, 104, 112, 136, 56, 40, 48, 160, 168};
            *(volatile unsigned long *)(victim + A_FAST + offsets[(r >> 44) % LENGTH(offsets)]) = r >> 50;
        }
    }
    return NULL;
}

static void run(void *registers)
{
    pthread_t thread;
    int pair[2];
    socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, pair);
    control = (struct cmsghdr *)control_bytes;
    control->cmsg_level = SOL_SOCKET;
    control->cmsg_type = SCM_RIGHTS;
    header.msg_iov = vector;
    header.msg_control = control_bytes;
    header.msg_name = NULL;
    victim = registers ? area() : 0;
    pthread_create(&thread, NULL, flip, NULL);
    double end = seconds() + 3;
    int null = open("/dev/null", O_RDWR);
    while (registers || seconds() < end) {
        int fd = open(path, O_RDONLY);
        if (fd >= 0)
            close(fd);
        struct stat st;
        stat(path, &st);
        writev(null, vector, 4);
        readv(null, vector, 4);
        sendmsg(pair[0], &header, MSG_DONTWAIT);
        recvmsg(pair[1], &header, MSG_DONTWAIT);
        rename(path, path);
        execve("/nonexistent/program", arguments, arguments);
        process_vm_writev(getpid(), vector, 4, vector, 4, 0);
        if (registers && (rand() & 63) == 0 && seconds() > end)
            break;
    }
    stop = 1;
    pthread_join(thread, NULL);
}

int main(int argc, char **argv)
{
    canary = argc > 1 ? argv[1] : "/etc/passwd";
    close(open("/tmp/ok", O_CREAT | O_RDWR, 0600));
    TRIED("flipping arguments in memory: %#x", attack(run, NULL, 20));
    for (int i = 0; i < 6; i++)
        TRIED("flipping registers in the shared area: %#x", attack(run, "registers", 8));
    CONTAINED();
}
