/* router.c: see router.h. */
#include "cli/router.h"
#include "event/json.h"

#include <curl/curl.h>
#include <string.h>

static size_t on_bytes(char *bytes, size_t size, size_t count, void *self)
{
    mw_buffer_append(self, bytes, size * count);
    return size * count;
}

mw_status mw_router_ask(const char *address, const char *path, const mw_buffer *body,
                        mw_buffer *answer, long *status, mw_error *error)
{
    mw_buffer url = {0};
    char why[CURL_ERROR_SIZE] = "";
    const char *host = address[0] == ':' ? "127.0.0.1" : "";
    mw_buffer_format(&url, "http://%s%s%s", host, address, path);
    CURL *curl = curl_easy_init();
    mw_assert(curl != NULL);
    curl_easy_setopt(curl, CURLOPT_URL, url.bytes);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http");
    curl_easy_setopt(curl, CURLOPT_PROXY, "");
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, why);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT, 120L);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_bytes);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, answer);
    if (body) {
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body->len);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body->bytes ? body->bytes : "");
    }
    CURLcode code = curl_easy_perform(curl);
    if (code == CURLE_OK) curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, status);
    curl_easy_cleanup(curl);
    mw_buffer_close(&url);
    if (code != CURLE_OK)
        return mw_fail(error, MW_IO,
                       "no router answers at %s: %s (it listens there when run with --admin %s)",
                       address, why[0] ? why : curl_easy_strerror(code), address);
    mw_buffer_reserve(answer, MW_JSON_PADDING);
    memset(answer->bytes + answer->len, 0, MW_JSON_PADDING);
    return MW_OK;
}
