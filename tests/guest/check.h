/* Checks for guest programs: each program must pass on native Linux first, then inside the sandbox. */
#ifndef CHECK_H
#define CHECK_H
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CHECK(cond)                                                                              \
    do {                                                                                         \
        if (!(cond)) {                                                                           \
            fprintf(stderr, "%s:%d: %s (errno %d %s)\n", __FILE__, __LINE__, #cond, errno,       \
                    strerror(errno));                                                            \
            _exit(1);                                                                            \
        }                                                                                        \
    } while (0)

/* The call must fail with this errno. */
#define FAILS(call, err)                                                                         \
    do {                                                                                         \
        errno = 0;                                                                               \
        long result_ = (long)(call);                                                             \
        if (result_ != -1 || errno != (err)) {                                                   \
            fprintf(stderr, "%s:%d: %s gave %ld errno %d (%s), not %s\n", __FILE__, __LINE__,    \
                    #call, result_, errno, strerror(errno), #err);                               \
            _exit(1);                                                                            \
        }                                                                                        \
    } while (0)

#define OK()                                                                                     \
    do {                                                                                         \
        puts("ok");                                                                              \
        return 0;                                                                                \
    } while (0)
#endif
