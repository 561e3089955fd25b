/* listen.c: see listen.h. */
#include "sources/listen.h"
#include "base/log.h"
#include "net/address.h"

#include <fcntl.h>

mw_status mw_source_listen(mw_source *s, int datagram, const char *before, const char *after,
                           int *fd, mw_error *error)
{
    mw_address address;
    mw_error why;
    char text[MW_ADDRESS_TEXT];
    mw_status status = mw_address_read(&address, mw_config_text(s->config, "listen", ""), &why);
    if (status != MW_OK) return mw_fail(error, status, "source '%s': %s", s->name, why.message);
    if (s->inherited >= 0) {
        *fd = s->inherited;
        s->inherited = -1;
        return MW_OK;
    }
    int *port = mw_source_lock_shared(s), first = *port == 0;
    status = mw_address_bind(&address, datagram, port, fd, &why);
    mw_address_set_port(&address, *port);
    mw_source_unlock_shared(s);
    if (status != MW_OK) return mw_fail(error, status, "source '%s': %s", s->name, why.message);
    if (first)
        mw_log(MW_INFO, s->name, "listening on %s%s%s", before, mw_address_text(&address, text),
               after);
    return MW_OK;
}

int mw_source_duplicate(const uv_handle_t *handle)
{
    uv_os_fd_t fd;
    return uv_fileno(handle, &fd) == 0 ? fcntl(fd, F_DUPFD_CLOEXEC, 0) : -1;
}
