/* format.h: how bytes become events, and events bytes.
 *
 * A format reads in two steps. `boundary` runs where the bytes arrive, in order, and says how much
 * of them is whole frames (the rest is kept for later). `split` runs wherever the batch is worked
 * on and makes the views. It writes one event at a time. Each is one file, format_NAME.c, with one
 * mw_format. */
#ifndef MW_FORMAT_H
#define MW_FORMAT_H

#include "base/buffer.h"
#include "event/batch.h"
#include "event/config.h"

typedef struct mw_format mw_format;

/* One stream of bytes (a file, a connection) in one format: what its frames have in common. */
struct mw_stream {
    const mw_format *format;
    mw_config *config; /* the source's options; borrowed */
    size_t limit;      /* largest frame in bytes */
    int header_seen;
    char *header; /* csv: the names, as a list of JSON keys `"a":`, each ended by a NUL; owned */
    size_t header_len;
    int octet_counted; /* syslog: -1 not known yet, 0 newline, 1 octet-counted */
};

struct mw_format {
    const char *name;
    int json;        /* frames are JSON documents as they stand */
    int raw_is_line; /* what came in this format is written as it came, and a line break */
    /* How many bytes of text are whole frames. `final`: nothing follows, so that an unfinished last
     * frame is a frame. MW_LIMIT: the frame that begins at *whole is larger than the stream's
     * limit. MW_INVALID: it is not a frame; the stream cannot go on. */
    mw_status (*boundary)(mw_stream *s, const char *text, size_t len, int final, size_t *whole,
                          mw_error *error);
    /* Makes the events of batch->block[0 .. len). */
    void (*split)(mw_batch *b);
    /* Appends one event; `raw` is what it came in when that was in this same format and nothing was
     * changed, else NULL. */
    void (*write)(mw_buffer *out, mw_config *config, const char *text, size_t len, const char *raw,
                  size_t raw_len);
    const char *content_type;
};

/* NULL when unknown. */
const mw_format *mw_format_find(const char *name);
/* The n-th name, NULL past the end. */
const char *mw_format_name(size_t n);

void mw_stream_init(mw_stream *s, const mw_format *format, mw_config *config, size_t limit);
void mw_stream_close(mw_stream *s);
/* Forgets what the stream's beginning taught (a csv header): the bytes that follow begin anew. */
void mw_stream_restart(mw_stream *s);

/* boundary for formats of lines. */
mw_status mw_format_line_boundary(mw_stream *s, const char *text, size_t len, int final,
                                  size_t *whole, mw_error *error);

extern const mw_format mw_format_ndjson, mw_format_lines, mw_format_csv, mw_format_length_prefixed,
    mw_format_syslog, mw_format_json;

#endif
