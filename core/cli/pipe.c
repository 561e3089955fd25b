/* pipe.c: standard input and output of the commands that are filters. See command.h. */
#include "cli/command.h"

#include <errno.h>
#include <unistd.h>

enum { CHUNK = 1 << 16 };

mw_status mw_command_read(mw_buffer *to, int *final, mw_error *error)
{
    ssize_t n;
    do n = read(STDIN_FILENO, mw_buffer_reserve(to, CHUNK), CHUNK);
    while (n < 0 && errno == EINTR);
    *final = n <= 0;
    if (n < 0) return mw_fail(error, MW_IO, "stdin cannot be read: %m");
    to->len += (size_t)n;
    return MW_OK;
}

mw_status mw_command_write(mw_buffer *from, mw_error *error)
{
    for (size_t at = 0; at < from->len;) {
        ssize_t n = write(STDOUT_FILENO, from->bytes + at, from->len - at);
        if (n < 0 && errno != EINTR)
            return mw_fail(error, MW_IO, "standard output cannot be written: %m");
        at += n > 0 ? (size_t)n : 0;
    }
    from->len = 0;
    return MW_OK;
}
