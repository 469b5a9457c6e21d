/* execve: arguments, environment, scripts, errors, what survives. */
#include "check.h"
#include <elf.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <sys/wait.h>

static char dir[64] = "/tmp/guest-exec-XXXXXX";

static int run(const char *path, char *const argv[], char *const envp[])
{
    pid_t pid = fork();
    if (pid == 0) {
        execve(path, argv, envp);
        _exit(errno);
    }
    int status;
    CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void file(const char *name, const char *text, mode_t mode)
{
    int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    CHECK(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text) && fchmod(fd, mode) == 0);
    close(fd);
}

static void on_signal(int sig)
{
    (void)sig;
}

int main(int argc, char **argv)
{
    char *none[] = {NULL};
    if (argc > 1 && strcmp(argv[1], "again") == 0) {
        CHECK(argc == 4 && strcmp(argv[2], "") == 0 && strcmp(argv[3], "b c") == 0);
        CHECK(strcmp(getenv("KEY"), "value") == 0 && fcntl(77, F_GETFD) == 0);
        FAILS(fcntl(78, F_GETFD), EBADF);
        struct sigaction action;
        CHECK(sigaction(SIGUSR1, NULL, &action) == 0 && action.sa_handler == SIG_DFL);
        CHECK(sigaction(SIGUSR2, NULL, &action) == 0 && action.sa_handler == SIG_IGN);
        sigset_t set;
        CHECK(sigprocmask(SIG_BLOCK, NULL, &set) == 0 && sigismember(&set, SIGTERM) == 1);
        CHECK(getauxval(AT_PAGESZ) == 4096 && getauxval(AT_ENTRY) && getauxval(AT_RANDOM) && getauxval(AT_PHNUM));
        CHECK(getauxval(AT_UID) == getuid() && getauxval(AT_SECURE) == 0);
        return 33;
    }
    CHECK(mkdtemp(dir) && chdir(dir) == 0);
    char *self = realpath("/proc/self/exe", NULL);
    CHECK(self);

    int fd = open("/etc/passwd", O_RDONLY);
    CHECK(dup2(fd, 77) == 77 && fcntl(dup2(fd, 78), F_SETFD, FD_CLOEXEC) == 0);
    signal(SIGUSR1, on_signal);
    signal(SIGUSR2, SIG_IGN);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigprocmask(SIG_BLOCK, &set, NULL);
    char *args[] = {self, "again", "", "b c", NULL}, *env[] = {"KEY=value", NULL};
    CHECK(run(self, args, env) == 33);

    CHECK(run("/no/such", args, env) == ENOENT);
    CHECK(run("/etc/passwd", args, env) == EACCES);
    CHECK(run("/etc", args, env) == EACCES);
    file("text", "just text\n", 0755);
    CHECK(run("./text", args, none) == ENOEXEC);
    file("empty", "", 0755);
    CHECK(run("./empty", args, none) == ENOEXEC);
    file("bad", "\177ELF", 0755);
    CHECK(run("./bad", args, none) == ENOEXEC);
    file("script", "#!/bin/sh -e\ntest \"$1\" = one && test \"$0\" = ./script && exit 21\n", 0755);
    char *script_args[] = {"ignored", "one", NULL};
    CHECK(run("./script", script_args, none) == 21);
    file("nested", "#!./script one\n", 0755);
    CHECK(run("./nested", script_args, none) == 21);
    file("lost", "#!/no/interpreter\n", 0755);
    CHECK(run("./lost", args, none) == ENOENT);

    size_t size = 3 << 20;
    char *huge = malloc(size);
    memset(huge, 'h', size);
    huge[size - 1] = 0;
    char *too_big[] = {self, huge, NULL};
    CHECK(run(self, too_big, none) == E2BIG);
    huge[100000] = 0;
    char *large[] = {"/bin/true", huge, huge, huge, NULL};
    CHECK(run("/bin/true", large, none) == 0);

    pid_t pid = fork();
    if (pid == 0) {
        int exe = open("/bin/sh", O_RDONLY | O_CLOEXEC);
        fexecve(exe, (char *[]){"sh", "-c", "exit 17", NULL}, none);
        _exit(1);
    }
    int status;
    CHECK(waitpid(pid, &status, 0) == pid && WEXITSTATUS(status) == 17);
    for (int i = 0; i < 20; i++)
        CHECK(run("/bin/true", (char *[]){"true", NULL}, none) == 0);
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", dir);
    CHECK(chdir("/") == 0 && system(command) == 0);
    OK();
}
