/* time.h: the time that an event says it happened at.
 *
 * A format is "auto" (numbers by their size as seconds, milli-, micro- or nanoseconds since 1970,
 * texts as RFC 3339 or, where they are digits, as such a number), "s", "ms", "us", "ns", "rfc3339",
 * "syslog" ("Nov 25 03:04:05", of this year or the last), or a pattern of strptime(3), read as UTC
 * where it has no %z. Any thread. */
#ifndef MW_TIME_H
#define MW_TIME_H

#include "event/value.h"

/* Times are within 126 years of 1970, so that their differences, and some years more, are times,
 * too. */
#define MW_TIME_MOST 4000000000000000000

typedef enum mw_time_kind {
    MW_TIME_AUTO,
    MW_TIME_S,
    MW_TIME_MS,
    MW_TIME_US,
    MW_TIME_NS,
    MW_TIME_RFC3339,
    MW_TIME_SYSLOG,
    MW_TIME_PATTERN,
} mw_time_kind;

typedef struct mw_time_format {
    mw_time_kind kind;
    const char *pattern;
} mw_time_format;

/* `name` is borrowed where it is a pattern; NULL is "auto". 0: it is no format. */
int mw_time_format_find(mw_time_format *f, const char *name);
/* Nanoseconds since 1970; 0: it is no such time, or too far away. `now_ns` gives what a format
 * leaves out. */
int mw_time_read(const mw_time_format *f, const mw_value *v, int64_t now_ns, int64_t *at_ns);

#endif
