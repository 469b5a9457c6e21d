// One way to use sockets, measured from inside: `net ROW` prints MB/s for the streams and nanoseconds for the others, the
// median of the batches. Both ends are in this sandbox. A wrong result ends the program with status 1.
// `net wait HOST PORT` returns when somebody listens there.
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "measure.h"

#define BLOCK (256 * 1024)
#define STREAM (96L * 1024 * 1024)

static int tcp_listener(struct sockaddr_in *at) {
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    socklen_t len = sizeof *at;
    *at = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    must(fd >= 0 && bind(fd, (struct sockaddr *)at, sizeof *at) == 0 && listen(fd, 128) == 0);
    must(getsockname(fd, (struct sockaddr *)at, &len) == 0);
    return fd;
}

static int tcp_connect(const struct sockaddr_in *to) {
    int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    must(fd >= 0 && connect(fd, (const struct sockaddr *)to, sizeof *to) == 0);
    must(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) == 0);
    return fd;
}

static void tcp_pair(int pair[2]) {
    struct sockaddr_in at;
    int listener = tcp_listener(&at), one = 1;
    pair[0] = tcp_connect(&at);
    pair[1] = accept(listener, NULL, NULL);
    must(pair[1] >= 0);
    must(setsockopt(pair[1], IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) == 0);
    close(listener);
}

static void unix_pair(int pair[2]) { must(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0); }

// ---- the other side is a process of its own.

static void joined(pid_t pid) {
    int status;
    must(waitpid(pid, &status, 0) == pid && status == 0);
}

static double stream(void (*make)(int[2])) {
    int pair[2];
    make(pair);
    static char block[BLOCK];
    pid_t pid = fork();
    must(pid >= 0);
    if (pid == 0) {
        close(pair[0]);
        long left = STREAM;
        ssize_t got;
        while (left > 0 && (got = recv(pair[1], block, BLOCK, 0)) > 0) left -= got;
        _exit(left != 0 || write(pair[1], block, 1) != 1);
    }
    close(pair[1]);
    memset(block, 7, sizeof block);
    double start = now();
    long left = STREAM;
    while (left > 0) {
        ssize_t put = send(pair[0], block, left < BLOCK ? left : BLOCK, 0);
        must(put > 0);
        left -= put;
    }
    must(read(pair[0], block, 1) == 1);
    double rate = STREAM / (now() - start) * 1e3;
    close(pair[0]);
    joined(pid);
    return rate;
}

static double ping(void (*make)(int[2])) {
    enum { COUNT = 4000 };
    int pair[2];
    make(pair);
    char c = 1;
    pid_t pid = fork();
    must(pid >= 0);
    if (pid == 0) {
        close(pair[0]);
        for (int i = 0; i < COUNT; i++)
            if (read(pair[1], &c, 1) != 1 || write(pair[1], &c, 1) != 1) _exit(1);
        _exit(0);
    }
    close(pair[1]);
    double start = now();
    for (int i = 0; i < COUNT; i++) must(write(pair[0], &c, 1) == 1 && read(pair[0], &c, 1) == 1);
    double each = (now() - start) / COUNT;
    close(pair[0]);
    joined(pid);
    return each;
}

static double connects(void) {
    enum { COUNT = 500 };
    struct sockaddr_in at;
    int listener = tcp_listener(&at);
    pid_t pid = fork();
    must(pid >= 0);
    if (pid == 0) {
        char c;
        for (int i = 0; i < COUNT; i++) {
            int fd = accept(listener, NULL, NULL);
            if (fd < 0 || read(fd, &c, 1) != 0 || close(fd) != 0) _exit(1);
        }
        _exit(0);
    }
    double start = now();
    for (int i = 0; i < COUNT; i++) {
        int fd = tcp_connect(&at);
        char c;
        must(shutdown(fd, SHUT_WR) == 0 && read(fd, &c, 1) == 0 && close(fd) == 0);
    }
    double each = (now() - start) / COUNT;
    close(listener);
    joined(pid);
    return each;
}

static double one(const char *row) {
    if (!strcmp(row, "tcp-stream")) return stream(tcp_pair);
    if (!strcmp(row, "unix-stream")) return stream(unix_pair);
    if (!strcmp(row, "tcp-ping")) return ping(tcp_pair);
    if (!strcmp(row, "unix-ping")) return ping(unix_pair);
    if (!strcmp(row, "tcp-connect")) return connects();
    fprintf(stderr, "usage: net wait HOST PORT|tcp-stream|tcp-ping|tcp-connect|unix-stream|unix-ping\n");
    exit(2);
}

// Until somebody accepts connections there.
static int await(const char *host, const char *port) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(atoi(port))};
    must(inet_pton(AF_INET, host, &to.sin_addr) == 1);
    for (double end = now() + 20e9; now() < end; usleep(20000)) {
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        must(fd >= 0);
        int found = connect(fd, (struct sockaddr *)&to, sizeof to) == 0;
        close(fd);
        if (found) return 0;
    }
    fprintf(stderr, "net wait: nobody at %s:%s\n", host, port);
    return 1;
}

int main(int argc, char **argv) {
    program = "net";
    signal(SIGPIPE, SIG_IGN);
    where = argc > 1 ? argv[1] : "";
    if (argc == 4 && !strcmp(where, "wait")) return await(argv[2], argv[3]);
    // A longer run, to look at it.
    const char *wanted = getenv("NET_BATCHES");
    int batches = wanted ? atoi(wanted) : 15;
    if (batches < 1 || batches > 1000) batches = 15;
    double each[1000];
    one(where);
    for (int i = 0; i < batches; i++) each[i] = one(where);
    qsort(each, batches, sizeof *each, by_value);
    printf("%.1f\n", each[batches / 2]);
    return 0;
}
