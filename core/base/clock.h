/* clock.h: the two clocks. Wall time is what events carry, steady time is what intervals are
 * measured with. Any thread. */
#ifndef MW_CLOCK_H
#define MW_CLOCK_H

#include <stdint.h>
#include <time.h>

static inline int64_t mw_clock_wall_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static inline int64_t mw_clock_steady_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

enum { MW_STAMP_BYTES = 40 };
/* Wall time as "2026-11-24T20:28:01.123Z"; returns `to`. */
const char *mw_clock_stamp(int64_t wall_ns, char to[MW_STAMP_BYTES]);

#endif
