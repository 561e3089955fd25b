/* address.h: "host:port" and what is bound to it. Any thread. */
#ifndef MW_ADDRESS_H
#define MW_ADDRESS_H

#include "base/status.h"

#include <sys/socket.h>

enum { MW_ADDRESS_TEXT = 80 };

typedef struct mw_address {
    struct sockaddr_storage storage;
    socklen_t len;
} mw_address;

/* Reads "host:port", "[host]:port" or ":port" (all interfaces). Names are looked up, which may
 * wait. */
mw_status mw_address_read(mw_address *a, const char *text, mw_error *error);
int mw_address_port(const mw_address *a);
void mw_address_set_port(mw_address *a, int port);
/* "host:port". */
const char *mw_address_text(const mw_address *a, char text[MW_ADDRESS_TEXT]);

/* A bound, listening-ready TCP socket (or a bound UDP one) that shares its port with its siblings
 * of this process: *port is 0 for the first of them, which then sets it; a port that another
 * process has is refused. */
mw_status mw_address_bind(const mw_address *a, int datagram, int *port, int *fd, mw_error *error);

#endif
