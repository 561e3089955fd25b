/* resp.c: see resp.h. */
#include "base/resp.h"

#include <stdarg.h>
#include <string.h>

void mw_resp_begin(mw_buffer *command, uint32_t arguments)
{
    command->len = 0;
    mw_buffer_append(command, "*", 1);
    mw_buffer_number(command, arguments);
    mw_buffer_append(command, "\r\n", 2);
}

void mw_resp_argument(mw_buffer *command, const char *bytes, size_t len)
{
    mw_buffer_append(command, "$", 1);
    mw_buffer_number(command, len);
    mw_buffer_append(command, "\r\n", 2);
    mw_buffer_append(command, bytes, len);
    mw_buffer_append(command, "\r\n", 2);
}

void mw_resp_text(mw_buffer *command, const char *text)
{
    mw_resp_argument(command, text, strlen(text));
}

void mw_resp_command(mw_buffer *command, const char *name, ...)
{
    va_list texts;
    uint32_t count = 1;
    va_start(texts, name);
    while (va_arg(texts, const char *)) count++;
    va_end(texts);
    mw_resp_begin(command, count);
    mw_resp_text(command, name);
    va_start(texts, name);
    for (const char *text; (text = va_arg(texts, const char *));) mw_resp_text(command, text);
    va_end(texts);
}
