/* resp.c: see resp.h. */
#include "base/resp.h"

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
