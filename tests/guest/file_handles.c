/* name_to_handle_at(2) and open_by_handle_at(2). */
#include "check.h"
#include <fcntl.h>
#include <sys/stat.h>

struct handle {
    struct file_handle head;
    unsigned char bytes[128];
};

int main(void)
{
    char name[] = "handleXXXXXX", text[4] = {0};
    int file = mkstemp(name), mount, small, again;
    struct handle one = {.head = {.handle_bytes = 128}}, two = one, none = {.head = {.handle_bytes = 0}};
    CHECK(file >= 0 && write(file, "abc", 3) == 3);
    FAILS(name_to_handle_at(AT_FDCWD, name, &none.head, &small, 0), EOVERFLOW);
    CHECK(none.head.handle_bytes > 0 && none.head.handle_bytes <= 128);
    CHECK(name_to_handle_at(AT_FDCWD, name, &one.head, &mount, 0) == 0);
    CHECK(name_to_handle_at(file, "", &two.head, &mount, AT_EMPTY_PATH) == 0);
    CHECK(one.head.handle_bytes == two.head.handle_bytes && one.head.handle_type == two.head.handle_type);
    CHECK(memcmp(one.head.f_handle, two.head.f_handle, one.head.handle_bytes) == 0);
    FAILS(name_to_handle_at(AT_FDCWD, name, &one.head, &mount, 0x8000000), EINVAL);
    FAILS(name_to_handle_at(AT_FDCWD, "no such file", &one.head, &mount, 0), ENOENT);
    FAILS(name_to_handle_at(999, "x", &one.head, &mount, 0), EBADF);
    FAILS(name_to_handle_at(AT_FDCWD, "", &one.head, &mount, 0), ENOENT);
    two.head.handle_bytes = 129;
    FAILS(name_to_handle_at(AT_FDCWD, name, &two.head, &mount, 0), EINVAL);
    FAILS(name_to_handle_at(AT_FDCWD, "/proc/self/stat", &two.head, &mount, 0), EOPNOTSUPP);
    FAILS(name_to_handle_at(AT_FDCWD, name, NULL, &mount, 0), EFAULT);

    again = open_by_handle_at(AT_FDCWD, &one.head, O_RDONLY);
    CHECK(again >= 0 || errno == EPERM);
    if (again >= 0) {
        struct stat first, second;
        CHECK(fstat(file, &first) == 0 && fstat(again, &second) == 0 && first.st_ino == second.st_ino);
        CHECK(read(again, text, 3) == 3 && strcmp(text, "abc") == 0);
        FAILS(open_by_handle_at(999, &one.head, O_RDONLY), EBADF);
        none.head.handle_bytes = 0;
        FAILS(open_by_handle_at(AT_FDCWD, &none.head, O_RDONLY), EINVAL);
        FAILS(open_by_handle_at(AT_FDCWD, NULL, O_RDONLY), EFAULT);
        CHECK(close(again) == 0);
    }
    CHECK(unlink(name) == 0 && close(file) == 0);
    OK();
}
