/* http_request.c: see http_request.h. */
#include "net/http_request.h"

#include <http_parser.h>
#include <string.h>
#include <strings.h>

const char *mw_http_reason(int status)
{
    switch (status) {
#define REASON(number, name, text)                                                                 \
    case number:                                                                                   \
        return #text;
        HTTP_STATUS_MAP(REASON)
#undef REASON
    default:
        return "Unknown";
    }
}

void mw_http_append_text(mw_http_request *r, mw_http_text *t, const char *bytes, size_t len)
{
    if (t->len == 0) t->at = (uint32_t)r->head.len;
    mw_buffer_append(&r->head, bytes, len);
    t->len += (uint32_t)len;
}

int mw_http_header_is(const mw_http_request *r, const char *name, const char *value)
{
    for (uint32_t i = 0; i < r->header_count; i++) {
        mw_http_text n = r->headers[i].name, v = r->headers[i].value;
        if (n.len == strlen(name) && strncasecmp(r->head.bytes + n.at, name, n.len) == 0)
            return v.len == strlen(value) && strncasecmp(r->head.bytes + v.at, value, v.len) == 0;
    }
    return 0;
}

int mw_http_has_header(const mw_http_request *r, const char *name)
{
    for (uint32_t i = 0; i < r->header_count; i++)
        if (r->headers[i].name.len == strlen(name) &&
            strncasecmp(r->head.bytes + r->headers[i].name.at, name, r->headers[i].name.len) == 0)
            return 1;
    return 0;
}

void mw_http_find_path(mw_http_request *r)
{
    const char *url = r->head.bytes + r->url.at;
    const char *mark = memchr(url, '?', r->url.len);
    r->path = r->url;
    if (!mark) return;
    r->path.len = (uint32_t)(mark - url);
    r->query = (mw_http_text){r->url.at + r->path.len + 1, r->url.len - r->path.len - 1};
}
