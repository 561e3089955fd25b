/* fuzz_spool.c: what a disk buffer's segment may have become: opened, read to its end, appended to,
 * and read again. Nothing that is not whole may come out of it, and what is appended has to. */
#include "base/log.h"
#include "state/spool.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char folder[64];

static void empty_folder(void)
{
    char command[128];
    snprintf(command, sizeof command, "%s/0000000000000000", folder);
    unlink(command);
    snprintf(command, sizeof command, "%s/0000000000000000.damaged", folder);
    unlink(command);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char head[16] = "MWSPOOL1";
    char path[128];
    if (!folder[0]) {
        snprintf(folder, sizeof folder, "/tmp/fuzz-spool-XXXXXX");
        if (!mkdtemp(folder)) abort();
        mw_log_open(1, MW_ERROR);
    }
    empty_folder();
    snprintf(path, sizeof path, "%s/0000000000000000", folder);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    int whole_head = size == 0 || data[0] != 0xff; /* now and then the head is damaged, too */
    if (fd < 0 || (whole_head && write(fd, head, sizeof head) != (ssize_t)sizeof head)) abort();
    if (size && write(fd, data, size) != (ssize_t)size) abort();
    close(fd);
    mw_spool *s;
    mw_spool_report report;
    mw_error error;
    mw_spool_verify(folder, &report, &error);
    if (mw_spool_open(&s, folder, 1 << 20, 0, &error) != MW_OK) return 0;
    uint64_t at = mw_spool_first(s), before;
    const char *bytes;
    size_t len, total = 0;
    for (int found;;) {
        before = at;
        found = mw_spool_read(s, &at, &bytes, &len, &error);
        if (found == 0) break;
        if (at <= before) abort(); /* it would read for ever */
        for (size_t i = 0; found > 0 && i < len; i++) total += (unsigned char)bytes[i];
    }
    static const char text[] = "appended";
    if (mw_spool_append(s, text, 3, text + 3, sizeof text - 3, &error) != MW_OK) abort();
    if (mw_spool_read(s, &at, &bytes, &len, &error) != 1 || len != sizeof text ||
        memcmp(bytes, text, len) != 0)
        abort();
    mw_spool_close(s);
    return total == (size_t)-1;
}
