/* Forging the words of one's own thread area: state, event types, frame addresses, lengths, while calls are made. */
#include "escape.h"
#include <pthread.h>

struct forgery {
    unsigned offset, value;
    int whole; /* 1: fill the area with the value; 2: random words; 3: this word, again and again */
};

static unsigned long victim;
static struct forgery how;

static void *forge(void *unused)
{
    (void)unused;
    uint64_t state = how.value * 77 + 5;
    double end = seconds() + 0.15;
    for (unsigned long n = 0; (n & 0xfff) || seconds() < end; n++) {
        if (how.whole == 1)
            for (unsigned at = 0; at < AREA_LEN; at += 4)
                *(volatile unsigned *)(victim + at) = how.value;
        else if (how.whole == 2)
            *(volatile unsigned *)(victim + next_random(&state) % AREA_LEN / 4 * 4) = (unsigned)next_random(&state);
        else
            *(volatile unsigned *)(victim + how.offset) = how.value;
    }
    return NULL;
}

static void run(void *what)
{
    how = *(struct forgery *)what;
    victim = area();
    if (victim == 0)
        return;
    pthread_t thread;
    pthread_create(&thread, NULL, forge, NULL);
    double end = seconds() + 0.15;
    char buf[64];
    int fd = open("/etc/passwd", O_RDONLY);
    while (seconds() < end) {
        getppid();
        pread(fd, buf, sizeof buf, 0);
        access("/etc/passwd", R_OK);
        close(-1);
        write(fd, buf, 1);
    }
}

int main(void)
{
    static const unsigned values[] = {0, 1, 2, 3, 4, 5, 0x100, 0x101, 0x102, 0x104, 0xff, 0x7fffffff, 0x80000000, 0xffffffff, 11, 31, 12, 5, 10};
    static const unsigned offsets[] = {A_STATE, A_KICK, A_SIG, 0x0c, A_UC, A_UC + 4, 0x18, 0x1c, 0x20, 0x24, 0x40, 0x44, 0x48, 0x80, 0x88, 0x90, 0xc0, 0xc4,
                                       A_FAST + 144, A_FAST + 168, A_FAST + 172, A_FAST + 160, A_FAST + 176, A_FAST + 184, A_FAST + 224, A_FAST + 228, A_FAST + 104, A_FAST + 112, A_FAST + 136};
    unsigned tried = 0, died = 0;
    uint64_t state = 42;
    for (unsigned o = 0; o < LENGTH(offsets); o++)
        for (unsigned n = 0; n < 4; n++) {
            struct forgery one = {offsets[o], values[next_random(&state) % LENGTH(values)], 3};
            if (o < 6)
                one.value = values[(n * 5 + o) % LENGTH(values)];
            died += attack(run, &one, 8) != 0;
            tried++;
        }
    TRIED("%u words forged in a loop; %u processes died of it", tried, died);
    for (unsigned n = 0; n < 12; n++) {
        struct forgery one = {0, n < 6 ? values[n] : n, n < 6 ? 1 : 2};
        int status = attack(run, &one, 8);
        TRIED("the whole area, way %d: %#x", one.whole, status);
    }
    CONTAINED();
}
