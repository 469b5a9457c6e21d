/* Call sites that the engine would patch, where it must not go wrong: at every alignment, across pages, in text that changes under
 * it, that others share, that goes away meanwhile, and with jumps into the middle. */
#include "escape.h"
#include <pthread.h>

static unsigned char *text;
static const unsigned char site[] = {0xb8, 39, 0, 0, 0, 0x0f, 0x05, 0xc3};
static volatile int stop;

static unsigned char *fresh(int shared)
{
    int flags = shared ? MAP_SHARED : MAP_PRIVATE;
    unsigned char *at = mmap(NULL, 16384, PROT_READ | PROT_WRITE | PROT_EXEC, flags | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED)
        ESCAPE("no text");
    memset(at, 0x90, 16384);
    return at;
}

static void check(long got)
{
    if (got != getpid() && got != -ENOSYS)
        ESCAPE("getpid gave %ld", got);
}

static long run(unsigned char *at)
{
    return ((long (*)(void))at)();
}

/* Each alignment around a page's end; and the same site by its `syscall` alone. */
static void alignments(void *shared)
{
    text = fresh(shared != NULL);
    for (int offset = 4096 - 9; offset < 4096 + 9; offset++) {
        memset(text, 0x90, 16384);
        memcpy(text + offset, site, sizeof site);
        for (int i = 0; i < 80; i++)
            check(run(text + offset));
        /* Into the middle: the `syscall` with a number of our own; and into the bytes of what may be a jump by now. */
        for (int i = 0; i < 40; i++) {
            long got = SYS_getpid;
            __asm__ volatile("call *%1" : "+a"(got) : "r"(text + offset + 5) : "rcx", "r11", "memory");
            check(got);
        }
        for (int into = 1; into < 5; into++)
            if (fork() == 0)
                _exit(run(text + offset + into) & 1);
        while (wait(NULL) > 0)
            ;
        /* Read back: whatever stands there now, the program wrote the rest of the page. */
        if (text[0] != 0x90)
            ESCAPE("other text changed");
    }
}

/* The site is written, protected and mapped anew while it is called. */
static void *change(void *at)
{
    for (unsigned i = 0; !stop; i++) {
        memcpy(at, site, sizeof site);
        if (i % 3 == 0)
            mprotect(text, 4096, PROT_READ | PROT_EXEC);
        mprotect(text, 4096, PROT_READ | PROT_WRITE | PROT_EXEC);
        if (i % 64 == 0)
            madvise(text + 4096, 4096, MADV_DONTNEED);
    }
    return NULL;
}

static void changing(void *unused)
{
    (void)unused;
    text = fresh(0);
    memcpy(text + 64, site, sizeof site);
    pthread_t thread;
    pthread_create(&thread, NULL, change, text + 64);
    for (int i = 0; i < 4000; i++)
        check(run(text + 64));
    stop = 1;
    pthread_join(thread, NULL);
}

/* Text of a file that others map too: never theirs. */
static void of_a_file(void *unused)
{
    (void)unused;
    int fd = open("/tmp/text", O_RDWR | O_CREAT | O_TRUNC, 0700);
    static unsigned char page[4096];
    memset(page, 0x90, sizeof page);
    memcpy(page + 100, site, sizeof site);
    if (write(fd, page, sizeof page) != sizeof page)
        ESCAPE("no file");
    for (int kind = 0; kind < 2; kind++) {
        unsigned char *at = mmap(NULL, 4096, PROT_READ | PROT_EXEC, kind ? MAP_SHARED : MAP_PRIVATE, fd, 0);
        if (at == MAP_FAILED)
            continue;
        for (int i = 0; i < 100; i++)
            check(run(at + 100));
        unsigned char now[4096];
        if (pread(fd, now, sizeof now, 0) != sizeof now || memcmp(now, page, sizeof page) != 0)
            ESCAPE("the file was changed");
        munmap(at, 4096);
    }
    unlink("/tmp/text");
}

/* Unmapped, mapped anew with other code, forked: what was known of the site is no longer true. */
static void replaced(void *unused)
{
    (void)unused;
    for (int round = 0; round < 30; round++) {
        text = fresh(0);
        memcpy(text + 8, site, sizeof site);
        for (int i = 0; i < 40; i++)
            check(run(text + 8));
        mmap(text, 16384, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
        memset(text, 0xc3, 64);
        run(text + 8);
        if (fork() == 0) {
            memcpy(text + 8, site, sizeof site);
            for (int i = 0; i < 40; i++)
                check(run(text + 8));
            _exit(0);
        }
        int status;
        wait(&status);
        if (WIFEXITED(status) && WEXITSTATUS(status) == ESCAPED)
            _exit(ESCAPED);
        munmap(text, 16384);
    }
}

int main(void)
{
    TRIED("alignments, private and shared");
    attack(alignments, NULL, 100);
    attack(alignments, "", 100);
    TRIED("text that changes");
    attack(changing, NULL, 100);
    TRIED("text of a file");
    attack(of_a_file, NULL, 60);
    TRIED("text that is replaced");
    attack(replaced, NULL, 100);
    CONTAINED();
}
