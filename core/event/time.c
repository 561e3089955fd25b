/* time.c: see time.h. */
#include "event/time.h"
#include "event/json.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { TEXT_MAX = 120, DAY_S = 86400, HALF_YEAR_S = 183 * DAY_S };
static const int64_t second_ns = 1000000000;

int mw_time_format_find(mw_time_format *f, const char *name)
{
    static const char *const names[] = {"auto", "s", "ms", "us", "ns", "rfc3339", "syslog"};
    *f = (mw_time_format){0};
    if (!name) return 1;
    for (int i = 0; i < MW_TIME_PATTERN; i++)
        if (strcmp(names[i], name) == 0) {
            f->kind = (mw_time_kind)i;
            return 1;
        }
    f->kind = MW_TIME_PATTERN, f->pattern = name;
    return strchr(name, '%') != NULL;
}

/* Days since 1970 of a date (Hinnant, "chrono-compatible low-level date algorithms"). */
static int64_t days_of(int64_t y, unsigned m, unsigned d)
{
    y -= m <= 2;
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    unsigned yoe = (unsigned)(y - era * 400),
             doy = (153 * (m + (m > 2 ? -3u : 9u)) + 2) / 5 + d - 1;
    unsigned doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
    return era * 146097 + (int64_t)doe - 719468;
}

static int number_of(const char **at, const char *end, int digits, unsigned *n)
{
    *n = 0;
    for (; digits > 0; digits--, *at += 1) {
        if (*at >= end || **at < '0' || **at > '9') return 0;
        *n = *n * 10 + (unsigned)(**at - '0');
    }
    return 1;
}

static int skip(const char **at, const char *end, const char *any)
{
    if (*at >= end || !strchr(any, **at) || !**at) return 0;
    *at += 1;
    return 1;
}

/* ".123456789": nanoseconds; more digits are dropped. */
static int64_t fraction(const char **at, const char *end)
{
    int64_t ns = 0, unit = second_ns / 10;
    if (!skip(at, end, ".,")) return 0;
    for (; *at < end && **at >= '0' && **at <= '9'; *at += 1, unit /= 10) ns += (**at - '0') * unit;
    return ns;
}

/* "Z", "+01:00", "+0100"; nothing is UTC. */
static int offset_of(const char **at, const char *end, int64_t *seconds)
{
    unsigned h, m = 0;
    *seconds = 0;
    if (*at == end || skip(at, end, "Zz")) return *at == end;
    int sign = **at == '-' ? -1 : 1;
    if (!skip(at, end, "+-") || !number_of(at, end, 2, &h)) return 0;
    skip(at, end, ":");
    if (*at < end && !number_of(at, end, 2, &m)) return 0;
    *seconds = sign * (int64_t)(h * 3600 + m * 60);
    return *at == end && h < 24 && m < 60;
}

static int read_rfc3339(const char *at, size_t len, int64_t *at_ns)
{
    const char *end = at + len;
    unsigned y, mo, d, h, mi, s = 0;
    int64_t ns, offset;
    if (!number_of(&at, end, 4, &y) || !skip(&at, end, "-") || !number_of(&at, end, 2, &mo) ||
        !skip(&at, end, "-") || !number_of(&at, end, 2, &d) || !skip(&at, end, "Tt ") ||
        !number_of(&at, end, 2, &h) || !skip(&at, end, ":") || !number_of(&at, end, 2, &mi))
        return 0;
    if (skip(&at, end, ":") && !number_of(&at, end, 2, &s)) return 0;
    ns = fraction(&at, end);
    if (!offset_of(&at, end, &offset)) return 0;
    if (mo < 1 || mo > 12 || d < 1 || d > 31 || h > 24 || mi > 59 || s > 60 || y > 2261 || y < 1678)
        return 0;
    *at_ns = (days_of(y, mo, d) * DAY_S + h * 3600 + mi * 60 + s - offset) * second_ns + ns;
    return 1;
}

static int read_pattern(const char *text, const char *pattern, struct tm *tm, int64_t *at_ns)
{
    const char *rest = strptime(text, pattern, tm);
    if (!rest || *rest) return 0;
    long offset = tm->tm_gmtoff;
    int64_t at = (int64_t)timegm(tm) - offset;
    if (at > MW_TIME_MOST / second_ns || at < -MW_TIME_MOST / second_ns) return 0;
    *at_ns = at * second_ns;
    return 1;
}

/* Without a year: that of now, or the one before where that would be long after now. */
static int read_syslog(const char *text, int64_t now_ns, int64_t *at_ns)
{
    time_t now = (time_t)(now_ns / second_ns);
    struct tm tm, parsed = {0};
    gmtime_r(&now, &tm);
    for (int back = 0; back < 2; back++) {
        parsed = (struct tm){.tm_year = tm.tm_year - back};
        if (!read_pattern(text, "%b %d %H:%M:%S", &parsed, at_ns)) return 0;
        if (*at_ns - now_ns < HALF_YEAR_S * second_ns) return 1;
    }
    return 1;
}

static int scale(double n, mw_time_kind kind, int64_t *at_ns)
{
    static const double units[] = {
        [MW_TIME_S] = 1e9, [MW_TIME_MS] = 1e6, [MW_TIME_US] = 1e3, [MW_TIME_NS] = 1};
    if (kind == MW_TIME_AUTO) {
        double size = fabs(n);
        kind = size < 1e11   ? MW_TIME_S
               : size < 1e14 ? MW_TIME_MS
               : size < 1e17 ? MW_TIME_US
                             : MW_TIME_NS;
    }
    double unit = units[kind];
    if (!(fabs(n) * unit < 9.2e18)) return 0;
    double whole = floor(n);
    *at_ns = (int64_t)whole * (int64_t)unit + (int64_t)((n - whole) * unit + 0.5);
    return 1;
}

/* A whole number that a double may not hold. */
static int scale_digits(const char *text, mw_time_kind kind, int64_t *at_ns)
{
    char *end;
    double n = strtod(text, &end);
    if (end == text || *end) return 0;
    if (strspn(text, "-0123456789") == strlen(text) &&
        (kind == MW_TIME_NS || (kind == MW_TIME_AUTO && fabs(n) >= 1e17))) {
        if (fabs(n) >= 9.2e18) return 0;
        *at_ns = strtoll(text, NULL, 10);
        return 1;
    }
    return scale(n, kind, at_ns);
}

static int is_number_kind(mw_time_kind kind)
{
    return kind <= MW_TIME_NS;
}

static int read_any(const mw_time_format *f, const mw_value *v, int64_t now_ns, int64_t *at_ns)
{
    char text[TEXT_MAX + 1];
    if (v->kind == MW_NUMBER) return is_number_kind(f->kind) && scale(v->number, f->kind, at_ns);
    if (v->kind != MW_STRING && v->kind != MW_INTEGER) return 0;
    if (v->len > TEXT_MAX) return 0;
    if (v->kind == MW_STRING && (f->kind == MW_TIME_RFC3339 || f->kind == MW_TIME_AUTO) &&
        read_rfc3339(v->text, v->len, at_ns))
        return 1;
    memcpy(text, v->text, v->len);
    text[v->len] = 0;
    if (is_number_kind(f->kind)) return scale_digits(text, f->kind, at_ns);
    if (f->kind == MW_TIME_SYSLOG) return read_syslog(text, now_ns, at_ns);
    struct tm tm = {.tm_year = 70, .tm_mday = 1};
    return f->kind == MW_TIME_PATTERN && read_pattern(text, f->pattern, &tm, at_ns);
}

int mw_time_read(const mw_time_format *f, const mw_value *v, int64_t now_ns, int64_t *at_ns)
{
    return read_any(f, v, now_ns, at_ns) && *at_ns <= MW_TIME_MOST && *at_ns >= -MW_TIME_MOST;
}
