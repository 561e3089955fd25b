/* redis_cluster.c: see redis_cluster.h. */
#include "net/redis_cluster.h"
#include "base/clock.h"
#include "base/resp.h"
#include "net/redis.h"

#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NODES = 1024, REDIRECTIONS = 8 };
static const int64_t refresh_ns = 100000000;

typedef struct node {
    char *host, *port;
    mw_redis_link *link;
} node;

/* A command on its way. */
typedef struct ask {
    mw_redis_cluster *cluster;
    mw_redis_done done;
    void *self;
    unsigned redirections;
    mw_buffer command;
} ask;

struct mw_redis_cluster {
    uv_loop_t *loop;
    mw_redis_url url;
    char *name;
    int64_t timeout_ns, refreshed_ns;
    node nodes[NODES];
    unsigned count, turn; /* turn: whom to ask next what is known of the slots */
    uint16_t slots[MW_REDIS_SLOTS];
    int refreshing, closed;
};

/* ---- nodes ---- */

static mw_redis_link *link_to(mw_redis_cluster *c, const char *host, const char *port)
{
    mw_redis_url url = {.host_count = 1, .hosts = {strdup(host)}, .ports = {strdup(port)}};
    if (c->url.user) url.user = strdup(c->url.user);
    if (c->url.password) url.password = strdup(c->url.password);
    return mw_redis_link_new(c->loop, &url, c->name, c->timeout_ns);
}

/* -1: there are too many. Nodes that left stay known: there are few, and they may come back. */
static int find_node(mw_redis_cluster *c, const char *host, const char *port)
{
    for (unsigned i = 0; i < c->count; i++)
        if (strcmp(c->nodes[i].host, host) == 0 && strcmp(c->nodes[i].port, port) == 0)
            return (int)i;
    if (c->count == NODES) return -1;
    c->nodes[c->count] =
        (node){.host = strdup(host), .port = strdup(port), .link = link_to(c, host, port)};
    return (int)c->count++;
}

/* ---- who has which slot ---- */

/* [first, last, [host, port, …], …] */
static void take_range(mw_redis_cluster *c, const redisReply *range, const node *asked)
{
    char port[24];
    if (range->type != REDIS_REPLY_ARRAY || range->elements < 3) return;
    const redisReply *first = range->element[0], *last = range->element[1],
                     *master = range->element[2];
    if (master->type != REDIS_REPLY_ARRAY || master->elements < 2 || first->integer < 0 ||
        last->integer >= MW_REDIS_SLOTS)
        return;
    const redisReply *host = master->element[0];
    int known = host->type == REDIS_REPLY_STRING && host->len; /* else: the one that was asked */
    snprintf(port, sizeof port, "%lld", master->element[1]->integer);
    int n = find_node(c, known ? host->str : asked->host, port);
    if (n < 0) return;
    for (long long slot = first->integer; slot <= last->integer; slot++)
        c->slots[slot] = (uint16_t)n;
}

static void on_slots(void *self, const redisReply *reply, const char *why)
{
    mw_redis_cluster *c = self;
    (void)why;
    c->refreshing = 0;
    if (c->closed) return;
    const node asked = c->nodes[c->turn];
    if (!reply || reply->type != REDIS_REPLY_ARRAY) { /* another one may know */
        c->turn = (c->turn + 1) % c->count;
        return;
    }
    for (size_t i = 0; i < reply->elements; i++) take_range(c, reply->element[i], &asked);
}

static void refresh(mw_redis_cluster *c)
{
    int64_t now_ns = mw_clock_steady_ns();
    mw_buffer command = {0};
    if (c->refreshing || (c->refreshed_ns && now_ns - c->refreshed_ns < refresh_ns)) return;
    c->refreshing = 1, c->refreshed_ns = now_ns;
    mw_resp_command(&command, "CLUSTER", "SLOTS", NULL);
    mw_redis_link_send(c->nodes[c->turn].link, &command, on_slots, c);
    mw_redis_link_flush(c->nodes[c->turn].link);
    mw_buffer_close(&command);
}

/* ---- commands ---- */

static void forget(ask *a)
{
    mw_buffer_close(&a->command);
    free(a);
}

static void on_reply(void *self, const redisReply *reply, const char *why);

static void send_to(ask *a, int number)
{
    mw_redis_link_send(a->cluster->nodes[number].link, &a->command, on_reply, a);
}

/* "MOVED 3999 127.0.0.1:6381", "ASK 3999 127.0.0.1:6381". -1: it is neither, or leads nowhere. */
static int redirection(ask *a, const redisReply *reply)
{
    mw_redis_cluster *c = a->cluster;
    char host[256], port[8];
    int moved = strncmp(reply->str, "MOVED ", 6) == 0, slot, end = 0;
    if (!moved && strncmp(reply->str, "ASK ", 4) != 0) return -1;
    if (sscanf(reply->str, "%*s %d %n", &slot, &end) != 1 || !end || slot < 0 ||
        slot >= MW_REDIS_SLOTS || a->redirections++ == REDIRECTIONS)
        return -1;
    const char *at = reply->str + end, *colon = strrchr(at, ':');
    if (!colon || (size_t)(colon - at) >= sizeof host || strlen(colon + 1) >= sizeof port)
        return -1;
    memcpy(host, at, (size_t)(colon - at));
    host[colon - at] = 0;
    strcpy(port, colon + 1);
    const char *node = host[0] ? host : c->nodes[c->slots[slot]].host;
    int n = find_node(c, node, port);
    if (n < 0) return n;
    if (moved) {
        c->slots[slot] = (uint16_t)n;
        refresh(c);
    } else {
        static const char asking[] = "*1\r\n$6\r\nASKING\r\n";
        mw_buffer command = {.bytes = (char *)asking, .len = sizeof asking - 1};
        mw_redis_link_send(c->nodes[n].link, &command, NULL, NULL);
    }
    return n;
}

static void on_reply(void *self, const redisReply *reply, const char *why)
{
    ask *a = self;
    mw_redis_cluster *c = a->cluster;
    if (!c->closed && reply && reply->type == REDIS_REPLY_ERROR) {
        int n = redirection(a, reply);
        if (n >= 0) {
            send_to(a, n);
            mw_redis_link_flush(c->nodes[n].link);
            return;
        }
        if (strncmp(reply->str, "CLUSTERDOWN", 11) == 0) refresh(c);
    }
    if (!c->closed && !reply) { /* the node may be gone, and another have its slots */
        if (!c->refreshing) c->turn = (c->turn + 1) % c->count;
        refresh(c);
    }
    mw_redis_done done = a->done;
    void *of = a->self;
    forget(a);
    if (done) done(of, reply, why);
}

void mw_redis_cluster_send(mw_redis_cluster *c, int slot, const mw_buffer *command,
                           mw_redis_done done, void *self)
{
    ask *a = calloc(1, sizeof *a);
    mw_assert(a != NULL);
    a->cluster = c, a->done = done, a->self = self;
    mw_buffer_append(&a->command, command->bytes, command->len);
    if (!c->refreshed_ns) refresh(c);
    send_to(a, slot < 0 ? (int)c->turn : c->slots[slot]);
}

void mw_redis_cluster_flush(mw_redis_cluster *c)
{
    for (unsigned i = 0; i < c->count; i++) mw_redis_link_flush(c->nodes[i].link);
}

/* ---- life ---- */

mw_redis_cluster *mw_redis_cluster_new(uv_loop_t *loop, mw_redis_url *url, const char *name,
                                       int64_t timeout_ns)
{
    mw_redis_cluster *c = calloc(1, sizeof *c);
    mw_assert(c != NULL);
    c->loop = loop, c->url = *url, c->name = strdup(name), c->timeout_ns = timeout_ns;
    *url = (mw_redis_url){0};
    for (unsigned i = 0; i < c->url.host_count; i++) find_node(c, c->url.hosts[i], c->url.ports[i]);
    return c;
}

void mw_redis_cluster_close(mw_redis_cluster *c)
{
    c->closed = 1;
    for (unsigned i = 0; i < c->count; i++) { /* each fails what it has */
        mw_redis_link_close(c->nodes[i].link);
        free(c->nodes[i].host);
        free(c->nodes[i].port);
    }
    mw_redis_url_close(&c->url);
    free(c->name);
    free(c);
}

/* ---- slots ---- */

/* CRC16, polynomial 0x1021, from 0, not reflected (XMODEM). */
static uint16_t crc16(const char *bytes, size_t len)
{
    unsigned crc = 0;
    for (size_t i = 0; i < len; i++) {
        crc ^= (unsigned)(unsigned char)bytes[i] << 8;
        for (int bit = 0; bit < 8; bit++)
            crc = (crc & 0x8000 ? crc << 1 ^ 0x1021 : crc << 1) & 0xffff;
    }
    return (uint16_t)crc;
}

unsigned mw_redis_slot(const char *key, size_t len)
{
    const char *open = memchr(key, '{', len), *end = key + len;
    const char *close = open ? memchr(open, '}', (size_t)(end - open)) : NULL;
    if (close && close > open + 1) key = open + 1, len = (size_t)(close - key);
    return crc16(key, len) % MW_REDIS_SLOTS;
}
