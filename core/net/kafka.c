/* kafka.c: see kafka.h. */
#include "net/kafka.h"
#include "base/log.h"

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

enum { END_SECONDS = 3 };

mw_status mw_kafka_set(rd_kafka_conf_t *conf, const char *name, const char *value, mw_error *error)
{
    char why[300];
    if (rd_kafka_conf_set(conf, name, value, why, sizeof why) == RD_KAFKA_CONF_OK) return MW_OK;
    return mw_fail(error, MW_CONFIG, "config '%s': %s", name, why);
}

static void on_log(const rd_kafka_t *rk, int level, const char *facility, const char *text)
{
    (void)facility;
    mw_log(level <= 3 ? MW_ERROR : level <= 4 ? MW_WARN : MW_INFO, rd_kafka_name(rk), "%s", text);
}

mw_status mw_kafka_name(rd_kafka_conf_t *conf, const char *name, mw_error *error)
{
    rd_kafka_conf_set_log_cb(conf, on_log);
    return mw_kafka_set(conf, "client.id", name, error);
}

/* ---- the end ---- */

/* Shared by who waits and the thread; freed by the last. */
typedef struct ending {
    pthread_mutex_t lock;
    pthread_cond_t over;
    rd_kafka_t *rk;
    int done, left;
} ending;

static void *destroy(void *arg)
{
    ending *e = arg;
    rd_kafka_destroy(e->rk);
    pthread_mutex_lock(&e->lock);
    e->done = 1;
    int last = e->left;
    pthread_cond_signal(&e->over);
    pthread_mutex_unlock(&e->lock);
    if (last) free(e);
    return NULL;
}

void mw_kafka_end(rd_kafka_t *rk)
{
    pthread_t thread;
    struct timespec until;
    ending *e = calloc(1, sizeof *e);
    mw_assert(e != NULL);
    e->rk = rk;
    pthread_mutex_init(&e->lock, NULL);
    pthread_cond_init(&e->over, NULL);
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += END_SECONDS;
    mw_assert(pthread_create(&thread, NULL, destroy, e) == 0);
    pthread_detach(thread);
    pthread_mutex_lock(&e->lock);
    while (!e->done && pthread_cond_clockwait(&e->over, &e->lock, CLOCK_MONOTONIC, &until) == 0) {
    }
    int done = e->done;
    e->left = !done;
    pthread_mutex_unlock(&e->lock);
    if (done) free(e);
}

/* ---- queues ---- */

struct mw_kafka_watch {
    rd_kafka_queue_t *queue;
    int fd;
    uv_poll_t poll;
    void (*ready)(void *self);
    void *self;
};

static void on_ready(uv_poll_t *poll, int status, int events)
{
    mw_kafka_watch *w = poll->data;
    uint64_t count;
    (void)status, (void)events;
    if (read(w->fd, &count, sizeof count) < 0) return; /* somebody was faster */
    w->ready(w->self);
}

mw_kafka_watch *mw_kafka_watch_new(uv_loop_t *loop, rd_kafka_queue_t *queue,
                                   void (*ready)(void *self), void *self)
{
    static const uint64_t one = 1; /* what is written to the eventfd */
    mw_kafka_watch *w = calloc(1, sizeof *w);
    mw_assert(w != NULL);
    w->queue = queue, w->ready = ready, w->self = self;
    w->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    mw_assert(w->fd >= 0);
    rd_kafka_queue_io_event_enable(queue, w->fd, &one, sizeof one);
    mw_assert(uv_poll_init(loop, &w->poll, w->fd) == 0);
    w->poll.data = w;
    uv_poll_start(&w->poll, UV_READABLE, on_ready);
    mw_kafka_watch_again(w); /* it may have something already */
    return w;
}

void mw_kafka_watch_again(mw_kafka_watch *w)
{
    const uint64_t one = 1;
    ssize_t n = write(w->fd, &one, sizeof one);
    (void)n; /* full is fine: it is readable */
}

static void on_closed(uv_handle_t *handle)
{
    mw_kafka_watch *w = handle->data;
    close(w->fd);
    free(w);
}

void mw_kafka_watch_close(mw_kafka_watch *w)
{
    if (!w) return;
    rd_kafka_queue_io_event_enable(w->queue, -1, NULL, 0);
    uv_poll_stop(&w->poll);
    uv_close((uv_handle_t *)&w->poll, on_closed);
}

/* ---- groups ---- */

const char mw_kafka_world_name[] = "kafka";

struct mw_kafka_group {
    pthread_mutex_t lock;
    rd_kafka_t *consumer; /* NULL: closed */
    int users;
};

mw_kafka_group *mw_kafka_group_new(rd_kafka_t *consumer)
{
    mw_kafka_group *g = calloc(1, sizeof *g);
    mw_assert(g != NULL);
    pthread_mutex_init(&g->lock, NULL);
    g->consumer = consumer, g->users = 1;
    return g;
}

mw_kafka_group *mw_kafka_group_hold(mw_kafka_group *g)
{
    pthread_mutex_lock(&g->lock);
    g->users++;
    pthread_mutex_unlock(&g->lock);
    return g;
}

void mw_kafka_group_release(mw_kafka_group *g)
{
    pthread_mutex_lock(&g->lock);
    int left = --g->users;
    pthread_mutex_unlock(&g->lock);
    if (left) return;
    pthread_mutex_destroy(&g->lock);
    free(g);
}

void mw_kafka_group_close(mw_kafka_group *g)
{
    pthread_mutex_lock(&g->lock);
    g->consumer = NULL;
    pthread_mutex_unlock(&g->lock);
}

rd_kafka_consumer_group_metadata_t *mw_kafka_group_metadata(mw_kafka_group *g)
{
    pthread_mutex_lock(&g->lock);
    rd_kafka_consumer_group_metadata_t *m =
        g->consumer ? rd_kafka_consumer_group_metadata(g->consumer) : NULL;
    pthread_mutex_unlock(&g->lock);
    return m;
}
