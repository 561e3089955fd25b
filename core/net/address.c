/* address.c: see address.h. */
#include "net/address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

mw_status mw_address_read(mw_address *a, const char *text, mw_error *error)
{
    char host[256];
    const char *colon = strrchr(text, ':');
    char *end = NULL;
    long port = colon ? strtol(colon + 1, &end, 10) : -1;
    if (!colon || end == colon + 1 || *end || port < 0 || port > 65535 ||
        (size_t)(colon - text) >= sizeof host)
        return mw_fail(error, MW_CONFIG,
                       "'%s' is no address: it is written host:port, such as \"127.0.0.1:8080\"",
                       text);
    size_t len = (size_t)(colon - text);
    memcpy(host, text, len), host[len] = 0;
    if (host[0] == '[' && host[len - 1] == ']') memmove(host, host + 1, len), host[len - 2] = 0;
    struct addrinfo hints = {.ai_family = AF_UNSPEC,
                             .ai_socktype = SOCK_STREAM,
                             .ai_flags = AI_PASSIVE},
                    *found;
    int rc = getaddrinfo(host[0] ? host : "0.0.0.0", colon + 1, &hints, &found);
    if (rc != 0) return mw_fail(error, MW_IO, "'%s' cannot be found: %s", text, gai_strerror(rc));
    memcpy(&a->storage, found->ai_addr, found->ai_addrlen);
    a->len = found->ai_addrlen;
    freeaddrinfo(found);
    return MW_OK;
}

int mw_address_port(const mw_address *a)
{
    return a->storage.ss_family == AF_INET6
               ? ntohs(((const struct sockaddr_in6 *)&a->storage)->sin6_port)
               : ntohs(((const struct sockaddr_in *)&a->storage)->sin_port);
}

void mw_address_set_port(mw_address *a, int port)
{
    if (a->storage.ss_family == AF_INET6)
        ((struct sockaddr_in6 *)&a->storage)->sin6_port = htons((uint16_t)port);
    else
        ((struct sockaddr_in *)&a->storage)->sin_port = htons((uint16_t)port);
}

const char *mw_address_text(const mw_address *a, char text[MW_ADDRESS_TEXT])
{
    char host[INET6_ADDRSTRLEN] = "?";
    int six = a->storage.ss_family == AF_INET6;
    if (six)
        inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)&a->storage)->sin6_addr, host,
                  sizeof host);
    else
        inet_ntop(AF_INET, &((const struct sockaddr_in *)&a->storage)->sin_addr, host, sizeof host);
    snprintf(text, MW_ADDRESS_TEXT, six ? "[%s]:%d" : "%s:%d", host, mw_address_port(a));
    return text;
}

static int open_socket(const mw_address *a, int datagram, int share)
{
    int one = 1,
        fd = socket(a->storage.ss_family,
                    (datagram ? SOCK_DGRAM : SOCK_STREAM) | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return -1;
    if (!datagram) setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (share) setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one);
    if (bind(fd, (const struct sockaddr *)&a->storage, a->len) == 0) return fd;
    int why = errno;
    close(fd);
    errno = why;
    return -1;
}

mw_status mw_address_bind(const mw_address *a, int datagram, int *port, int *fd, mw_error *error)
{
    mw_address here = *a;
    char text[MW_ADDRESS_TEXT];
    if (*port) {
        mw_address_set_port(&here, *port);
    } else if (mw_address_port(a)) {
        /* a socket that does not share is refused where anybody has the port, ourselves in another
         * process included */
        int probe = open_socket(a, datagram, 0);
        if (probe >= 0 && !datagram && listen(probe, 1) != 0) close(probe), probe = -1;
        if (probe < 0)
            return mw_fail(error, MW_IO, "cannot listen on %s: %s%s", mw_address_text(a, text),
                           strerror(errno),
                           errno == EADDRINUSE ? " (another program has the port)" : "");
        close(probe);
    }
    *fd = open_socket(&here, datagram, 1);
    if (*fd < 0)
        return mw_fail(error, MW_IO, "cannot listen on %s: %s", mw_address_text(&here, text),
                       strerror(errno));
    here.len = sizeof here.storage;
    getsockname(*fd, (struct sockaddr *)&here.storage, &here.len);
    *port = mw_address_port(&here);
    return MW_OK;
}
