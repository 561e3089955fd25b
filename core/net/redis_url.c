/* redis_url.c: see redis_url.h. */
#include "net/redis_url.h"

#include <stdlib.h>
#include <string.h>

static char *copy(const char *from, size_t len)
{
    char *text = strndup(from, len);
    mw_assert(text != NULL);
    return text;
}

static int starts(const char **at, const char *prefix)
{
    size_t len = strlen(prefix);
    if (strncmp(*at, prefix, len) != 0) return 0;
    *at += len;
    return 1;
}

/* "user:password@" or ":password@". */
static void read_login(mw_redis_url *u, const char **at)
{
    const char *end = strchr(*at, '@'), *slash = strchr(*at, '/');
    if (!end || (slash && slash < end)) return;
    const char *colon = memchr(*at, ':', (size_t)(end - *at));
    if (colon && colon > *at) u->user = copy(*at, (size_t)(colon - *at));
    const char *password = colon ? colon + 1 : *at;
    u->password = copy(password, (size_t)(end - password));
    *at = end + 1;
}

static int read_hosts(mw_redis_url *u, const char **at, const char *port)
{
    do {
        size_t len = strcspn(*at, ",/?"), host = strcspn(*at, ":,/?");
        if (u->host_count == MW_REDIS_HOSTS || host == 0) return 0;
        u->hosts[u->host_count] = copy(*at, host);
        u->ports[u->host_count] =
            host < len ? copy(*at + host + 1, len - host - 1) : copy(port, strlen(port));
        u->host_count++;
        *at += len;
    } while (starts(at, ","));
    return 1;
}

static int read_database(mw_redis_url *u, const char *text)
{
    char *end;
    long n = strtol(text, &end, 10);
    if (end == text) return *text == 0;
    u->database = (int)n;
    return *end == 0 && n >= 0;
}

static int read_unix(mw_redis_url *u, const char *at)
{
    read_login(u, &at);
    size_t len = strcspn(at, "?");
    u->path = copy(at, len);
    if (!len || *at != '/') return 0;
    if (!at[len]) return 1;
    at += len;
    return starts(&at, "?db=") && read_database(u, at);
}

mw_status mw_redis_url_read(mw_redis_url *u, const char *text, mw_error *error)
{
    const char *at = text;
    int good = 0;
    *u = (mw_redis_url){0};
    if (starts(&at, "rediss://"))
        return mw_fail(error, MW_CONFIG, "'%s': Redis over TLS (rediss) is not there yet", text);
    if (starts(&at, "unix://") || starts(&at, "redis+unix://")) {
        good = read_unix(u, at);
    } else if (starts(&at, "redis-sentinel://")) {
        read_login(u, &at);
        good = read_hosts(u, &at, "26379") && starts(&at, "/");
        size_t len = strcspn(at, "/");
        u->master = copy(at, len);
        at += len;
        good = good && len && (!*at || read_database(u, at + 1));
    } else if (starts(&at, "redis-cluster://")) {
        read_login(u, &at);
        u->cluster = 1;
        good = read_hosts(u, &at, "6379") && (!*at || strcmp(at, "/") == 0);
    } else if (starts(&at, "redis://")) {
        read_login(u, &at);
        good = read_hosts(u, &at, "6379") && u->host_count == 1;
        good = good && (!*at || (*at == '/' && read_database(u, at + 1)));
    }
    if (good) return MW_OK;
    mw_redis_url_close(u);
    return mw_fail(error, MW_CONFIG,
                   "'%s' is no URL of Redis: redis://[[user]:password@]host[:port][/database], "
                   "unix:///path[?db=n], redis-sentinel://host[:port],…/master, or "
                   "redis-cluster://host[:port],…",
                   text);
}

void mw_redis_url_close(mw_redis_url *u)
{
    for (unsigned i = 0; i < MW_REDIS_HOSTS; i++) {
        free(u->hosts[i]);
        free(u->ports[i]);
    }
    free(u->path);
    free(u->master);
    free(u->user);
    free(u->password);
    *u = (mw_redis_url){0};
}
