/* outbox.h: lists on their way out through a libuv stream (standard output, a connection).
 *
 * Lists are rendered into a buffer; a flush hands it to the stream, at once where the stream takes
 * it; lists are answered when the stream has taken all their bytes. When the stream breaks, what
 * was not answered is rendered again for the next one: at least once. Thread: its sink's shard. */
#ifndef MW_OUTBOX_H
#define MW_OUTBOX_H

#include "base/buffer.h"

#include <moonweir/plugin.h>

typedef struct mw_lists {
    mw_list *first;
    mw_list **end;
} mw_lists;

typedef struct mw_outbox {
    mw_sink *sink;
    mw_buffer text; /* of `waiting` */
    mw_lists waiting;
    mw_buffer sending; /* of `sent` */
    mw_lists sent;
    uv_stream_t *stream; /* borrowed; NULL while there is none */
    uv_write_t request;
    void (*broken)(void *owner, int status);
    void *owner;
} mw_outbox;

void mw_outbox_init(mw_outbox *o, mw_sink *k, void (*broken)(void *owner, int status), void *owner);
void mw_outbox_close(mw_outbox *o);
void mw_outbox_add(mw_outbox *o, mw_list *l);
/* Hands over what there is, if there is a stream and it is not busy. */
void mw_outbox_flush(mw_outbox *o);
/* There is a stream (again), or none any more. */
void mw_outbox_connect(mw_outbox *o, uv_stream_t *stream);

#endif
