/* clock.c: see clock.h. */
#include "base/clock.h"

#include <stdio.h>

const char *mw_clock_stamp(int64_t wall_ns, char to[MW_STAMP_BYTES])
{
    time_t seconds = (time_t)(wall_ns / 1000000000);
    struct tm tm;
    gmtime_r(&seconds, &tm);
    size_t n = strftime(to, MW_STAMP_BYTES, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(to + n, MW_STAMP_BYTES - n, ".%03dZ", (int)(wall_ns / 1000000 % 1000));
    return to;
}
