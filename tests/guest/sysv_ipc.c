// System V shared memory, semaphores and messages; POSIX message queues and shared memory between processes.
#include "check.h"

#include <fcntl.h>
#include <mqueue.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/wait.h>
#include <unistd.h>

static void shared_memory(void) {
    int id = shmget(IPC_PRIVATE, 10000, IPC_CREAT | 0600);
    CHECK(id >= 0);
    char *view = shmat(id, NULL, 0);
    CHECK(view != (char *)-1);
    char *second = shmat(id, NULL, SHM_RDONLY);
    strcpy(view, "parent");
    CHECK(strcmp(second, "parent") == 0);
    struct shmid_ds stat;
    CHECK(shmctl(id, IPC_STAT, &stat) == 0 && stat.shm_nattch == 2 && stat.shm_segsz == 10000);
    pid_t child = fork();
    if (child == 0) {
        strcpy(view + 5000, "child");
        _exit(shmdt(view) == 0 ? 0 : 1);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    CHECK(strcmp(second + 5000, "child") == 0);
    CHECK(shmctl(id, IPC_RMID, NULL) == 0 && strcmp(view, "parent") == 0);
    CHECK(shmctl(id, IPC_STAT, &stat) == 0 && stat.shm_nattch == 2);
    CHECK(shmdt(view) == 0 && shmdt(second) == 0);
    FAILS(shmctl(id, IPC_STAT, &stat), EINVAL);
    FAILS(shmdt(view), EINVAL);
}

static void semaphores(void) {
    int id = semget(IPC_PRIVATE, 2, IPC_CREAT | 0600);
    CHECK(id >= 0);
    pid_t child = fork();
    if (child == 0) {
        struct sembuf give[] = {{0, 1, 0}, {1, 3, SEM_UNDO}};
        usleep(20000);
        if (semop(id, give, 2) != 0) _exit(1);
        struct sembuf wait = {0, 0, 0};
        _exit(semop(id, &wait, 1) == 0 ? 0 : 2);
    }
    struct sembuf take = {0, -1, 0};
    CHECK(semop(id, &take, 1) == 0);
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    CHECK(semctl(id, 1, GETVAL) == 0);
    struct sembuf now = {0, -1, IPC_NOWAIT};
    FAILS(semop(id, &now, 1), EAGAIN);
    child = fork();
    if (child == 0) _exit(semop(id, &take, 1) == -1 && errno == EIDRM ? 0 : 1);
    usleep(20000);
    CHECK(semctl(id, 0, IPC_RMID) == 0);
    CHECK(waitpid(child, &status, 0) == child && status == 0);
}

static void messages(void) {
    struct { long type; char text[16]; } message = {2, "hello"};
    int id = msgget(IPC_PRIVATE, 0600);
    CHECK(id >= 0);
    pid_t child = fork();
    if (child == 0) {
        if (msgrcv(id, &message, sizeof message.text, 2, 0) != 6) _exit(1);
        message.type = 7;
        _exit(msgsnd(id, &message, 6, 0) == 0 ? 0 : 2);
    }
    usleep(10000);
    CHECK(msgsnd(id, &message, 6, 0) == 0);
    CHECK(msgrcv(id, &message, sizeof message.text, 7, 0) == 6 && strcmp(message.text, "hello") == 0);
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    FAILS(msgrcv(id, &message, 16, 0, IPC_NOWAIT), ENOMSG);
    CHECK(msgctl(id, IPC_RMID, NULL) == 0);
}

static void queues(void) {
    struct mq_attr attr = {.mq_maxmsg = 4, .mq_msgsize = 32};
    mqd_t queue = mq_open("/guest-test", O_CREAT | O_EXCL | O_RDWR, 0600, &attr);
    CHECK(queue >= 0);
    pid_t child = fork();
    if (child == 0) {
        char text[32];
        unsigned prio;
        _exit(mq_receive(queue, text, 32, &prio) == 3 && prio == 5 ? 0 : 1);
    }
    usleep(10000);
    CHECK(mq_send(queue, "abc", 3, 5) == 0);
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, NULL);
    CHECK(mq_notify(queue, &event) == 0 && mq_send(queue, "x", 1, 0) == 0);
    siginfo_t info;
    CHECK(sigwaitinfo(&set, &info) == SIGUSR1 && info.si_code == SI_MESGQ);
    CHECK(mq_getattr(queue, &attr) == 0 && attr.mq_curmsgs == 1);
    CHECK(mq_close(queue) == 0 && mq_unlink("/guest-test") == 0);
}

static void shared_locks(void) {
    struct shared { sem_t sem; pthread_mutex_t mutex; int count; } *shared =
        mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(shared != MAP_FAILED && sem_init(&shared->sem, 1, 0) == 0);
    pthread_mutexattr_t attr;
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
    CHECK(pthread_mutex_init(&shared->mutex, &attr) == 0);
    pid_t child = fork();
    if (child == 0) {
        pthread_mutex_lock(&shared->mutex);
        shared->count = 1;
        sem_post(&shared->sem);
        usleep(20000);
        _exit(0);
    }
    CHECK(sem_wait(&shared->sem) == 0 && shared->count == 1);
    CHECK(pthread_mutex_lock(&shared->mutex) == EOWNERDEAD);
    CHECK(pthread_mutex_consistent(&shared->mutex) == 0 && pthread_mutex_unlock(&shared->mutex) == 0);
    CHECK(waitpid(child, NULL, 0) == child);
}

static pthread_mutex_t heir;

static void *locker(void *arg) {
    (void)arg;
    pthread_mutex_lock(&heir);
    pthread_mutex_unlock(&heir);
    return NULL;
}

static void inheriting_locks(void) {
    pthread_mutexattr_t attr;
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_setprotocol(&attr, PTHREAD_PRIO_INHERIT);
    CHECK(pthread_mutex_init(&heir, &attr) == 0 && pthread_mutex_lock(&heir) == 0);
    pthread_t threads[3];
    for (int i = 0; i < 3; i++) CHECK(pthread_create(&threads[i], NULL, locker, NULL) == 0);
    usleep(20000);
    CHECK(pthread_mutex_unlock(&heir) == 0);
    for (int i = 0; i < 3; i++) CHECK(pthread_join(threads[i], NULL) == 0);
}

int main(void) {
    shared_memory();
    semaphores();
    messages();
    queues();
    shared_locks();
    inheriting_locks();
    puts("ok");
    return 0;
}
