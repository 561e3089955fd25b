/* redis_link.c: see redis_link.h. */
#include "net/redis_link.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/resp.h"
#include "net/redis.h"

#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    TICK_MS = 10,
    READ_BYTES = 64 << 10,
    FAILURES = 5,         /* in a row: the circuit opens */
    WAITING_MAX = 1 << 24 /* commands; what bounds them is what their askers have in flight */
};
static const int64_t retry_ns = 200000000, circuit_ns = 1000000000;
/* A listener that hears nothing asks whether the other side is there. */
static const int64_t silence_ns = 1000000000, dead_ns = 4000000000;

enum state { IDLE, CONNECTING, READY, CLOSING };

typedef struct request {
    struct request *next;
    mw_redis_done done; /* NULL: nobody waits any more */
    void *self;
    int64_t deadline_ns;
} request;

typedef struct queue {
    request *first, *last;
    uint32_t count;
} queue;

struct mw_redis_link {
    uv_loop_t *loop;
    char *name;
    mw_redis_url url;
    int64_t timeout_ns;
    enum state state;
    union {
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    } * socket; /* of the connection, freed when it is closed */
    uv_connect_t connect;
    uv_getaddrinfo_t look_up;
    int looking_up, connecting, writing, asks_sentinel, closed, failing;
    unsigned sentinel;
    char *master_host, *master_port;
    uv_timer_t tick;
    redisReader *reader;
    queue sent;    /* in the order of their replies */
    queue refused; /* fail in the next tick */
    request *spare;
    mw_buffer greeting, subscription;
    mw_redis_done greeted;
    void *greeter, *listener;
    mw_redis_pushed pushed;
    int rests;
    int64_t heard_ns, asked_ns; /* of a listener: when something came, when it was asked */
    mw_buffer out;
    unsigned failures;
    int64_t retry_at_ns;
    uint32_t live; /* of the sent, those that somebody waits for */
    char bytes[READ_BYTES];
};

/* ---- queues ---- */

static void push(queue *q, request *n)
{
    n->next = NULL;
    if (q->last) q->last->next = n;
    else
        q->first = n;
    q->last = n;
    q->count++;
}

static request *pop(queue *q)
{
    request *n = q->first;
    if (!n) return NULL;
    q->first = n->next;
    if (!q->first) q->last = NULL;
    q->count--;
    return n;
}

static request *new_request(mw_redis_link *r)
{
    request *n = r->spare;
    if (n) r->spare = n->next;
    else
        n = malloc(sizeof *n);
    mw_assert(n != NULL);
    return n;
}

static void spare_request(mw_redis_link *r, request *n)
{
    n->next = r->spare;
    r->spare = n;
}

static void answer(mw_redis_link *r, request *n, const redisReply *reply, const char *why)
{
    mw_redis_done done = n->done;
    n->done = NULL;
    if (!done) return;
    r->live--;
    done(n->self, reply, why);
}

static void fail_all(mw_redis_link *r, queue *q, const char *why)
{
    for (request *n; (n = pop(q)); spare_request(r, n)) answer(r, n, NULL, why);
}

/* ---- the connection's end ---- */

static void on_socket_closed(uv_handle_t *handle)
{
    free(handle);
}

static void noted(mw_redis_link *r, const char *why)
{
    if (!r->failing) mw_log(MW_WARN, r->name, "Redis: %s; trying again", why);
    r->failing = 1;
}

static void on_tick(uv_timer_t *timer);

static void keep_ticking(mw_redis_link *r)
{
    if (!r->closed && !uv_is_active((uv_handle_t *)&r->tick))
        uv_timer_start(&r->tick, on_tick, TICK_MS, TICK_MS);
}

/* What was sent may have been done or not: it fails. */
static void disconnect(mw_redis_link *r, const char *why)
{
    if (r->state == IDLE || r->state == CLOSING) return;
    r->state = IDLE;
    noted(r, why);
    r->failures++;
    r->retry_at_ns = mw_clock_steady_ns() + (r->failures >= FAILURES ? circuit_ns : retry_ns);
    if (r->looking_up) free(r->socket); /* it is no handle yet */
    else if (r->socket)
        uv_close((uv_handle_t *)r->socket, on_socket_closed);
    r->socket = NULL;
    r->asks_sentinel = 0;
    r->writing = 0;
    redisReaderFree(r->reader);
    r->reader = NULL;
    r->out.len = 0;
    queue lost = r->sent;
    r->sent = (queue){0};
    fail_all(r, &lost, why);
    if (r->closed) return;
    if (r->greeted) r->greeted(r->greeter, NULL, why);
    if (!r->pushed) return;
    r->pushed(r->listener, NULL);
    keep_ticking(r);
}

/* ---- replies ---- */

static void connect_now(mw_redis_link *r);

static void found_master(mw_redis_link *r, const redisReply *reply)
{
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2) {
        r->sentinel++;
        disconnect(r, "the Sentinel does not know the master");
        return;
    }
    free(r->master_host);
    free(r->master_port);
    r->master_host = strdup(mw_redis_text(reply->element[0]));
    r->master_port = strdup(mw_redis_text(reply->element[1]));
    uv_close((uv_handle_t *)r->socket, on_socket_closed);
    r->socket = NULL;
    r->asks_sentinel = 0;
    redisReaderFree(r->reader);
    r->reader = NULL;
    r->state = IDLE;
    connect_now(r);
}

static int begins(const redisReply *reply, const char *word)
{
    return reply->type == REDIS_REPLY_ERROR && strncmp(reply->str, word, strlen(word)) == 0;
}

/* Answers that say that this is not the server any more that it was. */
static int is_demoted(const redisReply *reply)
{
    return begins(reply, "READONLY") || begins(reply, "MASTERDOWN");
}

/* Replies to commands of a listener are none of these lists. */
static int is_message(const mw_redis_link *r, const redisReply *reply)
{
    static const char *const kinds[] = {"message",    "pmessage", "subscribe",
                                        "psubscribe", "pong",     NULL};
    if (!r->pushed || reply->type != REDIS_REPLY_ARRAY || !reply->elements) return 0;
    const redisReply *kind = reply->element[0];
    if (kind->type != REDIS_REPLY_STRING) return 0;
    for (unsigned i = 0; kinds[i]; i++)
        if (strcmp(kind->str, kinds[i]) == 0) return 1;
    return 0;
}

static int take_reply(mw_redis_link *r, const redisReply *reply)
{
    if (r->asks_sentinel) {
        found_master(r, reply);
        return 0;
    }
    if (is_message(r, reply)) {
        r->pushed(r->listener, reply);
        return r->state == READY;
    }
    request *n = pop(&r->sent);
    if (!n) {
        if (reply->type == REDIS_REPLY_ERROR) mw_log(MW_ERROR, r->name, "Redis: %s", reply->str);
        disconnect(r, "a reply came that nobody asked for");
        return 0;
    }
    int refused = !n->done && begins(reply, ""), demoted = is_demoted(reply);
    if (refused) mw_log(MW_ERROR, r->name, "Redis: %s", reply->str);
    r->failures = 0;
    if (r->failing) mw_log(MW_INFO, r->name, "Redis: answers again");
    r->failing = 0;
    answer(r, n, reply, NULL);
    spare_request(r, n);
    if (demoted) disconnect(r, "the server is no master any more");
    return r->state == READY;
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    mw_redis_link *r = stream->data;
    void *reply;
    (void)buf;
    if (n == 0) return;
    if (n < 0) {
        disconnect(r, "the connection was lost");
        return;
    }
    r->heard_ns = r->asked_ns = mw_clock_steady_ns();
    redisReaderFeed(r->reader, r->bytes, (size_t)n);
    while (r->reader) {
        if (redisReaderGetReply(r->reader, &reply) != REDIS_OK) {
            disconnect(r, "what came is no reply of Redis");
            return;
        }
        if (!reply) return;
        int go_on = take_reply(r, reply);
        freeReplyObject(reply);
        if (!go_on) return;
    }
}

static void give_room(uv_handle_t *handle, size_t size, uv_buf_t *buf)
{
    mw_redis_link *r = handle->data;
    (void)size;
    *buf = uv_buf_init(r->bytes, READ_BYTES);
}

/* ---- writing ---- */

typedef struct writer {
    uv_write_t write;
    mw_redis_link *redis;
    const void *socket;
    char bytes[];
} writer;

static void on_written(uv_write_t *write, int status)
{
    writer *w = write->data;
    mw_redis_link *r = w->redis;
    int current = status != UV_ECANCELED && (const void *)r->socket == w->socket;
    free(w);
    if (!current) return;
    r->writing = 0;
    if (status < 0) disconnect(r, uv_strerror(status));
    else
        mw_redis_link_flush(r);
}

void mw_redis_link_flush(mw_redis_link *r)
{
    if (r->state != READY || r->writing || !r->out.len) return;
    uv_buf_t buf = uv_buf_init(r->out.bytes, (unsigned)r->out.len);
    int n = uv_try_write(&r->socket->stream, &buf, 1);
    if (n == (int)r->out.len) {
        r->out.len = 0;
        return;
    }
    size_t done = n > 0 ? (size_t)n : 0, rest = r->out.len - done;
    writer *w = malloc(sizeof *w + rest);
    mw_assert(w != NULL);
    w->redis = r, w->socket = r->socket;
    w->write.data = w;
    memcpy(w->bytes, r->out.bytes + done, rest);
    r->out.len = 0;
    r->writing = 1;
    buf = uv_buf_init(w->bytes, (unsigned)rest);
    if (uv_write(&w->write, &r->socket->stream, &buf, 1, on_written) == 0) return;
    free(w);
    disconnect(r, "the connection was lost");
}

/* ---- connecting ---- */

static void send_own(mw_redis_link *r, const mw_buffer *command, mw_redis_done done, void *self)
{
    request *n = new_request(r);
    *n = (request){.done = done, .self = self, .deadline_ns = mw_clock_steady_ns() + r->timeout_ns};
    if (done) r->live++;
    push(&r->sent, n);
    mw_buffer_append(&r->out, command->bytes, command->len);
}

/* Login and database go ahead of everything: their replies come first. What was asked for while it
 * connected follows. */
static void introduce(mw_redis_link *r)
{
    queue asked = r->sent;
    mw_buffer waiting = r->out, c = {0};
    char number[16];
    r->sent = (queue){0}, r->out = (mw_buffer){0};
    if (r->url.password) {
        mw_resp_begin(&c, r->url.user ? 3 : 2);
        mw_resp_text(&c, "AUTH");
        if (r->url.user) mw_resp_text(&c, r->url.user);
        mw_resp_text(&c, r->url.password);
        send_own(r, &c, NULL, NULL);
    }
    if (r->url.database) {
        snprintf(number, sizeof number, "%d", r->url.database);
        mw_resp_command(&c, "SELECT", number, NULL);
        send_own(r, &c, NULL, NULL);
    }
    if (r->greeting.len) send_own(r, &r->greeting, r->greeted, r->greeter);
    mw_buffer_append(&r->out, r->subscription.bytes, r->subscription.len);
    for (request *n; (n = pop(&asked));) push(&r->sent, n);
    mw_buffer_append(&r->out, waiting.bytes, waiting.len);
    mw_buffer_close(&waiting);
    mw_buffer_close(&c);
}

static void ask_sentinel(mw_redis_link *r)
{
    mw_buffer c = {0};
    mw_resp_command(&c, "SENTINEL", "get-master-addr-by-name", r->url.master, NULL);
    uv_buf_t buf = uv_buf_init(c.bytes, (unsigned)c.len);
    int n = uv_try_write(&r->socket->stream, &buf, 1);
    int sent = n == (int)c.len;
    mw_buffer_close(&c);
    if (!sent) disconnect(r, "the Sentinel cannot be asked");
}

static void on_connected(uv_connect_t *connect, int status)
{
    mw_redis_link *r = connect->data;
    r->connecting = 0;
    if (r->closed || status == UV_ECANCELED || !r->socket) return;
    if (status < 0) {
        r->sentinel++;
        disconnect(r, uv_strerror(status));
        return;
    }
    r->reader = redisReaderCreate();
    mw_assert(r->reader != NULL);
    if (!r->rests || r->asks_sentinel) uv_read_start(&r->socket->stream, give_room, on_read);
    if (r->asks_sentinel) {
        ask_sentinel(r);
        return;
    }
    r->state = READY;
    r->heard_ns = r->asked_ns = mw_clock_steady_ns();
    introduce(r);
    mw_redis_link_flush(r);
}

static void on_found(uv_getaddrinfo_t *look_up, int status, struct addrinfo *found)
{
    mw_redis_link *r = look_up->data;
    r->looking_up = 0;
    if (!r->closed && r->state == CONNECTING) {
        int rc = status;
        if (rc == 0) {
            uv_tcp_init(r->loop, &r->socket->tcp);
            r->socket->stream.data = r;
            uv_tcp_nodelay(&r->socket->tcp, 1);
            r->connecting = 1;
            rc = uv_tcp_connect(&r->connect, &r->socket->tcp, found->ai_addr, on_connected);
        } else {
            free(r->socket);
            r->socket = NULL;
        }
        if (rc != 0) r->sentinel++, disconnect(r, uv_strerror(rc));
    }
    if (found) uv_freeaddrinfo(found);
}

static void connect_tcp(mw_redis_link *r, const char *host, const char *port)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    r->looking_up = 1;
    r->look_up.data = r;
    if (uv_getaddrinfo(r->loop, &r->look_up, on_found, host, port, &hints) == 0) return;
    r->looking_up = 0;
    free(r->socket);
    r->socket = NULL;
    disconnect(r, "the name cannot be looked up");
}

static void connect_now(mw_redis_link *r)
{
    if (r->state != IDLE || r->looking_up || r->connecting || r->closed) return;
    r->state = CONNECTING;
    r->socket = calloc(1, sizeof *r->socket);
    mw_assert(r->socket != NULL);
    r->connect.data = r;
    if (r->url.path) {
        uv_pipe_init(r->loop, &r->socket->pipe, 0);
        r->socket->stream.data = r;
        r->connecting = 1;
        uv_pipe_connect(&r->connect, &r->socket->pipe, r->url.path, on_connected);
    } else if (r->url.master && !r->master_host) {
        unsigned i = r->sentinel % r->url.host_count;
        r->asks_sentinel = 1;
        connect_tcp(r, r->url.hosts[i], r->url.ports[i]);
    } else if (r->url.master) {
        char *host = r->master_host, *port = r->master_port;
        r->master_host = r->master_port = NULL; /* asked for anew the next time */
        connect_tcp(r, host, port);
        free(host);
        free(port);
    } else {
        connect_tcp(r, r->url.hosts[0], r->url.ports[0]);
    }
}

/* ---- time ---- */

static void look_at_deadlines(mw_redis_link *r, int64_t now_ns)
{
    int late = 0;
    for (request *n = r->sent.first; n && n->deadline_ns <= now_ns; n = n->next)
        if (n->done) late = 1, answer(r, n, NULL, "Redis did not answer in time");
    if (late) noted(r, "no answer in time"), r->failures++;
    if (late && r->failures >= FAILURES) disconnect(r, "no answer in time");
    if (late && r->state != READY && !r->live) { /* nobody wants to have done any more what waits */
        fail_all(r, &r->sent, NULL);
        r->out.len = 0;
    }
}

/* A connection that only listens would not notice that nobody is there any more. */
static void look_at_silence(mw_redis_link *r, int64_t now_ns)
{
    static const char ping[] = "*1\r\n$4\r\nPING\r\n";
    if (r->rests) r->heard_ns = r->asked_ns = now_ns;
    if (now_ns - r->heard_ns > dead_ns) {
        disconnect(r, "nothing is heard of it any more");
    } else if (now_ns - r->asked_ns > silence_ns) {
        r->asked_ns = now_ns;
        mw_buffer_append(&r->out, ping, sizeof ping - 1);
        mw_redis_link_flush(r);
    }
}

static void on_tick(uv_timer_t *timer)
{
    mw_redis_link *r = timer->data;
    int64_t now_ns = mw_clock_steady_ns();
    queue refused = r->refused;
    r->refused = (queue){0};
    fail_all(r, &refused, "Redis does not answer (the circuit is open)");
    look_at_deadlines(r, now_ns);
    if (r->state == IDLE && now_ns >= r->retry_at_ns) connect_now(r);
    if (r->pushed && r->state == READY) look_at_silence(r, now_ns);
    if (r->state == READY && !r->sent.count && !r->refused.count && !r->pushed)
        uv_timer_stop(timer);
}

/* ---- interface ---- */

mw_redis_link *mw_redis_link_new(uv_loop_t *loop, mw_redis_url *url, const char *name,
                                 int64_t timeout_ns)
{
    mw_redis_link *r = calloc(1, sizeof *r);
    mw_assert(r != NULL);
    r->url = *url;
    *url = (mw_redis_url){0};
    r->loop = loop;
    r->name = strdup(name);
    r->timeout_ns = timeout_ns;
    uv_timer_init(loop, &r->tick);
    r->tick.data = r;
    return r;
}

static void on_closed(uv_handle_t *handle)
{
    mw_redis_link *r = handle->data;
    if (r->looking_up || r->connecting) { /* their calls come still */
        uv_timer_init(r->loop, &r->tick);
        uv_close((uv_handle_t *)&r->tick, on_closed);
        return;
    }
    mw_redis_url_close(&r->url);
    mw_buffer_close(&r->out);
    mw_buffer_close(&r->greeting);
    mw_buffer_close(&r->subscription);
    for (request *n = r->spare, *next; n; n = next) next = n->next, free(n);
    free(r->master_host);
    free(r->master_port);
    free(r->name);
    free(r);
}

void mw_redis_link_close(mw_redis_link *r)
{
    if (!r) return;
    r->failing = 1; /* nothing is to be said of it */
    r->closed = 1;
    disconnect(r, "it is closed");
    r->state = CLOSING;
    fail_all(r, &r->sent, "it is closed");
    fail_all(r, &r->refused, "it is closed");
    uv_close((uv_handle_t *)&r->tick, on_closed);
}

void mw_redis_link_greet(mw_redis_link *r, const mw_buffer *command, mw_redis_done done, void *self)
{
    r->greeting.len = 0;
    mw_buffer_append(&r->greeting, command->bytes, command->len);
    r->greeted = done, r->greeter = self;
    if (r->state != READY) return;
    send_own(r, command, done, self);
    mw_redis_link_flush(r);
}

void mw_redis_link_listen(mw_redis_link *r, const mw_buffer *subscribe, mw_redis_pushed pushed,
                          void *self)
{
    mw_buffer_append(&r->subscription, subscribe->bytes, subscribe->len);
    r->pushed = pushed, r->listener = self;
    keep_ticking(r);
    connect_now(r);
}

void mw_redis_link_rest(mw_redis_link *r, int rest)
{
    if (r->rests == rest) return;
    r->rests = rest;
    if (r->state != READY) return;
    if (rest) uv_read_stop(&r->socket->stream);
    else
        uv_read_start(&r->socket->stream, give_room, on_read);
}

void mw_redis_link_send(mw_redis_link *r, const mw_buffer *command, mw_redis_done done, void *self)
{
    request *n = new_request(r);
    int64_t now_ns = mw_clock_steady_ns();
    *n = (request){.done = done, .self = self, .deadline_ns = now_ns + r->timeout_ns};
    if (done) r->live++;
    keep_ticking(r);
    int open = r->state == IDLE && r->failures >= FAILURES && now_ns < r->retry_at_ns;
    if (open || r->sent.count >= WAITING_MAX || r->closed) {
        push(&r->refused, n);
        return;
    }
    push(&r->sent, n);
    mw_buffer_append(&r->out, command->bytes, command->len);
    if (r->state == IDLE && now_ns >= r->retry_at_ns) connect_now(r);
}
