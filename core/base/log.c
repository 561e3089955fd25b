/* log.c: see log.h. */
#include "base/log.h"
#include "base/clock.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static struct {
    int json;
    mw_log_level least;
} sink = {.json = 1, .least = MW_INFO};

void mw_log_open(int json, mw_log_level least)
{
    sink.json = json;
    sink.least = least;
}

/* Escapes into JSON; what is not UTF-8 was made by us and is not worth more than a '?'. */
static size_t escape(char *out, size_t room, const char *text)
{
    size_t n = 0;
    for (const unsigned char *p = (const unsigned char *)text; *p && n + 8 < room; p++) {
        if (*p == '"' || *p == '\\') out[n++] = '\\', out[n++] = (char)*p;
        else if (*p == '\n')
            out[n++] = '\\', out[n++] = 'n';
        else if (*p < 0x20)
            n += (size_t)snprintf(out + n, room - n, "\\u%04x", *p);
        else
            out[n++] = (char)*p;
    }
    return n;
}

void mw_log(mw_log_level level, const char *where, const char *format, ...)
{
    static const char *const names[] = {"debug", "info", "warn", "error"};
    if (level < sink.least) return;
    char message[2000], line[5000], stamp[MW_STAMP_BYTES];
    size_t n;
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    mw_clock_stamp(mw_clock_wall_ns(), stamp);
    if (sink.json) {
        n = (size_t)snprintf(line, sizeof line, "{\"time\":\"%s\",\"level\":\"%s\",\"where\":\"",
                             stamp, names[level]);
        n += escape(line + n, 300, where);
        n += (size_t)snprintf(line + n, sizeof line - n, "\",\"message\":\"");
        n += escape(line + n, sizeof line - n - 8, message);
        n += (size_t)snprintf(line + n, sizeof line - n, "\"}\n");
    } else {
        n = (size_t)snprintf(line, sizeof line, "%s %-5s %s: %s\n", stamp + 11, names[level], where,
                             message);
        if (n >= sizeof line) n = sizeof line - 1, line[n - 1] = '\n';
    }
    ssize_t ignored = write(STDERR_FILENO, line, n);
    (void)ignored; /* a log that cannot be written has nobody left to tell */
}
