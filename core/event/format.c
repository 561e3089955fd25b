/* format.c: the table of formats, and what those of lines share. */
#include "event/format.h"

#include <stdlib.h>
#include <string.h>

static const mw_format *const formats[] = {&mw_format_ndjson, &mw_format_lines,
                                           &mw_format_csv,    &mw_format_json,
                                           &mw_format_syslog, &mw_format_length_prefixed};

const mw_format *mw_format_find(const char *name)
{
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
        if (strcmp(formats[i]->name, name) == 0) return formats[i];
    return NULL;
}

const char *mw_format_name(size_t n)
{
    return n < sizeof formats / sizeof *formats ? formats[n]->name : NULL;
}

void mw_stream_init(mw_stream *s, const mw_format *format, mw_config *config, size_t limit)
{
    *s = (mw_stream){.format = format, .config = config, .limit = limit, .octet_counted = -1};
}

void mw_stream_restart(mw_stream *s)
{
    free(s->header);
    s->header = NULL, s->header_len = 0, s->header_seen = 0, s->octet_counted = -1;
}

void mw_stream_close(mw_stream *s)
{
    mw_stream_restart(s);
}

mw_status mw_format_line_boundary(mw_stream *s, const char *text, size_t len, int final,
                                  size_t *whole, mw_error *error)
{
    const char *last = len ? memrchr(text, '\n', len) : NULL;
    *whole = last ? (size_t)(last - text) + 1 : 0;
    if (len - *whole > s->limit)
        return mw_fail(error, MW_LIMIT,
                       "a line of more than %zu bytes (raise `limit` if it is meant)", s->limit);
    if (final) *whole = len;
    return MW_OK;
}
