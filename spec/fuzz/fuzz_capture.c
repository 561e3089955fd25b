/* fuzz_capture.c: captures and dead letters, as they may lie on a disk: whatever is in a file, it
 * is read to its end, and what is read lies inside it. */
#include "event/capture_reader.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void check(int good)
{
    if (!good) __builtin_trap();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char path[64];
    mw_capture_reader *r = NULL;
    mw_captured c;
    mw_error error;
    size_t total = 0, rounds = 0;
    if (!path[0]) snprintf(path, sizeof path, "/tmp/fuzz_capture.%d", (int)getpid());
    FILE *f = fopen(path, "wb");
    if (!f) return 0;
    fwrite(data, 1, size, f);
    fclose(f);
    if (mw_capture_reader_open(&r, path, &error) == MW_OK) {
        mw_status status;
        while ((status = mw_capture_reader_next(r, &c, &error)) != MW_END) {
            check(++rounds <= size + 2); /* it comes to an end */
            if (status != MW_OK) continue;
            check(c.source != NULL && c.meta != NULL);
            for (size_t i = 0; i < c.len; i++) total += (unsigned char)c.bytes[i];
            total += strlen(c.source) + strlen(c.meta);
        }
        mw_capture_reader_close(r);
    }
    unlink(path);
    return total == SIZE_MAX; /* never, but the bytes have been looked at */
}
