/* The engine's pages that forked processes share (clock page, vDSO, trampolines): a process must not change another's. */
#include "escape.h"

static sigjmp_buf fault;

static void on_fault(int sig)
{
    siglongjmp(fault, sig);
}

int main(void)
{
    struct sigaction action = {.sa_handler = on_fault, .sa_flags = SA_NODEFER};
    sigaction(SIGSEGV, &action, NULL);
    sigaction(SIGBUS, &action, NULL);
    /* Often enough that the site is patched. */
    for (int i = 0; i < 200; i++) {
        getuid();
        getppid();
    }
    FILE *maps = fopen("/proc/self/maps", "r");
    char line[512];
    unsigned long start[8], end[8];
    unsigned count = 0;
    while (fgets(line, sizeof line, maps))
        if (strstr(line, "[v") && !strstr(line, "vsyscall") && sscanf(line, "%lx-%lx", &start[count], &end[count]) == 2)
            count++;
    for (unsigned i = 0; i < count; i++)
        for (unsigned long page = start[i]; page < end[i]; page += 4096) {
            pid_t child = fork();
            if (child == 0) {
                mprotect((void *)page, 4096, PROT_READ | PROT_WRITE | PROT_EXEC);
                if (sigsetjmp(fault, 1) == 0)
                    memset((void *)page, 0xcc, 4096);
                int mem = open("/proc/self/mem", O_RDWR);
                char bytes[64];
                memset(bytes, 0xcc, sizeof bytes);
                for (int at = 0; mem >= 0 && at < 4096; at += 64)
                    if (pwrite(mem, bytes, sizeof bytes, (off_t)page + at) < 0)
                        break;
                _exit(0);
            }
            int status;
            static unsigned char now[4096], saved[4096];
            int readable = 0;
            if (sigsetjmp(fault, 1) == 0) {
                memcpy(saved, (void *)page, 4096);
                readable = 1;
            }
            waitpid(child, &status, 0);
            if (readable && sigsetjmp(fault, 1) == 0)
                memcpy(now, (void *)page, 4096);
            int damage = 0;
            for (int at = 0; readable && at < 4096; at++)
                damage += now[at] == 0xcc && saved[at] != 0xcc;
            if (damage > 64)
                ESCAPE("a child changed the page at %#lx of its parent", page);
            TRIED("writing the shared page at %#lx", page);
        }
    if (getppid() < 0 || time(NULL) < 1000000000)
        ESCAPE("calls and clocks do not work any more");
    CONTAINED();
}
