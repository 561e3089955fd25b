/* router.h: a running router, spoken to over its admin address. */
#ifndef MW_CLI_ROUTER_H
#define MW_CLI_ROUTER_H

#include "base/buffer.h"
#include "base/status.h"

/* Asks `address` (HOST:PORT, or :PORT) for a path; `body` NULL: by GET, else it is posted. What
 * comes is appended to `answer`, which is padded as JSON wants it. MW_IO: there is no answer. */
mw_status mw_router_ask(const char *address, const char *path, const mw_buffer *body,
                        mw_buffer *answer, long *status, mw_error *error);

#endif
