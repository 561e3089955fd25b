/* write_limit.c INPUT OUTPUT MS: writes the input's bytes in a row, 64 KiB at a time, with a sync
 * by another thread every so many milliseconds and at the end: what a disk buffer is measured by.
 * INPUT "tcp": those of one connection, to a port that is printed first. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int out;
static _Atomic int over;

static void *sync_now_and_then(void *ms)
{
    while (!over) {
        usleep((unsigned)(*(int *)ms * 1000));
        fdatasync(out);
    }
    return NULL;
}

static int take_connection(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof a;
    int listening = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(listening, (struct sockaddr *)&a, len) != 0 || listen(listening, 1) != 0 ||
        getsockname(listening, (struct sockaddr *)&a, &len) != 0)
        return -1;
    printf("%d\n", ntohs(a.sin_port));
    fflush(stdout);
    return accept(listening, NULL, NULL);
}

int main(int argc, char **argv)
{
    static char block[64 << 10];
    if (argc != 4) return 2;
    int in = strcmp(argv[1], "tcp") == 0 ? take_connection() : open(argv[1], O_RDONLY);
    int ms = atoi(argv[3]);
    out = open(argv[2], O_WRONLY | O_CREAT | O_TRUNC, 0666);
    if (in < 0 || out < 0) return 1;
    pthread_t thread;
    pthread_create(&thread, NULL, sync_now_and_then, &ms);
    for (ssize_t n; (n = read(in, block, sizeof block)) > 0;)
        if (write(out, block, (size_t)n) != n) return 1;
    over = 1;
    pthread_join(thread, NULL);
    return fdatasync(out) != 0;
}
