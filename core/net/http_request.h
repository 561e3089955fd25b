/* http_request.h: the texts of a request's head, for the server that reads it. Thread: its loop's.
 */
#ifndef MW_HTTP_REQUEST_H
#define MW_HTTP_REQUEST_H

#include "net/http_server.h"

/* Adds bytes to a text that is the last one in the head, or begins it. */
void mw_http_append_text(mw_http_request *r, mw_http_text *t, const char *bytes, size_t len);
/* Whether there is a header, without regard to case; and one of this value. */
int mw_http_has_header(const mw_http_request *r, const char *name);
int mw_http_header_is(const mw_http_request *r, const char *name, const char *value);
/* Finds path and query in the url. */
void mw_http_find_path(mw_http_request *r);

#endif
