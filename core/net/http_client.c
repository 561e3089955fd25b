/* http_client.c: see http_client.h. */
#include "net/http_client.h"
#include "base/status.h"

#include <curl/curl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

typedef struct call {
    struct call *next, *previous;
    mw_http_client *client;
    CURL *easy;
    struct curl_slist *headers;
    mw_http_call what;
    char error[CURL_ERROR_SIZE];
} call;

struct mw_http_client {
    uv_loop_t *loop;
    CURLM *multi;
    uv_timer_t timer;
    call *calls;
    int closing;
};

typedef struct watch {
    uv_poll_t poll;
    mw_http_client *client;
    curl_socket_t fd;
} watch;

static pthread_once_t curl_once = PTHREAD_ONCE_INIT;

static void init_curl(void)
{
    curl_global_init(CURL_GLOBAL_ALL);
}

static void free_call(call *c)
{
    if (c->previous) c->previous->next = c->next;
    else
        c->client->calls = c->next;
    if (c->next) c->next->previous = c->previous;
    curl_multi_remove_handle(c->client->multi, c->easy);
    curl_easy_cleanup(c->easy);
    curl_slist_free_all(c->headers);
    free(c);
}

static void collect(mw_http_client *client)
{
    CURLMsg *m;
    int left;
    while ((m = curl_multi_info_read(client->multi, &left))) {
        if (m->msg != CURLMSG_DONE) continue;
        call *c;
        long status = 0;
        curl_off_t after = 0;
        CURLcode code = m->data.result;
        curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &c);
        curl_easy_getinfo(m->easy_handle, CURLINFO_RESPONSE_CODE, &status);
        curl_easy_getinfo(m->easy_handle, CURLINFO_RETRY_AFTER, &after);
        char why[CURL_ERROR_SIZE];
        memcpy(why, c->error, sizeof why);
        if (!why[0]) strncpy(why, curl_easy_strerror(code), sizeof why - 1);
        mw_http_call what = c->what;
        free_call(c);
        what.done(what.owner, code == CURLE_OK ? (int)status : 0, why,
                  after > 0 ? (int64_t)after * 1000 : -1);
    }
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    watch *w = poll->data;
    int flags = (events & UV_READABLE ? CURL_CSELECT_IN : 0) |
                (events & UV_WRITABLE ? CURL_CSELECT_OUT : 0),
        running;
    mw_http_client *client = w->client;
    if (status < 0) flags = CURL_CSELECT_ERR;
    curl_multi_socket_action(client->multi, w->fd, flags, &running);
    collect(client);
}

static void on_watch_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static int on_socket(CURL *easy, curl_socket_t fd, int action, void *user, void *data)
{
    mw_http_client *client = user;
    watch *w = data;
    (void)easy;
    if (action == CURL_POLL_REMOVE) {
        if (!w) return 0;
        curl_multi_assign(client->multi, fd, NULL);
        uv_poll_stop(&w->poll);
        uv_close((uv_handle_t *)&w->poll, on_watch_closed);
        return 0;
    }
    if (!w) {
        w = calloc(1, sizeof *w);
        mw_assert(w != NULL);
        w->client = client, w->fd = fd;
        uv_poll_init_socket(client->loop, &w->poll, fd);
        w->poll.data = w;
        curl_multi_assign(client->multi, fd, w);
    }
    int events =
        (action & CURL_POLL_IN ? UV_READABLE : 0) | (action & CURL_POLL_OUT ? UV_WRITABLE : 0);
    uv_poll_start(&w->poll, events, on_poll);
    return 0;
}

static void on_timer(uv_timer_t *timer)
{
    mw_http_client *client = timer->data;
    int running;
    curl_multi_socket_action(client->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    collect(client);
}

static int on_timeout(CURLM *multi, long ms, void *user)
{
    mw_http_client *client = user;
    (void)multi;
    if (client->closing) return 0;
    if (ms < 0) uv_timer_stop(&client->timer);
    else
        uv_timer_start(&client->timer, on_timer, (uint64_t)ms, 0);
    return 0;
}

mw_http_client *mw_http_client_new(uv_loop_t *loop)
{
    pthread_once(&curl_once, init_curl);
    mw_http_client *client = calloc(1, sizeof *client);
    mw_assert(client != NULL && (client->multi = curl_multi_init()) != NULL);
    client->loop = loop;
    uv_timer_init(loop, &client->timer);
    client->timer.data = client;
    curl_multi_setopt(client->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(client->multi, CURLMOPT_SOCKETDATA, client);
    curl_multi_setopt(client->multi, CURLMOPT_TIMERFUNCTION, on_timeout);
    curl_multi_setopt(client->multi, CURLMOPT_TIMERDATA, client);
    return client;
}

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void mw_http_client_close(mw_http_client *client)
{
    client->closing = 1;
    while (client->calls) free_call(client->calls);
    curl_multi_cleanup(client->multi);
    uv_close((uv_handle_t *)&client->timer, on_closed);
}

static size_t drop_body(char *bytes, size_t size, size_t count, void *user)
{
    (void)bytes, (void)user;
    return size * count;
}

void mw_http_client_call(mw_http_client *client, const mw_http_call *what)
{
    call *c = calloc(1, sizeof *c);
    mw_assert(c != NULL && (c->easy = curl_easy_init()) != NULL);
    c->client = client, c->what = *what;
    c->next = client->calls;
    if (c->next) c->next->previous = c;
    client->calls = c;
    for (const char *const *h = what->headers; *h; h++)
        c->headers = curl_slist_append(c->headers, *h);
    c->headers = curl_slist_append(c->headers, "Expect:");
    curl_easy_setopt(c->easy, CURLOPT_URL, what->url);
    curl_easy_setopt(c->easy, CURLOPT_POSTFIELDS, what->body);
    curl_easy_setopt(c->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)what->len);
    curl_easy_setopt(c->easy, CURLOPT_CUSTOMREQUEST, what->method);
    curl_easy_setopt(c->easy, CURLOPT_HTTPHEADER, c->headers);
    curl_easy_setopt(c->easy, CURLOPT_WRITEFUNCTION, drop_body);
    curl_easy_setopt(c->easy, CURLOPT_TIMEOUT_MS, (long)what->timeout_ms);
    curl_easy_setopt(c->easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c->easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(c->easy, CURLOPT_ERRORBUFFER, c->error);
    curl_easy_setopt(c->easy, CURLOPT_PRIVATE, c);
    curl_easy_setopt(c->easy, CURLOPT_USERAGENT, "moonweir/" MW_VERSION);
    curl_multi_add_handle(client->multi, c->easy);
}
