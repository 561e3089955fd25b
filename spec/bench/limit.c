/* limit.c: what no router can beat: splits lines and copies each to one of two files.
 *   limit INPUT OUTPUT_A OUTPUT_B */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BLOCK = 256 << 10 };

static char in[BLOCK], out[2][BLOCK + (64 << 10)];
static size_t used[2];
static int fds[2];

static void flush(int which)
{
    for (size_t done = 0; done < used[which];) {
        ssize_t n = write(fds[which], out[which] + done, used[which] - done);
        if (n <= 0) exit(1);
        done += (size_t)n;
    }
    used[which] = 0;
}

int main(int argc, char **argv)
{
    if (argc != 4) return 2;
    int fd = open(argv[1], O_RDONLY);
    for (int i = 0; i < 2; i++) fds[i] = open(argv[2 + i], O_WRONLY | O_CREAT | O_TRUNC, 0666);
    size_t have = 0, count = 0;
    ssize_t n;
    while ((n = read(fd, in + have, BLOCK - have)) > 0) {
        have += (size_t)n;
        char *p = in, *end = in + have, *newline;
        while ((newline = memchr(p, '\n', (size_t)(end - p)))) {
            size_t len = (size_t)(newline - p) + 1;
            int which = count++ % 5 == 0;
            memcpy(out[which] + used[which], p, len);
            used[which] += len;
            if (used[which] > BLOCK) flush(which);
            p = newline + 1;
        }
        have = (size_t)(end - p);
        memmove(in, p, have);
    }
    flush(0), flush(1);
    return 0;
}
