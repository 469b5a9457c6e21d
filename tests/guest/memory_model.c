// Random mapping calls on a small arena, compared page by page with a model of what Linux does.
#include "check.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#define PAGE 4096UL
#define PAGES 48UL
enum { ROUNDS = 800 };

/* What a page should be: mapped, with which access, and which first word. */
struct page { int mapped, prot, shared, file; unsigned word; };
static struct page model[PAGES];
static char *arena;
static unsigned long state = 88172645463325252UL;
static unsigned stamp = 1;

static unsigned long below(unsigned long limit) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state % limit;
}

static int prot_of(unsigned long choice) {
    static const int prots[] = {PROT_NONE, PROT_READ, PROT_READ | PROT_WRITE, PROT_READ | PROT_WRITE};
    return prots[choice];
}

/* The first word of a page as the kernel sees it; -1 when it cannot be read. */
static long peek(unsigned long index) {
    unsigned word;
    struct iovec local = {&word, sizeof word}, remote = {arena + index * PAGE, sizeof word};
    long got = process_vm_readv(getpid(), &local, 1, &remote, 1, 0);
    return got == sizeof word ? (long)word : -1;
}

static void check_all(const char *after) {
    for (unsigned long i = 0; i < PAGES; i++) {
        struct page *page = &model[i];
        long want = page->mapped && page->prot & PROT_READ ? (long)page->word : -1;
        long seen = peek(i);
        if (seen != want) {
            fprintf(stderr, "page %lu holds %ld, not %ld, after %s\n", i, seen, want, after);
            _exit(1);
        }
    }
}

static void do_map(unsigned long at, unsigned long len, int file) {
    int prot = prot_of(below(4)), shared = (int)below(2);
    int flags = (shared ? MAP_SHARED : MAP_PRIVATE) | MAP_FIXED | (file < 0 ? MAP_ANONYMOUS : 0);
    char *got = mmap(arena + at * PAGE, len * PAGE, prot, flags, file, 0);
    CHECK(got == arena + at * PAGE);
    for (unsigned long i = 0; i < len; i++)
        model[at + i] = (struct page){1, prot, shared, file >= 0, file < 0 ? 0 : 1000000 + (unsigned)i};
}

static void do_unmap(unsigned long at, unsigned long len) {
    CHECK(munmap(arena + at * PAGE, len * PAGE) == 0);
    for (unsigned long i = 0; i < len; i++) model[at + i].mapped = 0;
}

static void do_protect(unsigned long at, unsigned long len) {
    int prot = prot_of(below(4));
    unsigned long reach = 0;
    while (reach < len && model[at + reach].mapped) reach++;
    int done = mprotect(arena + at * PAGE, len * PAGE, prot);
    CHECK(done == (reach == len ? 0 : -1) && (done == 0 || errno == ENOMEM));
    for (unsigned long i = 0; i < reach; i++) model[at + i].prot = prot;
}

static void do_write(unsigned long at) {
    struct page *page = &model[at];
    if (!page->mapped || !(page->prot & PROT_WRITE) || page->shared) return;
    page->word = stamp++;
    *(unsigned *)(arena + at * PAGE) = page->word;
}

/* Moves private areas only within one area; what spans several fails, which the model takes from the call. */
static void do_move(unsigned long at, unsigned long len, unsigned long to) {
    if (to < at + len && at < to + len) return;
    for (unsigned long i = 0; i < len; i++)
        if (!model[at + i].mapped || model[at + i].shared) return;
    char *got = mremap(arena + at * PAGE, len * PAGE, len * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, arena + to * PAGE);
    for (unsigned long i = 0; i < len; i++) model[to + i].mapped = 0;
    if (got == MAP_FAILED) {
        CHECK(errno == EFAULT);
        return;
    }
    for (unsigned long i = 0; i < len; i++) {
        model[to + i] = model[at + i];
        model[at + i].mapped = 0;
    }
}

static void do_forget(unsigned long at, unsigned long len) {
    for (unsigned long i = 0; i < len; i++)
        if (!model[at + i].mapped || model[at + i].shared || model[at + i].file) return;
    CHECK(madvise(arena + at * PAGE, len * PAGE, MADV_DONTNEED) == 0);
    for (unsigned long i = 0; i < len; i++) model[at + i].word = 0;
}

int main(void) {
    char name[] = "/tmp/memory-model-XXXXXX";
    int file = mkstemp(name);
    CHECK(file >= 0 && unlink(name) == 0);
    for (unsigned i = 0; i < 16; i++) {
        unsigned word = 1000000 + i;
        CHECK(pwrite(file, &word, sizeof word, (off_t)(i * PAGE)) == sizeof word);
    }
    CHECK(ftruncate(file, 16 * PAGE) == 0);
    arena = mmap(NULL, PAGES * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(arena != MAP_FAILED && munmap(arena, PAGES * PAGE) == 0);
    for (int round = 0; round < ROUNDS; round++) {
        unsigned long len = 1 + below(8), at = below(PAGES - len), to = below(PAGES - len);
        switch (below(8)) {
        case 0: do_map(at, len, -1); check_all("mmap"); break;
        case 1: do_map(at, len, file); check_all("mmap of a file"); break;
        case 2: do_unmap(at, len); check_all("munmap"); break;
        case 3: do_protect(at, len); check_all("mprotect"); break;
        case 4: do_move(at, len, to); check_all("mremap"); break;
        case 5: do_forget(at, len); check_all("madvise"); break;
        default: do_write(at); check_all("a write"); break;
        }
    }
    OK();
}
