// What the measuring programs share: checks, the clock, and the order of numbers. The program sets `program` and `where`.
#pragma once
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char *program = "", *where = "";

static void must(int fine) {
    if (!fine) {
        fprintf(stderr, "%s %s: failed: %s\n", program, where, strerror(errno));
        exit(1);
    }
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1e9 + t.tv_nsec;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}
