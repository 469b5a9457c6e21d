/* Asynchronous I/O: io_setup(2), io_submit(2), io_getevents(2), io_cancel(2), io_destroy(2). */
#include "check.h"
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <poll.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>

static long setup(unsigned nr, aio_context_t *ctx) { return syscall(SYS_io_setup, nr, ctx); }
static long destroy(aio_context_t ctx) { return syscall(SYS_io_destroy, ctx); }
static long submit(aio_context_t ctx, long nr, struct iocb **list) { return syscall(SYS_io_submit, ctx, nr, list); }
static long getevents(aio_context_t ctx, long least, long most, struct io_event *events, struct timespec *time)
{
    return syscall(SYS_io_getevents, ctx, least, most, events, time);
}
static long cancel(aio_context_t ctx, struct iocb *iocb, struct io_event *event)
{
    return syscall(SYS_io_cancel, ctx, iocb, event);
}

int main(void)
{
    char name[] = "aioXXXXXX", text[] = "asynchronous", got[16] = {0};
    int file = mkstemp(name), counter = eventfd(0, EFD_NONBLOCK), ends[2], reader;
    struct io_event events[4];
    struct timespec none = {0, 0}, soon = {0, 10000000};
    aio_context_t ctx = 0, other = 1;
    CHECK(file >= 0 && counter >= 0 && unlink(name) == 0 && pipe(ends) == 0);

    /* contexts */
    FAILS(setup(0, &ctx), EINVAL);
    FAILS(setup(1, &other), EINVAL);
    FAILS(setup(1, NULL), EFAULT);
    CHECK(setup(8, &ctx) == 0 && ctx != 0);
    FAILS(submit(0, 0, NULL), EINVAL);
    FAILS(submit(ctx, -1, NULL), EINVAL);
    CHECK(submit(ctx, 0, NULL) == 0);
    FAILS(submit(ctx, 1, NULL), EFAULT);
    FAILS(getevents(0, 0, 1, events, &none), EINVAL);
    FAILS(getevents(ctx, -1, 1, events, &none), EINVAL);
    FAILS(getevents(ctx, 2, 1, events, &none), EINVAL);
    CHECK(getevents(ctx, 1, 1, events, &soon) == 0);

    /* a write, told by an eventfd; then reads */
    struct iocb write_one = {.aio_data = 7, .aio_lio_opcode = IOCB_CMD_PWRITE, .aio_fildes = file,
                             .aio_buf = (uintptr_t)text, .aio_nbytes = 12, .aio_offset = 3,
                             .aio_flags = IOCB_FLAG_RESFD, .aio_resfd = counter};
    struct iocb *list[2] = {&write_one, NULL};
    uint64_t count;
    CHECK(submit(ctx, 1, list) == 1);
    CHECK(getevents(ctx, 1, 4, events, NULL) == 1);
    CHECK(events[0].data == 7 && events[0].obj == (uintptr_t)&write_one && events[0].res == 12);
    CHECK(read(counter, &count, 8) == 8 && count == 1);
    struct iovec parts[2] = {{got, 5}, {got + 5, 10}};
    struct iocb read_parts = {.aio_lio_opcode = IOCB_CMD_PREADV, .aio_fildes = file, .aio_buf = (uintptr_t)parts,
                              .aio_nbytes = 2, .aio_offset = 3};
    struct iocb bad_place = {.aio_lio_opcode = IOCB_CMD_PREAD, .aio_fildes = file, .aio_buf = 16, .aio_nbytes = 4};
    struct iocb *both[2] = {&read_parts, &bad_place};
    CHECK(submit(ctx, 2, both) == 2);
    CHECK(getevents(ctx, 2, 4, events, NULL) == 2);
    CHECK(events[0].res == 12 && memcmp(got, text, 12) == 0 && events[1].res == -EFAULT);

    /* requests that are refused */
    struct iocb wrong = {.aio_lio_opcode = 99, .aio_fildes = file};
    list[0] = &wrong;
    FAILS(submit(ctx, 1, list), EINVAL);
    wrong.aio_fildes = 999;
    FAILS(submit(ctx, 1, list), EBADF);
    wrong = (struct iocb){.aio_fildes = file, .aio_reserved2 = 1};
    FAILS(submit(ctx, 1, list), EINVAL);
    wrong = (struct iocb){.aio_fildes = file, .aio_flags = IOCB_FLAG_RESFD, .aio_resfd = file};
    FAILS(submit(ctx, 1, list), EINVAL);
    reader = open("/proc/self/exe", O_RDONLY);
    wrong = (struct iocb){.aio_fildes = reader, .aio_lio_opcode = IOCB_CMD_PWRITE, .aio_buf = (uintptr_t)got};
    FAILS(submit(ctx, 1, list), EBADF);
    struct iocb *good_then_bad[2] = {&read_parts, &wrong};
    CHECK(submit(ctx, 2, good_then_bad) == 1 && getevents(ctx, 1, 1, events, NULL) == 1);

    /* a poll waits, is cancelled, and completes */
    struct iocb poll_one = {.aio_data = 9, .aio_lio_opcode = IOCB_CMD_POLL, .aio_fildes = ends[0], .aio_buf = POLLIN};
    list[0] = &poll_one;
    CHECK(submit(ctx, 1, list) == 1 && getevents(ctx, 0, 1, events, &none) == 0);
    CHECK(getevents(ctx, 1, 1, events, &soon) == 0);
    FAILS(cancel(ctx, &read_parts, events), EINVAL);
    FAILS(cancel(ctx, NULL, events), EFAULT);
    FAILS(cancel(ctx, &poll_one, events), EINPROGRESS);
    CHECK(getevents(ctx, 1, 1, events, NULL) == 1 && events[0].data == 9);
    CHECK(submit(ctx, 1, list) == 1 && write(ends[1], "x", 1) == 1);
    CHECK(getevents(ctx, 1, 1, events, NULL) == 1 && (events[0].res & POLLIN));

    /* one iocb for two requests: each has an event */
    int second[2];
    CHECK(pipe(second) == 0 && read(ends[0], got, 1) == 1 && submit(ctx, 1, list) == 1);
    poll_one.aio_fildes = second[0];
    poll_one.aio_data = 10;
    CHECK(submit(ctx, 1, list) == 1 && write(second[1], "x", 1) == 1);
    CHECK(getevents(ctx, 1, 2, events, NULL) == 1 && events[0].data == 10);
    CHECK(write(ends[1], "x", 1) == 1 && getevents(ctx, 1, 2, events, NULL) == 1 && events[0].data == 9);

    /* the file's data are brought to the disk */
    struct iocb sync_one = {.aio_lio_opcode = IOCB_CMD_FSYNC, .aio_fildes = file};
    list[0] = &sync_one;
    CHECK(submit(ctx, 1, list) == 1 && getevents(ctx, 1, 1, events, NULL) == 1 && events[0].res == 0);
    sync_one.aio_nbytes = 1;
    FAILS(submit(ctx, 1, list), EINVAL);

    CHECK(destroy(ctx) == 0);
    FAILS(destroy(ctx), EINVAL);
    OK();
}
