/* Native asynchronous I/O: control blocks and events anywhere, contexts that are forged, and files, memory and contexts that go away while
 * requests are under way. */
#include "escape.h"
#include <linux/aio_abi.h>
#include <pthread.h>
#include <sys/eventfd.h>

static long setup(unsigned n, aio_context_t *to) { return syscall(SYS_io_setup, n, to); }
static long submit(aio_context_t id, long n, struct iocb **list) { return syscall(SYS_io_submit, id, n, list); }
static long events(aio_context_t id, long least, long most, void *to, struct timespec *wait)
{
    return syscall(SYS_io_getevents, id, least, most, to, wait);
}

static struct iocb blocks[64];
static struct iocb *list[64];
static volatile int over;

static void fill(int fd, void *buffer, size_t len)
{
    static const unsigned short operations[] = {IOCB_CMD_PREAD, IOCB_CMD_PWRITE, IOCB_CMD_FSYNC, IOCB_CMD_FDSYNC, IOCB_CMD_POLL,
                                                IOCB_CMD_NOOP, IOCB_CMD_PREADV, IOCB_CMD_PWRITEV, 99};
    for (unsigned i = 0; i < LENGTH(blocks); i++) {
        memset(&blocks[i], 0, sizeof blocks[i]);
        blocks[i].aio_lio_opcode = operations[i % LENGTH(operations)];
        blocks[i].aio_fildes = fd;
        blocks[i].aio_buf = (uintptr_t)buffer;
        blocks[i].aio_nbytes = len;
        list[i] = &blocks[i];
    }
}

static void forged(void *unused)
{
    (void)unused;
    aio_context_t id = 0;
    struct timespec none = {0, 0};
    REFUSED(setup(1U << 31, &id));
    REFUSED(setup(8, (void *)COMMAND));
    id = 77;
    REFUSED(setup(8, &id));
    static const unsigned long wrong[] = {0, 1, 4096, STUB, COMMAND, HINT, ~0UL, 1UL << 63};
    for (unsigned i = 0; i < LENGTH(wrong); i++) {
        REFUSED(submit(wrong[i], 1, list));
        REFUSED(events(wrong[i], 0, 1, blocks, &none));
        REFUSED(syscall(SYS_io_destroy, wrong[i]));
        REFUSED(syscall(SYS_io_cancel, wrong[i], blocks, blocks));
    }
    id = 0;
    if (setup(64, &id) != 0)
        return;
    int fd = memfd_create("m", 0);
    static const unsigned long places[] = {STUB, COMMAND, HINT, HELPER_STACK, ~0UL - 4096, 0xffffffff80000000UL, 8};
    for (unsigned i = 0; i < LENGTH(places); i++) {
        fill(fd, (void *)places[i], 1 << 20);
        submit(id, 64, list);
        submit(id, 1L << 62, list);
        submit(id, 64, (void *)places[i]);
        submit(id, -1, list);
        struct iocb *bad = (void *)places[i];
        submit(id, 1, &bad);
        if (events(id, 1, 64, (void *)places[i], &none) > 0)
            ESCAPE("events into %lx", places[i]);
    }
    /* The page of the context is the program's own to spoil. */
    if (mprotect((void *)id, 4096, PROT_READ | PROT_WRITE) == 0)
        memset((void *)id, 0xff, 4096);
    fill(fd, list, 64);
    submit(id, 64, list);
    munmap((void *)id, 4096);
    submit(id, 64, list);
    mmap((void *)id, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    events(id, 0, 64, blocks, &none);
    syscall(SYS_io_destroy, id);
    for (int i = 0; i < 200000 && setup(4096, &(aio_context_t){0}) == 0; i++)
        ;
}

static int target;
static aio_context_t context;
static char *memory;

static void *disturbs(void *shape)
{
    struct timespec none = {0, 1000};
    static struct io_event got[64];
    while (!over)
        switch ((long)shape) {
        case 0:
            close(target);
            dup2(1, target);
            dup2(2, target);
            break;
        case 1:
            munmap(memory + 4096, 4096);
            mmap(memory + 4096, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
            break;
        case 2:
            for (unsigned i = 0; i < LENGTH(blocks); i++) {
                blocks[i].aio_nbytes = ~0UL;
                blocks[i].aio_fildes = -1;
                blocks[i].aio_lio_opcode = i;
                syscall(SYS_io_cancel, context, &blocks[i], got);
                blocks[i].aio_fildes = target;
                blocks[i].aio_nbytes = 5000;
            }
            break;
        default:
            events(context, 1, 64, got, &none);
        }
    return NULL;
}

static void races(void *unused)
{
    (void)unused;
    int pair[2], counter = eventfd(0, EFD_NONBLOCK);
    pipe2(pair, O_NONBLOCK);
    target = dup(pair[0]);
    memory = mmap(NULL, 1 << 16, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    setup(128, &context);
    pthread_t threads[4];
    for (long i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, disturbs, (void *)i);
    double end = seconds() + 4;
    while (seconds() < end) {
        fill(target, memory + 2000, 5000);
        for (int i = 0; i < 64; i += 3) {
            blocks[i].aio_flags = IOCB_FLAG_RESFD;
            blocks[i].aio_resfd = i % 2 ? counter : i;
        }
        submit(context, 64, list);
        if (seconds() > end - 2) {
            syscall(SYS_io_destroy, context);
            context = 0;
            setup(128, &context);
        }
    }
    over = 1;
}

int main(void)
{
    TRIED("blocks, events and contexts that are none");
    attack(forged, NULL, 60);
    TRIED("files, memory and blocks that go away");
    attack(races, NULL, 60);
    CONTAINED();
}
