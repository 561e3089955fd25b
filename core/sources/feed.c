/* feed.c: see feed.h. */
#include "sources/feed.h"
#include "event/json.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

enum { BLOCK = 65536, ROOM_MIN = 4096 };

void mw_feed_init(mw_feed *f, mw_source *s)
{
    *f = (mw_feed){.source = s};
    mw_stream_init(&f->stream, s->format, s->config, s->limit);
}

void mw_feed_close(mw_feed *f)
{
    if (f->batch) mw_source_untake(f->source, f->batch);
    f->batch = NULL;
    mw_stream_close(&f->stream);
}

char *mw_feed_room(mw_feed *f, size_t *room)
{
    if (!f->batch) f->batch = mw_source_take(f->source, BLOCK);
    mw_batch *b = f->batch;
    if (b->room - b->len < ROOM_MIN) mw_batch_reserve(b, b->room * 2);
    *room = b->room - b->len;
    return b->block + b->len;
}

static void write_meta(const mw_batch *b, const mw_event *e, int kept, mw_buffer *out)
{
    (void)e, (void)kept;
    mw_buffer_text(out, b->meta);
}

static void give(mw_feed *f, size_t whole)
{
    mw_batch *b = f->batch;
    size_t rest = b->len - whole;
    f->batch = NULL;
    if (rest) {
        size_t room = rest + ROOM_MIN > BLOCK ? rest * 2 : BLOCK;
        f->batch = mw_source_take(f->source, room);
        memcpy(f->batch->block, b->block + whole, rest);
        f->batch->len = rest;
    }
    b->len = whole;
    b->stream = &f->stream, b->request = f->request;
    b->first = f->position == 0;
    b->position = f->position, b->end_position = f->position + whole;
    if (f->meta)
        b->meta = mw_arena_copy(&b->arena, f->meta, strlen(f->meta) + 1),
        b->write_meta = write_meta;
    f->position += whole;
    f->in_flight++;
    mw_source_give(f->source, b, NULL);
}

static void reject(mw_feed *f, uint64_t position, const char *bytes, size_t len, const char *why)
{
    f->in_flight++;
    mw_source_reject(f->source, NULL, &f->stream, position, position + len, bytes, len, why);
}

static void drop(mw_feed *f, size_t n)
{
    mw_batch *b = f->batch;
    memmove(b->block, b->block + n, b->len - n);
    b->len -= n;
    f->position += n;
}

/* Inside a frame that is too large. */
static void pass_oversize(mw_feed *f, int final)
{
    uint32_t given;
    mw_batch *b = f->batch;
    size_t n = mw_oversize_pass(&f->oversize, f->source, NULL, &f->stream, f->position, b->block,
                                b->len, final, &given);
    f->in_flight += given;
    drop(f, n);
}

static mw_status cut(mw_feed *f, int final, mw_error *error)
{
    size_t whole = 0;
    if (f->oversize.inside) pass_oversize(f, final);
    if (f->oversize.inside || !f->batch || f->batch->len == 0) return MW_OK;
    mw_batch *b = f->batch;
    memset(b->block + b->len, 0, MW_JSON_PADDING);
    mw_status status =
        f->stream.format->boundary(&f->stream, b->block, b->len, final, &whole, error);
    if (whole) give(f, whole);
    if (status == MW_LIMIT) {
        mw_oversize_begin(&f->oversize, f->position);
        pass_oversize(f, final);
        return MW_OK;
    }
    if (status != MW_OK && f->batch) {
        reject(f, f->position, f->batch->block, f->batch->len, error->message);
        drop(f, f->batch->len);
    }
    return status;
}

mw_status mw_feed_got(mw_feed *f, size_t n, mw_error *error)
{
    f->batch->len += n;
    mw_source_read(f->source, n);
    return cut(f, 0, error);
}

void mw_feed_end(mw_feed *f)
{
    mw_error error;
    if (f->batch && (f->batch->len || f->oversize.inside)) cut(f, 1, &error);
}

void mw_feed_cut_off(mw_feed *f, const char *why)
{
    if (!f->batch) return;
    if (f->oversize.inside) pass_oversize(f, 1);
    if (f->batch->len == 0) return;
    reject(f, f->position, f->batch->block, f->batch->len, why);
    drop(f, f->batch->len);
}

void mw_feed_change(mw_feed *f)
{
    f->stream.config = f->source->config, f->stream.limit = f->source->limit;
}

mw_feed *mw_feed_acknowledge(mw_batch *b)
{
    mw_feed *f = (mw_feed *)((char *)b->stream - offsetof(mw_feed, stream));
    f->in_flight--;
    return f;
}
