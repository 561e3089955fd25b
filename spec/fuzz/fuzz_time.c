/* fuzz_time.c: times of events in every format: any text is read or refused, within the bounds of
 * what is handed in. */
#include "event/json.h"
#include "event/time.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const formats[] = {
        NULL, "s", "ms", "us", "ns", "rfc3339", "syslog", "%d/%m/%Y %H:%M:%S %z", "%s"};
    if (size < 1) return 0;
    char *text = malloc(size); /* its end is the end of what may be read */
    memcpy(text, data + 1, size - 1);
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        mw_time_format f;
        int64_t at = 0;
        mw_value v = {.kind = data[0] & 1 ? MW_STRING : MW_INTEGER,
                      .text = text,
                      .len = (uint32_t)size - 1,
                      .number = (double)size};
        mw_value number = {.kind = MW_NUMBER};
        memcpy(&number.number, data, size < 8 ? size : 8);
        if (!mw_time_format_find(&f, formats[i])) abort();
        mw_time_read(&f, &v, 1700000000000000000, &at);
        mw_time_read(&f, &number, 1700000000000000000, &at);
    }
    free(text);
    return 0;
}
