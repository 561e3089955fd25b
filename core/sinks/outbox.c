/* outbox.c: see outbox.h. */
#include "sinks/outbox.h"

#include <string.h>

enum { KEEP_BYTES = 1 << 20 };

static void lists_init(mw_lists *q)
{
    q->first = NULL, q->end = &q->first;
}

static void lists_append(mw_lists *q, mw_list *l)
{
    l->next = NULL;
    *q->end = l;
    q->end = &l->next;
}

/* Moves all of `from` behind those of `to`. */
static void lists_move(mw_lists *to, mw_lists *from)
{
    if (!from->first) return;
    *to->end = from->first;
    to->end = from->end;
    lists_init(from);
}

void mw_outbox_init(mw_outbox *o, mw_sink *k, void (*broken)(void *owner, int status), void *owner)
{
    *o = (mw_outbox){.sink = k, .broken = broken, .owner = owner};
    lists_init(&o->waiting);
    lists_init(&o->sent);
}

void mw_outbox_close(mw_outbox *o)
{
    mw_buffer_close(&o->text);
    mw_buffer_close(&o->sending);
}

static void render(mw_outbox *o, const mw_list *l)
{
    for (uint32_t i = 0; i < l->count;) i += mw_sink_render_some(o->sink, l, i, &o->text);
}

void mw_outbox_add(mw_outbox *o, mw_list *l)
{
    if (o->stream) render(o, l); /* else when there is one */
    lists_append(&o->waiting, l);
}

static void answer(mw_outbox *o, mw_lists *q)
{
    mw_list *l = q->first;
    lists_init(q);
    while (l) {
        mw_list *next = l->next;
        mw_sink_done(o->sink, l);
        l = next;
    }
}

static void on_written(uv_write_t *request, int status)
{
    mw_outbox *o = request->data;
    if (!o->sent.first) return; /* of a stream that was given up */
    if (status != 0) {
        if (status != UV_ECANCELED) o->broken(o->owner, status);
        return;
    }
    mw_sink_wrote(o->sink, o->sending.len);
    if (o->sending.room > KEEP_BYTES) mw_buffer_close(&o->sending);
    o->sending.len = 0;
    answer(o, &o->sent);
    mw_outbox_flush(o);
}

void mw_outbox_flush(mw_outbox *o)
{
    if (!o->stream || o->sent.first || !o->waiting.first) return;
    uv_buf_t buf = uv_buf_init(o->text.bytes, (unsigned)o->text.len);
    int n = o->text.len ? uv_try_write(o->stream, &buf, 1) : 0;
    if (n < 0 && n != UV_EAGAIN) {
        o->broken(o->owner, n);
        return;
    }
    if (n == (int)o->text.len) {
        mw_sink_wrote(o->sink, o->text.len);
        o->text.len = 0;
        answer(o, &o->waiting);
        return;
    }
    if (n < 0) n = 0;
    mw_buffer swap = o->sending;
    o->sending = o->text, o->text = swap;
    o->text.len = 0;
    lists_move(&o->sent, &o->waiting);
    buf = uv_buf_init(o->sending.bytes + n, (unsigned)(o->sending.len - (size_t)n));
    o->request.data = o;
    n = uv_write(&o->request, o->stream, &buf, 1, on_written);
    if (n != 0) o->broken(o->owner, n);
}

void mw_outbox_connect(mw_outbox *o, uv_stream_t *stream)
{
    o->stream = stream;
    if (!stream) {
        lists_move(&o->sent, &o->waiting);
        lists_move(&o->waiting, &o->sent);
        o->text.len = o->sending.len = 0;
        return;
    }
    o->text.len = 0;
    for (mw_list *l = o->waiting.first; l; l = l->next) render(o, l);
    mw_outbox_flush(o);
}
