/* Pseudo-terminals: line discipline, signals, window size, job control, hang-up. */
#include "check.h"
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>

static void expect(int fd, const char *want)
{
    char buf[256];
    size_t got = 0, len = strlen(want);
    while (got < len) {
        struct pollfd p = {fd, POLLIN, 0};
        CHECK(poll(&p, 1, 5000) == 1);
        ssize_t n = read(fd, buf + got, len - got);
        CHECK(n > 0);
        got += n;
    }
    CHECK(memcmp(buf, want, len) == 0);
}

static void discipline(void)
{
    int master, slave;
    char name[64], buf[64];
    CHECK(openpty(&master, &slave, name, NULL, NULL) == 0 && isatty(slave) && strncmp(name, "/dev/pts/", 9) == 0);
    CHECK(strcmp(ttyname(slave), name) == 0);
    CHECK(write(master, "abd\177c\n", 6) == 6);
    CHECK(read(slave, buf, 64) == 4 && memcmp(buf, "abc\n", 4) == 0);
    expect(master, "abd\b \bc\r\n");
    CHECK(write(slave, "out\n", 4) == 4);
    expect(master, "out\r\n");
    CHECK(write(master, "\004", 1) == 1 && read(slave, buf, 64) == 0);
    struct termios t;
    CHECK(tcgetattr(slave, &t) == 0 && (t.c_lflag & ICANON) && (t.c_lflag & ECHO));
    CHECK(cfgetospeed(&t) == B38400 && cfgetispeed(&t) == B38400 && (t.c_cflag & CSIZE) == CS8);
    cfmakeraw(&t);
    CHECK(tcsetattr(slave, TCSANOW, &t) == 0);
    CHECK(write(master, "x\r", 2) == 2 && read(slave, buf, 64) == 2 && buf[1] == '\r');
    CHECK(write(slave, "\n", 1) == 1);
    expect(master, "\n");
    struct winsize size = {40, 100, 0, 0}, now;
    CHECK(ioctl(master, TIOCSWINSZ, &size) == 0 && ioctl(slave, TIOCGWINSZ, &now) == 0);
    CHECK(now.ws_row == 40 && now.ws_col == 100);
    close(slave);
    struct pollfd p = {master, POLLIN, 0};
    CHECK(poll(&p, 1, 1000) == 1 && (p.revents & POLLHUP));
    FAILS(read(master, buf, 1), EIO);
    close(master);
}

static volatile sig_atomic_t winch, interrupted;
static void on_winch(int sig)
{
    if (sig == SIGWINCH)
        winch++;
    else
        interrupted++;
}

static void session(void)
{
    int master;
    pid_t pid = forkpty(&master, NULL, NULL, NULL);
    CHECK(pid >= 0);
    if (pid == 0) {
        struct sigaction action = {.sa_handler = on_winch};
        sigaction(SIGWINCH, &action, NULL);
        sigaction(SIGINT, &action, NULL);
        CHECK(tcgetpgrp(0) == getpgrp() && tcgetsid(0) == getpid());
        CHECK(write(1, "ready\n", 6) == 6);
        while (!winch)
            pause();
        CHECK(write(1, "winch\n", 6) == 6);
        while (!interrupted)
            pause();
        CHECK(write(1, "int\n", 4) == 4);
        pid_t inner = fork();
        if (inner == 0) {
            setpgid(0, 0);
            char byte;
            read(0, &byte, 1);
            _exit(1);
        }
        setpgid(inner, inner);
        int status;
        CHECK(waitpid(inner, &status, WUNTRACED) == inner && WIFSTOPPED(status) && WSTOPSIG(status) == SIGTTIN);
        kill(inner, SIGKILL);
        CHECK(waitpid(inner, &status, 0) == inner);
        CHECK(write(1, "bg\n", 3) == 3);
        for (;;)
            pause();
    }
    expect(master, "ready\r\n");
    struct winsize size = {30, 90, 0, 0};
    CHECK(ioctl(master, TIOCSWINSZ, &size) == 0);
    expect(master, "winch\r\n");
    CHECK(write(master, "\003", 1) == 1);
    expect(master, "^Cint\r\n");
    expect(master, "bg\r\n");
    close(master);
    int status;
    CHECK(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status) && WTERMSIG(status) == SIGHUP);
}

int main(void)
{
    discipline();
    session();
    OK();
}
