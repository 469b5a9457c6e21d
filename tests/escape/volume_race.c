/* A writable volume at /vol whose directories the host swaps for links that lead out, all the time: no call may follow one. */
#include "escape.h"
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/xattr.h>

int main(int argc, char **argv)
{
    double end = seconds() + (argc > 2 ? atof(argv[2]) : 8);
    unsigned long tries = 0, found = 0;
    char text[256];
    struct stat st;
    while (seconds() < end) {
        static const char *files[] = {"/vol/dir/file", "/vol/dir/sub/file", "/vol/file"};
        for (unsigned i = 0; i < LENGTH(files); i++) {
            int fd = open(files[i], O_RDONLY | O_NONBLOCK);
            if (fd >= 0) {
                memset(text, 0, sizeof text);
                if (read(fd, text, sizeof text - 1) > 0 && strstr(text, "outside"))
                    ESCAPE("%s showed a file from outside of the volume", files[i]);
                found += strstr(text, "inside") != NULL;
                close(fd);
            }
            fd = open(files[i], O_WRONLY | O_TRUNC | O_NONBLOCK);
            if (fd >= 0) {
                write(fd, "inside, by the guest\n", 21);
                fchmod(fd, 0640);
                close(fd);
            }
            chmod(files[i], 0666);
            chown(files[i], 77, 77);
            utimensat(AT_FDCWD, files[i], NULL, 0);
            setxattr(files[i], "user.raced", "x", 1, 0);
            truncate(files[i], 5);
            tries++;
        }
        int dir = open("/vol/dir", O_RDONLY | O_DIRECTORY);
        if (dir >= 0) {
            unlinkat(dir, "victim", 0);
            mkdirat(dir, "made", 0777);
            symlinkat("x", dir, "made_link");
            renameat(dir, "file", dir, "file2");
            renameat(dir, "file2", dir, "file");
            linkat(dir, "file", dir, "hard", 0);
            unlinkat(dir, "hard", 0);
            fstatat(dir, "../../canary", &st, 0);
            int up = openat(dir, "../../../../outside/file", O_RDONLY);
            if (up >= 0 && read(up, text, sizeof text) > 0 && strstr(text, "outside"))
                ESCAPE("out of the volume by ..");
            close(up);
            close(dir);
        }
        unlink("/vol/dir/victim");
        mkdir("/vol/dir/new", 0777);
        rmdir("/vol/dir/new");
        close(open("/vol/dir/created", O_CREAT | O_WRONLY, 0666));
        rename("/vol/dir/sub", "/vol/moved");
        rename("/vol/moved", "/vol/dir/sub");
        if (chdir("/vol/dir/sub") == 0) {
            for (int i = 0; i < 4; i++)
                chdir("..");
            int fd = open("outside/file", O_RDONLY);
            if (fd >= 0)
                ESCAPE("out of the volume by the working directory");
        }
        int fd = open("/vol/dir/odd", O_RDWR | O_NONBLOCK);
        if (fd >= 0) {
            write(fd, "ESCAPED into a fifo", 19);
            close(fd);
        }
    }
    TRIED("%lu rounds while the host swapped; %lu reads found the volume's own", tries, found);
    CONTAINED();
}
