/* buffer.c: see buffer.h. */
#include "base/buffer.h"
#include "base/status.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void mw_buffer_close(mw_buffer *b)
{
    free(b->bytes);
    *b = (mw_buffer){0};
}

char *mw_buffer_grow(mw_buffer *b, size_t more)
{
    size_t room = b->room ? b->room : 256;
    while (room - b->len < more) room *= 2;
    b->bytes = realloc(b->bytes, room);
    mw_assert(b->bytes != NULL);
    b->room = room;
    return b->bytes + b->len;
}

void mw_buffer_text(mw_buffer *b, const char *text)
{
    mw_buffer_append(b, text, strlen(text));
}

void mw_buffer_number(mw_buffer *b, uint64_t number)
{
    char digits[20];
    size_t at = sizeof digits;
    do digits[--at] = (char)('0' + number % 10), number /= 10;
    while (number);
    mw_buffer_append(b, digits + at, sizeof digits - at);
}

void mw_buffer_format(mw_buffer *b, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int need = vsnprintf(NULL, 0, format, args);
    va_end(args);
    va_start(args, format);
    vsnprintf(mw_buffer_reserve(b, (size_t)need + 1), (size_t)need + 1, format, args);
    va_end(args);
    b->len += (size_t)need;
}

void mw_buffer_consume(mw_buffer *b, size_t len)
{
    b->len -= len;
    memmove(b->bytes, b->bytes + len, b->len);
}
