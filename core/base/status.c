/* status.c: see status.h. */
#include "base/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

mw_status mw_fail(mw_error *error, mw_status status, const char *format, ...)
{
    if (error) {
        va_list args;
        va_start(args, format);
        error->status = status;
        vsnprintf(error->message, sizeof error->message, format, args);
        va_end(args);
    }
    return status;
}

_Noreturn void mw_broken(const char *what, const char *file, int line)
{
    fprintf(stderr, "moonweir: broken invariant: %s (%s:%d); please report this\n", what, file,
            line);
    abort();
}
