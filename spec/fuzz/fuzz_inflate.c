/* fuzz_inflate.c: damaged compressed streams end in an error, in bounded memory, however they are
 * cut. */
#include "base/inflate.h"

#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char out[4096];
    mw_error error;
    if (size < 1) return 0;
    size_t piece = data[0] % 37u + 1, total = 0;
    const char *p = (const char *)data + 1, *end = (const char *)data + size;
    mw_compression kind = mw_compression_of(p, (size_t)(end - p));
    mw_inflate *i = mw_inflate_new(kind);
    while (p < end && total < (1 << 22)) {
        size_t n = (size_t)(end - p) < piece ? (size_t)(end - p) : piece, used, made;
        if (mw_inflate_run(i, p, n, &used, out, sizeof out, &made, &error) != MW_OK) break;
        if (used > n || made > sizeof out) __builtin_trap();
        if (used == 0 && made == 0) break;
        p += used, total += made;
    }
    mw_inflate_is_whole(i);
    mw_inflate_free(i);
    return 0;
}
