/* Interfaces of one's own (a user namespace is enough for them): bridges in a ring, around which a frame goes for ever, more interfaces and
 * namespaces than anybody needs, and namespaces that end while frames are on their way. Others must get their turn. */
#include "escape.h"
#include <arpa/inet.h>
#include "../guest/rtnl.h"
#include <linux/if_packet.h>
#include <net/ethernet.h>

static int own_network(void)
{
    return unshare(CLONE_NEWUSER | CLONE_NEWNET);
}

static void join(const char *bridge, const char *one, const char *two, const char *other)
{
    new_link("veth", one, two);
    set_number(one, IFLA_MASTER, if_nametoindex(bridge));
    set_number(two, IFLA_MASTER, if_nametoindex(other));
    set_up(one, 1);
    set_up(two, 1);
}

/* Two bridges with two ways between them: what is for all comes back twice. */
static void ring(void *unused)
{
    (void)unused;
    if (own_network() != 0)
        return;
    new_link("bridge", "b0", NULL);
    new_link("bridge", "b1", NULL);
    set_up("b0", 1);
    set_up("b1", 1);
    join("b0", "a0", "a1", "b1");
    join("b0", "c0", "c1", "b1");
    join("b0", "d0", "d1", "b1");
    int fd = socket(AF_PACKET, SOCK_RAW, htons(ETH_P_ALL));
    struct sockaddr_ll to = {.sll_family = AF_PACKET, .sll_ifindex = if_nametoindex("b0"), .sll_halen = 6};
    char frame[1400];
    memset(frame, 0xff, sizeof frame);
    for (int i = 0; i < 2000; i++)
        sendto(fd, frame, i % 2 ? 60 : sizeof frame, MSG_DONTWAIT, (void *)&to, sizeof to);
    sleep(5);
}

/* Beside it, time goes on for others. */
static void keeps_time(void *unused)
{
    (void)unused;
    pid_t storm = fork();
    if (storm == 0) {
        ring(NULL);
        _exit(0);
    }
    double end = seconds() + 4, worst = 0;
    int rounds = 0, pair[2];
    pipe(pair);
    while (seconds() < end) {
        double before = seconds();
        usleep(1000);
        pid_t child = fork();
        if (child == 0)
            _exit(write(pair[1], "x", 1) != 1);
        char byte;
        read(pair[0], &byte, 1);
        waitpid(child, NULL, 0);
        double took = seconds() - before;
        worst = took > worst ? took : worst;
        rounds++;
    }
    printf("%d rounds beside a storm, the longest of %.0f ms\n", rounds, worst * 1000);
    if (rounds < 3)
        ESCAPE("nobody else has a turn beside a storm");
    kill(storm, SIGKILL);
    waitpid(storm, NULL, 0);
}

static void many(void *unused)
{
    (void)unused;
    if (own_network() != 0)
        return;
    int made = 0;
    char one[16], two[16];
    double end = seconds() + 20;
    for (int i = 0; i < 200000 && seconds() < end; i++) {
        snprintf(one, sizeof one, "v%d", i);
        snprintf(two, sizeof two, "w%d", i);
        if (new_link("veth", one, two) != 0)
            break;
        made++;
    }
    printf("%d pairs\n", made);
    new_link("bridge", "b0", NULL);
    for (int i = 0; i < made && i < 3000; i++) {
        snprintf(one, sizeof one, "v%d", i);
        set_number(one, IFLA_MASTER, if_nametoindex("b0"));
        set_up(one, 1);
    }
    struct request dump;
    struct ifinfomsg all = {0};
    begin(&dump, RTM_GETLINK, NLM_F_DUMP, &all, sizeof all);
    int fd = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
    for (int i = 0; i < 50; i++)
        send(fd, &dump, dump.header.nlmsg_len, MSG_DONTWAIT);
}

static void namespaces(void *unused)
{
    (void)unused;
    if (own_network() != 0)
        return;
    double end = seconds() + 15;
    int made = 0;
    while (seconds() < end) {
        if (new_link("veth", "near", "far") != 0)
            break;
        pid_t child = fork();
        if (child == 0) {
            if (unshare(CLONE_NEWNET) != 0)
                _exit(1);
            for (;;)
                pause();
        }
        usleep(2000);
        set_number("far", IFLA_NET_NS_PID, child);
        set_up("near", 1);
        int fd = socket(AF_PACKET, SOCK_RAW, htons(ETH_P_ALL));
        struct sockaddr_ll to = {.sll_family = AF_PACKET, .sll_ifindex = if_nametoindex("near"), .sll_halen = 6};
        for (int i = 0; i < 100; i++)
            sendto(fd, &to, 60, MSG_DONTWAIT, (void *)&to, sizeof to);
        kill(child, SIGKILL);
        if (made % 2)
            delete_link("near");
        waitpid(child, NULL, 0);
        delete_link("near");
        close(fd);
        made++;
    }
    printf("%d namespaces\n", made);
    for (int i = 0; i < 5000 && unshare(CLONE_NEWNET) == 0; i++)
        ;
}

int main(void)
{
    TRIED("a ring of bridges");
    attack(keeps_time, NULL, 60);
    TRIED("interfaces without end");
    attack(many, NULL, 100);
    TRIED("namespaces that end with frames on their way");
    attack(namespaces, NULL, 100);
    TRIED("what is left afterwards");
    attack(keeps_time, NULL, 60);
    CONTAINED();
}
