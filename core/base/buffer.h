/* buffer.h: bytes that grow at the end.
 *
 * The one way in which text and frames are put together off the hot path. A buffer owns its memory;
 * `bytes` may move with every append. Memory that cannot be had ends the process (see arena.h).
 * Thread: one at a time. */
#ifndef MW_BUFFER_H
#define MW_BUFFER_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct mw_buffer {
    char *bytes;
    size_t len, room;
} mw_buffer;

void mw_buffer_close(mw_buffer *b);
/* Makes room for `more` bytes past the end and returns where they go; the caller then adds to len.
 */
char *mw_buffer_grow(mw_buffer *b, size_t more);
static inline char *mw_buffer_reserve(mw_buffer *b, size_t more)
{
    return b->room - b->len >= more && b->bytes ? b->bytes + b->len : mw_buffer_grow(b, more);
}
static inline void mw_buffer_append(mw_buffer *b, const void *bytes, size_t len)
{
    if (!len) return;
    memcpy(mw_buffer_reserve(b, len), bytes, len);
    b->len += len;
}
void mw_buffer_text(mw_buffer *b, const char *text);
/* A whole number in decimal. */
void mw_buffer_number(mw_buffer *b, uint64_t number);
void mw_buffer_format(mw_buffer *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Drops the first `len` bytes. */
void mw_buffer_consume(mw_buffer *b, size_t len);

#endif
