/* resp.h: commands as Redis reads them: begin with the number of arguments, then each of them.
 * Source: redis.io, "Redis serialization protocol specification". Any thread. */
#ifndef MW_RESP_H
#define MW_RESP_H

#include "base/buffer.h"

/* A whole command of texts; the last argument is NULL. Empties the buffer first. */
void mw_resp_command(mw_buffer *command, const char *name, ...) __attribute__((sentinel));
/* Empties the buffer first. */
void mw_resp_begin(mw_buffer *command, uint32_t arguments);
void mw_resp_argument(mw_buffer *command, const char *bytes, size_t len);
void mw_resp_text(mw_buffer *command, const char *text);

#endif
